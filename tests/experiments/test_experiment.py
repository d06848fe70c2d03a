import contextlib
import sqlite3

import pytest

from experiments.config import ConfigError
from experiments.experiment import Experiment
from experiments.runs import find_run, list_runs
from experiments.second_look import META
from nas.search import SearchError
from tests.experiments.small import small_config, small_yaml


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


class Ears:
    """A recorder that only listens."""

    def __init__(self, run):
        self.run, self.heard = run, []

    def started(self, ask, progress):
        self.heard.append(("started", ask.number))

    def finished(self, trial, progress):
        self.heard.append(("finished", trial.number, progress))


@pytest.fixture(scope="module")
def ears():
    return []


@pytest.fixture(scope="module")
def result(home, ears):
    def listen(run):
        ears.append(Ears(run))
        return ears[-1]

    return Experiment(small_config(), home).run([listen])


def test_it_meets_its_budget(result):
    assert result.outcome.reason == "trials"
    assert [trial.number for trial in result.trials] == [0, 1, 2]
    assert {trial.status for trial in result.trials} == {"done"}
    assert result.run.state.status == "finished"


def test_every_trial_has_all_latencies_and_says_where_from(result):
    for trial in result.trials:
        sources = {
            name.removeprefix("latency_ms."): trial.provenance[name].source
            for name in trial.metrics
            if name.startswith("latency_ms.")
        }
        assert sources == {
            "cpu": "measured",
            "gpu": "modeled",
            "tpu": "modeled",
            "fpga": "modeled",
        }
        for name in trial.metrics:
            assert name in trial.provenance


def test_the_front_is_not_dominated(result):
    front = result.front
    assert front
    assert tuple(sorted(t.number for t in front)) == result.outcome.progress.front


def test_recorders_hear_of_every_trial(result, ears):
    assert ears[0].run.id == result.run.id
    finished = [heard for heard in ears[0].heard if heard[0] == "finished"]
    assert sorted(heard[1] for heard in finished) == [0, 1, 2]


def test_a_frame_has_a_row_a_trial(result):
    frame = result.to_frame()
    assert list(frame["trial"]) == [0, 1, 2]
    objectives = [objective.metric for objective in result.run.config.objectives_parsed()]
    assert list(frame.columns[3 : 3 + len(objectives)]) == objectives
    assert {"accuracy", "latency_ms.cpu", "quantize.scheme"} <= set(frame.columns)


def test_the_front_is_measured_again(result):
    again = result.run.ledger().get_meta(META)["cpu"]
    assert again["error"] == ""
    assert set(again["trials"]) == {str(trial.number) for trial in result.front}


def test_the_same_seed_finds_the_same_candidates(result, home):
    again = Experiment(small_config("workers=1"), home).run()
    first = {t.number: (t.candidate_key, t.metrics["accuracy"]) for t in result.trials}
    second = {t.number: (t.candidate_key, t.metrics["accuracy"]) for t in again.trials}
    # Later asks depend on which results were in by then.
    assert second[0] == first[0]


def test_a_finished_search_goes_on_with_a_larger_budget(home):
    first = Experiment(small_config("budget.trials=1", "workers=1"), home).run()
    more = Experiment.resume(find_run(home, first.run.id), ["budget.trials=2"])
    assert [t.number for t in more.trials] == [0, 1]
    assert more.trials[0] == first.trials[0]
    assert find_run(home, first.run.id).config.budget.trials == 2


def test_resuming_a_spent_search_does_nothing(result):
    again = Experiment.resume(result.run)
    assert again.trials == result.trials
    assert again.outcome.reason == "trials"


def test_a_resumed_search_keeps_what_results_depend_on(result):
    with pytest.raises(ConfigError, match="training: a resumed search keeps it"):
        Experiment.resume(result.run, ["training.epochs=9"])
    assert result.run.config.training.epochs == 1


