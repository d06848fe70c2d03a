"""A search as a user runs it: configuration, running, ledger, reports, export, command line."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.experiment import Experiment as Experiment
    from experiments.loading import load as load

__all__ = ["Experiment", "load"]

_HOMES = {"Experiment": "experiments.experiment", "load": "experiments.loading"}


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: the command line must start without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
