from __future__ import annotations

import pytest

from nas.choices import count, enumerate_genotypes
from nas.objectives import Objective
from nas.trials import Exhausted
from strategies.random import RandomStrategy
from strategies.toys import TINY, TOY, follow, play, regret, toy_costs

OBJECTIVES = [Objective("error", "minimize"), Objective("latency_ms.cpu", "minimize")]


def test_sizes() -> None:
    assert count(TOY) == 31104
    assert count(TINY) == 9


def test_the_two_costs_are_at_odds() -> None:
    small = next(iter(enumerate_genotypes(TOY)))
    large = {**small, "stage1.depth": 3, "stage1.width": 96, "stage2.depth": 3, "stage2.width": 96}
    assert toy_costs(small)[0] > 2 * toy_costs(large)[0]
    assert 2 * toy_costs(small)[1] < toy_costs(large)[1]
    static = {**large, "scheme": "static"}
    assert toy_costs(static)[0] > toy_costs(large)[0]
    assert toy_costs(static)[1] < toy_costs(large)[1]


def test_regret_falls_to_nothing_at_the_best_front() -> None:
    everything = list(enumerate_genotypes(TOY))
    assert regret(everything) == pytest.approx(0.0, abs=1e-12)
    assert regret([]) == 1.0
    assert 0.0 < regret(everything[::10]) < regret(everything[::100]) < 1.0


def test_following_steps_gives_the_answers_to_the_asks() -> None:
    strategy = RandomStrategy(TINY, OBJECTIVES, 0)
    everything = list(enumerate_genotypes(TINY))
    steps = [["pending", g] for g in everything[:4]] + [["tell", g, None] for g in everything[4:8]]
    assert follow(strategy, [*steps, ["ask"]]) == everything[8:]
    with pytest.raises(Exhausted):
        play(strategy, 1)
