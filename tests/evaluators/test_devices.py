"""Devices as a config names them."""

from typing import Any

import pytest

from evaluators.devices import Device, computed_in
from hw_profiles import load
from tests.hw_profiles.profiles import processor


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"alias": "my gpu"}, "alias of a device is made of .*, but got 'my gpu'"),
        ({"alias": ""}, "alias"),
        ({"alias": "a.b"}, "alias"),
        (
            {"method": "guessed"},
            "method of device gpu must be one of measured, modeled, .* but got",
        ),
        (
            {"method": "tpu_xla"},
            "tpu_xla of device gpu needs a profile lowered as xla, but made-up",
        ),
        ({"batch": 0}, "batch of device gpu must be at least 1, but got 0"),
        ({"threads": -1}, "threads of device gpu must be at least 1, but got -1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: dict[str, Any], line: str) -> None:
    values: dict[str, Any] = {"alias": "gpu", "profile": processor(), "method": "modeled"}
    with pytest.raises(ValueError, match=line):
        Device(**(values | changes))


@pytest.mark.parametrize(
    ("profile", "method", "dtype", "known"),
    [
        ("tpu-v5e", "tpu_analytic", "int8", "bfloat16, float32"),
        ("nvidia-t4", "modeled", "float8", "float16"),
        ("zcu102-dpu", "fpga_dpu", "int4", "one of int8 "),
        ("pynq-z2", "modeled", "int4", "int8, int16, int32"),
    ],
)
def test_a_dtype_that_a_profile_does_not_know_is_refused_before_a_search(
    profile: str, method: str, dtype: str, known: str
) -> None:
    with pytest.raises(ValueError, match=f"dtype of device d .*{known}.*{profile}.*got '{dtype}'"):
        Device("d", load(profile), method, dtype=dtype)
    assert Device("d", load(profile), method, dtype=load(profile).dtype).batch == 1


def test_a_model_of_a_measured_device_is_an_estimate() -> None:
    modeled = Device("gpu", processor(), "modeled")
    measured = Device("cpu-0", processor(), "measured")
    assert (modeled.metric, modeled.modeled_metric) == ("latency_ms.gpu", "latency_ms.gpu")
    assert (measured.metric, measured.modeled_metric) == (
        "latency_ms.cpu-0",
        "estimated_latency_ms.cpu-0",
    )


def test_a_compiled_device_is_estimated_before_there_is_a_file() -> None:
    tpu = processor(kind="tpu", lowering="xla")
    assert Device("tpu", tpu, "tpu_xla").modeled_metric == "estimated_latency_ms.tpu"
    assert Device("tpu", tpu, "tpu_analytic").modeled_metric == "latency_ms.tpu"


def test_name_and_lowering_are_those_of_the_profile() -> None:
    device = Device("gpu", processor(lowering="xla"), "modeled")
    assert (device.name, device.lowering) == ("made-up", "xla")


@pytest.mark.parametrize(
    ("file", "asked", "runs"),
    [
        ("float32", "", "float32"),
        ("float32", "float32", "float32"),
        ("float32", "bfloat16", "bfloat16"),
        ("int8", "", "int8"),
        ("int8", "bfloat16", "int8, bfloat16"),
    ],
)
def test_a_runtime_converts_what_is_float32_in_a_file(file: str, asked: str, runs: str) -> None:
    assert computed_in(file, asked) == runs
