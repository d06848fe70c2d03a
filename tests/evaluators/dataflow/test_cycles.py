"""FINN's cycles, counted by hand and of published designs."""

import numpy as np
import pytest

from evaluators.dataflow import cycles
from evaluators.dataflow.units import INPUT, Unit
from tests.evaluators.dataflow.circuits import conv, linear, perceptron


@pytest.mark.parametrize(("pe", "simd", "expected"), [
    (1, 1, 6 * 4), (2, 1, 12), (1, 3, 8), (4, 6, 1),
])  # fmt: skip
def test_a_matrix_unit_takes_mh_by_pe_times_mw_by_simd(pe: int, simd: int, expected: int) -> None:
    assert cycles.of_frame(linear(6, 4), pe, simd) == expected


def test_the_layers_of_cnv_take_what_its_authors_publish() -> None:
    """FINN-R's CNV: 900 x 36, 784 x 36 and 144 x 144 cycles with the published folding."""
    first = conv(3, 64, 32)
    assert cycles.of_frame(first, 16, 3) == 30 * 30 * (64 // 16) * (27 // 3)
    assert cycles.of_frame(conv(64, 64, 30), 32, 32) == 28 * 28 * 2 * 18
    assert cycles.of_frame(conv(64, 128, 14), 16, 32) == 12 * 12 * 8 * 18


def test_the_sliding_window_unit_binds_where_the_matrix_unit_is_wider() -> None:
    """All outputs at once: the windows, written word by word, take longer."""
    layer = conv(4, 8, 10)
    fill, write = 3 * 10 * 4, 8 * 9 * 4
    assert cycles.of_frame(layer, 8, 1) == fill + 8 * write
    read = 2 * 10
    strided = conv(4, 8, 9, stride=(2, 2), window=1)
    # 5 lines of 5 windows of a pixel, for each of which two lines are read
    assert cycles.of_frame(strided, 8, 2) == 9 * 2 + 5 * max(5 * 2, 2 * 9 * 2)
    assert read == 20


def test_a_wide_unit_takes_several_pixels_of_the_window_at_once() -> None:
    layer = conv(4, 8, 10)
    whole = cycles.of_frame(layer, 8, 36)
    assert whole == 3 * 10 + 8 * 10  # a pixel a clock comes in
    assert cycles.of_frame(layer, 8, 4) > whole


def test_a_depthwise_unit_folds_channels_then_the_window() -> None:
    unit = Unit("depthwise", (INPUT,), (8, 10, 10), (8, 8, 8), window=(3, 3))
    assert cycles.of_pixel(unit, 1, 1) == 8 * 9
    assert cycles.of_pixel(unit, 8, 1) == 9
    assert cycles.of_pixel(unit, 8, 9) == 1
    assert cycles.of_frame(unit, 1, 1) == 3 * 10 * 8 + 8 * (8 * 8 * 9)


def test_pooling_reads_and_writes_in_turn() -> None:
    """FINN's StreamingMaxPool: d^2 (1 + 1 / k^2) cycles for all channels at once."""
    pool = Unit("pool", (INPUT,), (64, 28, 28), (64, 14, 14), window=(2, 2), stride=(2, 2))
    assert cycles.of_frame(pool, 64, 1) == 28 * 28 * (1 + 1 / 4)
    everything = Unit("global_pool", (INPUT,), (64, 4, 4), (64, 1, 1))
    assert cycles.of_frame(everything, 16, 1) == 17 * 4


def test_whatever_streams_takes_a_pixel_a_clock() -> None:
    shape = (16, 5, 5)
    for op in ("add", "mul", "thresholds"):
        unit = Unit(op, (INPUT,), shape, shape)
        assert cycles.of_frame(unit, 16, 1) == 25
        assert cycles.of_frame(unit, 4, 1) == 100


def test_foldings_may_be_arrays() -> None:
    pe, simd = np.array([1, 2, 4]), np.array([1, 3, 6])
    found = cycles.of_frame(linear(6, 4), pe, simd)
    assert found.tolist() == [24, 4, 1]
    both = cycles.of_frame(conv(4, 8, 10), np.array([1, 8]), np.array([1, 36]))
    assert both[0] == 64 * 8 * 36
    assert both[1] == 110


def test_the_period_is_that_of_the_slowest_unit() -> None:
    circuit = perceptron(6, 4, 2).folded([(4, 6), (1, 1)])
    assert cycles.frame_cycles(circuit) == [1, 8]
    assert cycles.period(circuit) == 8
