"""The latency of a folded circuit on a board: the core, and what the board adds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evaluators.dataflow import cycles, stream
from evaluators.dataflow.resources import accumulator_bits
from evaluators.dataflow.units import MATRIX, Circuit
from hw_profiles import HardwareProfile

STREAM_BYTES = 8
"""A clock, of the DMA of a board whose profile says nothing else: 64 bits."""


@dataclass(frozen=True)
class Timing:
    """How long frames take.

    Args:
        core_ms: from the first word that comes in until the first frame is out.
        board_ms: that the board adds: starting the transfers, and those of the result.
        period_ms: between two frames: of the slowest unit, or of the transfers.
        slowest: the name of the slowest unit, or ``transfers``.
        clock_hz: that all this assumes.
    """

    core_ms: float
    board_ms: float
    period_ms: float
    slowest: str
    clock_hz: float

    def latency_ms(self, batch: int = 1) -> float:
        """Of one call with so many frames, one behind the other."""
        return self.core_ms + self.board_ms + (batch - 1) * self.period_ms

    @property
    def throughput_fps(self) -> float:
        """Frames a second, one right behind the other."""
        return 1e3 / self.period_ms


def timing(circuit: Circuit, profile: HardwareProfile, clock_hz: float | None = None) -> Timing:
    """The timing of a folded circuit.

    Args:
        circuit: folded.
        profile: of the board: the memory's bandwidth, ``parts.stream_bytes`` a clock and stream,
            and ``overhead_s.call`` to start a frame.
        clock_hz: None: the one that the profile assumes.
    """
    clock = clock_hz or profile.clock_hz.value
    bandwidth = profile.bandwidth_bytes_s["memory"].value / clock
    rate = min(profile.part("stream_bytes", STREAM_BYTES), bandwidth)
    pixels = circuit.input_shape[1] * circuit.input_shape[2]
    bytes_in = math.ceil(circuit.input_shape[0] * circuit.input_bits / 8)
    source = max(1.0, bytes_in / rate)
    moved = max(source * pixels, output_bytes(circuit) / rate)
    frames = cycles.frame_cycles(circuit)
    compute = max(frames)
    slowest = circuit.units[frames.index(compute)]
    return Timing(
        core_ms=1e3 * stream.first_frame(circuit, source) / clock,
        board_ms=1e3 * (profile.overhead_s["call"].value + output_bytes(circuit) / rate / clock),
        period_ms=1e3 * max(compute, moved) / clock,
        slowest=slowest.name or slowest.op if compute >= moved else "transfers",
        clock_hz=clock,
    )


def output_bytes(circuit: Circuit) -> int:
    """Of a frame that is put out."""
    last = circuit.units[-1]
    bits = last.out_bits or (accumulator_bits(last) if last.op in MATRIX else 8)
    return math.ceil(math.prod(last.out_shape) * bits / 8)
