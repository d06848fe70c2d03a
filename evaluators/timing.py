"""How calls are timed on a noisy machine: short warm blocks that take turns, robust statistics."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

Call = Callable[[], object]
Now = Callable[[], float]
"""Nanoseconds since whenever."""

_MOST_REPETITIONS = 10_000
_SINGLE_CALLS = 10
"""A block's calls that are timed one by one, at most; a hundred blocks make a thousand, enough for
p99."""


class Clock(Hashable, Protocol):
    """The clocks that matter, in nanoseconds since whenever."""

    def cpu_ns(self) -> int:
        """CPU time of the calling thread: stands still while another process has the core."""
        ...

    def process_ns(self) -> int:
        """CPU time of all threads of this process together."""
        ...

    def wall_ns(self) -> int:
        """Time on the wall."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass without work."""
        ...


@dataclass(frozen=True)
class SystemClock:
    """The clocks of this machine."""

    def cpu_ns(self) -> int:
        """CPU time of the calling thread."""
        return time.thread_time_ns()

    def process_ns(self) -> int:
        """CPU time of this process."""
        return time.process_time_ns()

    def wall_ns(self) -> int:
        """Time on the wall."""
        return time.perf_counter_ns()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


@dataclass(frozen=True)
class Timed:
    """A call and the clocks that see its work.

    Args:
        call: what is timed.
        busy_ns: the clock that counts.
        wall_ns: time on the wall.
        paced: whether blocks count only where the machine is as fast as usual.
    """

    call: Call
    busy_ns: Now
    wall_ns: Now
    paced: bool = True


class Reference(Protocol):
    """Says how fast the machine is at this moment, see `evaluators.pace`."""

    def look(self) -> float:
        """A time that grows when the machine slows down."""
        ...

    def is_usual(self, level_ns: float) -> bool:
        """Whether the `level` of some looks is that of a machine as fast as usual."""
        ...

    def rest(self, seconds: float) -> None:
        """Wait for better times without work."""
        ...


@dataclass(frozen=True)
class Rules:
    """When a measurement is good enough.

    Args:
        warmups: untimed calls at the start of each block.
        block_ms: a block repeats its call until it is about this long.
        min_blocks: of each call, that count.
        max_blocks: of each call, that count.
        precision: it ends once the 95 % interval of the median is narrower than this share of the
            median, for every call.
        cap_s: wall seconds after which no further round begins, once a few blocks count.
        patience_s: wall seconds after which no further round begins: disturbances last for seconds.
        rest: while it waits for a calm machine, it rests this many times as long as it works.
        slower: a look that is slower than the level of all looks by more than this factor was at
            a disturbed machine.
        waiting: so is a block whose wall time is longer than its CPU time by more than this.
    """

    warmups: int = 1
    block_ms: float = 0.3
    min_blocks: int = 40
    max_blocks: int = 150
    precision: float = 0.01
    cap_s: float = 2.5
    patience_s: float = 5.0
    rest: float = 4.0
    slower: float = 1.12
    waiting: float = 1.2


FEWEST = 8
"""Blocks that must count for a quantile of them to mean something."""


