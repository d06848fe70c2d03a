"""What a unit costs, from its folding and its bit-widths: estimates, not what a synthesis gives.

Of matrix units the formulas of FINN-R and of the FINN compiler (see `evaluators.dataflow`): LUTs of
multipliers, adder trees, accumulators and threshold comparators around a fixed part, block RAMs by
the aspect ratios that they can have, DSP blocks by the width of a product. Where a comment says
"structure", the estimate counts the registers and memories that such a unit must have.

All functions take arrays of foldings and return arrays.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.dataflow.units import MATRIX, Unit

Numbers = NDArray[np.float64]

NAMES = ("lut", "ff", "bram18", "uram", "dsp")
MULTIPLIERS = ("lut", "dsp")
MEMORIES = ("distributed", "block", "ultra")

_FIXED_LUTS, _LUT_FACTOR = 300, 1.1  # c0 and c1 of FINN-R
_RAM_ASPECTS = ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512))
_BLOCK_BITS = 18 * 1024
_URAM_WIDTH, _URAM_DEPTH = 72, 4096
_LUTRAM_DEPTH = 64
_SHIFT_DEPTH = 32
_MOST_COMPARED_BITS = 4
"""Above, sums are rescaled by a product and rounded, on DSP slices where products are."""
_SCALE_BITS = 16


class Resources(NamedTuple):
    """What a part of a circuit needs; numbers or arrays of equal shape.

    Attributes:
        lut: look-up tables.
        ff: flip-flops.
        bram18: block RAMs of 18 Kb.
        uram: UltraRAMs of 288 Kb.
        dsp: DSP slices.
    """

    lut: Numbers
    ff: Numbers
    bram18: Numbers
    uram: Numbers
    dsp: Numbers


def accumulator_bits(unit: Unit) -> int:
    """Of the sums (Colbert et al., A2Q, 2023, arXiv:2301.13376): no input makes them overflow."""
    alpha = math.log2(unit.mw) + unit.weight_bits + unit.in_bits - 1
    return min(32, math.ceil(alpha + math.log2(1 + 2**-alpha) + 1))


def matrix_unit(unit: Unit, pe: Numbers, simd: Numbers, multipliers: str, memory: str) -> Resources:
    """A matrix unit with its weights and thresholds, and its sliding window unit.

    Args:
        unit: of `evaluators.dataflow.units.MATRIX`.
        pe: outputs at the same time.
        simd: products of each at the same time.
        multipliers: of ``lut`` or ``dsp``.
        memory: of the weights, one of `MEMORIES`.
    """
    product = unit.weight_bits + unit.in_bits
    sums = accumulator_bits(unit)
    multiply = 0.0 * simd
    dsp = 0.0 * simd
    if multipliers == "lut":
        multiply = simd * (2 * math.ceil(product / 6) - 1) * product
    else:
        dsp = pe * simd * math.ceil(product / 48)
    adders = product * (2 * simd - 1)
    luts = _FIXED_LUTS + _LUT_FACTOR * pe * (multiply + adders + sums)
    # Structure: products, one stage of the adder tree, sums, and both streams are registered.
    registers = 2 * luts / 3 + simd * unit.in_bits + pe * (unit.out_bits or sums)
    held = _weights(unit, pe, simd, memory)
    ends = _thresholds(unit, pe, sums, multipliers)
    total = _added(Resources(luts, registers, 0.0 * pe, 0.0 * pe, dsp), held)
    total = _added(total, ends)
    return _added(total, _window(unit, pe, simd)) if unit.slides else total


def streaming_unit(unit: Unit, pe: Numbers) -> Resources:
    """Pooling, sums and thresholds: an operator and a few registers a channel, by structure."""
    wide = unit.in_bits + 2
    luts = 50 + 2.0 * pe * wide
    lines = 0.0
    if unit.op == "pool":  # the running maxima of one line
        lines = unit.out_shape[2] * unit.in_shape[0] * unit.in_bits / _SHIFT_DEPTH
    if unit.op == "global_pool":
        lines = unit.in_shape[0] * (unit.in_bits + math.log2(unit.in_pixels)) / _SHIFT_DEPTH
    dsp = pe * 1.0 if unit.op == "mul" and unit.in_bits > _MOST_COMPARED_BITS else 0.0 * pe
    own = Resources(luts + lines, 2 * luts, 0.0 * pe, 0.0 * pe, dsp)
    if unit.op == "thresholds":
        return _added(own, _thresholds(unit, pe, unit.in_bits, "lut"))
    return own


def fifo(bits: float, in_blocks: bool) -> Resources:
    """A FIFO that holds so many bits, as shift registers or in block RAMs."""
    luts = np.array([40.0 if in_blocks else 20 + bits / _SHIFT_DEPTH])
    blocks = np.array([math.ceil(bits / _BLOCK_BITS) if in_blocks else 0.0])
    none = np.zeros(1)
    return Resources(luts, luts, blocks, none, none)


def _weights(unit: Unit, pe: Numbers, simd: Numbers, memory: str) -> Resources:
    depth = np.ceil(unit.weights / (pe * simd))
    width = pe * simd * unit.weight_bits
    none = 0.0 * pe
    if memory == "distributed":
        return Resources(width * np.ceil(depth / _LUTRAM_DEPTH), none, none, none, none)
    if memory == "ultra":
        rams = np.ceil(width / _URAM_WIDTH) * np.ceil(depth / _URAM_DEPTH)
        return Resources(none, none, none, rams, none)
    return Resources(none, none, block_rams(width, depth), none, none)


def block_rams(width: Numbers, depth: Numbers) -> Numbers:
    """Block RAMs of 18 Kb for a memory, in the aspect ratio that FINN takes for its width."""
    found = np.ceil(depth / 512) * np.ceil(width / 36)
    for wide, deep in reversed(_RAM_ASPECTS[:-1]):
        taken = width <= wide
        if wide == 18:
            taken = taken | (depth > 512)
        found = np.where(taken, np.ceil(depth / deep) * np.ceil(width / wide), found)
    return found


def _thresholds(unit: Unit, pe: Numbers, sums: int, multipliers: str) -> Resources:
    """What turns sums into activations of few bits: thresholds, or a rescaling."""
    none = 0.0 * pe
    bits = unit.out_bits
    if not bits:
        return Resources(none, none, none, none, none)
    levels = 2**bits - 1
    depth = np.ceil(unit.mh / pe)
    memory = pe * levels * sums * np.ceil(depth / _LUTRAM_DEPTH)
    comparing = _LUT_FACTOR * (memory + pe * levels * sums)  # FINN-R: a comparator each
    # Structure: a factor and an offset a channel, one product, rounding, clipping.
    wide = sums + _SCALE_BITS
    table = pe * wide * np.ceil(depth / _LUTRAM_DEPTH)
    if bits > _MOST_COMPARED_BITS and multipliers == "dsp":
        return Resources(table + pe * sums, pe * wide, none, none, pe * math.ceil(wide / 48))
    rescaling = pe * ((2 * math.ceil(wide / 6) - 1) * wide + sums) + table
    # Whichever is smaller: else 4 bits would need more than 8.
    registers = np.where(rescaling < comparing, pe * wide, pe * bits)
    return Resources(np.minimum(rescaling, comparing), registers, none, none, none)


def _window(unit: Unit, pe: Numbers, simd: Numbers) -> Resources:
    """Lines of the map, in block RAMs where they are deep enough to fill some, else in LUTs."""
    channels = unit.in_shape[0]
    lanes = np.minimum(pe if unit.op == "depthwise" else simd, channels)
    lines = min(unit.window[0] + unit.stride[0], unit.padded[0] + 1)
    depth = np.ceil(unit.padded[1] * channels / lanes)
    width = lanes * unit.in_bits
    shallow = depth <= 2 * _LUTRAM_DEPTH
    in_luts = lines * width * np.ceil(depth / _LUTRAM_DEPTH)
    luts = _FIXED_LUTS + np.where(shallow, in_luts, 0.0)
    blocks = np.where(shallow, 0.0, lines * block_rams(width, depth))
    # Structure: a register for each element of the window that is written at the same time.
    written = np.where(simd > lanes, pe * simd, lanes) * unit.in_bits
    none = 0.0 * pe
    return Resources(luts, luts + written, blocks, none, none)


def _added(one: Resources, other: Resources) -> Resources:
    return Resources(*[a + b for a, b in zip(one, other, strict=True)])


def of_unit(unit: Unit, pe: Numbers, simd: Numbers, multipliers: str, memory: str) -> Resources:
    """Of any unit, see `matrix_unit` and `streaming_unit`."""
    if unit.op in MATRIX:
        return matrix_unit(unit, pe, simd, multipliers, memory)
    return streaming_unit(unit, pe)
