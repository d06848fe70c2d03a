from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy import stats

from evaluators.timing import (
    FEWEST,
    Rules,
    SystemClock,
    Timed,
    interleave,
    order_interval,
    quantile,
    ratios,
)
from tests.evaluators.simulated import Machine, by_block, steady

MS, US = 1_000_000, 1_000


def machine_with(**costs: object) -> Machine:
    return Machine(costs=costs)  # type: ignore[arg-type]


def timed(machine: Machine, *names: str) -> list[Timed]:
    return [Timed(machine.call(name), machine.cpu_ns, machine.wall_ns) for name in names]


def blocks_of(log: list[str]) -> list[str]:
    return [name for name, _ in itertools.groupby(log)]


@dataclass
class Looks:
    """A reference that sees what it is told to, then always 100."""

    times: list[float] = field(default_factory=list)
    slowest: float = 125.0
    before: Callable[[], object] = lambda: None
    rest: Callable[[float], object] = lambda _: None

    def look(self) -> float:
        self.before()
        return self.times.pop(0) if self.times else 100.0

    def is_usual(self, level_ns: float) -> bool:
        return level_ns <= self.slowest


def test_blocks_take_turns() -> None:
    machine = machine_with(a=steady(20 * US), b=steady(2 * MS))
    samples = interleave(timed(machine, "a", "b"), rules=Rules(min_blocks=3, max_blocks=3))
    assert blocks_of(machine.log) == ["a", "b"] * 4  # finding out, then three rounds
    assert [len(s.busy_ns) for s in samples] == [3, 3]


def test_a_block_is_warm_and_filled() -> None:
    machine = machine_with(a=steady(50 * US), b=steady(100 * US))
    rules = Rules(min_blocks=1, max_blocks=1)
    samples = interleave(timed(machine, "a", "b"), rules=rules)
    assert [s.repetitions for s in samples] == [6, 3]  # 0.3 ms each
    lengths = [len(list(group)) for _, group in itertools.groupby(machine.log)]
    # a warm-up, the repetitions, and up to 10 calls timed one by one
    assert lengths[2:] == [1 + 6 + 6, 1 + 3 + 3]
    assert [len(s.single_ns) for s in samples] == [6, 3]


def test_warmups_are_not_timed() -> None:
    """After one call to find out, the first call of each block is ten times slower."""
    machine = machine_with(a=lambda i: (20 if i % 2 else 2) * MS)
    (samples,) = interleave(timed(machine, "a"))
    assert set(samples.busy_ns) == {2 * MS}
    assert samples.busy_ns == samples.single_ns


@pytest.mark.parametrize(("cost", "repetitions"), [(0, 10_000), (1, 10_000), (9 * MS, 1)])
def test_repetitions_are_bounded(cost: float, repetitions: int) -> None:
    machine = machine_with(a=steady(cost))
    (samples,) = interleave(timed(machine, "a"), rules=Rules(min_blocks=1, max_blocks=1))
    assert samples.repetitions == repetitions


@pytest.mark.parametrize(("spread", "blocks"), [(0.005, 40), (0.2, 150)])
def test_uncertain_medians_go_on(spread: float, blocks: int) -> None:
    rng = random.Random(0)
    factors = [1 + spread * rng.random() for _ in range(150)]
    machine = machine_with(a=by_block(2 * MS, factors))
    (samples,) = interleave(timed(machine, "a"))
    np.testing.assert_allclose(samples.counted, [2 * MS * f for f in factors[:blocks]], 1e-6)


def test_one_uncertain_call_keeps_all_going() -> None:
    machine = machine_with(a=steady(20 * US), b=by_block(2 * MS, [1 + k / 40 for k in range(40)]))
    samples = interleave(timed(machine, "a", "b"))
    assert [len(s.counted) for s in samples] == [150, 150]


def test_only_blocks_between_two_usual_looks_count() -> None:
    machine = machine_with(a=by_block(2 * MS, [1 + k / 100 for k in range(99)]))
    looks = Looks([*[100] * 9, 150, 100, 111, 113, 100])
    rules = Rules(min_blocks=20, max_blocks=20)
    (samples,) = interleave(timed(machine, "a"), looks, rules)
    # the slower one of each pair; up to 112 counts
    assert samples.looks_ns[7:14] == [100, 150, 150, 111, 113, 113, 100]
    counted = [2 * MS * (1 + k / 100) for k in (*range(8), 10, *range(13, 24))]
    np.testing.assert_allclose(samples.counted, counted)


@pytest.mark.parametrize(("level_ns", "disturbed"), [(120.0, False), (130.0, True)])
def test_the_level_of_the_looks_must_be_usual(level_ns: float, disturbed: bool) -> None:
    """Beside some networks the reference is slower than alone; all blocks agree on that."""
    machine = machine_with(a=steady(2 * MS))
    rules = Rules(min_blocks=20, max_blocks=20, patience_s=0.1)
    (samples,) = interleave(timed(machine, "a"), Looks([level_ns] * 999), rules)
    assert samples.is_disturbed is disturbed
    assert len(samples.counted) == (0 if disturbed else 20)


