"""How calls are timed on a noisy machine: warm blocks that take turns, robust statistics."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

Call = Callable[[], object]

_MOST_REPETITIONS = 10_000
_SINGLE_CALLS = 40
"""A block's calls that are timed one by one, at most; 25 blocks make a thousand, enough for p99."""


class Clock(Hashable, Protocol):
    """The two clocks that matter, in nanoseconds since whenever."""

    def cpu_ns(self) -> int:
        """CPU time of the calling thread: stands still while another process has the core."""
        ...

    def wall_ns(self) -> int:
        """Time on the wall."""
        ...


@dataclass(frozen=True)
class SystemClock:
    """The clocks of this machine."""

    def cpu_ns(self) -> int:
        """CPU time of the calling thread."""
        return time.thread_time_ns()

    def wall_ns(self) -> int:
        """Time on the wall."""
        return time.perf_counter_ns()


@dataclass(frozen=True)
class Rules:
    """When a measurement is good enough.

    Args:
        warmups: untimed calls at the start of each block.
        block_ms: a block repeats its call until it is about this long.
        min_blocks: of each call.
        max_blocks: of each call.
        precision: it ends once the 95 % interval of the median is narrower than this share of the
            median, for every call but the first.
        cap_s: wall seconds after which no further round begins.
    """

    warmups: int = 2
    block_ms: float = 1.5
    min_blocks: int = 15
    max_blocks: int = 25
    precision: float = 0.02
    cap_s: float = 2.5


@dataclass
class Samples:
    """What was seen of one call.

    Args:
        repetitions: calls timed together in a block.
        cpu_ns: CPU time a call, one value a block.
        wall_ns: wall time a call, one value a block.
        single_ns: wall time of calls timed one by one.
    """

    repetitions: int
    cpu_ns: list[float] = field(default_factory=list)
    wall_ns: list[float] = field(default_factory=list)
    single_ns: list[float] = field(default_factory=list)


def interleave(
    calls: Sequence[Call], clock: Clock, by_cpu: bool = True, rules: Rules | None = None
) -> list[Samples]:
    """Time calls in turns: a block of the first, a block of the second, ..., and again.

    All calls get the same number of blocks.

    Args:
        calls: the reference first, then what is measured.
        clock: what tells the time.
        by_cpu: whether CPU time decides how long a block is and when to end; else wall time.
        rules: when to end.
    """
    rules = rules or Rules()
    start_ns = clock.wall_ns()
    samples = [Samples(_repetitions(call, clock, by_cpu, rules)) for call in calls]
    for done in itertools.count(1):
        for call, seen in zip(calls, samples, strict=True):
            _block(call, seen, clock, rules)
        sharp = all(_is_sharp(samples[0], s, by_cpu, rules) for s in samples[1:])
        if done >= rules.max_blocks or (done >= rules.min_blocks and sharp):
            break
        if clock.wall_ns() - start_ns >= rules.cap_s * 1e9:
            break
    return samples


def _repetitions(call: Call, clock: Clock, by_cpu: bool, rules: Rules) -> int:
    """How many calls fill a block, by the fastest of a few."""
    now = clock.cpu_ns if by_cpu else clock.wall_ns
    best_ns = math.inf
    for _ in range(rules.warmups + 3):
        begin_ns = now()
        call()
        best_ns = min(best_ns, now() - begin_ns)
        if best_ns > rules.block_ms * 1e6:
            return 1
    return min(_MOST_REPETITIONS, max(1, round(rules.block_ms * 1e6 / max(best_ns, 1))))


def _block(call: Call, seen: Samples, clock: Clock, rules: Rules) -> None:
    for _ in range(rules.warmups):
        call()
    count = seen.repetitions
    wall_ns, cpu_ns = clock.wall_ns(), clock.cpu_ns()
    for _ in itertools.repeat(None, count):  # no clock is read in here
        call()
    cpu_ns, wall_ns = clock.cpu_ns() - cpu_ns, clock.wall_ns() - wall_ns
    seen.cpu_ns.append(cpu_ns / count)
    seen.wall_ns.append(wall_ns / count)
    if count == 1:
        seen.single_ns.append(wall_ns)
        return
    for _ in range(min(count, _SINGLE_CALLS)):
        begin_ns = clock.wall_ns()
        call()
        seen.single_ns.append(clock.wall_ns() - begin_ns)


def _is_sharp(reference: Samples, seen: Samples, by_cpu: bool, rules: Rules) -> bool:
    values = ratios(seen.cpu_ns, reference.cpu_ns) if by_cpu else seen.wall_ns
    low, high = order_interval(values, 0.5)
    return high - low < rules.precision * quantile(values, 0.5)


def ratios(values: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Each value by the reference's of the same round."""
    return [value / base for value, base in zip(values, reference, strict=True)]


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies, with linear interpolation."""
    return float(np.quantile(values, share))


def order_interval(
    values: Sequence[float], share: float, confidence: float = 0.95
) -> tuple[float, float]:
    """A confidence interval of a quantile, from order statistics: no distribution is assumed.

    With too few values for the confidence it is the range of all values.

    Args:
        values: at least one, independent.
        share: of the quantile, 0.5 for the median.
        confidence: of the interval, at least.
    """
    ordered, n, tail = sorted(values), len(values), (1 - confidence) / 2
    # below[k] = P(at most k of n values lie below the quantile), k = 0 ... n
    weights = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    below = list(itertools.accumulate(weights))
    low = max((rank for rank in range(1, n + 1) if below[rank - 1] <= tail), default=1)
    high = min((rank for rank in range(1, n + 1) if below[rank - 1] >= 1 - tail), default=n)
    return ordered[low - 1], ordered[high - 1]
