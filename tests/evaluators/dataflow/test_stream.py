"""First frames: by hand, against a recurrence pixel by pixel, and against published boards."""

import numpy as np
import pytest

from benchmarks.fpga_designs import cnv
from evaluators.dataflow import cycles, stream
from evaluators.dataflow.units import INPUT, Circuit, Unit
from tests.evaluators.dataflow.circuits import conv, perceptron, residual

PE = (16, 32, 64, 16, 16, 128, 4, 1, 1, 1)
SIMD = (3, 32, 1, 32, 32, 1, 32, 32, 4, 8)
"""Published folding of CNV (BNN-PYNQ; MLPerf Tiny v0.7), poolings included, but the last layer."""


def published(last_pe: int, outputs: int) -> Circuit:
    folds = [*zip(PE, SIMD, strict=True), (last_pe, 1)]
    return cnv((1, 1), outputs).folded(folds)


@pytest.mark.parametrize(
    ("last_pe", "outputs", "clock_hz", "measured_us"),
    [
        (5, 10, 100e6, 1511.78),
        (5, 10, 100e6, 1517.29),
        (4, 64, 300e6, 527.0),
        (4, 64, 300e6, 543.0),
    ],
    ids=["MLPerf Tiny PYNQ-Z2", "MLPerf Tiny Arty", "BNN-PYNQ W1A1", "BNN-PYNQ W1A2"],
)
def test_first_frames_of_boards(
    last_pe: int, outputs: int, clock_hz: float, measured_us: float
) -> None:
    """Nothing is fitted to them; the clock of the last two was inferred from their throughput."""
    modeled_us = 1e6 * stream.first_frame(published(last_pe, outputs), 1.0) / clock_hz
    assert modeled_us == pytest.approx(measured_us, rel=0.05)


def test_the_period_of_cnv_is_that_of_its_throughput() -> None:
    """BNN-PYNQ: 9,149.98 frames a second at 300 MHz."""
    assert 300e6 / cycles.period(published(4, 64)) == pytest.approx(9149.98, rel=0.001)


def test_a_linear_layer_overlaps_its_first_fold_with_its_input() -> None:
    circuit = perceptron(8, 4, 2).folded([(1, 2), (1, 1)])
    # The vector is there after 8 cycles: a fold in that time, 3 folds of 4 cycles behind it; then
    # the second layer has seen all but the last number, one cycle, and its other fold of 4.
    assert stream.first_frame(circuit, 8.0) == (8 + 1 + 3 * 4) + 1 + 4


def test_a_convolution_waits_for_the_lines_of_its_window() -> None:
    """A pixel a clock, all at once: two lines and three pixels, then the last pixel."""
    circuit = Circuit((conv(1, 4, 6, pe=4, simd=9),), (1, 6, 6))
    found = stream.streams(circuit, 1.0)[0].done
    assert len(found) == 16
    assert found[-1] >= 36 + 1
    assert found[0] > 3 * 6


def slowly(unit: Unit, arrived: list[float]) -> list[float]:
    """The sliding window unit and its matrix unit, a pixel at a time."""
    height, width = unit.padded
    reading = float(cycles.of_reading(unit, unit.pe, unit.simd))
    window = float(cycles.of_window(unit, unit.pe, unit.simd))
    pixel = float(cycles.of_pixel(unit, unit.pe, unit.simd))
    (top, left), (rows, columns) = unit.padding, unit.in_shape[1:]
    read: list[float] = []
    now = arrived[0] - reading
    for y in range(height):
        for x in range(width):
            inside = top <= y < top + rows and left <= x < left + columns
            there = arrived[(y - top) * columns + x - left] if inside else -np.inf
            now = max(now, there) + reading
            read.append(now)
    done, written, finished = [], 0.0, 0.0
    for y in range(unit.out_shape[1]):
        for x in range(unit.out_shape[2]):
            held = min(y * unit.stride[0] + unit.window[0], height) * width
            ahead = min(int(np.ceil((x + 1) * window / reading)), unit.stride[0] * width)
            there = read[min(held + ahead, height * width) - 1]
            written = max(written, there) + window
            finished = max(finished, written - window) + pixel
            done.append(finished)
    return done


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("folding", [(1, 1), (2, 4), (8, 36)])
def test_the_recurrence_over_whole_maps_is_that_over_pixels(
    stride: int, padding: int, folding: tuple[int, int]
) -> None:
    pe, simd = folding
    unit = conv(4, 8, 9, stride=(stride, stride), padding=(padding, padding), pe=pe, simd=simd)
    pace = 3.0
    found = stream.streams(Circuit((unit,), (4, 9, 9)), pace)[0].done
    assert found.tolist() == pytest.approx(slowly(unit, [pace * (i + 1) for i in range(81)]))


def test_where_branches_meet_the_shortcut_waits_for_the_longer_one() -> None:
    """Two windows of 3 x 3: two lines and two pixels each, and a line that is read ahead."""
    circuit = residual(4, 16)
    depths = stream.fifo_depths(circuit)
    assert depths.keys() == {(3, 0), (3, 1)}
    assert depths[3, 1] <= 2
    assert 2 * 16 < depths[3, 0] < 6 * 16
    wider = stream.fifo_depths(residual(4, 16, 5))
    assert wider[3, 0] > depths[3, 0]


def test_a_gate_holds_the_whole_map_back() -> None:
    shape = (4, 8, 8)
    pooled = Unit("global_pool", (INPUT,), shape, (4, 1, 1))
    gated = Unit("mul", (INPUT, 0), shape, shape)
    circuit = Circuit((pooled, gated), shape)
    assert stream.fifo_depths(circuit)[1, 0] == 64
    assert stream.streams(circuit, 1.0)[1].done[0] > 64


def test_depths_do_not_depend_on_the_folding() -> None:
    circuit = residual()
    folded = circuit.folded([(4, 36), (2, 9 * 4), (1, 4), (4, 1)])
    assert stream.fifo_depths(folded) == stream.fifo_depths(circuit)


def test_lines_of_a_signal_are_its_samples() -> None:
    """Along the height of one column, a window needs only its own samples."""
    signal = Unit("conv", (INPUT,), (2, 100, 1), (2, 96, 1), window=(5, 1), pe=2, simd=10)
    found = stream.streams(Circuit((signal,), (2, 100, 1)), 1.0)[0].done
    assert found[0] <= 8
    assert found[-1] <= 103


def test_a_faster_folding_is_never_later() -> None:
    circuit = residual(8, 12)
    slow = stream.first_frame(circuit, 1.0)
    foldings = [(1, 1), (2, 2), (4, 8), (8, 72)]
    times = [stream.first_frame(circuit.folded([each] * 3 + [(8, 1)]), 1.0) for each in foldings]
    assert times == sorted(times, reverse=True)
    assert times[0] < slow
