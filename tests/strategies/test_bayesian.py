from __future__ import annotations

import random
from typing import ClassVar

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

import strategies.bayesian
from nas.choices import Choice, Genotype, sample
from nas.objectives import Objective
from nas.protocols import Strategy
from strategies.bayesian import BayesianStrategy
from strategies.toys import HILLS, TOY, hill_costs, many_costs, play, toy_costs

OBJECTIVES = [Objective("error", "minimize"), Objective("latency_ms.cpu", "minimize")]
CONDITIONAL = [
    Choice("kind", ("plain", "inverted")),
    *(Choice(f"width{i}", tuple(range(8)), ordered=True) for i in range(3)),
    *(Choice(f"gain{i}", tuple(range(8)), when={"kind": ["inverted"]}) for i in range(3)),
]


def matched(genotype: Genotype) -> list[float]:
    """Inverted blocks are best, where each gain fits the width next to it."""
    if genotype["kind"] == "plain":
        return [1.0]
    return [sum(genotype[f"gain{i}"] != genotype[f"width{i}"] for i in range(3)) / 4]


def test_conditional_choices_are_modeled_together_with_the_others() -> None:
    objective = [Objective("error", "minimize")]
    best = [
        min(matched(g) for g in play(BayesianStrategy(CONDITIONAL, objective, seed), 150, matched))
        for seed in range(4)
    ]
    # By chance 150 of them hold a full match one time in seven.
    assert sum(costs == [0.0] for costs in best) >= 3


def test_optuna_is_left_as_the_user_set_it(capfd: pytest.CaptureFixture[str]) -> None:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        play(BayesianStrategy(TOY, OBJECTIVES, 0), 15)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(verbosity)
    assert capfd.readouterr() == ("", "")


def test_random_genotypes_until_the_start() -> None:
    early = play(BayesianStrategy(TOY, OBJECTIVES, 0, startup=5), 8)
    late = play(BayesianStrategy(TOY, OBJECTIVES, 0, startup=50), 8)
    by_chance = play(strategies.create("random", TOY, OBJECTIVES, 0), 8)
    assert early[:5] == late[:5] == by_chance[:5]
    assert early != late
    assert late == by_chance


def test_more_candidates_propose_something_else() -> None:
    few = play(BayesianStrategy(TOY, OBJECTIVES, 0, candidates=2), 20)
    assert few != play(BayesianStrategy(TOY, OBJECTIVES, 0, candidates=200), 20)


def test_a_stopped_candidate_counts_as_the_worst() -> None:
    def ask_after(error: float | None) -> list[Genotype]:
        strategy = BayesianStrategy(TOY, OBJECTIVES, 0)
        asked = play(strategy, 30)
        other = next(g for g in (sample(TOY, random.Random(i)) for i in range(9)) if g not in asked)
        strategy.tell(other, (error, 3.0))
        return [strategy.ask() for _ in range(3)]

    worst = max(toy_costs(g)[0] for g in play(BayesianStrategy(TOY, OBJECTIVES, 0), 30))
    assert ask_after(None) == ask_after(worst)
    assert ask_after(None) != ask_after(0.0)


def test_the_model_is_asked_less_often_when_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Sampler(optuna.samplers.TPESampler):
        def sample_relative(self, study, trial, space):  # type: ignore[no-untyped-def]
            asked.append(len(study.trials))
            return dict.fromkeys(space, 0)

    monkeypatch.setattr(optuna.samplers, "TPESampler", Sampler)
    for trials, calls in ((1000, 4), (30, 1)):
        monkeypatch.setattr(strategies.bayesian, "TRIALS_AN_ASK", trials)
        strategy = BayesianStrategy(TOY, OBJECTIVES, 0, startup=30)
        play(strategy, 30)
        # The only proposal of this sampler is known, so that it is asked as often as it may be.
        strategy.pending(dict.fromkeys((c.name for c in TOY if not c.when), 0) | _first_options())
        asked.clear()
        strategy.ask()
        assert asked == [30] * calls


def _first_options() -> Genotype:
    return {choice.name: choice.options[0] for choice in TOY if not choice.when}


def test_choices_without_an_alternative_are_no_matter() -> None:
    space = [Choice("only", ("this",)), *TOY, Choice("one", (1,), when={"scheme": ["static"]})]
    asked = play(BayesianStrategy(space, OBJECTIVES, 0), 25)
    assert all(genotype["only"] == "this" for genotype in asked)
    assert all(("one" in genotype) == (genotype["scheme"] == "static") for genotype in asked)


