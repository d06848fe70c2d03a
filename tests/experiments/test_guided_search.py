"""Guided search with what the experiment knows before training."""

from __future__ import annotations

import random

import pytest

from experiments.experiment import Experiment
from experiments.pipeline import CandidatePipeline, Parts
from nas.choices import sample
from nas.search import SearchError
from strategies.guided.strategy import GuidedStrategy
from tests.experiments.small import small_config

GUIDED = "strategy={kind: guided, startup: 4, pool: 60}"


def test_it_is_given_what_is_known_before_training(tmp_path) -> None:
    experiment = Experiment(small_config(GUIDED), tmp_path)
    parts = Parts.of(experiment.config)
    strategy = experiment._strategy(CandidatePipeline(parts, tmp_path, 60.0))

    assert isinstance(strategy, GuidedStrategy)
    assert strategy.notes == ()
    rng = random.Random(0)
    objectives = experiment.config.objectives_parsed()
    for _ in range(8):
        strategy.tell(sample(parts.choices, rng), [rng.random() for _ in objectives])
    strategy.ask()
    assert {"macs", "params"} <= set(strategy._known.names)


def test_says_that_no_candidate_can_meet_the_constraints(tmp_path) -> None:
    config = small_config(GUIDED, "constraints=['macs <= 1']")

    with pytest.raises(SearchError, match="no candidate satisfies macs <= 1; the nearest of "):
        Experiment(config, tmp_path).run([])


@pytest.mark.slow
def test_a_search_and_its_resume(tmp_path) -> None:
    result = Experiment(small_config(GUIDED, "budget.trials=5"), tmp_path).run([])
    again = Experiment.resume(result.run, ["budget.trials=6"], [])

    assert [trial.status for trial in again.trials] == ["done"] * 6
