"""The tools that check a circuit, run as programs: Verilator and yosys."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

LIMIT_S = 1800.0
_PACKAGES = {"verilator": "verilator g++ make", "yosys": "yosys berkeley-abc"}


class ToolError(Exception):
    """A tool is not here, or did not do what it was asked to; the message is one line."""


def check_tools(names: Sequence[str] = tuple(_PACKAGES)) -> None:
    """Check that the tools are installed.

    Raises:
        ToolError: naming the first one that is not, and how to get it on Debian.
    """
    for name in names:
        if shutil.which(name) is None:
            raise ToolError(f"{name} is not installed (apt-get install {_PACKAGES[name]})")


def call(command: Sequence[str], folder: Path, limit_s: float = LIMIT_S) -> str:
    """Run a program in a folder; returns what it printed.

    Raises:
        ToolError: when it fails or takes too long, with the last line that says something.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit_s,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise ToolError(f"{name} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} was stopped after {limit_s:.0f} s") from None
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if "rror" in line] or lines or ["it said nothing"]
        raise ToolError(f"{name} failed ({done.returncode}): {errors[0][:200]}")
    return done.stdout
