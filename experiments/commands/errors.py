"""One clear line, and an exit code, for everything that can go wrong."""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path

FAILED, WRONG_USAGE = 1, 2
ROOT = Path(__file__).resolve().parents[2]
EXPECTED = {
    "evaluators.rtl.tools": ("ToolError",),
    "experiments.executors.process": ("ExecutorError",),
    "experiments.fronts": ("NothingFound",),
    "experiments.runs": ("RunNotFound",),
    "experiments.ledger": ("LedgerError",),
    "experiments.tracking": ("TrackingError",),
    "experiments.verification": ("VerificationError",),
    "nas.search": ("SearchError",),
    "nas.trials": ("CandidateError",),
}
"""Errors whose message is one line for the user, by the module that raises them."""


def explain(error: Exception) -> tuple[str, int]:
    """What to say and the exit code: 2 for wrong input, 1 for what failed or was not found.

    An error that is nobody's input gets its place in the code and a pointer to ``--debug``.
    """
    loaded = {module: sys.modules[module] for module in EXPECTED if module in sys.modules}
    expected = [getattr(loaded[module], name) for module in loaded for name in EXPECTED[module]]
    if isinstance(error, tuple(expected)):
        return str(error), FAILED
    if type(error) is ValueError or type(error).__name__ == "ConfigError":
        return str(error), WRONG_USAGE
    if isinstance(error, OSError):
        return _system(error), FAILED
    if isinstance(error, ModuleNotFoundError):
        return f"{error}: install what is missing", FAILED
    return f"{type(error).__name__}: {error} ({_place(error)}; --debug shows all)", FAILED


def _system(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    hint = "; free some space and `nas resume`" if error.errno == errno.ENOSPC else ""
    return f"{error.strerror or error}{where}{hint}"


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "no place"


def print_traceback(error: Exception) -> None:
    """All of it, on standard error."""
    traceback.print_exception(error)
