"""Bad input is answered with one clear line and an exit code, and nothing is lost or left behind.

Wrong usage and configuration exit with 2; what is not found or cannot be written with 1.
"""

from __future__ import annotations

import errno
import json
import random
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import experiments.runs
from nas.choices import sample
from nas.trials import Trial
from search_spaces.convnet import ConvNetSpace
from tests.experiments.builders import CONFIG, make_run, trial
from tests.experiments.commands.conftest import Nas, Typed


def check(typed: Typed, code: int, *parts: str) -> None:
    """One line, with these parts, and no traceback."""
    assert typed.code == code, typed.err
    assert typed.out == ""
    lines = typed.err.splitlines()
    assert len(lines) == 1, typed.err
    assert lines[0].startswith("nas: ")
    assert "Traceback" not in typed.err
    for part in parts:
        assert part in lines[0]


def written(folder: Path, old: str = "", new: str = "") -> str:
    """A YAML file with one thing changed."""
    assert old in CONFIG
    path = folder / "mine.yaml"
    path.write_text(CONFIG.strip().replace(old, new, 1) + "\n", encoding="utf-8")
    return str(path)


def test_1_an_unknown_name(nas: Nas, home: Path) -> None:
    check(nas("search", "digit-cpu"), 2, "'digit-cpu'", "did you mean 'digits-cpu'?", "smoke")
    check(nas("serch", "smoke"), 2, "'serch'", "Did you mean 'search'?", "nas --help")
    check(nas("devices", "nvidia-a10"), 2, "'nvidia-a10'", "did you mean 'nvidia-a100'?")
    assert not home.exists()


def test_2_a_typo_in_a_key(nas: Nas, home: Path, tmp_path: Path) -> None:
    typed = nas("search", written(tmp_path, "objectives:", "objectivs:"))
    check(typed, 2, "mine.yaml:6", "objectivs", "did you mean 'objectives'?")
    assert not home.exists()


def test_3_a_wrong_type(nas: Nas, home: Path, tmp_path: Path) -> None:
    typed = nas("search", written(tmp_path, "trials: 6", "trials: many"))
    check(typed, 2, "mine.yaml:11", "budget.trials", "many")
    assert not home.exists()


def test_4_an_impossible_constraint(nas: Nas, home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, "training:", 'constraints: ["latency_ms.cpu < 1"]\ntraining:')
    check(nas("search", path), 2, "constraints", "'latency_ms.cpu <= 1.5'", "'latency_ms.cpu < 1'")
    assert not home.exists()


def test_5_a_file_that_cannot_be_read(nas: Nas, home: Path, tmp_path: Path) -> None:
    check(nas("search", "missing.yaml"), 2, "missing.yaml")
    (tmp_path / "folder.yaml").mkdir()
    check(nas("search", "folder.yaml"), 2, "folder.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff\xfe\x00")
    check(nas("search", "picture.yaml"), 2, "picture.yaml")
    (tmp_path / "broken.yaml").write_text("name: [a, b\n")
    check(nas("search", "broken.yaml"), 2, "broken.yaml:")
    assert not home.exists()


def test_6_an_unknown_metric_in_an_objective(nas: Nas, home: Path, tmp_path: Path) -> None:
    path = written(tmp_path, "maximize: accuracy", "maximize: acuracy")
    check(nas("search", path), 2, "'acuracy'", "did you mean 'accuracy'?")
    path = written(tmp_path, "latency_ms.cpu", "latency_ms.gpu")
    check(nas("search", path), 2, "'latency_ms.gpu'", "cpu")
    assert not home.exists()


def test_7_a_budget_of_nothing(nas: Nas, home: Path, tmp_path: Path) -> None:
    check(nas("search", written(tmp_path, "trials: 6", "trials: 0")), 2, "budget.trials")
    check(nas("search", "smoke", "--set", "budget.minutes=0"), 2, "budget.minutes")
    assert not home.exists()


def test_8_a_device_that_is_not_there(nas: Nas, home: Path, tmp_path: Path) -> None:
    typed = nas("search", written(tmp_path, "pynq-z2", "pynq-z3"))
    check(typed, 2, "devices.fpga", "'pynq-z3'", "did you mean 'pynq-z2'?")
    typed = nas("search", written(tmp_path, "z2, method: modeled", "z2, method: measured"))
    check(typed, 2, "devices.fpga", "cannot be measured here")
    assert not home.exists()


@pytest.mark.parametrize(
    "command",
    [["front"], ["front", "--json"], ["status"], ["resume"], ["export"], ["compare"], ["sync"]],
)
def test_9_a_run_that_does_not_exist(nas: Nas, home: Path, command: list[str]) -> None:
    check(nas(command[0], "nowhere", *command[1:]), 1, "'nowhere'", "no run")
    run = make_run(home, [trial(0, 0.9, 0.1)])
    check(nas(command[0], "nowhere", *command[1:]), 1, "'nowhere'", run.id)


def test_9_a_trial_that_does_not_exist(nas: Nas, home: Path) -> None:
    run = make_run(home, [trial(0, 0.9, 0.1), trial(1, status="failed")])
    check(nas("export", run.id, "--pick", "7"), 1, "no finished trial 7")
    check(nas("export", run.id, "--pick", "1"), 1, "trial 1 has no artifact", "no luck")
    check(nas("export", run.id, "--pick", "best"), 2, "knee, fastest, most-accurate", "'best'")
    check(nas("export", run.id, "--min", "accuracy=0.97"), 1, "nearest is trial 0 (accuracy 0.9)")
    check(nas("export", run.id, "--min", "acuracy=0.97"), 2, "did you mean 'accuracy'?")
    check(nas("export", run.id, "--min", "accuracy=97"), 2, "a share, its bound is from 0 to 1")
    check(nas("export", run.id, "--max", "accuracy"), 2, "accuracy=0.97", "nas export --help")
    assert not (run.path / "export").exists()