def test_every_call_is_judged_by_the_looks_next_to_it() -> None:
    machine = machine_with(a=steady(2 * MS), b=steady(3 * MS))
    looks = Looks([*[100] * 5, 150, 100])  # before a, between, after b, ...
    rules = Rules(min_blocks=4, max_blocks=4)
    a, b = interleave(timed(machine, "a", "b"), looks, rules)
    assert a.looks_ns[:4] == [100, 100, 150, 100]
    assert b.looks_ns[:4] == [100, 100, 150, 100]


def test_a_call_that_is_not_paced_counts_always() -> None:
    machine = machine_with(a=steady(2 * MS))
    calls = [Timed(machine.call("a"), machine.wall_ns, machine.wall_ns, paced=False)]
    (samples,) = interleave(calls, Looks([150.0] * 50), Rules(min_blocks=3, max_blocks=3))
    assert len(samples.busy_ns) == len(samples.counted) == 3
    assert samples.looks_ns == [150.0] * 3


def test_interrupted_blocks_do_not_count() -> None:
    machine = machine_with(a=steady(2 * MS))
    waits = itertools.cycle([1.0, 1.15, 1.3])
    looks = Looks(before=lambda: setattr(machine, "waiting", next(waits)))
    (samples,) = interleave(timed(machine, "a"), looks, Rules(min_blocks=6, max_blocks=6))
    assert (len(samples.counted), len(samples.busy_ns)) == (6, 8)


def test_the_cap_ends_slow_calls() -> None:
    machine = machine_with(a=steady(100 * MS))
    rules = Rules(min_blocks=100)
    (samples,) = interleave(timed(machine, "a"), rules=rules)
    assert len(samples.busy_ns) == 13  # 0.2 s a round, until 2.5 s


def test_patience_waits_for_moments_that_count() -> None:
    machine = machine_with(a=steady(100 * MS))
    (none,) = interleave(timed(machine, "a"), Looks([200.0] * 999))
    assert (len(none.counted), len(none.busy_ns)) == (0, 25)  # 5 s
    (some,) = interleave(timed(machine, "a"), Looks([200.0] * 15))
    assert len(some.counted) == FEWEST


def test_it_rests_while_it_waits() -> None:
    machine = machine_with(a=steady(100 * MS))
    looks = Looks([200.0] * 999, rest=machine.sleep)
    (none,) = interleave(timed(machine, "a"), looks)
    assert (len(none.counted), len(none.busy_ns)) == (0, 6)  # a round and its rest take 1 s
    rested_ns = machine.wall_ns() - machine.cpu_ns()
    interleave(timed(machine, "a"), Looks(rest=machine.sleep))
    assert machine.wall_ns() - machine.cpu_ns() == rested_ns  # it is calm


def test_the_cap_is_in_wall_time() -> None:
    machine = machine_with(a=steady(2 * MS))
    machine.waiting = 100.0  # a machine that hardly lets it run
    (samples,) = interleave(timed(machine, "a"), Looks())
    assert samples.counted == []
    assert len(samples.busy_ns) == 13


def test_nothing_to_time() -> None:
    assert interleave([], Looks()) == []


def test_system_clock_tells_work_from_waiting() -> None:
    clock = SystemClock()
    cpu_ns, process_ns, wall_ns = clock.cpu_ns(), clock.process_ns(), clock.wall_ns()
    time.sleep(0.05)
    assert clock.wall_ns() - wall_ns >= 50 * MS
    assert clock.cpu_ns() - cpu_ns < 25 * MS
    assert clock.process_ns() - process_ns < 25 * MS
    assert SystemClock() == clock


def test_quantile_and_ratios() -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0, 5.0], 0.25) == 2.0
    assert quantile([1.0, 2.0], 0.25) == 1.25
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="zip"):
        ratios([2.0, 9.0], [1.0])


# Ranks of the 95 % interval of a median: e.g. Hahn, Meeker, Statistical Intervals (1991), ch. 5.
@pytest.mark.parametrize(
    ("count", "low", "high"), [(6, 1, 6), (10, 2, 9), (15, 4, 12), (20, 6, 15), (25, 8, 18)]
)
def test_interval_of_the_median(count: int, low: int, high: int) -> None:
    values = [float(i) for i in range(count, 0, -1)]
    assert order_interval(values, 0.5) == (low, high)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_too_few_values_give_their_range(count: int) -> None:
    values = [float(i) for i in range(1, count + 1)]
    assert order_interval(values, 0.5) == (1, count)


@pytest.mark.parametrize("count", [15, 20, 25, 100, 5000])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_interval_covers_as_often_as_it_says(count: int, share: float) -> None:
    low, high = order_interval([float(i) for i in range(1, count + 1)], share)
    below = stats.binom(count, share)
    assert below.cdf(low - 1) <= 0.025
    if high < count:
        assert below.sf(high - 1) <= 0.025
        assert below.sf(high - 2) > 0.025  # one rank less would not do
    middle = quantile(list(range(1, count + 1)), share)
    assert low <= middle <= high or math.isclose(middle, low)
