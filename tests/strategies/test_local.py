from __future__ import annotations

import itertools

from nas.choices import Choice, Genotype
from nas.objectives import Objective
from strategies.local import LocalStrategy
from strategies.random import RandomStrategy
from strategies.toys import TOY, play, toy_costs

OBJECTIVES = [Objective("error", "minimize"), Objective("latency_ms.cpu", "minimize")]
LADDERS = [Choice(name, tuple(range(20)), ordered=True) for name in ("x", "y")]


def away(genotype: Genotype) -> list[float]:
    """From the only top, without another hill."""
    return [abs(float(genotype["x"]) - 15) + abs(float(genotype["y"]) - 4)]


def test_climbs_straight_to_the_top() -> None:
    for seed in range(5):
        strategy = LocalStrategy(LADDERS, [Objective("error", "minimize")], seed, startup=1)
        asked = play(strategy, 60, away)
        assert {"x": 15, "y": 4} in asked
        for one, other in itertools.pairwise(asked[:10]):
            assert abs(int(one["x"]) - int(other["x"])) + abs(int(one["y"]) - int(other["y"])) <= 2


def test_random_genotypes_until_the_start() -> None:
    chance = play(RandomStrategy(TOY, OBJECTIVES, 0), 30)
    assert play(LocalStrategy(TOY, OBJECTIVES, 0, startup=20), 30)[:20] == chance[:20]
    assert play(LocalStrategy(TOY, OBJECTIVES, 0, startup=20), 30)[20:] != chance[20:]


def test_a_second_climb_begins_where_the_first_one_ended() -> None:
    """Two tops: from the lower one no step leads to the higher one."""

    def two_tops(genotype: Genotype) -> list[float]:
        x = int(genotype["x"])
        return [abs(x - 4) + 1.0 if x < 12 else abs(x - 17) * 0.9]

    space = [Choice("x", tuple(range(20)), ordered=True)]
    for seed in range(6):
        strategy = LocalStrategy(space, [Objective("error", "minimize")], seed, startup=1)
        strategy.tell({"x": 5}, two_tops({"x": 5}))
        asked = [int(genotype["x"]) for genotype in play(strategy, 19, two_tops)]
        assert {4, 3} <= set(asked[:3])
        far = next(i for i, x in enumerate(asked) if x > 11)
        # From there on it climbs: the neighbours of the newcomer come next.
        assert abs(asked[far + 1] - asked[far]) == 1


def test_leaves_what_a_repeat_made_worse() -> None:
    def after(noise: float) -> list[Genotype]:
        strategy = LocalStrategy(TOY, OBJECTIVES, 0)
        best = min(play(strategy, 30), key=toy_costs)
        strategy.tell(best, [cost + noise for cost in toy_costs(best)])
        return [strategy.ask() for _ in range(8)]

    assert after(0.0) != after(100.0)


def test_failed_and_stopped_candidates_lead_nowhere() -> None:
    chance = play(RandomStrategy(TOY, OBJECTIVES, 0), 30)
    assert play(LocalStrategy(TOY, OBJECTIVES, 0), 30, lambda genotype: None) == chance
    assert play(LocalStrategy(TOY, OBJECTIVES, 0), 30, lambda genotype: (None, 1.0)) == chance


def test_descends_the_violation_while_nothing_is_feasible() -> None:
    def violation(genotype: Genotype) -> float:
        return max(0.0, away(genotype)[0] - 1)

    asked = play(
        LocalStrategy(LADDERS, [Objective("error", "minimize")], 0, startup=1),
        40,
        lambda genotype: [1.0],
        violation,
    )
    assert any(violation(genotype) == 0 for genotype in asked)
