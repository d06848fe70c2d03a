"""What a figure of a device can be: a unit that was forgotten shows as a number out of bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

_LIMITS = {
    "clock_hz": (1e5, 1e11, "hertz, for example 1.41e+9"),
    "uncertainty": (1.0, 100.0, "a factor, for example 2.0"),
    "peak_ops_s": (1e8, 1e18, "operations a second, for example 312.0e+12"),
    "bandwidth_bytes_s": (1e7, 1e15, "bytes a second, for example 1.555e+12"),
    "memory_bytes": (1e3, 1e15, "bytes, for example 40.0e+9"),
    "overhead_s": (0.0, 10.0, "seconds, for example 4.0e-6"),
    "efficiency": (1e-4, 1.0, "a share of the peak, for example 0.8"),
    "energy_j": (0.0, 1e-3, "joules for one, for example 3.0e-12"),
    "power_w": (0.0, 1e5, "watts, for example 250"),
    "parts": (0.0, 1e9, "a number or a share, for example 108"),
}
"""By the first part of a figure's name: the least, the most, and what is meant."""

_PROCESSOR = {
    "bandwidth_bytes_s": ("memory",),
    "overhead_s": ("call", "op"),
    "efficiency": ("matrix", "vector", "memory"),
}
_DATAFLOW = {
    "bandwidth_bytes_s": ("memory",),
    "overhead_s": ("call",),
    "parts": ("lut", "ff", "dsp", "bram18", "usable_lut", "usable_ff", "usable_dsp", "usable_bram"),
}
_DPU = {
    "bandwidth_bytes_s": ("memory",),
    "memory_bytes": ("cache",),
    "overhead_s": ("call", "op"),
    "parts": (
        "pixel_parallelism",
        "input_channel_parallelism",
        "output_channel_parallelism",
        "depthwise_pixel_parallelism",
        "depthwise_channel_parallelism",
    ),
}
FPGA_NEEDS = {"dataflow": _DATAFLOW, "dpu": _DPU}
"""By the lowering of an FPGA: the figures, by group, that its model cannot do without."""


class _Valued(Protocol):
    @property
    def value(self) -> float: ...


def needed(kind: str, lowering: str, dtype: str) -> Iterable[tuple[str, ...]]:
    """The names of the figures that a device must have, each as the path to it.

    Raises:
        ValueError: an FPGA that is lowered as something else, or the reverse.
    """
    if (kind == "fpga") != (lowering in FPGA_NEEDS):
        known = " or ".join(FPGA_NEEDS)
        raise ValueError(
            f"an fpga, and nothing else, must be lowered as {known}, "
            f"but got kind {kind!r} with lowering {lowering!r}"
        )
    for group, names in FPGA_NEEDS.get(lowering, _PROCESSOR).items():
        yield from ((group, name) for name in names)
    if kind != "fpga":
        yield from (("peak_ops_s", engine, dtype) for engine in ("matrix", "vector"))


def check(figures: Iterable[tuple[str, _Valued]]) -> None:
    """Refuse the figures of a device that cannot be.

    Args:
        figures: with their dotted names, for example ``peak_ops_s.matrix.float16``.

    Raises:
        ValueError: naming the figure, its bounds, what it means, and what was got; or the engines
            whose peaks contradict each other.
    """
    for name, figure in figures:
        least, most, meaning = _LIMITS[name.partition(".")[0]]
        if not least <= figure.value <= most:
            raise ValueError(
                f"figure {name} must be between {least:g} and {most:g} ({meaning}), "
                f"but got {figure.value:g}"
            )
        if name.endswith("_parallelism") and figure.value < 1:
            raise ValueError(f"figure {name} must be at least 1, but got {figure.value:g}")
        if ".usable_" in name and figure.value > 1:
            raise ValueError(f"figure {name} must be a share, at most 1, but got {figure.value:g}")


def check_power(power_w: Mapping[str, _Valued]) -> None:
    """Refuse a device that takes more at rest than at most.

    Raises:
        ValueError: naming both figures.
    """
    idle, most = power_w.get("idle"), power_w.get("max")
    if idle and most and idle.value > most.value:
        raise ValueError(
            f"figure power_w.idle must be at most power_w.max, {most.value:g}, "
            f"but got {idle.value:g}"
        )
