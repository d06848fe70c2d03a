"""Where jobs run; see `nas.protocols.Executor`."""

from __future__ import annotations

import inspect
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
    factory = _REGISTRY.get(name)
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise ValueError(f"executor {name!r}: {error}") from None
    executor: Executor = factory(**options)
    return executor
