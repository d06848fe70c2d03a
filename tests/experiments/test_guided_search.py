"""Guided search with what the experiment knows before training."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from experiments.all_known import HINT, hint
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


@pytest.mark.slow
def test_says_that_no_candidate_can_meet_the_constraints(tmp_path) -> None:
    config = small_config(GUIDED, "constraints=['macs <= 1']")

    with pytest.raises(SearchError, match="no candidate satisfies macs <= 1; the nearest of "):
        Experiment(config, tmp_path).run([])


class Listener:
    """Hears what is said, and how much was screened."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.screened = 0

    def started(self, ask: object, progress: object) -> None:
        pass

    def finished(self, trial: object, progress: object) -> None:
        pass

    def noted(self, line: str) -> None:
        self.lines.append(line)

    def screening(self, candidates: int) -> None:
        self.screened += candidates


CHEAP = (
    "objectives=[{minimize: macs}, {minimize: latency_ms.fpga}]",
    "space={kind: convnet, stages: 1}",
    "compression={}",
)


@pytest.mark.slow
def test_where_all_is_known_only_the_modeled_front_is_trained(tmp_path) -> None:
    heard = Listener()
    config = small_config(GUIDED, *CHEAP, "budget.trials=200")
    result = Experiment(config, tmp_path).run([lambda run: heard])

    assert result.outcome.reason == "exhausted"
    assert "on the front of what is modeled have been asked for" in result.outcome.detail
    assert [trial.status for trial in result.trials] == ["done"] * len(result.front)
    assert all(trial.artifact for trial in result.front)
    assert len(heard.lines) == 1
    assert "nothing is trained to search" in heard.lines[0]
    assert heard.screened >= 100


@pytest.mark.parametrize(
    ("overrides", "is_said"),
    [
        (CHEAP, True),
        ((*CHEAP, "constraints=['accuracy >= 0.5']"), False),
        ((*CHEAP, "objectives=[{minimize: macs}, {minimize: latency_ms.cpu}]"), False),
        ((GUIDED, *CHEAP), False),
    ],
)
def test_other_strategies_are_told_of_it(overrides: tuple[str, ...], is_said: bool) -> None:
    config = small_config(*overrides)
    parts = Parts.of(config)
    pipeline = CandidatePipeline(parts, Path(), 60.0)

    assert hint(config, parts.choices, pipeline.known) == (HINT if is_said else "")


@pytest.mark.slow
def test_a_search_and_its_resume(tmp_path) -> None:
    result = Experiment(small_config(GUIDED, "budget.trials=5"), tmp_path).run([])
    again = Experiment.resume(result.run, ["budget.trials=6"], [])

    assert [trial.status for trial in again.trials] == ["done"] * 6
