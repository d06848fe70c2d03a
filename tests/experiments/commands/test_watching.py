"""What the command line does around a search; the search itself is played here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import experiments.commands.watching as watching
import experiments.ending as ending
from experiments.commands.watching import watch
from experiments.experiment import MakeRecorder, Result
from experiments.fronts import NothingFound
from experiments.report import PAGE
from experiments.runs import Run
from nas.protocols import Progress
from nas.search import Outcome, SearchError
from nas.trials import Trial
from tests.experiments.builders import make_run, trial

TRIALS = [trial(0, 0.9, 0.1), trial(1, 0.8, 0.05), trial(2, status="failed")]
DONE = Progress(done=2, failed=1, repeats=4, elapsed_s=90.0, front=(0, 1))
LINK = "http://127.0.0.1:5000/#/experiments/1"


class FakeMlflow:
    """Remembers how it was ended."""

    made: list[FakeMlflow] = []

    def __init__(self, run: Run, on_problem: Callable[[str], None]) -> None:
        self.uri, self.heard, self.ended, self.link = "sqlite:///mlflow.db", 0, "", LINK
        self.on_problem = on_problem
        FakeMlflow.made.append(self)

    def started(self, ask: object, progress: Progress) -> None:
        pass

    def finished(self, trial: Trial, progress: Progress) -> None:
        self.heard += 1

    def close(self, status: str) -> str:
        self.ended = self.ended or status
        return self.link


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(FakeMlflow, "made", [])
    monkeypatch.setattr(watching, "MlflowRecorder", FakeMlflow)
    made = make_run(tmp_path / "runs", TRIALS)
    config = made.config
    tracked = config.model_copy(
        update={"tracking": config.tracking.model_copy(update={"enabled": True})}
    )
    object.__setattr__(made, "config", tracked)
    return made


def played(run: Run, end: BaseException | None = None, trials: Sequence[Trial] = TRIALS) -> object:
    """A search that feeds these trials to the recorders, then ends."""

    def start(makers: Sequence[MakeRecorder]) -> Result:
        recorders = [make(run) for make in makers]
        for each in trials:
            for recorder in recorders:
                recorder.finished(each, DONE)
        if end is not None:
            raise end
        return Result(run, Outcome("trials", DONE))

    return start


def test_a_search_ends_with_the_front_the_link_and_what_to_do_next(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert watch(run.config, played(run)) == 0  # type: ignore[arg-type]
    out, err = capsys.readouterr()
    assert out.startswith("3 trials in 1:30 min, 4 repeats: the budget of trials is spent\n")
    assert f"Front of {run.id}: 2 points" in out
    assert f"MLflow: {LINK}\n" in out
    assert f"Report: {run.report_dir / PAGE}\n" in out
    assert (run.report_dir / PAGE).stat().st_size > 1000
    assert f"nas export {run.id} " in out
    assert "nas ui " in out
    assert err.splitlines()[0] == f"nas: run {run.id} in {run.home}"
    assert "trial 0 done: accuracy 0.9, latency_ms.cpu 0.1" in err
    (mlflow,) = FakeMlflow.made
    assert (mlflow.heard, mlflow.ended) == (3, "finished")


def test_it_says_what_the_strategy_said(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def start(makers: Sequence[MakeRecorder]) -> Result:
        for make in makers:
            recorder = make(run)
            if hasattr(recorder, "noted"):
                recorder.noted("it is late")
        return Result(run, Outcome("exhausted", DONE, "all have been asked for", ("it is late",)))

    assert watch(run.config, start) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].endswith("there is nothing left to try: all have been asked for")
    assert "nas: note: it is late" in err.splitlines()
    assert "it is late" not in out


def test_ctrl_c_says_how_to_go_on(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert watch(run.config, played(run, KeyboardInterrupt())) == 1  # type: ignore[arg-type]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].endswith(f"to go on: nas resume {run.id}")
    assert FakeMlflow.made[0].ended == "interrupted"


def test_ctrl_c_before_there_is_a_run_has_nothing_to_resume(run: Run) -> None:
    def start(makers: Sequence[MakeRecorder]) -> Result:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(run.config, start)


def test_a_search_that_fails_ends_mlflow_too(run: Run) -> None:
    with pytest.raises(SearchError):
        watch(run.config, played(run, SearchError("all failed")))  # type: ignore[arg-type]
    assert FakeMlflow.made[0].ended == "failed"


def test_an_empty_front_is_nothing_found(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", TRIALS[2:])
    with pytest.raises(NothingFound, match="is empty"):
        watch(run.config, played(run))  # type: ignore[arg-type]


def test_mlflow_that_was_down_is_named_with_what_to_do(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(makers: Sequence[MakeRecorder]) -> Result:
        for make in makers:
            make(run)
        FakeMlflow.made[0].link = ""
        FakeMlflow.made[0].on_problem("MLflow: it does not answer")
        return Result(run, Outcome("minutes", DONE))

    assert watch(run.config, start) == 0
    out, err = capsys.readouterr()
    assert "nas: MLflow: it does not answer" in err
    assert f"nas sync {run.id} " in out
    assert "the time is up" in out
    assert "nas ui" not in out


def test_without_tracking_there_is_no_mlflow(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    untracked = Run(run.path)
    assert watch(untracked.config, played(untracked)) == 0  # type: ignore[arg-type]
    assert FakeMlflow.made == []
    assert "MLflow" not in capsys.readouterr().out


def test_every_reason_to_end_has_words() -> None:
    reasons = Outcome.__dataclass_fields__["reason"].type
    from typing import get_args

    import nas.search

    assert reasons == "Reason"
    assert set(get_args(nas.search.Reason)) == set(ending.ENDED)


def test_what_early_stopping_saved_counts_each_training_once() -> None:
    def stopped(number: int, key: str, epochs: int) -> Trial:
        curve = {"accuracy": (0.1,) * epochs, "loss": (1.0,) * epochs}
        return Trial(number, {"x": number}, key, f"c{number}", "stopped", {}, curve=curve)

    done = Trial(5, {"x": 5}, "trained later", "c5", "done", {})
    trials = [stopped(0, "a", 2), stopped(1, "a", 2), stopped(2, "b", 5), done]
    trials.append(stopped(3, "trained later", 2))
    assert watching._stopped(trials, 12) == (
        "4 trials were stopped early: 17 epochs of training less"
    )
