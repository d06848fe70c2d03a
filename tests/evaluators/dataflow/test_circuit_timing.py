"""Core and board, apart."""

import math
from dataclasses import replace

import pytest

from evaluators.dataflow import cycles, stream
from evaluators.dataflow.model import output_bytes, timing
from tests.evaluators.dataflow.circuits import perceptron, residual
from tests.hw_profiles.profiles import circuit as made_up
from tests.hw_profiles.profiles import fig

CIRCUIT = residual(4, 8).folded([(4, 36), (4, 36), (4, 36), (4, 1)])


def test_core_and_board_are_apart() -> None:
    profile = made_up(overhead_s={"call": fig(25e-6)}, bandwidth_bytes_s={"memory": fig(1e9)})
    found = timing(CIRCUIT, profile)
    assert found.core_ms == pytest.approx(stream.first_frame(CIRCUIT, 1.0) / 1e6 * 1e3)
    sent_ms = output_bytes(CIRCUIT) / 8 / 1e6 * 1e3
    assert found.board_ms == pytest.approx(25e-3 + sent_ms)
    assert found.latency_ms() == found.core_ms + found.board_ms


def test_more_frames_follow_at_the_period() -> None:
    found = timing(CIRCUIT, made_up())
    assert found.period_ms == pytest.approx(cycles.period(CIRCUIT) / 1e6 * 1e3)
    assert found.latency_ms(11) - found.latency_ms(1) == pytest.approx(10 * found.period_ms)
    assert found.throughput_fps == pytest.approx(1e3 / found.period_ms)


def test_a_clock_of_ones_own() -> None:
    profile = made_up(bandwidth_bytes_s={"memory": fig(1e9)})
    slow, fast = timing(CIRCUIT, profile), timing(CIRCUIT, profile, 2e6)
    assert slow.core_ms == pytest.approx(2 * fast.core_ms)
    assert (slow.clock_hz, fast.clock_hz) == (1e6, 2e6)


def test_transfers_bind_where_the_stream_is_narrow() -> None:
    circuit = perceptron(64, 4, bits=8).folded([(4, 64)])
    narrow = made_up(parts={**made_up().parts, "stream_bytes": fig(1)})
    found = timing(circuit, narrow)
    assert found.slowest == "transfers"
    assert found.period_ms == pytest.approx(64 / 1e6 * 1e3)
    wide = timing(circuit, made_up(parts={**made_up().parts, "stream_bytes": fig(64)},
                                   bandwidth_bytes_s={"memory": fig(1e9)}))  # fmt: skip
    assert wide.slowest == "linear"
    assert wide.period_ms < found.period_ms


def test_the_memory_may_be_slower_than_the_stream() -> None:
    circuit = perceptron(64, 4, bits=8).folded([(4, 64)])
    starved = replace(made_up(), bandwidth_bytes_s={"memory": fig(1e7)})
    assert timing(circuit, starved).slowest == "transfers" or (
        timing(circuit, starved).period_ms >= 64 / 1e7 * 1e3
    )


def test_sums_are_put_out_in_their_own_width() -> None:
    circuit = perceptron(64, 4, bits=8)
    assert output_bytes(circuit) == 4
    sums = replace(circuit, units=(replace(circuit.units[0], out_bits=0),))
    assert output_bytes(sums) == math.ceil(4 * 23 / 8)