class Recording(optuna.samplers.GPSampler):
    """Proposes the first of everything; keeps what it was given."""

    seen: ClassVar[list[list[FrozenTrial]]] = []

    def sample_relative(self, study, trial, space):  # type: ignore[no-untyped-def]
        states = (TrialState.COMPLETE, TrialState.RUNNING)
        self.seen.append(study._get_trials(deepcopy=False, states=states, use_cache=False))
        return dict.fromkeys(space, 0)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[list[FrozenTrial]]:
    monkeypatch.setattr(Recording, "seen", [])
    monkeypatch.setattr(optuna.samplers, "GPSampler", Recording)
    return Recording.seen


def test_gaussian_processes_see_what_is_pending(recorded: list[list[FrozenTrial]]) -> None:
    strategy = BayesianStrategy(TOY, OBJECTIVES, 0, sampler="gp", startup=5)
    asked = play(strategy, 5)
    strategy.ask()
    strategy.ask()
    assert [len(trials) for trials in recorded] == [5, 6]
    done, waiting = recorded[1][:5], recorded[1][5]
    assert [trial.params["stem"] for trial in done] == [(8, 16, 32).index(g["stem"]) for g in asked]
    assert waiting.state == TrialState.RUNNING
    assert set(waiting.params.values()) == {0} | {len(c.options) for c in TOY if c.when}


def test_gaussian_processes_are_told_of_violations_only_where_there_are_any(
    recorded: list[list[FrozenTrial]],
) -> None:
    strategy = BayesianStrategy(TOY, OBJECTIVES, 0, sampler="gp", startup=3)
    asked = play(strategy, 3)
    strategy.ask()
    assert [trial.constraints for trial in recorded[0]] == [{}] * 3
    strategy.tell(asked[0], toy_costs(asked[0]), 2.0)
    strategy.tell(asked[1], None)
    strategy.ask()
    margins = [trial.constraints for trial in recorded[1][:3]]
    assert margins[0] == {"violation": 0.5}
    # A failure of what had a result before changes nothing.
    assert margins[1:] == [{"violation": -1.0}] * 2


def test_a_failure_is_the_worst_violation(recorded: list[list[FrozenTrial]]) -> None:
    strategy = BayesianStrategy(TOY, OBJECTIVES, 0, sampler="gp", startup=2)
    play(strategy, 1)
    play(strategy, 1, lambda genotype: None)
    strategy.ask()
    assert [trial.constraints["violation"] for trial in recorded[0]] == [-1.0, 1.0]
    assert recorded[0][1].values == recorded[0][0].values


def test_tpe_takes_over_when_there_are_too_many_results(
    recorded: list[list[FrozenTrial]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategies.bayesian, "GP_RESULTS", 12)
    strategy = BayesianStrategy(TOY, OBJECTIVES, 0, sampler="gp", startup=10)
    play(strategy, 12)
    assert (len(recorded), strategy.notes) == (2, ())
    asked = play(strategy, 10)
    # Asked after ten, eleven and twelve results.
    assert len(recorded) == 3
    (note,) = strategy.notes
    assert note == "bayesian: sampler gp is for up to 12 results; tpe went on from there"
    tpe = BayesianStrategy(TOY, OBJECTIVES, 0, startup=10)
    for genotype in [*play(BayesianStrategy(TOY, OBJECTIVES, 0, sampler="gp"), 12), *asked[:1]]:
        tpe.tell(genotype, toy_costs(genotype))
    assert tpe.ask() == asked[1]
    assert tpe.notes == ()


def test_gaussian_processes_find_the_top_of_a_hill() -> None:
    def best(strategy: Strategy) -> float:
        asked = play(strategy, 20, lambda genotype: hill_costs(genotype, 1))
        return min(hill_costs(genotype, 1)[0] for genotype in asked)

    error, by_model, by_chance = [Objective("error", "minimize")], 0.0, 0.0
    for seed in (2, 3):
        by_model += best(BayesianStrategy(HILLS, error, seed, sampler="gp", startup=8))
        by_chance += best(strategies.create("random", HILLS, error, seed))
    assert by_model < 0.75 * by_chance


def test_four_objectives_at_a_thousand_results_stay_bearable() -> None:
    """The model is asked once then; it must neither fail nor repeat itself."""
    objectives = [Objective(metric, "minimize") for metric in ("a", "b", "c", "d")]
    strategy, rng = BayesianStrategy(TOY, objectives, 0), random.Random(0)
    for _ in range(1000):
        genotype = sample(TOY, rng)
        strategy.tell(genotype, many_costs(genotype, 4))
    first = strategy.ask()
    assert first != strategy.ask()
