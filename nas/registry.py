"""Names of implementations: a literal table ``name -> "module:attribute"``, imported on demand."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """One line for an unknown name: what was wrong, the nearest known name, all known names."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {name!r}{hint} (known: {', '.join(names)})"


class Registry:
    """Finds an implementation by its name.

    Args:
        what: for messages, for example ``strategy``.
        table: ``"module:attribute"`` by name.
        group: the entry-point group through which other distributions add theirs.
    """

    def __init__(self, what: str, table: Mapping[str, str], group: str) -> None:
        self._what, self._table, self._group = what, dict(table), group

    def names(self) -> list[str]:
        """All known names, those of other distributions included."""
        return sorted({*self._table, *(point.name for point in entry_points(group=self._group))})

    def get(self, name: str) -> Any:
        """The class or function behind a name.

        Raises:
            ValueError: for a name that is not known.
        """
        if name in self._table:
            module, _, attribute = self._table[name].partition(":")
            return getattr(importlib.import_module(module), attribute)
        for point in entry_points(group=self._group):
            if point.name == name:
                return point.load()
        raise ValueError(unknown(self._what, name, self.names()))

    def create(self, name: str, **options: Any) -> Any:
        """Call what stands behind a name.

        Raises:
            ValueError: for a name that is not known, or options that are missing or unknown.
        """
        factory = self.get(name)
        try:
            inspect.signature(factory).bind(**options)
        except TypeError as error:
            raise ValueError(f"{self._what} {name!r}: {error}") from None
        return factory(**options)