def test_a_bad_config_leaves_no_run(home):
    before = [run.id for run in list_runs(home)]
    with pytest.raises(ConfigError, match="unknown metric"):
        Experiment(small_config("objectives=[{minimize: lateness}]"), home).run()
    with pytest.raises(ConfigError, match="tracking: .*foo"):
        Experiment(small_config("tracking={uri: 'foo://bar'}"), home).run()
    with pytest.raises(ConfigError, match="strategy"):
        Experiment(small_config("strategy={kind: bayesian, populaton: 3}"), home).run()
    assert [run.id for run in list_runs(home)] == before


def test_a_yaml_file_runs(tmp_path):
    path = small_yaml(tmp_path, "budget.trials=1", "workers=1")
    result = Experiment.from_yaml(path, where=tmp_path / "runs").run()
    assert len(result.trials) == 1


BROKEN_SPACE = """
from nas.choices import Choice

CHOICES = [Choice("width", (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12))]

def build(genotype, task):
    import torch
    if genotype["width"] in {bad}:
        raise RuntimeError("no such width")
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, genotype["width"]), torch.nn.ReLU(),
        torch.nn.Linear(genotype["width"], task.outputs),
    )
"""


def test_failing_candidates_cost_themselves_only(tmp_path):
    (tmp_path / "mine.py").write_text(BROKEN_SPACE.replace("{bad}", "range(1, 7)"))
    config = small_config(
        f"space={{kind: python, file: {tmp_path / 'mine.py'}}}",
        "compression={prune: [none], quantize: [none]}",
        "budget.trials=12",
        "strategy={kind: random}",
        "workers=1",
    )
    result = Experiment(config, tmp_path / "runs").run()
    assert result.outcome.reason in ("trials", "exhausted")
    errors = [trial.error for trial in result.trials if trial.status == "failed"]
    assert all("no such width" in error for error in errors)
    assert sum(trial.status == "done" for trial in result.trials) == 6


def test_a_search_of_failures_only_says_so(tmp_path):
    (tmp_path / "mine.py").write_text(BROKEN_SPACE.replace("{bad}", "range(1, 13)"))
    config = small_config(
        f"space={{kind: python, file: {tmp_path / 'mine.py'}}}",
        "compression={prune: [none], quantize: [none]}",
        "budget.trials=30",
        "strategy={kind: random}",
    )
    with pytest.raises(SearchError, match="no such width"):
        Experiment(config, tmp_path / "runs").run()
    run = find_run(tmp_path / "runs", "latest")
    assert run.state.status == "failed"
    assert "no such width" in run.state.note


def test_a_build_that_ends_its_process_costs_its_trial_only(tmp_path):
    text = BROKEN_SPACE.replace("{bad}", "range(1, 5)")
    text = text.replace('raise RuntimeError("no such width")', "__import__('os')._exit(0)")
    (tmp_path / "mine.py").write_text(text)
    config = small_config(
        f"space={{kind: python, file: {tmp_path / 'mine.py'}}}",
        "compression={prune: [none], quantize: [none]}",
        "budget.trials=12",
        "strategy={kind: random}",
        "workers=1",
    )
    result = Experiment(config, tmp_path / "runs").run()
    failed = [trial for trial in result.trials if trial.status == "failed"]
    assert len(failed) == 4
    assert all(trial.error.startswith("screen: ") for trial in failed)
    done = [trial for trial in result.trials if trial.status == "done"]
    assert len(done) == 8
    assert {"macs", "latency_ms.gpu"} <= set(done[0].metrics)


RANDOM_TASK = """
import numpy as np
from evaluators.tasks import classification_by_split

def load():
    rng = np.random.default_rng()
    return classification_by_split("noise", rng.random((60, 1, 8, 8)), np.arange(60) % 3)
"""


def test_a_task_that_gives_other_data_each_time_is_found_out(tmp_path):
    (tmp_path / "mine.py").write_text(RANDOM_TASK)
    config = small_config(
        f"task={{kind: python, function: '{tmp_path / 'mine.py'}:load'}}",
        "budget.trials=12",
        "workers=1",
    )
    with pytest.raises(SearchError, match="other data than when the search began"):
        Experiment(config, tmp_path / "runs").run()


