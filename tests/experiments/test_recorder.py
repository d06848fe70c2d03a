from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from experiments.recorder import MlflowRecorder, sync
from experiments.runs import Run
from experiments.tracking import Found, TrackingError, connect, environment
from experiments.tracking_worker import Commands, lock, one_line
from nas.protocols import Ask, Progress
from nas.trials import Trial
from tests.experiments.browser import free_port, server, wait_for
from tests.experiments.fake_runs import fake_run, fill
from tests.experiments.fake_trials import fake_trials

# MLflow's own use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

TRIALS = fake_trials(6)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"
    connect(uri, "first")
    return uri


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return fake_run(tmp_path, count=0, status="interrupted")


def found(uri: str, run: Run, kind: str) -> list[Found]:
    return connect(uri, run.config.tracking_experiment).find(nas_run=run.id, nas_kind=kind)


def hear(recorder: MlflowRecorder, run: Run, trials: list[Trial]) -> None:
    """As the search does: the ledger first, then the recorder."""
    for trial in trials:
        ask = Ask(trial.number, trial.genotype, trial.training_key, trial.candidate_key)
        recorder.started(ask, Progress())
        fill(run, [trial])
        recorder.finished(trial, Progress())


class TestRecorder:
    def test_follows_a_search_to_its_end(self, run: Run, uri: str) -> None:
        recorder = MlflowRecorder(run, uri)
        hear(recorder, run, TRIALS[:2])
        wait_for("the first update", lambda: recorder.link)
        assert [p.status for p in found(uri, run, "search")] == ["RUNNING"]
        hear(recorder, run, TRIALS[2:])
        link = recorder.close("finished")
        assert recorder.problem == ""
        assert link.startswith("http://127.0.0.1:5000/#/experiments/")
        assert link.endswith("viewStateShareKey=fronts")
        assert [p.status for p in found(uri, run, "search")] == ["FINISHED"]
        assert len(found(uri, run, "trial")) == len(TRIALS)
        assert recorder.close() == link

    def test_when_the_search_is_killed_nothing_stays_running(self, run: Run, uri: str) -> None:
        code = (
            "import sys, time; from pathlib import Path\n"
            "from experiments.recorder import MlflowRecorder; from experiments.runs import Run\n"
            "r = MlflowRecorder(Run(Path(sys.argv[1])), sys.argv[2])\n"
            "while not r.link: time.sleep(0.05)\n"
            "print('up', flush=True); time.sleep(600)"
        )
        fill(run, TRIALS)
        command = [sys.executable, "-c", code, str(run.path), uri]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as search:
            assert search.stdout is not None
            assert search.stdout.readline() == "up\n"
            search.send_signal(signal.SIGKILL)
        assert lock(run, 30.0)  # the writer has ended
        assert [p.status for p in found(uri, run, "search")] == ["KILLED"]
        assert {c.status for c in found(uri, run, "trial")} <= {"FINISHED", "FAILED"}


