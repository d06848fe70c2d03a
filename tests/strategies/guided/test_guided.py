"""Guided search: what it makes of what is known before training, and of odd input."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

import strategies
from nas.choices import Choice, Genotype, enumerate_genotypes, sample, validate
from nas.objectives import Constraint, Objective
from nas.pareto import hypervolume, reference_point
from nas.trials import CandidateError, Exhausted
from strategies.guided.strategy import GuidedStrategy
from strategies.toys import TINY, TOY, play, regret, toy_costs

OBJECTIVES = (Objective("error", "minimize"), Objective("latency_ms.cpu", "minimize"))


def screen(genotype: Genotype) -> dict[str, float]:
    """Latency is known, and how much is computed."""
    return {"latency_ms.cpu": toy_costs(genotype)[1], "macs": toy_costs(genotype)[1] ** 1.2}


def guided(
    choices: Sequence[Choice] = TOY,
    screen: Callable[[Genotype], Mapping[str, float]] | None = screen,
    constraints: Sequence[str] = (),
    objectives: Sequence[Objective] = OBJECTIVES,
    seed: int = 0,
    **options: Any,
) -> GuidedStrategy:
    bounds = [Constraint.parse(text) for text in constraints]
    made = strategies.create("guided", choices, objectives, seed, screen, bounds, **options)
    assert isinstance(made, GuidedStrategy)
    return made


def all_asked(strategy: GuidedStrategy) -> list[Genotype]:
    """Until there is nothing left."""
    asked: list[Genotype] = []
    with contextlib.suppress(Exhausted):
        while True:
            asked.append(strategy.ask())
    return asked


@pytest.mark.parametrize("proposer", ["genetic", "bayesian", "random"])
def test_what_is_known_before_training_saves_trainings(proposer: str) -> None:
    found = [regret(play(guided(proposer=proposer, seed=seed), 40)) for seed in range(2)]
    blind = [strategies.create("genetic", TOY, OBJECTIVES, seed) for seed in range(4)]
    assert sum(found) / 2 < 0.5 * sum(regret(play(each, 40)) for each in blind) / 4


@pytest.mark.parametrize("proposer", ["genetic", "bayesian", "random"])
def test_a_replay_asks_the_same(proposer: str) -> None:
    live, told = guided(proposer=proposer), []
    for i in range(20):
        genotype = live.ask()
        if i % 5 == 4:
            waiting = genotype
            continue
        told.append(genotype)
        live.tell(genotype, toy_costs(genotype))
        if i % 5 == 1 and i > 4:
            told.append(waiting)
            live.tell(waiting, toy_costs(waiting))
    again = guided(proposer=proposer)
    for genotype in told:
        again.tell(genotype, toy_costs(genotype))
    again.pending(waiting)

    assert [live.ask() for _ in range(3)] == [again.ask() for _ in range(3)]


def test_accuracy_in_percent_asks_the_same() -> None:
    objectives = (Objective("accuracy", "maximize"), OBJECTIVES[1])

    def told(genotype: Genotype, factor: float) -> tuple[float, float]:
        error, latency_ms = toy_costs(genotype)
        return -factor * (1 - error), latency_ms

    asked = [
        play(guided(objectives=objectives), 30, functools.partial(told, factor=factor))
        for factor in (1.0, 100.0)
    ]
    assert asked[0] == asked[1]


def test_what_is_asked_for_is_no_worse_than_its_neighbours_by_far() -> None:
    """The ascent goes on from the best candidate of the pool, beyond what is in there."""
    strategy = guided(pool=16, exploration=0.0)
    play(strategy, 30)
    observations = strategy._history.observations
    codes, gains = strategy._scored(observations, random.Random(0))

    assert len(codes) > 2 * 16
    best = codes[int(gains.argmax())]
    near = [c for c in strategy._pool.near(best, 1000, ()) if not strategy._history.knows(c)]
    of_near = strategy._gains(strategy._evidence(observations), [best, *near])
    assert of_near[0] >= 0.8 * of_near.max()


def test_what_is_pending_is_not_bet_on_twice() -> None:
    strategy = guided()
    play(strategy, 30)
    batch = [strategy.ask() for _ in range(6)]

    assert len({json.dumps(genotype) for genotype in batch}) == 6
    latencies = sorted(toy_costs(genotype)[1] for genotype in batch)
    assert latencies[-1] > 1.2 * latencies[0]


def test_the_first_have_much_capacity_for_their_latency_half_of_the_time() -> None:
    def known(genotype: Genotype) -> dict[str, float]:
        latency_ms = toy_costs(genotype)[1]
        bonus = 2.0 if genotype["stage1.kind"] == "separable" else 1.0
        return {"latency_ms.cpu": latency_ms, "macs": latency_ms * bonus}

    strategy = guided(screen=known)
    first = [strategy.ask() for _ in range(10)]
    chosen = [genotype["stage1.kind"] == "separable" for genotype in first]
    assert sum(chosen[::2]) >= 4
    assert sum(chosen) < 8


@pytest.mark.parametrize("objectives", [1, 3, 4])
def test_other_numbers_of_objectives(objectives: int) -> None:
    named = [*OBJECTIVES, Objective("size_kb", "minimize"), Objective("macs", "minimize")]

    def costs(genotype: Genotype) -> list[float]:
        error, latency_ms = toy_costs(genotype)
        return [error, latency_ms, float(genotype["stem"]) + error, latency_ms**1.2][:objectives]

    strategy = guided(objectives=named[:objectives])
    found = [costs(genotype) for genotype in play(strategy, 40, costs)]
    blind = strategies.create("random", TOY, named[:objectives], 0)
    by_chance = [costs(genotype) for genotype in play(blind, 40, costs)]
    reference = reference_point([*map(tuple, by_chance)])
    assert hypervolume([*map(tuple, found)], reference) >= hypervolume(
        [*map(tuple, by_chance)], reference
    )


def test_an_estimate_is_corrected_by_what_is_measured() -> None:
    """The estimate is half of it, and less where a stage is inverted."""

    def estimate(genotype: Genotype) -> dict[str, float]:
        factor = 0.3 if genotype["stage1.kind"] == "inverted" else 0.5
        return {"latency_ms.cpu": factor * toy_costs(genotype)[1]}

    strategy = guided(screen=estimate)
    play(strategy, 50)
    unseen = [sample(TOY, random.Random(i)) for i in range(30)]
    off = [
        abs(math.log(believed[1] / toy_costs(genotype)[1]))
        for genotype, believed in zip(unseen, strategy.expected_costs(unseen), strict=True)
    ]
    assert sorted(off)[15] < 0.1
    assert regret(play(guided(screen=estimate, seed=1), 60)) < 0.1


def test_noisy_results_are_not_all_believed() -> None:
    rng = random.Random(0)

    def noisy(genotype: Genotype) -> tuple[float, float]:
        error, latency_ms = toy_costs(genotype)
        return error + rng.gauss(0, 0.02), latency_ms

    strategy, told = guided(), []
    for _ in range(60):
        genotype = strategy.ask()
        told.append((genotype, noisy(genotype)[0]))
        strategy.tell(genotype, (told[-1][1], toy_costs(genotype)[1]))
    believed = strategy.expected_costs([genotype for genotype, _ in told])
    truth = [toy_costs(genotype)[0] for genotype, _ in told]

    def distance(values: list[float]) -> float:
        return sum((a - b) ** 2 for a, b in zip(values, truth, strict=True))

    assert distance([b[0] for b in believed]) < 0.7 * distance([error for _, error in told])


def test_without_results_nothing_is_expected() -> None:
    with pytest.raises(ValueError, match="needs 10 results"):
        guided().expected_costs([sample(TOY, random.Random(0))])


# Odd input


def test_says_that_without_a_screen_it_learns_from_choices_alone() -> None:
    strategy = guided(screen=None)

    assert strategy.notes == (
        "guided: nothing is known before training (no screen): it learns from choices alone; "
        "a space of your own is screened once it defines blocks",
    )
    assert guided().notes == ()


def test_says_when_no_candidate_satisfies_the_constraints() -> None:
    strategy = guided(constraints=["latency_ms.cpu <= 2", "latency_ms.cpu >= 100"])
    (note,) = strategy.notes

    assert note.startswith("guided: no candidate of 486 satisfies latency_ms.cpu <= 2 and ")
    assert "; nearest violates by " in note
    with pytest.raises(Exhausted, match="no candidate satisfies"):
        strategy.ask()


def test_heeds_constraints_on_what_is_known() -> None:
    for genotype in play(guided(constraints=["latency_ms.cpu <= 5"]), 40):
        assert toy_costs(genotype)[1] <= 5


def test_passes_over_what_cannot_be_built() -> None:
    def refusing(genotype: Genotype) -> dict[str, float]:
        if genotype["stem"] == 8:
            raise CandidateError("too narrow")
        return screen(genotype)

    strategy = guided(screen=refusing)
    strategy.tell(next(g for g in enumerate_genotypes(TOY) if g["stem"] == 8), (0.1, 3.0))
    assert all(genotype["stem"] != 8 for genotype in play(strategy, 30))


def test_where_all_is_known_it_asks_for_the_modeled_front() -> None:
    def all_known(genotype: Genotype) -> dict[str, float]:
        return dict(zip(("error", "latency_ms.cpu"), toy_costs(genotype), strict=True))

    strategy = guided(screen=all_known)
    (note,) = strategy.notes
    assert "nothing is trained to search, only the front" in note
    asked = all_asked(strategy)
    with pytest.raises(Exhausted, match="on the front of what is modeled have been asked for"):
        strategy.ask()
    costs = [toy_costs(genotype) for genotype in asked]
    assert len(set(costs)) == len(costs) < 200
    assert regret(asked) < 0.03
    assert strategy.expected_improvement() is None


def test_where_all_is_known_failures_are_replaced_and_a_replay_asks_the_same() -> None:
    def all_known(genotype: Genotype) -> dict[str, float]:
        width, kind = float(genotype.get("width", 4)), genotype["kind"]
        return {"error": 1.0 / width, "latency_ms.cpu": width + (kind == "inverted")}

    live = guided(TINY, screen=all_known)
    first = all_asked(live)
    assert sorted(all_known(g)["error"] for g in first) == [1 / 16, 1 / 8, 1 / 4]
    failed = next(genotype for genotype in first if genotype.get("width") == 8)
    live.tell(failed, None)
    (other,) = all_asked(live)
    assert other.get("width") == 8
    again = guided(TINY, screen=all_known)
    again.tell(failed, None)
    for genotype in first:
        again.pending(genotype)
    assert all_asked(again) == [other]


def test_a_constraint_that_has_to_be_trained_for_is_no_search_of_models() -> None:
    def known(genotype: Genotype) -> dict[str, float]:
        return {"latency_ms.cpu": toy_costs(genotype)[1]}

    strategy = guided(screen=known, objectives=OBJECTIVES[1:], constraints=["error <= 0.2"])
    assert strategy.notes == ()

    def violation(genotype: Genotype) -> float:
        return max(0.0, toy_costs(genotype)[0] - 0.2)

    asked = play(strategy, 40, lambda g: toy_costs(g)[1:], violation)
    assert any(violation(genotype) == 0 for genotype in asked)


def test_the_front_of_models_heeds_a_constraint_that_few_meet() -> None:
    def all_known(genotype: Genotype) -> dict[str, float]:
        return dict(zip(("error", "latency_ms.cpu"), toy_costs(genotype), strict=True))

    strategy = guided(screen=all_known, constraints=["latency_ms.cpu <= 2.33"])
    asked = all_asked(strategy)
    assert asked
    assert all(toy_costs(genotype)[1] <= 2.33 for genotype in asked)


def test_says_how_much_the_next_ask_is_expected_to_add() -> None:
    strategy, shares = guided(), []
    for _ in range(40):
        shares.append(strategy.expected_improvement())
        again = strategy.expected_improvement()
        assert again == shares[-1]
        genotype = strategy.ask()
        strategy.tell(genotype, toy_costs(genotype))
    known = [share for share in shares if share is not None]
    assert shares[:10] == [None] * 10
    assert all(0 <= share < 1 for share in known)
    assert sum(known[-5:]) < 0.2 * sum(known[:5])


def test_saying_what_is_expected_changes_no_ask() -> None:
    asked = []
    for is_asked in (True, False):
        strategy = guided(pool=100)
        found = []
        for _ in range(16):
            if is_asked:
                strategy.expected_improvement()
            found.append(strategy.ask())
            strategy.tell(found[-1], toy_costs(found[-1]))
        asked.append(found)
    assert asked[0] == asked[1]


def seconds(genotype: Genotype) -> float:
    return 0.1 + screen(genotype)["macs"]


def spent(strategy: GuidedStrategy, limit_s: float) -> float:
    """The regret after so many seconds of training."""
    left, trained = limit_s, []
    while True:
        genotype = strategy.ask()
        left -= seconds(genotype)
        if left < 0:
            return regret(trained)
        strategy.took(genotype, seconds(genotype))
        strategy.tell(genotype, toy_costs(genotype))
        trained.append(genotype)


def test_time_is_spent_where_it_buys_most() -> None:
    limit_s = 25 * sum(seconds(sample(TOY, random.Random(i))) for i in range(50)) / 50
    found = {
        each: sum(spent(guided(seed=seed, per_second=each), limit_s) for seed in range(3))
        for each in (True, False)
    }
    assert found[True] < found[False]


def test_what_trials_took_is_part_of_a_replay() -> None:
    live, again, told = guided(), guided(), []
    for _ in range(18):
        told.append(live.ask())
        live.took(told[-1], seconds(told[-1]))
        live.tell(told[-1], toy_costs(told[-1]))
    for genotype in told:
        again.took(genotype, seconds(genotype))
        again.tell(genotype, toy_costs(genotype))
    assert [live.ask() for _ in range(3)] == [again.ask() for _ in range(3)]


def test_per_second_is_true_or_false() -> None:
    with pytest.raises(ValueError, match="per_second must be true or false, but got 'yes'"):
        guided(per_second="yes")


def test_a_small_space_is_tried_out_whatever_is_known() -> None:
    def known(genotype: Genotype) -> dict[str, float]:
        return {"latency_ms.cpu": float(genotype.get("width", 4)), "macs": 1.0}

    strategy = guided(TINY, screen=known, startup=3)
    asked = play(strategy, 9, lambda g: (float(g.get("expansion", 1)), known(g)["latency_ms.cpu"]))
    assert len({json.dumps(genotype) for genotype in asked}) == 9
    with pytest.raises(Exhausted):
        strategy.ask()


@pytest.mark.parametrize("constant", [0, 1])
def test_a_metric_that_never_changes(constant: int) -> None:
    def costs(genotype: Genotype) -> list[float]:
        found = list(toy_costs(genotype))
        found[constant] = 5.0
        return found

    strategy = guided(screen=lambda genotype: {"latency_ms.cpu": costs(genotype)[1]})
    found = [costs(genotype)[1 - constant] for genotype in play(strategy, 40, costs)]
    by_chance = [costs(sample(TOY, random.Random(i)))[1 - constant] for i in range(40)]
    assert min(found) < min(by_chance)


def test_costs_that_are_infinite_or_missing() -> None:
    def costs(genotype: Genotype) -> tuple[float | None, float]:
        error, latency_ms = toy_costs(genotype)
        unknown = {8: math.nan, 16: math.inf}.get(int(genotype["stem"]), error)
        return unknown, latency_ms

    for genotype in play(guided(), 40, costs):
        validate(TOY, genotype)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proposer": "annealing"}, "annealing"),
        ({"startup": 1}, "startup must be a whole number of at least 2, but got 1"),
        ({"pool": 3}, "pool must be a whole number of at least 16, but got 3"),
        ({"exploration": 2}, "exploration must be a share from 0 to 1, but got 2"),
        ({"population": 3}, "population"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        guided(**options)


def test_many_results_take_a_subset() -> None:
    strategy, rng = guided(pool=100), random.Random(0)
    for _ in range(1300):
        genotype = sample(TOY, rng)
        strategy.tell(genotype, toy_costs(genotype))

    assert toy_costs(strategy.ask())[0] < 0.2


# In whatever unit


@pytest.mark.parametrize(("factor", "shift"), [(1024.0, 0.0), (1.0, 64.0), (7.0, -30.0)])
def test_asks_the_same_of_a_screened_objective_in_another_unit(factor: float, shift: float) -> None:
    def evaluate(genotype: Genotype, factor: float, shift: float) -> tuple[float, float]:
        error, latency_ms = toy_costs(genotype)
        return error, factor * latency_ms + shift

    def asked(factor: float, shift: float) -> list[dict[str, Any]]:
        def known(genotype: Genotype) -> dict[str, float]:
            latency_ms = toy_costs(genotype)[1]
            costs = {"latency_ms.cpu": factor * latency_ms + shift}
            return {**costs, "macs": latency_ms**1.2, "params": 1e3 * int(genotype["stem"])}

        costs = functools.partial(evaluate, factor=factor, shift=shift)
        return [dict(g) for g in play(guided(screen=known), 40, costs)]

    assert asked(factor, shift) == asked(1.0, 0.0)


def test_a_screen_that_knows_nothing_of_use_only_rules_out() -> None:
    def known(genotype: Genotype) -> dict[str, float]:
        return {"latency_ms.fpga": float(genotype["stem"])}

    error = [OBJECTIVES[0]]
    strategy = guided(screen=known, constraints=["latency_ms.fpga <= 16"], objectives=error)
    for _ in range(14):
        genotype = strategy.ask()
        assert known(genotype)["latency_ms.fpga"] <= 16
        strategy.tell(genotype, toy_costs(genotype)[:1])


@pytest.mark.parametrize("stem", [8, 16])
def test_what_is_known_of_some_only_has_to_be_trained_for(stem: int) -> None:
    def known(genotype: Genotype) -> dict[str, float]:
        error, latency = toy_costs(genotype)
        partly = genotype["stem"] != stem
        return {"latency_ms.cpu": latency} | ({} if partly else {"error": error})

    strategy = guided(screen=known)
    for _ in range(14):
        genotype = strategy.ask()
        strategy.tell(genotype, toy_costs(genotype))
    assert strategy.expected_improvement() is not None


def test_the_front_of_models_is_of_those_of_which_all_is_known() -> None:
    everything = [*enumerate_genotypes(TINY)]

    def known(genotype: Genotype) -> dict[str, float]:
        place = everything.index(dict(genotype))
        return {"error": math.nan if place == 5 else 10.0 - place, "latency_ms.cpu": 1.0 + place}

    strategy = guided(TINY, known)
    front = [strategy._history.decode(code) for code in strategy._modeled.without([])]
    assert len(front) == len(everything) - 1
    assert everything[5] not in front
