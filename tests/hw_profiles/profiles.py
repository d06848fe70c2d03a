"""Profiles made up for tests, with round figures."""

from dataclasses import replace
from typing import Any

from hw_profiles import Figure, HardwareProfile


def fig(value: float) -> Figure:
    return Figure(value, "made up")


def processor(**changes: Any) -> HardwareProfile:
    """1 Tera-operation a second, 100 GB/s, 1 us a kernel, 10 us a call, no losses, no tiles."""
    peaks = {"float32": fig(1e12), "float16": fig(2e12), "int8": fig(4e12)}
    profile = HardwareProfile(
        name="made-up",
        title="A processor of a test",
        kind="gpu",
        lowering="onnxruntime",
        dtype="float32",
        clock_hz=fig(1e9),
        uncertainty=fig(2),
        peak_ops_s={
            "matrix": peaks,
            "vector": {name: fig(peak.value / 10) for name, peak in peaks.items()},
        },
        bandwidth_bytes_s={"memory": fig(100e9)},
        overhead_s={"call": fig(10e-6), "op": fig(1e-6)},
        efficiency={"matrix": fig(1), "vector": fig(1), "memory": fig(1)},
    )
    return replace(profile, **changes)


def circuit(**changes: Any) -> HardwareProfile:
    """An FPGA of 100 usable multipliers at 1 MHz, with room for 1 MB of weights."""
    parts = {
        "lut": 1e4,
        "ff": 1e4,
        "dsp": 125,
        "bram18": 600,
        "usable_lut": 0.7,
        "usable_ff": 0.5,
        "usable_dsp": 0.8,
        "usable_bram": 0.8,
    }
    profile = HardwareProfile(
        name="made-up-circuit",
        title="An FPGA of a test",
        kind="fpga",
        lowering="dataflow",
        dtype="int8",
        clock_hz=fig(1e6),
        uncertainty=fig(2),
        bandwidth_bytes_s={"memory": fig(1e7)},
        overhead_s={"call": fig(0)},
        parts={name: fig(value) for name, value in parts.items()},
    )
    return replace(profile, **changes)


def engine(**changes: Any) -> HardwareProfile:
    """A convolution engine of 4 pixels x 8 x 8 channels at 100 MHz, and 2 pixels depthwise."""
    parts = {
        "pixel_parallelism": 4,
        "input_channel_parallelism": 8,
        "output_channel_parallelism": 8,
        "depthwise_pixel_parallelism": 2,
        "depthwise_channel_parallelism": 8,
    }
    profile = HardwareProfile(
        name="made-up-engine",
        title="A convolution engine of a test",
        kind="fpga",
        lowering="dpu",
        dtype="int8",
        clock_hz=fig(100e6),
        uncertainty=fig(2),
        bandwidth_bytes_s={"memory": fig(1e9)},
        memory_bytes={"cache": fig(1 << 16)},
        overhead_s={"call": fig(0), "op": fig(0)},
        parts={name: fig(value) for name, value in parts.items()},
    )
    return replace(profile, **changes)
