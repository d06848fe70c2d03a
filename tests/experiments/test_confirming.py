"""A front whose members were trained several times, from the search to the export."""

import json

import pytest

from experiments.commands import front as front_command
from experiments.commands import status as status_command
from experiments.config import ConfigError
from experiments.confirming import confirmed_of, record, statement
from experiments.experiment import Experiment
from experiments.export import export
from experiments.front_page import front_html
from experiments.fronts import run_front
from experiments.report import plot_of_run
from nas.repeats import Confirmed
from tests.experiments.small import small_config

FLAT = ("objectives=[{maximize: accuracy}, {minimize: size_kb}]", "devices={}", "workers=1")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return Experiment(small_config(*FLAT, "budget.trials=2", "budget.confirm=2"), home).run()


def test_the_front_is_trained_again(result):
    assert result.outcome.progress.scored == 2
    repeats = [trial for trial in result.trials if trial.repeat]
    assert len(repeats) == result.outcome.progress.confirmed > 0
    first = {t.number: t for t in result.trials if not t.repeat}
    for trial in repeats:
        assert trial.training_key not in {t.training_key for t in first.values()}
        assert trial.artifact.sha256 not in {t.artifact.sha256 for t in first.values()}
    assert all(isinstance(trial, Confirmed) for trial in result.front)
    assert list(result.to_frame()["repeat"]) == [t.repeat for t in result.trials]


def test_nothing_is_trained_twice(result):
    again = Experiment.resume(result.run)
    assert again.trials == result.trials


def test_the_status_counts_the_epochs_of_the_search_only(result, monkeypatch, capsys):
    monkeypatch.setenv("NAS_HOME", str(result.run.home))
    status_command.run(result.run.id)
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("epochs"))
    assert said.split() == ["epochs", str(result.outcome.progress.epochs)]


def test_the_front_states_means_and_what_the_file_has(result, monkeypatch, capsys):
    monkeypatch.setenv("NAS_HOME", str(result.run.home))
    front_command.run(result.run.id, as_json=True)
    for point in json.loads(capsys.readouterr().out)["front"]:
        confirmed = point["confirmed"]
        assert (confirmed["trainings"], confirmed["failed"]) == (2, 0)
        both = [t.metrics["accuracy"] for t in result.trials if t.number in confirmed["trials"]]
        assert point["metrics"]["accuracy"] == pytest.approx(sum(both) / 2)
        assert confirmed["file"]["accuracy"] == max(both)
        shipped = next(t for t in result.trials if t.number == point["trial"])
        assert point["artifact_sha256"] == shipped.artifact.sha256
        assert shipped.metrics["accuracy"] == max(both)

    front_command.run(result.run.id, as_json=False)
    text = capsys.readouterr().out
    assert "trainings" in text
    assert "the mean of several trainings" in text
    low, high = sorted(both)
    assert f"{low:.4f}..{high:.4f}" in text


def test_the_page_and_the_picture_show_each_genotype_once(result):
    front = run_front(result.run)
    plot = plot_of_run(result.run, front, result.trials)
    assert len(front.trials) + len(plot.others) == 2
    assert "the mean of several trainings" in front_html(plot)


def test_the_export_is_one_of_the_trainings_and_says_so(result, tmp_path):
    report = export(result.run, tmp_path / "out", pick="most-accurate")
    told = json.loads((tmp_path / "out" / "metrics.json").read_text())
    objectives = result.run.config.objectives_parsed()
    together = confirmed_of(report.trial, result.trials, objectives)
    assert told["metrics"]["accuracy"] == told["confirmed"]["file"]["accuracy"]
    assert told["confirmed"] == json.loads(json.dumps(record(together)))
    card = (tmp_path / "out" / "model_card.md").read_text()
    assert statement(together) in card
    assert "was trained 2 times" in card


def test_a_training_without_repeats_says_nothing(result):
    trial = result.trials[0]
    assert confirmed_of(trial, [trial], result.run.config.objectives_parsed()) is None


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_bad_values(value):
    with pytest.raises(ConfigError, match=r"budget\.confirm"):
        small_config(f"budget.confirm={value}")
