"""Figures that cannot be are refused in one line that says what would be right."""

from typing import Any

import pytest

from hw_profiles import Figure, limits
from tests.hw_profiles.profiles import circuit, engine, fig, processor


def refused(make: Any, **changes: Any) -> str:
    with pytest.raises(ValueError, match="must") as caught:
        make(**changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def peaks(value: float) -> dict[str, dict[str, Figure]]:
    return {"matrix": {"float32": fig(value)}, "vector": {"float32": fig(1e12)}}


def test_a_peak_without_its_unit_is_told_the_unit() -> None:
    assert refused(processor, peak_ops_s=peaks(312)) == (
        "figure peak_ops_s.matrix.float32 must be between 1e+08 and 1e+18 "
        "(operations a second, for example 312.0e+12), but got 312"
    )


@pytest.mark.parametrize(
    ("changes", "name", "unit"),
    [
        ({"clock_hz": fig(1.41)}, "clock_hz", "hertz"),
        ({"clock_hz": fig(2e11)}, "clock_hz", "hertz"),
        (
            {"bandwidth_bytes_s": {"memory": fig(1555)}},
            "bandwidth_bytes_s.memory",
            "bytes a second",
        ),
        (
            {"bandwidth_bytes_s": {"memory": fig(2e15)}},
            "bandwidth_bytes_s.memory",
            "bytes a second",
        ),
        ({"memory_bytes": {"cache": fig(40)}}, "memory_bytes.cache", "bytes"),
        ({"overhead_s": {"call": fig(0), "op": fig(12)}}, "overhead_s.op", "seconds"),
        ({"uncertainty": fig(150)}, "uncertainty", "a factor"),
        ({"energy_j": {"mac_float32": fig(3)}}, "energy_j.mac_float32", "joules for one"),
        ({"power_w": {"idle": fig(1e6)}}, "power_w.idle", "watts"),
        ({"parts": {"tile_channels": fig(1e12)}}, "parts.tile_channels", "a number or a share"),
    ],
)
def test_a_figure_out_of_bounds_is_named_with_its_unit(
    changes: dict[str, Any], name: str, unit: str
) -> None:
    message = refused(processor, **changes)
    assert message.startswith(f"figure {name} must be between ")
    assert f" ({unit}" in message


@pytest.mark.parametrize("share", [0.0, 1.01, 80.0])
def test_an_efficiency_is_a_share_of_the_peak(share: float) -> None:
    efficiency = {**processor().efficiency, "vector": fig(share)}
    assert "efficiency.vector must be between 0.0001 and 1" in refused(
        processor, efficiency=efficiency
    )


def test_what_is_at_the_bounds_is_taken() -> None:
    processor(peak_ops_s=peaks(1e8), uncertainty=fig(1))
    processor(
        peak_ops_s=peaks(1e18), uncertainty=fig(100), overhead_s={"call": fig(10), "op": fig(0)}
    )


def test_an_engine_has_at_least_one_lane() -> None:
    parts = {**engine().parts, "depthwise_pixel_parallelism": fig(0)}
    assert refused(engine, parts=parts).startswith("figure parts.depthwise_pixel_parallelism must")


def test_the_usable_part_of_a_circuit_is_a_share() -> None:
    parts = {**circuit().parts, "usable_dsp": fig(80)}
    message = refused(circuit, parts=parts)
    assert message == "figure parts.usable_dsp must be a share, at most 1, but got 80"


def test_nothing_takes_more_at_rest_than_at_most() -> None:
    message = refused(processor, power_w={"idle": fig(90), "max": fig(70)})
    assert message == "figure power_w.idle must be at most power_w.max, 70, but got 90"
    processor(power_w={"idle": fig(70), "max": fig(70)})


@pytest.mark.parametrize(
    ("kind", "lowering"), [("fpga", "onnxruntime"), ("gpu", "dpu"), ("cpu", "dataflow")]
)
def test_circuits_and_their_lowerings_belong_together(kind: str, lowering: str) -> None:
    with pytest.raises(ValueError, match="an fpga, and nothing else, must be lowered as dataflow"):
        list(limits.needed(kind, lowering, "int8"))


def test_every_figure_that_a_processor_needs_is_named_with_its_path() -> None:
    names = {".".join(path) for path in limits.needed("gpu", "eager", "float16")}
    assert {"peak_ops_s.matrix.float16", "efficiency.memory", "overhead_s.op"} <= names
