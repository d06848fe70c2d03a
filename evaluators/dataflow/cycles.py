"""How long a unit takes for a frame, from its folding.

FINN's formulas (see `evaluators.dataflow`): a matrix unit of PE x SIMD multipliers needs
``(MH / PE) (MW / SIMD)`` cycles for a pixel; its sliding window unit fills the lines of a window,
and then for each line of the output either writes the windows or reads the next lines, whichever
takes longer; pooling reads and writes in turn; everything else streams.

Every function takes numbers or arrays of foldings.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from evaluators.dataflow.units import MATRIX, Circuit, Unit

Folds = TypeVar("Folds", int, NDArray[np.int64])
Cycles = NDArray[np.float64]


def of_pixel(unit: Unit, pe: Folds, simd: Folds) -> Cycles:
    """Cycles of a matrix unit for a pixel of its output, of another unit for one of its input."""
    channels = unit.mh if unit.op in (*MATRIX, "concat") else unit.in_shape[0]
    return np.ceil(channels / np.asarray(pe)) * (unit.mw / np.asarray(simd))


def of_window(unit: Unit, pe: Folds, simd: Folds) -> Cycles:
    """Cycles in which the sliding window unit writes the window of a pixel.

    It writes as many elements as the matrix unit takes. A depthwise one writes the windows of
    PE channels, of SIMD elements each, one after the other.
    """
    if unit.op == "depthwise":
        return of_pixel(unit, pe, simd)
    return unit.groups * unit.mw / np.asarray(simd) + 0.0 * np.asarray(pe)


def of_reading(unit: Unit, pe: Folds, simd: Folds) -> Cycles:
    """Cycles in which the sliding window unit reads a pixel: as wide as it writes."""
    lanes = np.asarray(pe if unit.op == "depthwise" else simd)
    channels = unit.in_shape[0]
    reading: Cycles = channels / np.minimum(lanes, channels) + 0.0 * np.asarray(pe)
    return reading


def of_frame(unit: Unit, pe: Folds, simd: Folds) -> Cycles:
    """Cycles between two frames, with this folding."""
    pixel = of_pixel(unit, pe, simd)
    if unit.op in MATRIX:
        matrix = unit.out_pixels * pixel
        return np.maximum(matrix, _sliding(unit, pe, simd)) if unit.slides else matrix
    if unit.op == "pool":
        return (unit.in_pixels + unit.out_pixels) * pixel
    if unit.op == "global_pool":
        return (unit.in_pixels + 1) * pixel
    return max(unit.in_pixels, unit.out_pixels) * pixel


def period(circuit: Circuit) -> float:
    """Cycles between two frames of the whole circuit: those of its slowest unit."""
    return max(frame_cycles(circuit))


def frame_cycles(circuit: Circuit) -> list[float]:
    """Cycles of each unit for a frame, as it is folded."""
    return [float(of_frame(unit, unit.pe, unit.simd)) for unit in circuit.units]


def _sliding(unit: Unit, pe: Folds, simd: Folds) -> Cycles:
    height, width = unit.padded
    read = width * of_reading(unit, pe, simd)
    write = unit.out_shape[2] * of_window(unit, pe, simd)
    fill = min(unit.window[0], height) * read
    sliding: Cycles = fill + unit.out_shape[1] * np.maximum(write, unit.stride[0] * read)
    return sliding
