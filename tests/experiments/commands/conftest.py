"""The command line, run in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from experiments.cli import main


@dataclass(frozen=True)
class Typed:
    """What a command answered."""

    code: int
    out: str
    err: str


Nas = Callable[..., Typed]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of runs, far from the working folder."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("NAS_HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def nas(home: Path, capsys: pytest.CaptureFixture[str]) -> Nas:
    """Type a command."""

    def typed(*arguments: str) -> Typed:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Typed(code, printed.out, printed.err)

    return typed
