"""The data of a search: arrays, splits and preprocessing, without torch."""

from __future__ import annotations

from typing import Any

from evaluators.tasks.data import Preprocessing, Split, TaskData
from evaluators.tasks.splits import stratified
from evaluators.tasks.user import classification, classification_by_split
from nas.registry import Registry

__all__ = [
    "Preprocessing",
    "Split",
    "TaskData",
    "classification",
    "classification_by_split",
    "create",
    "names",
    "stratified",
]

_REGISTRY = Registry(
    "task",
    {"digits": "evaluators.tasks.digits:digits", "python": "evaluators.tasks.user:user_task"},
    "hwnas.tasks",
)


def names() -> list[str]:
    """All known kinds of tasks."""
    return _REGISTRY.names()


def create(kind: str, **options: Any) -> TaskData:
    """Make a task.

    Args:
        kind: one of `names`.
        options: ``size`` of ``digits``; ``function`` (``module:function`` or ``file.py:function``)
            of ``python``, whose other options go to the user's function.

    Raises:
        ValueError: in one line, for an unknown kind or options that are wrong.
    """
    data: TaskData = _REGISTRY.create(kind, **options)
    return data
