from __future__ import annotations

import itertools
import math
import random
import time

import numpy as np
import pytest
from scipy import stats

from evaluators.timing import Rules, SystemClock, interleave, order_interval, quantile, ratios
from tests.evaluators.simulated import Machine, by_block, steady

MS = 1_000_000


def machine_with(**costs: object) -> Machine:
    return Machine(costs=costs)  # type: ignore[arg-type]


def blocks_of(log: list[str]) -> list[str]:
    return [name for name, _ in itertools.groupby(log)]


def test_blocks_take_turns() -> None:
    machine = machine_with(ref=steady(10_000), a=steady(20_000), b=steady(2 * MS))
    calls = [machine.call(name) for name in ("ref", "a", "b")]
    rules = Rules(min_blocks=3, max_blocks=3)
    samples = interleave(calls, machine, rules=rules)
    finding_out, *rounds = [blocks_of(machine.log)[i : i + 3] for i in range(0, 12, 3)]
    assert finding_out == ["ref", "a", "b"]
    assert rounds == [["ref", "a", "b"]] * 3
    assert [len(s.cpu_ns) for s in samples] == [3, 3, 3]


def test_a_block_is_warm_and_filled() -> None:
    machine = machine_with(ref=steady(10_000), a=steady(50_000))
    samples = interleave(
        [machine.call("ref"), machine.call("a")], machine, rules=Rules(min_blocks=1, max_blocks=1)
    )
    assert [s.repetitions for s in samples] == [150, 30]  # 1.5 ms each
    lengths = [len(list(group)) for _, group in itertools.groupby(machine.log)]
    # two warm-ups, the repetitions, and up to 40 calls timed one by one
    assert lengths[2:] == [2 + 150 + 40, 2 + 30 + 30]
    assert [len(s.single_ns) for s in samples] == [40, 30]


def test_warmups_are_not_timed() -> None:
    """After one call to find out, the first two calls of each block are ten times slower."""
    machine = machine_with(ref=steady(10_000), a=lambda i: (20 if i % 3 else 2) * MS)
    samples = interleave([machine.call("ref"), machine.call("a")], machine)
    assert set(samples[1].cpu_ns) == {2 * MS}
    assert samples[1].cpu_ns == samples[1].single_ns


@pytest.mark.parametrize(("cost", "repetitions"), [(0, 10_000), (1, 10_000), (9 * MS, 1)])
def test_repetitions_are_bounded(cost: float, repetitions: int) -> None:
    machine = machine_with(ref=steady(cost))
    (samples,) = interleave([machine.call("ref")], machine, rules=Rules(min_blocks=1))
    assert samples.repetitions == repetitions


def test_steady_calls_end_after_the_fewest_blocks() -> None:
    machine = machine_with(ref=steady(10_000), a=steady(100_000))
    samples = interleave([machine.call("ref"), machine.call("a")], machine)
    assert samples[1].cpu_ns == [100_000.0] * 15
    assert samples[1].wall_ns == [100_000.0] * 15


@pytest.mark.parametrize(("spread", "blocks"), [(0.005, 15), (0.2, 25)])
def test_uncertain_medians_go_on(spread: float, blocks: int) -> None:
    rng = random.Random(0)
    factors = [1 + spread * rng.random() for _ in range(25)]
    machine = machine_with(ref=steady(10_000), a=by_block(2 * MS, factors))
    samples = interleave([machine.call("ref"), machine.call("a")], machine)
    np.testing.assert_allclose(samples[1].cpu_ns, [2 * MS * f for f in factors[:blocks]], 1e-6)


def test_one_uncertain_call_keeps_all_going() -> None:
    machine = machine_with(
        ref=steady(10_000), a=steady(20_000), b=by_block(2 * MS, [1.0, 1.5, 1.2, 1.4, 1.1])
    )
    samples = interleave([machine.call(n) for n in ("ref", "a", "b")], machine)
    assert [len(s.cpu_ns) for s in samples] == [25, 25, 25]


def test_a_shaking_reference_alone_is_uncertain_too() -> None:
    """What counts is the time relative to the reference of the same round."""
    machine = machine_with(ref=by_block(2 * MS, [1.0, 1.5, 1.2, 1.4, 1.1]), a=steady(20_000))
    samples = interleave([machine.call("ref"), machine.call("a")], machine)
    assert len(samples[1].cpu_ns) == 25


def test_a_slow_phase_of_the_machine_is_no_uncertainty() -> None:
    phases = [1.0, 1.6, 1.0, 1.6, 1.6]
    machine = machine_with(ref=by_block(2 * MS, phases), a=by_block(3 * MS, phases))
    samples = interleave([machine.call("ref"), machine.call("a")], machine)
    assert len(samples[1].cpu_ns) == 15


def test_the_cap_ends_slow_calls() -> None:
    machine = machine_with(ref=steady(10_000), a=steady(200 * MS))
    samples = interleave([machine.call("ref"), machine.call("a")], machine)
    # 0.2 s to find out, then 0.6 s a round: the fourth round reaches 2.5 s
    assert len(samples[1].cpu_ns) == 4


def test_the_cap_leaves_one_block() -> None:
    machine = machine_with(ref=steady(10_000), a=steady(5_000 * MS))
    samples = interleave([machine.call("ref"), machine.call("a")], machine)
    assert samples[1].cpu_ns == [5_000 * MS]


def test_the_cap_is_in_wall_time() -> None:
    machine = machine_with(ref=steady(10_000), a=by_block(2 * MS, [1.0, 1.5]))
    machine.waiting = 100.0  # a machine that hardly lets it run
    samples = interleave([machine.call("ref"), machine.call("a")], machine)
    assert 1 <= len(samples[1].cpu_ns) <= 5


def test_by_wall_time() -> None:
    """The thread's CPU clock sees a tenth of the work, as with a pool of threads."""
    machine = machine_with(ref=steady(10_000), a=steady(100_000))
    machine.hidden = 0.9
    samples = interleave([machine.call("ref"), machine.call("a")], machine, by_cpu=False)
    assert samples[1].repetitions == 15
    assert samples[1].wall_ns == [100_000.0] * 15


def test_by_wall_time_goes_on_until_wall_time_is_certain() -> None:
    machine = machine_with(ref=steady(10_000), a=by_block(2 * MS, [1.0, 1.5, 1.2, 1.4, 1.1]))
    samples = interleave([machine.call("ref"), machine.call("a")], machine, by_cpu=False)
    assert len(samples[1].wall_ns) == 25


def test_system_clock_tells_work_from_waiting() -> None:
    clock = SystemClock()
    cpu_ns, wall_ns = clock.cpu_ns(), clock.wall_ns()
    time.sleep(0.05)
    assert clock.wall_ns() - wall_ns >= 50 * MS
    assert clock.cpu_ns() - cpu_ns < 25 * MS
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


@pytest.mark.parametrize("count", [15, 20, 25, 100])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_interval_covers_as_often_as_it_says(count: int, share: float) -> None:
    low, high = order_interval([float(i) for i in range(1, count + 1)], share)
    below = stats.binom(count, share)
    assert below.cdf(low - 1) <= 0.025
    if high < count:
        assert below.sf(high - 1) <= 0.025
        assert below.sf(high - 2) > 0.025  # one rank less would not do
    assert math.isclose(quantile(list(range(1, count + 1)), share), low, abs_tol=high - low)