def test_mlflow_follows_unless_it_is_switched_off(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = small_config("budget.trials=1", "workers=1", "tracking.enabled=true")
    result = Experiment(config, tmp_path / "runs").run()
    assert len(result.trials) == 1
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        statuses = [status for (status,) in store.execute("SELECT status FROM runs")]
    assert statuses == ["FINISHED"] * 2


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (["space: {kind: convnet, depht: 3}"], "x.yaml:4: space: .*depht"),
        (["objectives: [{maximize: acuracy}]"], "x.yaml:6: objectives: .*'accuracy'"),
        (["strategy: {kind: bayes}"], "x.yaml:5: strategy: .*'bayesian'"),
        (["strategy: {kind: genetic, algorithm: nsga4}"], "5: strategy: unknown algorithm 'nsga4'"),
        (["strategy: {kind: genetic, algorithm: [nsga2]}"], "5: strategy: unknown algorithm "),
        (["strategy: {kind: genetic, sampler: gp}"], "unknown option of strategy 'genetic': 'samp"),
        (["strategy: {kind: genetic, seed: 3}"], "unknown option of strategy 'genetic': 'seed'"),
        (["strategy: {kind: bayesian, sampler: GP}"], "unknown sampler 'GP'"),
        (["strategy: {kind: local, startup: none}"], "startup must be a whole number .* 'none'"),
        (["strategy: {kind: random, startup: 3}"], "strategy 'random' has no options"),
    ],
)
def test_what_is_wrong_has_its_line(tmp_path, lines, place):
    sections = {
        "name": "name: x",
        "task": "task: {kind: digits, size: 8}",
        "budget": "budget: {trials: 1}",
        "space": "space: {kind: convnet}",
        "strategy": "strategy: {kind: random}",
        "objectives": "objectives: [{maximize: accuracy}]",
    }
    for line in lines:
        sections[line.partition(":")[0]] = line
    (tmp_path / "x.yaml").write_text("\n".join(sections.values()))
    with pytest.raises(ConfigError, match=place):
        Experiment.from_yaml(tmp_path / "x.yaml", where=tmp_path / "runs")


@pytest.mark.parametrize(
    "strategy",
    [
        "{kind: genetic}",
        "{kind: genetic, algorithm: nsga2, population: 20, crossover: 0.3}",
        "{kind: genetic, algorithm: nsga3, startup: 5}",
        "{kind: genetic, algorithm: ageing}",
        "{kind: bayesian, sampler: gp, startup: 8}",
        "{kind: bayesian, sampler: tpe, candidates: 48}",
        "{kind: local, startup: 4}",
        "{kind: random}",
    ],
)
def test_the_strategies_and_their_options(tmp_path, strategy):
    Experiment(small_config(f"strategy={strategy}"), tmp_path)


def test_constraints_that_contradict_each_other_are_named(tmp_path):
    config = small_config('constraints=["macs <= 100", "macs >= 1e9"]', "strategy={kind: random}")
    wanted = "no candidate came through: no candidate satisfies macs <= 100 and macs >= 1e.09; the"
    with pytest.raises(SearchError, match=wanted):
        Experiment(config, tmp_path).run()


def test_what_is_wrong_in_an_override_names_it(tmp_path):
    with pytest.raises(ConfigError, match="^--set task.size=7: task: "):
        Experiment.from_yaml("smoke", ["task.size=7"], tmp_path)


def test_a_space_that_changed_is_not_mixed_into_an_old_search(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(BROKEN_SPACE.replace("{bad}", "()"))
    config = small_config(
        f"space={{kind: python, file: {file}}}",
        "compression={prune: [none], quantize: [none]}",
        "budget.trials=1",
        "strategy={kind: random}",
    )
    run = Experiment(config, tmp_path / "runs").run().run
    file.write_text(file.read_text().replace("ReLU", "GELU"))
    with pytest.raises(ConfigError, match="the space changed since this search began"):
        Experiment.resume(run, ["budget.trials=2"])
    assert len(run.ledger().trials()) == 1
