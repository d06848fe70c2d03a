"""The chips that the compiler can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hw_profiles import HardwareProfile

_ONE = {"chips_per_host_bounds": (1, 1, 1)}
_MEGACORE = {"chip_config_name": "megacore", "num_slices": 1, **_ONE}


@dataclass(frozen=True)
class Chip:
    """A chip as the compiler knows it.

    Args:
        name: for example ``v5e``.
        topology: the name of a machine with one of them.
        settings: of the topology.
    """

    name: str
    topology: str
    settings: Mapping[str, Any] = field(default_factory=lambda: _ONE)


CHIPS: Mapping[str, Chip] = MappingProxyType(
    {
        chip.name: chip
        for chip in (
            Chip("v2", "v2:1x1"),
            Chip("v3", "v3:1x1"),
            Chip("v4", "v4:1x1x1", _MEGACORE),
            Chip("v5e", "v5e:1x1"),
            Chip("v5p", "v5p:1x1x1", _MEGACORE),
            Chip("v6e", "v6e:1x1"),
            Chip("v7x", "tpu7x:1x1x1"),
        )
    }
)
"""By name. Of v2, v3 and v7x a program runs on one of the two cores; a megacore is both of them."""


def chip_of(profile: HardwareProfile) -> Chip:
    """The chip of a profile.

    Raises:
        ValueError: the profile is of no chip that the compiler knows.
    """
    if profile.chip not in CHIPS:
        raise ValueError(
            f"tpu_xla needs the profile of a chip that the XLA:TPU compiler knows "
            f"({', '.join(CHIPS)}), but {profile.name} is {profile.chip or 'none of them'!r}"
        )
    return CHIPS[profile.chip]
