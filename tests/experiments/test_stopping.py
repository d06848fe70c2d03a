"""Early stopping in the stages of a search."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from experiments.pipeline import CandidatePipeline, Parts
from experiments.runs import create_run
from experiments.stages import RunFiles, Worker, read_result
from experiments.stopping import Watch, watch
from nas.choices import canonical, sample
from nas.protocols import Ask
from nas.trials import Trial
from tests.experiments.small import small_config

EPOCHS = 3
CONFIG = small_config(
    "early_stopping={rule: prediction, grace: 0.25}",
    f"training.epochs={EPOCHS}",
    "devices={cpu: {profile: generic-cpu, method: modeled}}",
    "objectives=[{maximize: accuracy}, {minimize: latency_ms.cpu}]",
)


class Whoever:
    """Stops after so many epochs."""

    def __init__(self, after: int) -> None:
        self.after, self.asked = after, []

    def why_stop(self, curve):
        self.asked.append(len(curve["accuracy"]))
        return "enough" if len(curve["accuracy"]) >= self.after else ""


def told(watching: Watch, epochs: int) -> list[bool]:
    return [watching.report(e, {"loss": 1.0, "accuracy": 0.5}) for e in range(epochs)]


def test_a_watch_stops_when_the_rule_says_so() -> None:
    watching = Watch(Whoever(3), {})
    assert told(watching, 3) == [True, True, False]
    assert watching.stopped == "enough"
    assert watching.curve == {"loss": (1.0,) * 3, "accuracy": (0.5,) * 3}


def test_a_watch_without_a_rule_stops_nothing() -> None:
    watching = Watch(None, {"loss": (1.0,), "accuracy": (0.1,)})
    assert told(watching, 5) == [True] * 5


def test_an_earlier_curve_may_settle_it_without_training() -> None:
    seen = {"loss": (1.0, 1.0), "accuracy": (0.5, 0.5)}
    watching = Watch(Whoever(2), seen)
    assert (watching.stopped, watching.curve) == ("enough", seen)


def test_an_earlier_curve_that_settles_nothing_leaves_no_trace() -> None:
    rule = Whoever(3)
    watching = Watch(rule, {"loss": (1.0, 1.0), "accuracy": (0.5, 0.5)})
    assert watching.stopped == ""
    assert rule.asked == [1, 2]
    assert told(watching, 3) == [True, True, False]


class Search:
    """A run whose ledger tells of some networks."""

    def __init__(self, folder) -> None:
        self.run = create_run(folder, CONFIG)
        RunFiles(self.run.path).prepare()
        self.parts = Parts.of(CONFIG)
        self.pipeline = CandidatePipeline(self.parts, self.run.path, 60.0)
        rng, self.count = random.Random(0), 0
        with self.run.ledger(write=True) as ledger:
            for _ in range(12):
                genotype = sample(self.parts.choices, rng)
                candidate = self.pipeline.candidate(genotype)
                ledger.asked(self.ask(candidate))
                ledger.done(self.good(candidate, rng), 1.0)
                self.count += 1

    def ask(self, candidate) -> Ask:
        return Ask(self.count, candidate.genotype, candidate.training_key, candidate.candidate_key)

    def good(self, candidate, rng: random.Random) -> Trial:
        """One that nothing can beat."""
        final = 1.0 - 0.001 * rng.random()
        metrics = {**self.pipeline.screen(candidate), "accuracy": final, "latency_ms.cpu": 1e-6}
        curve = {
            "loss": tuple(0.5 + 0.02 * rng.random() - 0.1 * e for e in range(EPOCHS)),
            "accuracy": (final - 0.2, *(final - 0.001 * rng.random() for _ in range(EPOCHS - 1))),
        }
        return Trial(
            self.count, candidate.genotype, candidate.training_key, candidate.candidate_key,
            "done", metrics, curve=curve,
        )  # fmt: skip

    def candidate(self, **changes):
        """A network that is not among them; asked for now."""
        base = sample(self.parts.choices, random.Random(99))
        candidate = self.pipeline.candidate(canonical(self.parts.choices, {**base, **changes}))
        with self.run.ledger(write=True) as ledger:
            ledger.asked(self.ask(candidate))
        self.count += 1
        return candidate

    def train(self, candidate):
        return Worker(self.run.path).run("train", candidate.training_key, candidate)


@pytest.fixture
def search(tmp_path) -> Search:
    return Search(tmp_path)


def plain(candidate, **changes):
    return {"prune.method": "none", "quantize.scheme": "none", **changes}


def hopeless(monkeypatch, after: int = 2) -> None:
    """Every training is stopped after so many epochs."""

    def why_stop(_, curve):
        return f"stopped after {after}" if len(curve["accuracy"]) >= after else ""

    monkeypatch.setattr("nas.stopping.Stopper.why_stop", why_stop)


def test_a_stopped_training_leaves_its_curve_but_no_network(search, monkeypatch) -> None:
    hopeless(monkeypatch)
    candidate = search.candidate(**plain(None))
    result = search.train(candidate)
    files = RunFiles(search.run.path)

    assert result.stopped == "stopped after 2"
    assert len(result.curve["accuracy"]) == 2
    assert "accuracy" not in result.readings
    assert result.readings.provenance["estimated_accuracy"].source == "modeled"
    assert read_result(files.result("train", candidate.training_key)) is None
    assert not files.trained(candidate.training_key).exists()


def test_its_variant_is_stopped_by_the_same_curve_without_training(search, monkeypatch) -> None:
    hopeless(monkeypatch)
    first = search.train(search.candidate(**plain(None)))
    monkeypatch.setattr("evaluators.training.train", None)
    variant = search.candidate(**plain(None, **{"quantize.scheme": "dynamic"}))
    again = search.train(variant)

    assert again.stopped
    assert again.curve == first.curve


def test_a_variant_that_needs_the_network_gets_it_whole(search, monkeypatch) -> None:
    hopeless(monkeypatch)
    first = search.train(search.candidate(**plain(None)))
    variant = search.candidate(**plain(None, **{"quantize.scheme": "dynamic"}))
    monkeypatch.setattr("nas.stopping.Stopper.why_stop", lambda *_: "")
    whole = search.train(variant)

    assert not whole.stopped
    assert len(whole.curve["accuracy"]) == EPOCHS
    done = len(first.curve["accuracy"])
    # The cosine is that of a whole training from its first step on, so the curves agree.
    assert whole.curve["accuracy"][:done] == first.curve["accuracy"]
    assert RunFiles(search.run.path).trained(variant.training_key).exists()


def test_what_came_after_the_ask_does_not_decide(search) -> None:
    candidate = search.candidate(**plain(None))
    with search.run.ledger() as ledger:
        before = ledger.told_before(candidate.candidate_key)
    other = search.candidate(**plain(None, **{"quantize.scheme": "static"}))
    with search.run.ledger(write=True) as ledger:
        late = search.good(other, random.Random(5))
        ledger.done(replace(late, number=search.count - 1), 2.0)
        assert ledger.told_before(candidate.candidate_key) == before == ledger.told()[:12]
        assert ledger.told_before("never asked for") == ledger.told()


def test_repetitions_are_never_stopped(search) -> None:
    candidate = replace(search.candidate(**plain(None)), repeat=1)
    known = search.pipeline.screen(candidate)
    watching = watch(CONFIG, search.run.ledger_path, candidate, known, {})
    assert told(watching, EPOCHS) == [True] * EPOCHS


def test_it_is_off_by_default(search) -> None:
    config = small_config()
    assert config.early_stopping.rule == "none"
    watching = watch(config, search.run.ledger_path, search.candidate(**plain(None)), {}, {})
    assert told(watching, EPOCHS) == [True] * EPOCHS


@pytest.mark.slow
def test_a_search_with_stops_and_its_resume(tmp_path) -> None:
    from experiments.commands import status
    from experiments.experiment import Experiment

    # Many are stopped when next to nothing has to be sure of.
    overrides = (
        "task.size=8",
        "space={kind: mlp, layers: 2}",
        "compression={prune: [none], quantize: [none, dynamic]}",
        "early_stopping={rule: prediction, confidence: 0.51}",
        "training.epochs=4",
        "strategy={kind: random}",
        "devices={cpu: {profile: generic-cpu, method: modeled}}",
        "objectives=[{maximize: accuracy}, {minimize: latency_ms.cpu}]",
        "workers=1",
    )
    result = Experiment(small_config(*overrides, "budget.trials=12"), tmp_path).run([])
    again = Experiment.resume(result.run, ["budget.trials=18"], [])
    stopped = [trial for trial in again.trials if trial.status == "stopped"]

    assert stopped
    assert len(again.trials) == 18
    assert all(trial.error.startswith("stopped after ") for trial in stopped)
    assert all(0 < len(trial.curve["accuracy"]) < 4 for trial in stopped)
    assert not {trial.number for trial in again.front} & {trial.number for trial in stopped}
    facts = status._Facts(again.run)
    assert (facts.counts["stopped"], facts.scored) == (len(stopped), 18)

    # What decided is in the ledger: decided again from there, all of it comes out the same.
    config = again.run.config
    pipeline = CandidatePipeline(Parts.of(config), again.run.path, 60.0)
    for trial in again.trials:
        candidate = pipeline.candidate(trial.genotype)
        known = pipeline.screen(candidate)
        watching = watch(config, again.run.ledger_path, candidate, known, trial.curve)
        assert watching.stopped == trial.error
