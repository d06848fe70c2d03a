"""A YAML text as data that remembers the line of every key, and overrides laid over it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line that says where and why.

    Args:
        message: the line.
        path: of the key that is wrong, where the message does not say its place yet.
    """

    def __init__(self, message: str, path: KeyPath = ()) -> None:
        super().__init__(message)
        self.path = path


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """PyYAML's ways to tell the type of a plain text by its first character, mended."""
    exponent = ("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"))
    resolvers = {
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for first in "-+0123456789":
        resolvers[first] = [exponent, *resolvers.get(first, [])]
    return resolvers


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but 1e-3 is a number and a date is a text."""

    yaml_implicit_resolvers = _resolvers()


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would not read back as a text."""

    yaml_implicit_resolvers = _resolvers()


def dump(data: Mapping[str, Any]) -> str:
    """YAML that `Source` reads back as the same data, keys in their order."""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class Source:
    """The data of one YAML file with overrides.

    Args:
        text: YAML; its top level must be a mapping.
        name: how messages call it, the path of the file.

    Raises:
        ConfigError: naming the line, for a text that is not YAML, repeats a key or is no mapping.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._places: dict[KeyPath, str] = {(): f"{name}:1"}
        self._overridden: set[KeyPath] = set()
        try:
            loader = _Loader(text)
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                raise ConfigError(f"{name}: must be a mapping of keys to values")
            self._note(node, (), lambda part: f"{name}:{part.start_mark.line + 1}")
            self.data: dict[str, Any] = loader.construct_document(node)
        except yaml.YAMLError as error:
            raise ConfigError(f"{name}{_describe(error)}") from None

    def _note(
        self,
        node: yaml.Node,
        path: KeyPath,
        place: Callable[[yaml.Node], str],
        around: tuple[yaml.Node, ...] = (),
    ) -> None:
        """Remember the places of all keys and items in a node, which is at ``path``."""
        if node in around:
            raise ConfigError(f"{self.place(path)}: {dotted(path)}: refers to itself")
        parts: list[tuple[str | int, yaml.Node, yaml.Node]] = []
        if isinstance(node, yaml.MappingNode):
            parts = [(str(key.value), key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            parts = [(index, item, item) for index, item in enumerate(node.value)]
        for step, marked, value in parts:
            inner = (*path, step)
            if inner in self._places:
                raise ConfigError(f"{place(marked)}: {dotted(inner)}: is there twice")
            self._places[inner] = place(marked)
            self._note(value, inner, place, (*around, node))

    def override(self, assignment: str) -> None:
        """Lay ``budget.trials=100`` over the data; the value is read as YAML.

        Raises:
            ConfigError: naming the assignment.
        """
        key, equals, text = assignment.partition("=")
        place = f"--set {assignment}"
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(f"{place}: must look like budget.trials=100")
        try:
            loader = _Loader(text)
            node = loader.get_single_node()
            value = loader.construct_document(node) if node is not None else None
        except yaml.YAMLError as error:
            raise ConfigError(f"{place}: the value is no YAML{_describe(error)}") from None
        path = self._assign(parts, value, place)
        length = len(path)
        self._places = {p: line for p, line in self._places.items() if p[:length] != path}
        self._places[path] = place
        self._overridden.add(path)
        if node is not None:
            self._note(node, path, lambda _: place)

    def _assign(self, parts: Sequence[str], value: Any, place: str) -> KeyPath:
        """Put the value where the parts of its key lead; returns that path."""
        path: KeyPath = ()
        inner: Any = self.data
        for part in parts[:-1]:
            step = self._step(inner, part, path, place)
            path = (*path, step)
            inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[step]
        step = self._step(inner, parts[-1], path, place)
        inner[step] = value
        return (*path, step)

    @staticmethod
    def _step(inner: Any, part: str, path: KeyPath, place: str) -> str | int:
        """The key or index that ``part`` means in ``inner``, which is at ``path``."""
        if isinstance(inner, dict):
            return part
        if not isinstance(inner, list):
            raise ConfigError(f"{place}: {dotted(path)} is a value and holds no keys")
        if not part.isdigit() or int(part) >= len(inner):
            raise ConfigError(
                f"{place}: {dotted(path)} is a list of {len(inner)}, "
                f"so {part!r} is none of its places"
            )
        return int(part)

    def place(self, path: Sequence[str | int]) -> str:
        """Where this key, or the nearest one around it, was written: ``file:line`` or override."""
        for length in range(len(path), -1, -1):
            if tuple(path[:length]) in self._places:
                return self._places[tuple(path[:length])]
        return self.name

    def is_override(self, path: Sequence[str | int]) -> bool:
        """Whether the value of this key comes from an override."""
        return any(tuple(path[:length]) in self._overridden for length in range(1, len(path) + 1))


def dotted(path: Sequence[str | int]) -> str:
    """``("budget", "trials")`` as ``budget.trials``."""
    return ".".join(str(part) for part in path)


def _describe(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "is no YAML"
    line = f":{mark.line + 1}" if mark is not None else ""
    return f"{line}: {problem}".replace("\n", " ")


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        ConfigError: for a file that is not there, not readable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
