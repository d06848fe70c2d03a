from __future__ import annotations

import numpy as np
import pytest

from evaluators import runtimes
from evaluators.pace import Pace, pace
from evaluators.timing import SystemClock
from tests.evaluators.simulated import Machine, steady

US = 1_000


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(costs={"reference": steady(10 * US)})
    monkeypatch.setattr(runtimes, "load", machine.load)
    return machine


def test_a_look_is_warm_and_undisturbed(machine: Machine) -> None:
    """Three calls are cold; of the other five, some are interrupted."""
    costs = [1, 1, 1, 9, 7, 5, 8, 6]
    machine.costs["net"] = lambda i: costs[i % 8] * US
    assert Pace(machine.call("net"), machine).look() == 5 * US


def test_is_watched_once_for_a_moment(machine: Machine) -> None:
    found = pace(machine)
    assert pace(machine) is found
    assert found.usual_ns == pytest.approx(10 * US)
    assert machine.log == ["reference"] * 8 * 200


def test_usual_is_as_fast_as_it_often_was(machine: Machine) -> None:
    """Quiet in one look of ten, a turbo in one of a hundred."""
    looks = [0.8 * US] * 10 + [10 * US] * 100 + [13 * US] * 890
    found = Pace(machine.call("reference"), machine)
    found.learn(list(np.random.default_rng(0).permutation(looks)))
    assert found.usual_ns == 10 * US


def test_usual_is_as_fast_as_it_often_was_in_the_last_minutes(machine: Machine) -> None:
    found = Pace(machine.call("reference"), machine)
    for minute, level_ns in enumerate([8.0, 10.0, 10.0, 13.0, 13.0, 13.0, 13.0, 13.0]):
        machine._wall = minute * 30e9
        found.learn([level_ns] * 30)
    assert found.usual_ns == pytest.approx(0.3 * 8.0 + 0.7 * 10.0)  # not luck alone
    machine._wall = 400e9
    found.learn([13.0] * 30)
    assert found.usual_ns == 13.0  # the others are forgotten


def test_what_was_seen_last_counts_however_old(machine: Machine) -> None:
    found = Pace(machine.call("reference"), machine)
    found.learn([10.0] * 30)
    machine._wall = 1e15
    assert found.usual_ns == 10.0
    found.learn([12.0] * 30)
    assert found.usual_ns == 12.0


def test_a_few_looks_alone_say_nothing(machine: Machine) -> None:
    found = Pace(machine.call("reference"), machine)
    found.learn([5.0] * 19)
    assert found.usual_ns == np.inf
    found.learn([5.0] * 20)
    assert found.usual_ns == 5.0


@pytest.mark.parametrize(("level_ns", "usual"), [(90.0, True), (121.0, True), (123.0, False)])
def test_cold_caches_are_no_disturbance(machine: Machine, level_ns: float, usual: bool) -> None:
    found = Pace(machine.call("reference"), machine)
    found.learn([100.0] * 20)
    assert found.is_usual(level_ns) is usual


def test_this_machine_has_a_pace() -> None:
    found = pace(SystemClock())
    assert 1 * US < found.usual_ns < 1000 * US
    assert min(found.look() for _ in range(100)) < 3 * found.usual_ns
