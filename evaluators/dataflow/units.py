"""A streaming circuit as a value: units in order, the edges between them, how each is folded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

INPUT = -1
"""In the place of a unit: the stream that comes in."""

MATRIX = ("conv", "depthwise", "linear")
"""Units that multiply by weights: FINN's matrix-vector and vector-vector units."""
OPS = (*MATRIX, "pool", "global_pool", "add", "mul", "concat", "thresholds")
MAX_BITS = 8
INPUT_BITS = 8
"""Of what comes in: pixels of an image."""

Map = tuple[int, int, int]
"""(channels, height, width) of what streams over an edge, a pixel with all its channels at a time;
the lines of a one-dimensional signal are its height."""


@dataclass(frozen=True)
class Unit:
    """One layer of a network as a unit of the circuit.

    Args:
        op: one of `OPS`. A ``conv`` or ``depthwise`` with a window has a sliding window unit before
            its matrix unit; ``linear`` multiplies each pixel, or all of them where one comes out.
        inputs: positions of the units that it reads, `INPUT` for what comes in.
        in_shape: of its first input.
        out_shape: of what it puts out.
        window: (height, width) that a pixel of the output sees.
        stride: of the window.
        padding: lines and columns of zeros before the map.
        groups: of a convolution; each sees its share of the input channels.
        weight_bits: of its weights, 1 to 8.
        in_bits: of what it reads, 1 to 8.
        out_bits: of what its thresholds put out, 1 to 8; 0: it has none, and puts out sums.
        pe: outputs computed at the same time; of units without weights, channels.
        simd: weights of one output multiplied at the same time.
        name: for reports.

    Raises:
        ValueError: for bits that no unit has, sizes below 1, or a folding that does not divide.
    """

    op: str
    inputs: tuple[int, ...]
    in_shape: Map
    out_shape: Map
    window: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    weight_bits: int = 8
    in_bits: int = 8
    out_bits: int = 8
    pe: int = 1
    simd: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        if self.op not in OPS:
            raise ValueError(f"a streaming circuit has no unit for {self.op!r}")
        _check_bits("weight_bits", self.weight_bits)
        _check_bits("in_bits", self.in_bits)
        if self.out_bits:
            _check_bits("out_bits", self.out_bits)
        if min(*self.in_shape, *self.out_shape, *self.window, *self.stride, self.groups) < 1:
            raise ValueError(f"sizes of a unit must be at least 1, but got {self}")
        if self.pe < 1 or self.mh % self.pe or self.simd < 1 or self.mw % self.simd:
            raise ValueError(
                f"PE must divide {self.mh} and SIMD {self.mw} in {self.name or self.op}, "
                f"but got PE {self.pe}, SIMD {self.simd}"
            )

    @property
    def mh(self) -> int:
        """Outputs of a pixel, what PE divides."""
        return self.out_shape[0]

    @property
    def mw(self) -> int:
        """Weights of an output, what SIMD divides; 1 without weights."""
        if self.op == "linear":
            return self.in_shape[0] * (self.in_pixels // self.out_pixels)
        if self.op == "conv":
            return self.in_shape[0] // self.groups * math.prod(self.window)
        return math.prod(self.window) if self.op == "depthwise" else 1

    @property
    def in_pixels(self) -> int:
        """That it reads a frame."""
        return self.in_shape[1] * self.in_shape[2]

    @property
    def out_pixels(self) -> int:
        """That it puts out a frame."""
        return self.out_shape[1] * self.out_shape[2]

    @property
    def slides(self) -> bool:
        """It has a sliding window unit; a 1 x 1 window of stride 1 needs none."""
        return self.op in ("conv", "depthwise") and (
            math.prod(self.window) > 1 or math.prod(self.stride) > 1
        )

    @property
    def weights(self) -> int:
        """That it holds."""
        return self.mh * self.mw if self.op in MATRIX else 0

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) of the map that the window slides over."""
        sides = zip(self.in_shape[1:], self.out_shape[1:], self._geometry, strict=True)
        return _seen(*next(sides)), _seen(*next(sides))

    @property
    def _geometry(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        (h, w), (sh, sw), (ph, pw) = self.window, self.stride, self.padding
        return (h, sh, ph), (w, sw, pw)


@dataclass(frozen=True)
class Circuit:
    """A network as units, each behind those that it reads.

    Args:
        units: in order; the last one puts the frame out.
        input_shape: (channels, height, width) of what comes in.
        input_bits: of it, 1 to 8.

    Raises:
        ValueError: for a circuit without units, or a unit that reads a later one.
    """

    units: tuple[Unit, ...]
    input_shape: Map
    input_bits: int = INPUT_BITS

    def __post_init__(self) -> None:
        _check_bits("input_bits", self.input_bits)
        if not self.units:
            raise ValueError("a streaming circuit needs units, but the network has none")
        for place, unit in enumerate(self.units):
            if not unit.inputs or not all(INPUT <= source < place for source in unit.inputs):
                raise ValueError(f"unit {place} must read units before it, but got {unit.inputs}")

    @property
    def readers(self) -> list[int]:
        """How many units read each one; more than one is a fork."""
        counts = [0] * len(self.units)
        for unit in self.units:
            for source in unit.inputs:
                if source != INPUT:
                    counts[source] += 1
        return counts

    def folded(self, foldings: Sequence[tuple[int, int]]) -> Circuit:
        """The same circuit with the (PE, SIMD) of each unit.

        Raises:
            ValueError: for one that does not divide its unit.
        """
        pairs = zip(self.units, foldings, strict=True)
        units = tuple(replace(unit, pe=pe, simd=simd) for unit, (pe, simd) in pairs)
        return replace(self, units=units)


def _seen(size: int, made: int, geometry: tuple[int, int, int]) -> int:
    """The lines that a window sees: with the padding on both sides, as far as it is needed."""
    window, stride, padding = geometry
    return max(size + padding, (made - 1) * stride + window)


def _check_bits(what: str, bits: int) -> None:
    if not 1 <= bits <= MAX_BITS:
        raise ValueError(f"{what} must be 1 to {MAX_BITS}, but got {bits}")
