"""Validation errors in one plain line."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # of models, of dataclasses


def first_problem(
    error: ValidationError, model: type[BaseModel], data: Mapping[str, Any]
) -> tuple[KeyPath, str]:
    """The problem to tell: an unknown key before a missing one, which it may have been meant for.

    Args:
        error: what pydantic found.
        model: the model that was validated.
        data: what was validated.

    Returns:
        The key's path, and what is wrong with it.
    """
    details = error.errors(include_url=False)
    first = min(details, key=lambda detail: detail["type"] not in _UNKNOWN)
    path = _existing(data, first["loc"]) if first["type"] != "missing" else first["loc"]
    if first["type"] in _UNKNOWN:
        return path, _unknown_key(str(path[-1]), _known_keys(model, path[:-1]))
    if first["type"] == "value_error":
        return _narrowed(path, first["msg"].removeprefix("Value error, "), first["input"])
    return path, _in_words(first)


def _existing(data: Any, path: KeyPath) -> KeyPath:
    """The part of the path that the data has: pydantic adds parts for unions and the like."""
    for index, part in enumerate(path):
        if isinstance(data, Mapping):
            data = {str(key): value for key, value in data.items()}
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return path[:index]
    return path


def _narrowed(path: KeyPath, message: str, section: Any) -> tuple[KeyPath, str]:
    """A section's own check begins with the field's name: then that field is the place."""
    name, _, rest = message.partition(" ")
    if isinstance(section, Mapping) and name in section:
        return (*path, name), rest
    return path, message


def _in_words(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind == "missing":
        return "is missing"
    if kind == "too_short":
        return f"must have at least {detail['ctx']['min_length']} item, but got none"
    got = repr(detail["input"])
    got = got if len(got) <= 60 else f"{got[:57]}..."
    rule = detail["msg"].replace("an object", "a mapping of keys to values")
    for kind in ("a valid array", "a valid list"):
        rule = rule.replace(kind, "a list in brackets")
    for subject in ("Input", "String"):
        rule = rule.replace(f"{subject} should", "must")
    return f"{rule}, but got {got}"


def _unknown_key(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown key{hint} (known: {', '.join(sorted(known))})"


def _known_keys(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The fields of the model or dataclass that stands at a path."""
    inner: Any = model
    for part in path:
        fields = _fields(inner)
        # What has no fields is a list or a mapping: on to its items.
        inner = fields.get(str(part)) if fields else next(filter(_fields, get_args(inner)), None)
    return list(_fields(inner))


def _fields(kind: Any) -> dict[str, Any]:
    """The types of the fields by name; nothing for what has none."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return {field.name: field.type for field in dataclasses.fields(kind)}
    return {}