@pytest.mark.parametrize("command", [["front"], ["front", "--json"], ["compare"]])
def test_9_constraints_that_no_trial_meets(nas: Nas, home: Path, command: list[str]) -> None:
    run = make_run(home, [trial(0, 0.8, 0.1)], CONFIG + 'constraints: ["accuracy >= 1"]\n')
    typed = nas(command[0], run.id, *command[1:])
    check(typed, 1, run.id, "no trial meets accuracy >= 1; nearest is trial 0 (accuracy 0.8)")


@pytest.mark.parametrize("empty", [False, True])
def test_9_a_ledger_that_is_gone(nas: Nas, home: Path, empty: bool) -> None:
    run = make_run(home, [trial(0, 0.9, 0.1)])
    run.ledger_path.unlink()
    if empty:
        run.ledger_path.touch()
    for command in ("resume", "front", "export"):
        check(nas(command, run.id), 1, f"{run.ledger_path}: ", "is not there")
    assert run.ledger_path.exists() == empty
    assert run.state.status == "finished"


@pytest.mark.parametrize("command", ["front", "status", "resume", "export", "compare"])
def test_10_a_ledger_from_a_newer_version(nas: Nas, home: Path, command: str) -> None:
    run = make_run(home, [trial(0, 0.9, 0.1)])
    with sqlite3.connect(run.ledger_path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = run.ledger_path.read_bytes()
    check(nas(command, run.id), 1, "newer version", "99", "update hwnas")
    assert run.ledger_path.read_bytes() == before


def test_11_a_disk_that_is_full_at_the_start(
    nas: Nas, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(experiments.runs, "_write", full)
    check(nas("search", "smoke"), 1, "No space left on device", "environment.json")
    assert list(home.iterdir()) == []


def page_filling_trial() -> Trial:
    """A failed trial whose record leaves no room for another in a page of 4,096 bytes."""
    genotype = {**sample(ConvNetSpace().choices, random.Random(0)), "prune.method": "none"}
    genotype["quantize.scheme"] = "none"
    bare = replace(trial(0, status="failed"), genotype=genotype, error="")
    length = len(json.dumps(bare.to_json(), separators=(",", ":")))
    return replace(bare, error="x" * (3980 - length))


def test_11_a_disk_that_is_full_later(
    nas: Nas, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def almost_full(*arguments: Any, **options: Any) -> sqlite3.Connection:
        database = connect(*arguments, **options)
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        if pages:  # SQLite reports a file that may not grow as it reports a full disk.
            database.execute(f"PRAGMA max_page_count = {pages}")
        return database

    run = make_run(home, [page_filling_trial()])
    monkeypatch.setattr(sqlite3, "connect", almost_full)
    typed = nas("resume", run.id, "--set", "budget.trials=5000")
    assert typed.code == 1
    assert typed.err.splitlines()[-1].startswith("nas: ")
    assert "the disk is full; all that was recorded before is kept" in typed.err.splitlines()[-1]
    assert "Traceback" not in typed.err
    monkeypatch.undo()
    with run.ledger() as ledger:
        assert [trial.number for trial in ledger.trials()] == [0]
    assert run.state.status == "failed"


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("budget.trials", ("budget.trials", "=")),
        ("budget.trails=3", ("budget.trails", "did you mean", "trials")),
        ("budget.trials=[3", ("budget.trials",)),
        ("budget.trials=three", ("budget.trials", "three")),
        ("=3", ("=",)),
        ("", ("=",)),
    ],
)
def test_12_a_bad_override(nas: Nas, home: Path, override: str, parts: tuple[str, ...]) -> None:
    check(nas("search", "smoke", "--set", override), 2, *parts)
    assert not home.exists()


def test_12_an_override_that_a_resumed_search_may_not_have(nas: Nas, home: Path) -> None:
    run = make_run(home, [trial(0, 0.9, 0.1)])
    before = (run.path / "config.yaml").read_text()
    check(nas("resume", run.id, "--set", "task.size=16"), 2, "task", "start a new search instead")
    assert (run.path / "config.yaml").read_text() == before


def test_debug_shows_the_traceback_and_keeps_the_exit_code(nas: Nas) -> None:
    for arguments in (("--debug", "search", "digit-cpu"), ("search", "digit-cpu", "--debug")):
        typed = nas(*arguments)
        assert typed.code == 2
        assert typed.err.startswith("Traceback")
        assert typed.err.splitlines()[-1].startswith("nas: unknown experiment")


def test_an_error_in_this_program_names_its_place(
    nas: Nas, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: object) -> list[object]:
        raise KeyError("oh")

    monkeypatch.setattr("experiments.commands.status.list_runs", broken)
    check(nas("status"), 1, "KeyError: 'oh'", "test_bad_input.py:", "--debug shows all")


def test_ctrl_c_is_no_traceback(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: object) -> list[object]:
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.commands.status.list_runs", interrupted)
    typed = nas("status")
    assert (typed.code, typed.out, typed.err.strip()) == (1, "", "nas: interrupted")
