"""`kill -9` of the whole process group at a random moment, then `nas resume`."""

import contextlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.runs import find_run, list_runs
from nas.trials import Trial

OVERRIDES = ("training.epochs=1", "training.fine_tune_epochs=1", "budget.trials=6")


def nas(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "NAS_"))}
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("nas")), *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def events(folder: Path) -> int:
    """How far the newest search in a folder is: asks and results in its ledger."""
    runs = list_runs(folder / "nas-runs")
    if not runs:
        return 0
    ledger = runs[-1].ledger()
    try:
        return ledger.next_number() + len(ledger.trials())
    finally:
        ledger.close()


def killed_at(moment: int, folder: Path) -> list[Trial]:
    """Start a search, kill it once it has come so far, and say what had been finished."""
    overrides = [part for override in OVERRIDES for part in ("--set", override)]
    process = nas("search", "smoke", *overrides, cwd=folder)
    deadline = time.monotonic() + 120
    while events(folder) < moment and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(random.Random(moment).random())
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    return find_run(folder / "nas-runs", "latest").ledger().trials()


@pytest.mark.slow
@pytest.mark.parametrize("moment", [1, 3, 5, 8, 11])
def test_a_killed_search_loses_and_repeats_nothing(moment, tmp_path):
    before = killed_at(moment, tmp_path)
    process = nas("resume", cwd=tmp_path)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output

    run = find_run(tmp_path / "nas-runs", "latest")
    trials = run.ledger().trials()
    assert [trial.number for trial in trials] == list(range(6))
    assert trials[: len(before)] == before or all(trial in trials for trial in before)
    assert len({trial.candidate_key for trial in trials}) == 6
    trained = list((run.path / "cache" / "train").glob("*.safetensors"))
    assert len(trained) == len({t.training_key for t in trials if t.status == "done"})
    assert not (run.path / "scratch").exists()
    if "catches up" in output:  # a machine so busy that MLflow did not answer in time
        process = nas("sync", cwd=tmp_path)
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
    _check_mlflow(tmp_path)


def _check_mlflow(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as store:
        statuses = [status for (status,) in store.execute("SELECT status FROM runs")]
        trials = store.execute(
            "SELECT t.value FROM tags t JOIN tags k USING (run_uuid) "
            "WHERE t.key = 'nas.trial' AND k.key = 'nas.kind' AND k.value = 'trial'"
        ).fetchall()
    assert "RUNNING" not in statuses
    assert sorted(int(number) for (number,) in trials) == list(range(6))


@pytest.mark.slow
def test_sigterm_ends_as_ctrl_c_does(tmp_path):
    overrides = [part for override in OVERRIDES for part in ("--set", override)]
    process = nas("search", "smoke", *overrides, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while events(tmp_path) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "to go on: nas resume smoke-" in output
    assert find_run(tmp_path / "nas-runs", "latest").state.status == "interrupted"
    output, _ = nas("status", "latest", cwd=tmp_path).communicate(timeout=30)
    assert re.search(r"^unfinished +[1-9]", output, re.MULTILINE)
    assert "in work" not in output
