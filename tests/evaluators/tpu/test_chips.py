"""The chips that the compiler knows."""

import pytest

import hw_profiles
from evaluators.tpu.chips import CHIPS, chip_of
from tests.hw_profiles.profiles import processor


@pytest.mark.parametrize("name", sorted(CHIPS))
def test_every_chip_has_a_profile_with_what_the_method_needs(name: str) -> None:
    profile = hw_profiles.load(f"tpu-{name}")
    assert chip_of(profile).name == name
    assert profile.part("uncertainty_xla") > 1
    assert {"call", "op", "instruction"} <= set(profile.overhead_s)


def test_other_devices_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"needs the profile of a chip .* but made-up is 'none"):
        chip_of(processor())
