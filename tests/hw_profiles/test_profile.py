"""Profiles as values: what they refuse, what they tell."""

import math
import pickle
from dataclasses import replace
from typing import Any

import pytest

from hw_profiles import Figure
from tests.hw_profiles.profiles import circuit, engine, fig, processor


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_figure_is_finite_and_not_negative(value: float) -> None:
    with pytest.raises(ValueError, match=r"must be finite and not negative, but got"):
        Figure(value, "a data sheet")


@pytest.mark.parametrize("source", ["", "  "])
def test_a_figure_needs_a_source(source: str) -> None:
    with pytest.raises(ValueError, match="needs a source"):
        Figure(1.0, source)


def test_a_figure_is_a_float_whatever_it_was_made_of() -> None:
    assert isinstance(Figure(16, "x").value, float)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"kind": "abacus"}, "kind must be one of cpu, gpu, tpu, fpga, but got 'abacus'"),
        ({"lowering": "tvm"}, "lowering must be one of .*, but got 'tvm'"),
        ({"name": ""}, "needs name and dtype, but got ''"),
        ({"dtype": "bfloat16"}, "figure peak_ops_s.matrix.bfloat16 is missing"),
        ({"bandwidth_bytes_s": {}}, "figure bandwidth_bytes_s.memory is missing"),
        ({"overhead_s": {"call": fig(0)}}, "figure overhead_s.op is missing"),
        ({"efficiency": {"matrix": fig(1)}}, "figure efficiency.vector is missing"),
        ({"uncertainty": fig(0.5)}, r"uncertainty must be between 1 and 100 .*, but got 0\.5"),
        ({"sibling": "made-up"}, "sibling must be another profile, but got 'made-up' itself"),
    ],
)
def test_a_processor_says_what_is_wrong_with_it(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        processor(**changes)


@pytest.mark.parametrize("part", ["dsp", "lut", "ff", "bram18", "usable_dsp", "usable_bram"])
def test_a_circuit_needs_its_resources(part: str) -> None:
    parts = {name: value for name, value in circuit().parts.items() if name != part}
    with pytest.raises(ValueError, match=f"figure parts.{part} is missing"):
        circuit(parts=parts)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("parts", "pixel_parallelism"),
        ("parts", "output_channel_parallelism"),
        ("parts", "depthwise_channel_parallelism"),
        ("memory_bytes", "cache"),
        ("overhead_s", "op"),
        ("bandwidth_bytes_s", "memory"),
    ],
)
def test_a_convolution_engine_needs_its_own_figures(group: str, name: str) -> None:
    rest = {key: value for key, value in getattr(engine(), group).items() if key != name}
    with pytest.raises(ValueError, match=f"^figure {group}.{name} is missing$"):
        engine(**{group: rest})


def test_a_peak_that_is_not_there_is_refused_with_those_that_are() -> None:
    assert processor().peak("vector", "int8") == 4e11
    with pytest.raises(ValueError, match=r"no peak .* for int4 \(known: float16, float32, int8\)"):
        processor().peak("matrix", "int4")
    with pytest.raises(ValueError, match="made-up has no peak of its tensor engine"):
        processor().peak("tensor", "int8")


def test_a_part_has_a_default_or_is_refused() -> None:
    assert circuit().part("dsp") == 125
    assert processor().part("dsp", 7) == 7
    with pytest.raises(ValueError, match=r"made-up has no figure parts\.dsp"):
        processor().part("dsp")


def test_all_figures_are_listed_with_their_dotted_names() -> None:
    figures = dict(processor().figures())
    assert figures["peak_ops_s.vector.float16"].value == 2e11
    assert {"clock_hz", "uncertainty", "overhead_s.op", "efficiency.memory"} <= figures.keys()
    powered = processor(energy_j={"byte": fig(1e-11)}, power_w={"idle": fig(5)})
    added = dict(powered.figures()).keys() - figures.keys()
    assert added == {"energy_j.byte", "power_w.idle"}


class TestIdentity:
    def test_equal_profiles_are_equal_and_hash_alike(self) -> None:
        assert processor() == processor()
        assert hash(processor()) == hash(processor())
        assert processor() != processor(title="Another")
        assert processor() != "made-up"

    def test_the_source_of_a_figure_is_part_of_it(self) -> None:
        assert processor() != processor(clock_hz=Figure(1e9, "another source"))

    def test_a_profile_survives_pickling_even_after_it_was_compared(self) -> None:
        profile = processor()
        hash(profile)
        assert pickle.loads(pickle.dumps(profile)) == profile

    def test_the_fingerprint_changes_with_figures_and_calibration(self) -> None:
        prints = {
            processor().fingerprint(),
            processor(clock_hz=fig(2e9)).fingerprint(),
            processor(calibration={"scale": 1.1}).fingerprint(),
            processor(sibling="another").fingerprint(),
        }
        assert len(prints) == 4
        assert all(len(text) == 12 for text in prints)

    def test_the_fingerprint_of_a_detected_machine_is_that_of_its_identity(self) -> None:
        machine = processor(identity="model, flags, 2")
        assert replace(machine, clock_hz=fig(3e9)).fingerprint() == machine.fingerprint()
        assert replace(machine, identity="another").fingerprint() != machine.fingerprint()
