"""A closer look at the best few: used while it helps, the same on replay."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest

import strategies
from nas.choices import Genotype
from nas.objectives import Objective
from nas.trials import CandidateError
from strategies.guided import closer
from strategies.guided.closer import LOOKED_AT
from strategies.guided.strategy import GuidedStrategy
from strategies.guided.surrogate import Points, fit, left_out
from strategies.toys import TOY, toy_costs

OBJECTIVES = (Objective("error", "minimize"), Objective("latency_ms.cpu", "minimize"))
Look = Callable[[Genotype], Mapping[str, float]]


def screen(genotype: Genotype) -> dict[str, float]:
    return {"latency_ms.cpu": toy_costs(genotype)[1], "macs": toy_costs(genotype)[1] ** 1.2}


def noise(genotype: Genotype) -> dict[str, float]:
    digest = hashlib.sha256(repr(sorted(genotype.items())).encode()).digest()
    return {"proxy_noise": digest[0] / 255}


def telling(genotype: Genotype) -> dict[str, float]:
    return {"proxy_telling": -math.log(toy_costs(genotype)[0]), **noise(genotype)}


def guided(look: Look | None, startup: int = 10) -> GuidedStrategy:
    made = strategies.create(
        "guided", TOY, OBJECTIVES, 0, screen, proxies=look, startup=startup, pool=100
    )
    assert isinstance(made, GuidedStrategy)
    return made


def play(strategy: GuidedStrategy, number: int) -> list[Genotype]:
    asked = []
    for _ in range(number):
        asked.append(strategy.ask())
        strategy.tell(asked[-1], toy_costs(asked[-1]))
    return asked


def test_what_tells_is_used_and_said_so() -> None:
    looked: list[Genotype] = []

    def look(genotype: Genotype) -> Mapping[str, float]:
        looked.append(genotype)
        return telling(genotype)

    strategy = guided(look)
    asked = play(strategy, 14)
    (note,) = strategy.notes
    assert note.startswith("guided: proxies are used: ")
    assert "proxy_telling" in note.partition("(")[0]
    # The first ten, then the best few of each ask.
    assert len(asked) < len(looked) <= 14 + 4 * LOOKED_AT
    assert len({repr(genotype) for genotype in looked}) == len(looked)
    assert asked != play(guided(None), 14)


def test_noise_is_switched_off_and_changes_nothing() -> None:
    looked = []

    def look(genotype: Genotype) -> Mapping[str, float]:
        looked.append(genotype)
        return noise(genotype)

    strategy = guided(look)
    assert play(strategy, 13) == play(guided(None), 13)
    assert "proxies are not used: none ranks beyond chance" in strategy.notes[0]
    assert len(looked) <= 13


def test_a_replay_that_lost_what_was_seen_asks_the_same() -> None:
    live = guided(telling)
    asked = play(live, 13)
    waiting = live.ask()
    again = guided(telling)
    for genotype in asked:
        again.tell(genotype, toy_costs(genotype))
    again.pending(waiting)
    assert again.ask() == live.ask()


def test_candidates_without_proxies_are_passed_on_without() -> None:
    def look(genotype: Genotype) -> Mapping[str, float]:
        if genotype["scheme"] == "none":
            raise CandidateError("cannot be back-propagated")
        return {**telling(genotype), "proxy_endless": math.inf, "proxy_none": math.nan}

    strategy = guided(look)
    play(strategy, 13)
    assert "endless" not in strategy.notes[0]

    def none(genotype: Genotype) -> Mapping[str, float]:
        raise CandidateError("cannot be back-propagated")

    blind = guided(none)
    assert play(blind, 12) == play(guided(None), 12)
    assert "(none)" in blind.notes[0]


def test_few_results_are_not_judged() -> None:
    strategy = guided(telling, startup=4)
    play(strategy, 7)
    assert "not used" in strategy.notes[0]


def test_proxies_must_be_a_function() -> None:
    with pytest.raises(ValueError, match="proxies must be a function of a genotype, but got 'a'"):
        guided("a")  # type: ignore[arg-type]


def test_left_out_is_what_the_others_say() -> None:
    rng = np.random.default_rng(0)
    places, costs = rng.random((8, 3)), rng.random(8)
    points, counts = Points(places, np.arange(3), 2), np.ones(8)
    settings = fit(points, costs, counts)
    warped = settings.warped(costs)
    targets = (warped - warped.mean()) / warped.std()
    covariance = settings.kernel(points, points) + (settings.noise + 1e-8) * np.eye(8)
    for i, found in enumerate(left_out(settings, points, costs, counts)):
        rest = np.arange(8) != i
        weights = np.linalg.solve(covariance[np.ix_(rest, rest)], targets[rest])
        expected = covariance[i, rest] @ weights * warped.std() + warped.mean()
        assert settings.warped(np.array([found]))[0] == pytest.approx(expected)


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_capacity_that_says_nothing_does_not_switch_proxies_off(unknown: float | None) -> None:
    values, costs = np.arange(20.0), np.arange(20.0)
    capacity = np.full(20, 7.0)
    if unknown is not None:
        capacity = np.append(np.full(4, unknown), np.tile([1.0, 2.0], 8))
    assert closer._correlation(values, costs, capacity) == (1.0, True)
    random = np.random.default_rng(0).permutation(20).astype(float)
    assert not closer._correlation(random, costs, capacity)[1]
