"""Code from a user's own file: imported under a name of its own, its errors in one line."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

_OWN = ("nas", "search_spaces", "strategies", "evaluators", "hw_profiles", "experiments")
"""The framework's packages: no part of anybody's file, though they may lie beside it."""

_PARSED = 1 << 20
"""Bytes of a source that is read for what it imports, at most."""


def load_module(where: str) -> ModuleType:
    """Import ``path/to/file.py`` or ``package.module``.

    A file is run anew each time, and may import its neighbours while it is; ``sys.path`` is left as
    it was.

    Raises:
        ValueError: in one line, when the file is not there or cannot be imported.
    """
    path = Path(where).expanduser().resolve()
    try:
        return _module_of_file(path) if where.endswith(".py") else importlib.import_module(where)
    except OSError as error:
        raise ValueError(f"cannot read {where}: {error.strerror or error}") from error
    except (Exception, SystemExit) as error:
        raise ValueError(f"cannot import {where}: {one_line(error, str(path))}") from error


def sources(path: Path, root: Path | None = None) -> dict[str, str]:
    """Hashes of a file and of those beside it that it imports, or that these import.

    Args:
        path: of the file; its hash is under ``""``, those of the others under their places.
        root: where absolute imports are looked up; None: the folder of the file.
    """
    root = root or path.parent
    found: dict[str, str] = {}
    waiting, known = [path], {path}
    while waiting:
        file = waiting.pop()
        content = file.read_bytes()
        name = "" if file == path else file.relative_to(root).as_posix()
        found[name] = hashlib.sha256(content).hexdigest()
        beside = {each for each in _imported(content, file.parent, root) if each.is_file()}
        waiting += sorted(beside - known)
        known |= beside
    return found


def _imported(content: bytes, folder: Path, root: Path) -> Iterator[Path]:
    """The files that a source may import, whether or not they are there."""
    try:
        tree = ast.parse(content) if len(content) <= _PARSED else ast.Module([], [])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = ([root, folder, *folder.parents][node.level :] or [Path()])[0]
            if node.level and root not in [base, *base.parents]:
                continue
            if node.level:
                yield base / "__init__.py"
            parts = node.module.split(".") if node.module else []
            for alias in node.names:
                yield from _files(base, [*parts, alias.name])


def _files(base: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Of a module and of the packages that it is in; none of the framework's own."""
    for end in range(1, len(parts) + 1) if parts[0] not in _OWN else ():
        place = base.joinpath(*parts[:end])
        yield from (place.with_suffix(".py"), place / "__init__.py")


def one_line(error: BaseException, file: str) -> str:
    """What went wrong, and where in ``file``, or else at all.

    For example ``TypeError: 'int' object is not callable (my_space.py:12)``.
    """
    message = " ".join(str(error).split())
    if isinstance(error, SystemExit):
        message = f"called sys.exit({message})"
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    blamed = [frame for frame in frames if frame.filename == file] or frames
    if isinstance(error, SyntaxError) or not blamed:
        return text
    return f"{text} ({Path(blamed[-1].filename).name}:{blamed[-1].lineno})"


def _module_of_file(path: Path) -> ModuleType:
    # Files of the same name, and versions of the same file, do not meet.
    content = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()
    name = f"hwnas_user_{path.stem}_{content[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look there
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(folder)
    return module
