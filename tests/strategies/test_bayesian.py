from __future__ import annotations

import random

import optuna
import pytest

import strategies.bayesian
from nas.choices import Choice, Genotype, sample
from nas.objectives import Objective
from strategies.bayesian import BayesianStrategy
from strategies.toys import TOY, play, toy_costs

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