class TestServerDown:
    def test_it_is_mentioned_once_and_costs_nothing(self, run: Run) -> None:
        said: list[str] = []
        recorder = MlflowRecorder(run, f"http://127.0.0.1:{free_port()}", said.append)
        hear(recorder, run, TRIALS)
        began = time.monotonic()
        for _ in range(1000):
            recorder.finished(TRIALS[0], Progress())
        assert time.monotonic() - began < 0.2
        wait_for("the problem", lambda: recorder.problem)
        began = time.monotonic()
        assert recorder.close("finished") == ""
        assert time.monotonic() - began < 10
        assert said == [
            "MLflow: the tracking server cannot be reached: it refuses connections; "
            f"`nas sync {run.id}` catches up"
        ]

    def test_a_server_that_hangs_is_given_up(self, run: Run) -> None:
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
            recorder = MlflowRecorder(run, f"http://127.0.0.1:{silent.getsockname()[1]}")
            hear(recorder, run, TRIALS)
            began = time.monotonic()
            assert recorder.close("interrupted") == ""
            assert time.monotonic() - began < 10
        assert recorder.problem

    def test_sync_says_so(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(TrackingError, match="refuses connections"):
            sync(run, f"http://127.0.0.1:{free_port()}")


class TestSync:
    def test_catches_up_and_then_changes_nothing(self, run: Run, uri: str) -> None:
        fill(run, TRIALS)
        # What a `kill -9` has left there.
        store = connect(uri, run.config.tracking_experiment)
        store.create(run.id, {"nas.kind": "search", "nas.run": run.id}, 1000)
        run.set_state("finished")
        first, second = sync(run, uri), sync(run, uri)
        assert (first.trials, second.trials) == (len(TRIALS), 0)
        assert first.link == second.link
        assert "viewStateShareKey" in first.link
        assert [p.status for p in found(uri, run, "search")] == ["FINISHED"]
        assert len(found(uri, run, "trial")) == len(TRIALS)

    def test_a_running_search_is_left_to_itself(self, run: Run, uri: str) -> None:
        with run.ledger(write=True):
            run.set_state("running")
            with pytest.raises(TrackingError, match="is being searched"):
                sync(run, uri)

    def test_a_damaged_ledger_is_one_line(self, run: Run, uri: str) -> None:
        run.ledger_path.write_bytes(b"nothing of the kind")
        with pytest.raises(TrackingError, match="ledger"):
            sync(run, uri)


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_search_outlives_a_server_that_is_down_and_sync_catches_up(
    run: Run, tmp_path: Path
) -> None:
    uri, port = f"sqlite:///{tmp_path / 'server.db'}", free_port()
    recorder = MlflowRecorder(run, f"http://127.0.0.1:{port}")
    hear(recorder, run, TRIALS)
    wait_for("the problem", lambda: recorder.problem)
    assert recorder.close("finished") == ""
    run.set_state("finished")
    with server(uri, port) as address:
        report = sync(run, address)
        assert report.trials == len(TRIALS)
        assert report.link.startswith(f"{address}/#/experiments/")
        assert report.link.endswith("viewStateShareKey=fronts")
        assert sync(run, address).trials == 0
    assert [p.status for p in found(uri, run, "search")] == ["FINISHED"]


class TestCommands:
    def test_lines_that_come_together_count_as_one(self) -> None:
        reading, writing = os.pipe()
        commands = Commands(reading)
        os.write(writing, b"update\nupdate\nupd")
        commands.listen()
        assert (commands.news, commands.end) == (True, "")
        os.write(writing, b"ate\nend failed\n")
        commands.listen()
        assert commands.end == "failed"
        os.close(writing)
        os.close(reading)

    def test_silence_is_no_news(self) -> None:
        reading, writing = os.pipe()
        commands = Commands(reading)
        commands.listen(0.01)
        assert (commands.news, commands.end) == (False, "")
        os.close(writing)
        commands.listen()
        assert (commands.news, commands.end) == (True, "interrupted")
        os.close(reading)

    def test_the_end_wakes_it_up(self) -> None:
        reading, writing = os.pipe()
        commands = Commands(reading)
        threading.Timer(0.05, os.write, (writing, b"end finished\n")).start()
        commands.listen(30.0)
        assert commands.end == "finished"
        os.close(writing)
        os.close(reading)


def test_only_one_process_writes_a_run(run: Run) -> None:
    assert lock(run, 0.0)
    assert not lock(run, 0.2)


class TestOneLine:
    def test_of_a_long_story(self) -> None:
        text = one_line(RuntimeError("first\n   second " + "x" * 1000))
        assert text.startswith("first second x")
        assert len(text) == 300

    def test_of_an_error_without_a_message(self) -> None:
        assert one_line(KeyError()) == "KeyError"

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("Max retries exceeded (Caused by [Errno 111] Connection refused)", "refuses"),
            ("Read timed out. (read timeout=5)", "does not answer"),
        ],
    )
    def test_of_a_server_that_is_down(self, text: str, why: str) -> None:
        assert why in one_line(OSError(text))


def test_the_writer_is_soon_tired_of_a_dead_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    assert environment(5, 1)["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
