"""Runs: each is one folder ``HOME/<name>-<time>-<id>/`` that holds all there is to know of it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import hw_profiles
from experiments.config import ExperimentConfig, dump_yaml, load_config
from experiments.ledger import LedgerError, SqliteLedger, is_being_written
from nas.registry import unknown

Status = Literal["created", "running", "finished", "interrupted", "failed"]

_FOLDER = re.compile(r"(?P<name>.+)-(?P<stamp>\d{8}-\d{6})-(?P<id>[0-9a-f]{6})")
_DISTRIBUTIONS = (
    "hwnas",
    "deap",
    "mlflow",
    "moocore",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "optuna",
    "scikit-learn",
    "torch",
    "torch-pruning",
)


class RunNotFound(LookupError):  # noqa: N818 - like FileNotFoundError, but for a name
    """No run, or more than one, is meant by a text; the message is one line."""


@dataclass(frozen=True)
class RunState:
    """How a run stands.

    Args:
        status: ``running`` is only ever reported while its process lives.
        pid: of the process that wrote this.
        note: one line for a human, for example why it failed.
    """

    status: Status
    pid: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise ValueError(f"status is one of {get_args(Status)}, but got {self.status!r}")


@dataclass(frozen=True)
class Run:
    """A run's folder and what lies where in it."""

    path: Path

    @property
    def id(self) -> str:
        """The name of the folder."""
        return self.path.name

    @property
    def home(self) -> Path:
        """The folder of all runs."""
        return self.path.parent

    @cached_property
    def config(self) -> ExperimentConfig:
        """The configuration, overrides and defaults written out."""
        return load_config(self.path / "config.yaml")

    @property
    def ledger_path(self) -> Path:
        """The SQLite file."""
        return self.path / "ledger.sqlite"

    def ledger(self, write: bool = False) -> SqliteLedger:
        """The ledger, for looking on; the search itself writes. Only `create_run` makes it.

        Raises:
            LedgerError: when it is not there; otherwise see `SqliteLedger`.
        """
        return SqliteLedger(self.ledger_path, read_only=not write, create=False)

    @property
    def artifacts_dir(self) -> Path:
        """Scored files by their SHA-256."""
        return self._folder("artifacts")

    @property
    def cache_dir(self) -> Path:
        """What stages keep for later ones: trained weights and the like."""
        return self._folder("cache")

    @property
    def report_dir(self) -> Path:
        """Pictures and tables of the front."""
        return self._folder("report")

    @property
    def worker_log(self) -> Path:
        """What worker processes say."""
        return self.path / "workers.log"

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """Machine and versions at the run's creation.

        Raises:
            LedgerError: when the file that holds them is missing or damaged.
        """
        path = self.path / "environment.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise LedgerError(f"{path}: cannot be read: {error.strerror}") from None
        except (ValueError, TypeError) as error:
            raise LedgerError(f"{path}: is damaged: {error}") from None

    @property
    def state(self) -> RunState:
        """How the run stands; a dead process leaves it ``interrupted``."""
        try:
            state = RunState(**json.loads((self.path / "state.json").read_text()))
        except (OSError, ValueError, TypeError):
            state = RunState("created")
        if state.status == "running" and not is_being_written(self.ledger_path):
            return RunState("interrupted", state.pid, state.note)
        return state

    def set_state(self, status: Status, note: str = "") -> None:
        """Note how the run stands, for `nas status`.

        The ledger remains the truth, so a disk that is full is not worth another error here.
        """
        state = RunState(status, os.getpid(), note)
        with contextlib.suppress(OSError):
            _write(self.path / "state.json", json.dumps(asdict(state)))

    def replace_config(self, config: ExperimentConfig) -> Run:
        """The run with another configuration, of a larger budget for example.

        Raises:
            OSError: when it cannot be written; the old one stays then.
        """
        _write(self.path / "config.yaml", dump_yaml(config))
        return Run(self.path)

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        return folder


def home(path: str | Path | None = None) -> Path:
    """The folder of all runs: the argument, else ``NAS_HOME``, else ``./nas-runs``; absolute."""
    return Path(path or os.environ.get("NAS_HOME") or "nas-runs").expanduser().absolute()


def create_run(home: Path, config: ExperimentConfig, files: Mapping[str, str] | None = None) -> Run:
    """Make the folder of a new run, with its configuration, environment and an empty ledger.

    Args:
        home: the folder of all runs.
        config: of the search.
        files: what else belongs there from the beginning, texts by name.

    Raises:
        OSError: when it cannot be written; nothing is left then.
        LedgerError: likewise.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    run = Run(home.absolute() / f"{config.name}-{stamp}-{secrets.token_hex(3)}")
    run.path.mkdir(parents=True)
    try:
        _write(run.path / "environment.json", json.dumps(describe_environment(), indent=2))
        SqliteLedger(run.ledger_path, create=True).close()
        for name, text in (files or {}).items():
            _write(run.path / name, text)
        # Last: a folder without it is no run.
        _write(run.path / "config.yaml", dump_yaml(config))
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def list_runs(home: Path) -> list[Run]:
    """All runs in a folder, the oldest first."""
    configs = home.absolute().glob("*/config.yaml")
    return [Run(config.parent) for config in sorted(configs, key=_age)]


def _age(config: Path) -> tuple[str, int]:
    match = _FOLDER.fullmatch(config.parent.name)
    return (match["stamp"] if match else "", config.stat().st_mtime_ns)


def find_run(home: Path, text: str | Path) -> Run:
    """The run that a user means.

    Args:
        home: the folder of all runs.
        text: a path, ``latest``, the name of an experiment (its newest run), or the beginning of
            a run's name or of the six-digit id at its end, as long as it fits one run only.

    Raises:
        RunNotFound: when none or several fit.
    """
    text = str(text)
    path = Path(text).expanduser()
    if (path / "config.yaml").is_file():
        return Run(path.absolute())
    runs = list_runs(home)
    if not runs:
        raise RunNotFound(f"no run {text!r}: there are no runs in {home}")
    if text == "latest":
        return runs[-1]
    found = [run for run in runs if run.id == text]
    found = found or [run for run in runs if _part(run, "name") == text][-1:]
    found = found or [run for run in runs if run.id.startswith(text)]
    found = found or [run for run in runs if _part(run, "id").startswith(text)]
    if not found:
        raise RunNotFound(unknown("run", text, [run.id for run in runs[-5:]]))
    if len(found) > 1:
        names = ", ".join(run.id for run in found[-5:])
        raise RunNotFound(f"{text!r} fits {len(found)} runs: {names}; give more of the name")
    return found[0]


def _part(run: Run, part: str) -> str:
    match = _FOLDER.fullmatch(run.id)
    return match[part] if match else ""


def describe_environment() -> dict[str, Any]:
    """Machine and versions, JSON-able: what a number measured here stands on."""
    versions = {}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    host = hw_profiles.load("host-cpu")
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": host.title,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "fingerprint": host.fingerprint(),
        "versions": versions,
    }


def _write(path: Path, text: str) -> None:
    """Replace a file at once, so that no reader ever sees half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
