"""What units cost: FINN-R's formulas, worked out by hand."""

import numpy as np
import pytest

from evaluators.dataflow import resources
from evaluators.dataflow.units import INPUT, Unit
from tests.evaluators.dataflow.circuits import conv, linear


def cost(unit: Unit, pe: int, simd: int, multipliers: str = "lut", memory: str = "block"):
    found = resources.of_unit(
        unit, np.array([float(pe)]), np.array([float(simd)]), multipliers, memory
    )
    return {name: float(amount[0]) for name, amount in zip(resources.NAMES, found, strict=True)}


def test_sums_are_wide_enough_for_every_input() -> None:
    """256 products of 2 and 2 bits: at most 256 x 3 x 2 in size, and a sign."""
    assert resources.accumulator_bits(linear(256, 4)) == 13
    assert resources.accumulator_bits(linear(2, 4, weight_bits=8, in_bits=8)) >= 8 + 8 + 1
    assert resources.accumulator_bits(linear(1 << 20, 1, weight_bits=8, in_bits=8)) == 32


def test_luts_of_a_matrix_unit_are_finn_rs() -> None:
    """c0 + c1 PE (multipliers + adder tree + sums), without thresholds."""
    unit = linear(8, 4, out_bits=0)
    pe, simd, product = 2, 4, 4
    multipliers = simd * (2 * 1 - 1) * product
    adders = product * (2 * simd - 1)
    sums = resources.accumulator_bits(unit)
    expected = 300 + 1.1 * pe * (multipliers + adders + sums)
    assert cost(unit, pe, simd)["lut"] == pytest.approx(expected)
    on_slices = cost(unit, pe, simd, "dsp")
    assert on_slices["lut"] == pytest.approx(300 + 1.1 * pe * (adders + sums))
    assert on_slices["dsp"] == pe * simd
    assert cost(unit, pe, simd)["dsp"] == 0


def test_each_threshold_has_a_comparator_and_a_place_in_a_table() -> None:
    plain, two = linear(8, 4, out_bits=0), linear(8, 4, out_bits=2)
    sums = resources.accumulator_bits(two)
    more = cost(two, 2, 4)["lut"] - cost(plain, 2, 4)["lut"]
    assert more == pytest.approx(1.1 * 2 * 3 * sums * 2)


def test_many_bits_are_rescaled_instead_of_compared() -> None:
    eight = linear(64, 64, weight_bits=8, in_bits=8, out_bits=8)
    plain = linear(64, 64, weight_bits=8, in_bits=8, out_bits=0)
    more = cost(eight, 1, 1)["lut"] - cost(plain, 1, 1)["lut"]
    assert 100 < more < 255 * resources.accumulator_bits(eight)
    assert cost(eight, 4, 1, "dsp")["dsp"] == 4 + 4


@pytest.mark.parametrize("pe", [1, 4])
def test_fewer_bits_of_activations_never_need_more(pe: int) -> None:
    """Between comparing with each threshold and rescaling, the smaller one is taken."""
    units = [conv(16, 16, 8, weight_bits=b, in_bits=b, out_bits=b) for b in range(1, 9)]
    luts = [cost(unit, pe, 4)["lut"] for unit in units]
    assert luts == sorted(luts)


@pytest.mark.parametrize(("width", "depth", "expected"), [
    (1, 16384, 1), (1, 16385, 2), (2, 8192, 1), (4, 4096, 1), (9, 2048, 1), (18, 1024, 1),
    (36, 512, 1), (36, 513, 2), (37, 512, 2), (8, 2049, 2), (72, 1024, 4),
])  # fmt: skip
def test_block_rams_have_the_aspects_of_the_data_sheet(
    width: int, depth: int, expected: int
) -> None:
    found = resources.block_rams(np.array([float(width)]), np.array([float(depth)]))
    assert found.tolist() == [expected]


def test_weights_lie_where_they_are_told_to() -> None:
    unit = linear(512, 512, out_bits=0)
    bits = 512 * 512 * 2
    block, tables, ultra = (
        cost(unit, 4, 8, memory=memory) for memory in ("block", "distributed", "ultra")
    )
    assert block["bram18"] * 18 * 1024 >= bits
    assert ultra["uram"] == np.ceil(64 / 72) * np.ceil(bits / 64 / 4096)
    assert tables["lut"] - block["lut"] == 64 * np.ceil(bits / 64 / 64)
    assert tables["bram18"] == tables["uram"] == block["uram"] == ultra["bram18"] == 0


def test_a_window_holds_its_lines() -> None:
    wide = conv(64, 64, 64)
    flat = conv(64, 64, 64, window=1)
    lines = cost(wide, 1, 1)["bram18"] - cost(flat, 1, 1)["bram18"]
    assert lines * 18 * 1024 >= 4 * 64 * 64 * 2


@pytest.mark.parametrize("bits", range(1, 9))
def test_more_bits_and_more_at_a_time_cost_more(bits: int) -> None:
    unit = conv(16, 16, 8, weight_bits=bits, in_bits=bits)
    assert cost(unit, 4, 4)["lut"] > cost(unit, 2, 4)["lut"] > cost(unit, 2, 2)["lut"]
    if bits > 1:
        fewer = conv(16, 16, 8, weight_bits=bits - 1, in_bits=bits - 1)
        assert cost(unit, 4, 4)["lut"] > cost(fewer, 4, 4)["lut"]


@pytest.mark.parametrize("op", ["pool", "global_pool", "add", "mul", "concat", "thresholds"])
def test_units_without_weights_cost_little_and_something(op: str) -> None:
    shape = (16, 8, 8)
    made = {"pool": (16, 4, 4), "global_pool": (16, 1, 1)}.get(op, shape)
    unit = Unit(op, (INPUT,), shape, made, in_bits=4, out_bits=4)
    found = cost(unit, 4, 1)
    assert 50 < found["lut"] < 4000
    assert found["bram18"] == 0


def test_a_fifo_is_shift_registers_or_block_rams() -> None:
    in_luts, in_blocks = resources.fifo(32768, False), resources.fifo(32768, True)
    assert in_luts.lut[0] == 20 + 1024
    assert (in_blocks.bram18[0], in_blocks.lut[0]) == (2, 40)
