"""What can be typed, and how the command line answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import experiments
from experiments.cli import cli, main

COMMANDS = "calibrate compare devices export front resume search status sync ui".split()  # noqa: SIM905


def test_help_names_every_command_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert sorted(cli.commands) == COMMANDS
    for name in COMMANDS:
        (line,) = (line for line in text.splitlines() if line.split()[:1] == [name])
        assert len(line.split()) > 3
        assert "..." not in line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_takes_the_common_options(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "-h"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: nas {name}")
    assert "--home" in text
    assert "--debug" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_module(name: str) -> None:
    path = Path(experiments.__file__).parent / "commands" / f"{name}.py"
    assert "\ndef run(" in path.read_text(encoding="utf-8")


def test_without_a_command_there_is_help_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert "\nCommands:\n" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("nas")


def test_an_error_of_click_that_is_no_usage_error_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise click.FileError("a.txt", "no permission")

    monkeypatch.setattr(cli, "main", broken)
    assert main(["status"]) == 1
    assert capsys.readouterr().err == "nas: Could not open file 'a.txt': no permission\n"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    environment = {**os.environ, "NAS_HOME": str(tmp_path)}
    code = "import sys; from experiments.cli import main; sys.exit(main(['devices', 'pynq-z2']))"
    root = Path(experiments.__file__).parent.parent
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=write_end,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=root,
        check=False,
    )
    os.close(write_end)
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_the_package_gives_its_two_names_on_demand() -> None:
    assert experiments.load.__module__ == "experiments.loading"
    assert experiments.Experiment.__module__ == "experiments.experiment"
    assert set(experiments.__all__) == {"Experiment", "load"}
    with pytest.raises(AttributeError, match="'experiments' has no attribute 'lode'"):
        _ = experiments.lode
