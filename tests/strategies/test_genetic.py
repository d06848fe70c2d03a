from __future__ import annotations

import itertools
import random

from nas.choices import Choice, Genotype
from nas.objectives import Objective
from nas.pareto import dominates
from nas.protocols import Strategy
from strategies.genetic import GeneticStrategy, ranked
from strategies.history import Observation
from strategies.random import RandomStrategy
from strategies.toys import TOY, play, toy_costs

OBJECTIVES = [Objective("error", "minimize"), Objective("latency_ms.cpu", "minimize")]
GRID = [Choice("x", tuple(range(50)), ordered=True), Choice("y", tuple(range(50)), ordered=True)]


def seen(*costs: float, violation: float = 0.0, code: tuple[int, ...] = ()) -> Observation:
    return Observation(code, costs, violation)


def test_fronts_come_in_order() -> None:
    rng = random.Random(0)
    observations = [seen(rng.random(), rng.random(), rng.random()) for _ in range(80)]
    order = [observation.complete_costs or () for observation in ranked(observations, 80)]
    assert sorted(order) == sorted(o.complete_costs or () for o in observations)
    for before, after in itertools.combinations(order, 2):
        assert not dominates(after, before)


def test_the_least_crowded_of_a_front_come_first() -> None:
    front = [seen(0, 10), seen(1, 9), seen(1.5, 8.5), seen(2, 8), seen(6, 3), seen(10, 0)]
    order = ranked(front, 6)
    assert {order[0], order[1]} == {front[0], front[5]}
    assert order[2] == front[4]
    assert order[-1] in (front[1], front[2])


def test_crowding_does_not_depend_on_the_unit() -> None:
    rng = random.Random(1)
    costs = [(rng.random(), rng.random()) for _ in range(60)]
    plain = [seen(a, b, code=(i,)) for i, (a, b) in enumerate(costs)]
    other = [seen(a * 1e3 - 5, b, code=(i,)) for i, (a, b) in enumerate(costs)]
    assert [o.code for o in ranked(plain, 30)] == [o.code for o in ranked(other, 30)]


def test_whatever_is_feasible_comes_before_what_is_not() -> None:
    awful, near, far = seen(99, 99), seen(1, 1, violation=0.1), seen(0, 0, violation=3.0)
    assert ranked([far, near, awful], 3) == [awful, near, far]
    assert ranked([far, near, awful], 2) == [awful, near]
    assert ranked([far, near], 1) == [near]
    assert ranked([], 3) == []


def test_one_objective() -> None:
    observations = [seen(float(cost)) for cost in (3, 1, 2, 1)]
    assert [o.costs for o in ranked(observations, 3)] == [(1.0,), (1.0,), (2.0,)]


def test_equal_costs_are_kept() -> None:
    observations = [seen(1.0, 1.0, code=(i,)) for i in range(5)]
    assert len(ranked(observations, 5)) == 5


def test_children_gather_around_the_front() -> None:
    def distance(genotype: Genotype) -> tuple[float, float]:
        x, y = float(genotype["x"]), float(genotype["y"])
        return (x - 10) ** 2 + (y - 10) ** 2, (x - 20) ** 2 + (y - 10) ** 2

    def median_of_late(strategy: Strategy) -> float:
        late = play(strategy, 150, distance)[-30:]
        return sorted(min(distance(genotype)) for genotype in late)[15]

    by_chance = median_of_late(RandomStrategy(GRID, OBJECTIVES, 0))
    assert median_of_late(GeneticStrategy(GRID, OBJECTIVES, 0)) < by_chance / 5


def test_random_genotypes_until_the_start() -> None:
    plain = play(GeneticStrategy(TOY, OBJECTIVES, 0, startup=8), 12)
    later = play(GeneticStrategy(TOY, OBJECTIVES, 0, startup=30), 12)
    assert plain[:8] == later[:8]
    assert plain != later


def test_failed_and_stopped_candidates_have_no_children() -> None:
    strategy = GeneticStrategy(TOY, OBJECTIVES, 0, startup=1)
    asked = play(strategy, 40, lambda genotype: None)
    alike = GeneticStrategy(TOY, OBJECTIVES, 0, startup=99)
    assert play(alike, 40, lambda genotype: None) == asked
    stopped = play(GeneticStrategy(TOY, OBJECTIVES, 0, startup=1), 40, lambda g: (None, 1.0))
    assert stopped == asked


def test_a_result_that_a_repeat_made_worse_leaves_its_place() -> None:
    def last_child(noise: float) -> list[Genotype]:
        strategy = GeneticStrategy(TOY, OBJECTIVES, 0, population=2)
        best = min(play(strategy, 30), key=toy_costs)
        error, latency_ms = toy_costs(best)
        strategy.tell(best, (error + noise, latency_ms + noise))
        return [strategy.ask() for _ in range(10)]

    assert last_child(0.0) != last_child(100.0)


def test_a_repeat_that_failed_changes_nothing() -> None:
    first, second = GeneticStrategy(TOY, OBJECTIVES, 0), GeneticStrategy(TOY, OBJECTIVES, 0)
    asked = play(first, 20)
    assert play(second, 20) == asked
    first.tell(asked[3], None)
    second.tell(asked[3], toy_costs(asked[3]))
    assert first.ask() == second.ask()