@dataclass
class Samples:
    """What was seen of one call.

    Args:
        repetitions: calls timed together in a block.
        busy_ns: time a call by the clock that counts, one value a block.
        wall_ns: wall time a call, one value a block.
        single_ns: wall time of calls timed one by one.
        looks_ns: the slower one of the looks at the reference before and after, one a block.
        counted: `busy_ns` of the blocks in which the machine was as fast as usual.
    """

    repetitions: int
    busy_ns: list[float] = field(default_factory=list)
    wall_ns: list[float] = field(default_factory=list)
    single_ns: list[float] = field(default_factory=list)
    looks_ns: list[float] = field(default_factory=list)
    counted: list[float] = field(default_factory=list)

    @property
    def is_disturbed(self) -> bool:
        """Whether too few blocks count, and not because there was time for a few only."""
        return len(self.counted) < min(FEWEST, (len(self.busy_ns) + 1) // 2)

    def judge(self, paced: bool, reference: Reference | None, rules: Rules) -> None:
        """Say which blocks count, by all that was seen until now."""
        if not paced or reference is None:
            self.counted = list(self.busy_ns)
            return
        usual_ns = level(self.looks_ns)
        limit_ns = rules.slower * usual_ns if reference.is_usual(usual_ns) else 0.0
        blocks = zip(self.busy_ns, self.wall_ns, self.looks_ns, strict=True)
        self.counted = [
            busy for busy, wall, look in blocks if look <= limit_ns and wall <= rules.waiting * busy
        ]


def interleave(
    calls: Sequence[Timed], reference: Reference | None = None, rules: Rules | None = None
) -> list[Samples]:
    """Time calls in turns: a block of the first, a block of the second, ..., and again.

    Before and after each block the reference is looked at; the block counts where it was as fast
    as usual both times and the block was not interrupted. All calls get the same number of blocks.

    Args:
        calls: what is measured.
        reference: says how fast the machine is; None: every block counts.
        rules: when to end; seconds are those of the first call's wall clock.
    """
    rules = rules or Rules()
    if not calls:
        return []
    samples = [Samples(_repetitions(timed, rules)) for timed in calls]
    begin_ns = calls[0].wall_ns()
    before = reference.look() if reference else 0.0
    rounds, due = 0, 1
    while True:
        rounds += 1
        round_ns = calls[0].wall_ns()
        for timed, seen in zip(calls, samples, strict=True):
            _block(timed, seen, rules)
            after = reference.look() if reference else 0.0
            seen.looks_ns.append(max(before, after))
            before = after
        if rounds < due:
            continue  # judging takes its time too
        due = rounds + (1 if rounds < 50 else max(10, rounds // 20))
        for timed, seen in zip(calls, samples, strict=True):
            seen.judge(timed.paced, reference, rules)
        now_ns = calls[0].wall_ns()
        if _is_enough(samples, (now_ns - begin_ns) / 1e9, rules):
            return samples
        if reference and any(seen.is_disturbed for seen in samples):
            reference.rest(rules.rest * (now_ns - round_ns) / 1e9)
            before = reference.look()


def _is_enough(samples: Sequence[Samples], passed_s: float, rules: Rules) -> bool:
    fewest = min(len(seen.counted) for seen in samples)
    if fewest >= rules.max_blocks:
        return True
    if fewest >= rules.min_blocks and all(_is_sharp(seen, rules) for seen in samples):
        return True
    calm = not any(seen.is_disturbed for seen in samples)
    return passed_s >= (rules.cap_s if calm else rules.patience_s)


def _repetitions(timed: Timed, rules: Rules) -> int:
    """How many calls fill a block, by the fastest of a few."""
    best_ns = math.inf
    for _ in range(rules.warmups + 3):
        begin_ns = timed.busy_ns()
        timed.call()
        best_ns = min(best_ns, timed.busy_ns() - begin_ns)
        if best_ns > rules.block_ms * 1e6:
            return 1
    return min(_MOST_REPETITIONS, max(1, round(rules.block_ms * 1e6 / max(best_ns, 1))))


def _block(timed: Timed, seen: Samples, rules: Rules) -> None:
    call, busy_now, wall_now = timed.call, timed.busy_ns, timed.wall_ns
    for _ in range(rules.warmups):
        call()
    count = seen.repetitions
    wall_ns, busy_ns = wall_now(), busy_now()
    for _ in itertools.repeat(None, count):  # no clock is read in here
        call()
    busy_ns, wall_ns = busy_now() - busy_ns, wall_now() - wall_ns
    seen.busy_ns.append(busy_ns / count)
    seen.wall_ns.append(wall_ns / count)
    if count == 1:
        seen.single_ns.append(wall_ns)
        return
    for _ in range(min(count, _SINGLE_CALLS)):
        begin_ns = wall_now()
        call()
        seen.single_ns.append(wall_now() - begin_ns)


def _is_sharp(seen: Samples, rules: Rules) -> bool:
    low, high = order_interval(seen.counted, 0.5)
    return high - low < rules.precision * quantile(seen.counted, 0.5)


def level(looks: Sequence[float]) -> float:
    """The usual one of these times: as fast as the fastest of them are, but for outliers."""
    return quantile(looks, 0.05)


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
    ordered = sorted(values)
    low, high = _ranks(len(ordered), share, confidence)
    return ordered[low - 1], ordered[high - 1]


@functools.lru_cache(maxsize=1024)
def _ranks(n: int, share: float, confidence: float) -> tuple[int, int]:
    """Between which of n ordered values a quantile lies, counted from 1."""
    tail = (1 - confidence) / 2

    def weight(k: int) -> float:
        """P(exactly k of n values lie below the quantile), in logarithms: n may be large."""
        ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        return math.exp(ways + k * math.log(share) + (n - k) * math.log1p(-share))

    below = list(itertools.accumulate(weight(k) for k in range(n + 1)))
    low = max((rank for rank in range(1, n + 1) if below[rank - 1] <= tail), default=1)
    high = min((rank for rank in range(1, n + 1) if below[rank - 1] >= 1 - tail), default=n)
    return low, high
