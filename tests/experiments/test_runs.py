from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiments import runs
from experiments.config import ExperimentConfig, load_config
from experiments.ledger import LedgerError
from experiments.runs import Run, RunNotFound, RunState, create_run, find_run, home, list_runs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config() -> ExperimentConfig:
    return load_config("smoke", ["budget.trials=7"])


@pytest.fixture
def run(tmp_path: Path, config: ExperimentConfig) -> Run:
    return create_run(tmp_path, config)


def make_run(folder: Path, name: str) -> Run:
    """A folder that counts as a run."""
    (folder / name).mkdir(parents=True)
    (folder / name / "config.yaml").touch()
    return Run(folder / name)


# -- a run and its folder --


def test_home_is_the_argument_then_the_variable_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_HOME", raising=False)
    assert home() == tmp_path / "nas-runs"
    monkeypatch.setenv("NAS_HOME", "/elsewhere")
    assert home() == Path("/elsewhere")
    assert home("mine") == tmp_path / "mine"
    monkeypatch.setenv("NAS_HOME", "")
    assert home() == tmp_path / "nas-runs"


def test_a_run_is_one_folder_named_after_name_time_and_id(run: Run, tmp_path: Path) -> None:
    assert [path.name for path in tmp_path.iterdir()] == [run.id]
    assert re.fullmatch(r"smoke-\d{8}-\d{6}-[0-9a-f]{6}", run.id)
    assert run.home == tmp_path
    for folder in (run.artifacts_dir, run.cache_dir, run.report_dir):
        assert folder.is_dir()
        assert folder.parent == run.path


def test_its_configuration_comes_back(run: Run, config: ExperimentConfig) -> None:
    assert Run(run.path).config == config
    assert run.config.budget.trials == 7


def test_its_configuration_can_be_replaced_at_once(run: Run, config: ExperimentConfig) -> None:
    larger = load_config("smoke", ["budget.trials=8"])
    assert run.config == config
    assert run.replace_config(larger).config == larger
    assert not list(run.path.glob(".*"))


def test_it_has_an_empty_ledger_from_the_start(run: Run) -> None:
    with run.ledger() as ledger:
        assert (ledger.read_only, ledger.next_number()) == (True, 0)
    with run.ledger(write=True) as ledger:
        assert not ledger.read_only


def test_its_environment_says_what_numbers_stand_on(run: Run) -> None:
    environment = run.environment
    assert {"created", "python", "platform", "cpu", "cores", "fingerprint"} <= set(environment)
    assert environment["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "onnxruntime", "numpy", "optuna"} <= set(environment["versions"])
    assert environment["cpu"]


def test_a_run_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, config: ExperimentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "dump_yaml", full)
    with pytest.raises(OSError, match="No space left"):
        create_run(tmp_path, config)
    assert list(tmp_path.iterdir()) == []


def test_runs_of_the_same_second_differ(tmp_path: Path, config: ExperimentConfig) -> None:
    assert len({create_run(tmp_path, config).id for _ in range(3)}) == 3


# -- how it stands --


def test_a_new_run_is_created_then_what_it_says(run: Run) -> None:
    assert run.state.status == "created"
    run.set_state("failed", "no candidate came through")
    assert run.state == RunState("failed", os.getpid(), "no candidate came through")


def test_it_is_running_only_while_it_is_being_written(run: Run) -> None:
    with run.ledger(write=True):
        run.set_state("running")
        assert run.state.status == "running"
    assert run.state.status == "interrupted"


def test_it_is_interrupted_after_kill_9(run: Run) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom experiments.runs import Run\n"
        "run = Run(Path(sys.argv[1]))\nledger = run.ledger(write=True)\nrun.set_state('running')\n"
        "print(run.state.status, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", script, str(run.path)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (killed.stdout, killed.returncode) == ("running\n", -9), killed.stderr
    assert run.state.status == "interrupted"
    run.ledger(write=True).close()


def test_an_unreadable_state_does_no_harm(run: Run) -> None:
    for text in ("", "{", '{"status": "dancing"}', '{"mood": 1}', "[]"):
        (run.path / "state.json").write_text(text)
        assert run.state.status == "created"


