"""Where jobs run; see `nas.protocols.Executor`."""

from __future__ import annotations

from typing import Any

from nas.protocols import Executor
from nas.registry import Registry

_REGISTRY = Registry(
    "executor", {"local": "experiments.executors.local:LocalExecutor"}, "hwnas.executors"
)


def names() -> list[str]:
    """All known executors."""
    return _REGISTRY.names()


def create(name: str, **options: Any) -> Executor:
    """Make an executor by its name.

    Raises:
        ValueError: for an unknown name, or options that are missing, unknown or wrong.
    """
    executor: Executor = _REGISTRY.create(name, **options)
    return executor
