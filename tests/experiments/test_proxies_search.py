"""Proxies as a stage of a search, and as features of guided."""

from __future__ import annotations

import random

import pytest

from experiments.config import ConfigError, load_config
from experiments.experiment import Experiment
from experiments.pipeline import CandidatePipeline, Parts
from experiments.runs import create_run, list_runs
from experiments.stages import RunFiles, Worker
from nas.choices import sample
from nas.search import SearchError
from tests.experiments.small import OVERRIDES, small_config

NAMES = "proxies.names=[synflow, naswot]"
QUICK = (
    *("devices={}", "objectives=[{maximize: accuracy}, {minimize: macs}]", "workers=1"),
    *("compression={prune: [none]}", "space={kind: convnet, stages: 1}"),
)
GUIDED = "strategy={kind: guided, startup: 4, pool: 60}"


def test_a_stage_before_training_shared_by_variants(tmp_path) -> None:
    run = create_run(tmp_path, small_config(NAMES))
    RunFiles(run.path).prepare()
    parts = Parts.of(run.config)
    pipeline = CandidatePipeline(parts, run.path, 60.0)
    (stage,) = (stage for stage in pipeline.stages if stage.name == "proxies")
    assert [stage.name for stage in pipeline.stages][:2] == ["proxies", "train"]
    assert stage.screens
    genotype = sample(parts.choices, random.Random(0))
    candidate = pipeline.candidate(genotype)
    assert stage.key(candidate) == candidate.training_key

    here = pipeline.proxies(genotype)
    RunFiles(run.path).result("proxies", candidate.training_key).unlink()
    there = Worker(run.path).run("proxies", stage.key(candidate), candidate).readings

    assert set(here) == {"proxy_synflow", "proxy_naswot"}
    assert here == there == pipeline.proxies(genotype)


def test_off_unless_asked_for() -> None:
    config = small_config()
    assert config.proxies.names == ()
    assert Parts.of(config).proxies is None


def test_guided_is_given_them_only_as_features(tmp_path) -> None:
    def of(*overrides: str) -> object:
        experiment = Experiment(small_config(GUIDED, NAMES, *overrides), tmp_path)
        return experiment._strategy(CandidatePipeline(experiment._parts, tmp_path, 60.0))

    assert of()._closer is None  # type: ignore[attr-defined]
    assert of("proxies.features=true")._closer is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["proxies.names=[synflo]"], "unknown proxy 'synflo'; did you mean 'synflow'.*naswot"),
        (["proxies.names=[zico, zico]"], "must be different ones"),
        (["proxies.features=true"], "needs the names of proxies, but there are none"),
        (
            ["proxies.features=true", NAMES, "strategy={kind: random}"],
            "proxies.features is for the strategy guided, but got random",
        ),
    ],
)
def test_what_cannot_be(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("smoke", [*OVERRIDES, *overrides])


@pytest.mark.parametrize(
    ("option", "section"), [("proxies: synflow", "proxies"), ("prior: 5", "transfer")]
)
def test_the_strategy_section_does_not_name_them(tmp_path, option: str, section: str) -> None:
    with pytest.raises(ConfigError, match=f"come from the section '{section}', no option here"):
        Experiment(small_config(f"strategy={{kind: guided, {option}}}"), tmp_path)


def test_a_metric_only_where_it_is_computed(tmp_path) -> None:
    bound = "constraints=['proxy_synflow >= 1']"
    assert Experiment(small_config(NAMES, bound), tmp_path)
    with pytest.raises(ConfigError, match="unknown metric 'proxy_synflow'"):
        Experiment(small_config(bound), tmp_path)


@pytest.mark.slow
def test_a_search_with_proxies_rejects_by_them(tmp_path) -> None:
    impossible = "constraints=['proxy_naswot >= 1000000']"
    config = small_config(*QUICK, NAMES, impossible, "budget.rejected=2", "budget.trials=1")
    with pytest.raises(SearchError, match="the nearest of 2 screened violates proxy_naswot"):
        Experiment(config, tmp_path).run([])
    with list_runs(tmp_path)[0].ledger() as ledger:
        trials = ledger.trials()
    assert [trial.status for trial in trials] == ["rejected"] * len(trials)
    assert "surely violates proxy_naswot >= 1e+06" in trials[0].error
    assert "train" not in trials[0].seconds


@pytest.mark.slow
def test_a_search_with_proxies(tmp_path) -> None:
    config = small_config(*QUICK, GUIDED, NAMES, "proxies.features=true", "budget.trials=2")
    result = Experiment(config, tmp_path).run([])
    for trial in result.trials:
        assert trial.status == "done"
        assert {"proxy_synflow", "proxy_naswot"} <= set(trial.metrics)
        assert "proxies" in trial.seconds


class Listening:
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, *_: object) -> None: ...
    def finished(self, *_: object) -> None: ...
    def noted(self, line: str) -> None:
        self.lines.append(line)


OWN = """
from torch import nn
from nas.choices import Choice
CHOICES = [Choice("width", (8, 16))]
def build(genotype, task):
    raise RuntimeError("no such layer")
"""


def test_a_search_of_failures_says_what_they_failed_of_and_that_proxies_are_not_used(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    config = small_config(
        *QUICK[:2], f"space={{kind: python, file: {file}}}", GUIDED, NAMES,
        "compression={prune: [none], quantize: [none]}", "proxies.features=true",
    )  # fmt: skip
    heard = Listening()
    with pytest.raises(SearchError, match="2 of 2 failed alike: .*no such layer"):
        Experiment(config, tmp_path).run([lambda run: heard])
    assert "proxies.features: nothing is screened before training, so they are not used" in (
        heard.lines
    )