def test_a_full_disk_costs_the_state_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.set_state("running")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        run.set_state("failed")
    assert json.loads((run.path / "state.json").read_text())["status"] == "running"


def test_an_impossible_state_is_refused() -> None:
    with pytest.raises(ValueError, match="status is one of"):
        RunState("dancing")  # type: ignore[arg-type]


# -- finding one --

NAMES = [
    "digits-cpu-20261101-120000-aaaaaa",
    "digits-cpu-genetic-20261101-130000-abbbbb",
    "digits-cpu-20261102-110000-cccccc",
]


@pytest.fixture
def three(tmp_path: Path) -> Path:
    for name in reversed(NAMES):
        make_run(tmp_path, name)
    return tmp_path


def test_runs_are_listed_from_the_oldest(three: Path) -> None:
    assert [run.id for run in list_runs(three)] == NAMES


def test_runs_of_one_second_are_listed_as_they_were_made(tmp_path: Path) -> None:
    names = [f"a-20261101-120000-{digit * 6}" for digit in "c0a"]
    for index, name in enumerate(names):
        config = make_run(tmp_path, name).path / "config.yaml"
        os.utime(config, (1e9 + index, 1e9 + index))
    assert [run.id for run in list_runs(tmp_path)] == names


def test_what_is_no_run_is_not_listed(three: Path) -> None:
    (three / "profiles").mkdir()
    (three / "digits-cpu-20261103-110000-dddddd").mkdir()  # killed while it was being made
    assert len(list_runs(three)) == 3
    assert list_runs(three / "nowhere") == []


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("latest", 2),
        (NAMES[0], 0),
        ("digits-cpu-g", 1),
        ("digits-cpu-20261102", 2),
        ("digits-cpu", 2),
        ("cccccc", 2),
        ("ab", 1),
    ],
)
def test_a_run_is_found_by(three: Path, text: str, index: int) -> None:
    assert find_run(three, text).id == NAMES[index]


def test_a_run_is_found_by_its_path_wherever_it_is(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(three / NAMES[0], tmp_path / "copied")
    assert find_run(tmp_path / "empty", tmp_path / "copied").path == tmp_path / "copied"
    monkeypatch.chdir(tmp_path)
    assert find_run(tmp_path / "empty", "copied").path == tmp_path / "copied"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digits-cpu-2026110", f"'digits-cpu-2026110' fits 2 runs: {NAMES[0]}, {NAMES[2]}; give"),
        ("a", f"'a' fits 2 runs: {NAMES[0]}, {NAMES[1]}; give"),
        ("digitz", "unknown run 'digitz'"),
        ("", "fits 3 runs"),
        (f"{NAMES[0]}x", f"did you mean {NAMES[0]!r}"),
    ],
)
def test_what_fits_none_or_several_is_one_line(three: Path, text: str, message: str) -> None:
    with pytest.raises(RunNotFound, match=re.escape(message)) as error:
        find_run(three, text)
    assert "\n" not in str(error.value)


def test_where_there_are_no_runs_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match="no run 'latest': there are no runs in"):
        find_run(tmp_path, "latest")


def test_a_run_whose_ledger_is_gone_says_so(run: Run) -> None:
    run.ledger_path.unlink()
    for write in (False, True):
        with pytest.raises(LedgerError, match="is not there"):
            run.ledger(write)
    assert not run.ledger_path.exists()


def test_a_run_whose_ledger_was_emptied_does_not_start_anew(run: Run) -> None:
    run.ledger_path.write_bytes(b"")
    for write in (False, True):
        with pytest.raises(LedgerError, match="is not there any more"):
            run.ledger(write)
    assert run.ledger_path.read_bytes() == b""


@pytest.mark.parametrize("text", [None, "{", "3", "\x00"])
def test_an_environment_that_cannot_be_read_is_one_line(run: Run, text: str | None) -> None:
    path = run.path / "environment.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(LedgerError) as error:
        _ = Run(run.path).environment
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_the_description_of_the_environment_is_quick_and_plain() -> None:
    begin = time.monotonic()
    described: Any = json.loads(json.dumps(runs.describe_environment()))
    assert time.monotonic() - begin < 2.0
    assert described["memory_gb"] > 0
