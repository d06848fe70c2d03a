"""Code from a user's own file: imported under a name of its own, its errors in one line."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType


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


def sources(path: Path) -> dict[str, str]:
    """What a file and those beside it that it imports say, by name; comments and layout apart.

    A file that cannot be parsed counts as it is.
    """
    found: dict[str, str] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        name, text = file.relative_to(path.parent).as_posix(), file.read_text("utf-8", "replace")
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            found[name] = text
            continue
        found[name] = ast.unparse(tree)
        names = {name for node in ast.walk(tree) for name in _imported(node)}
        beside = [path.parent / name.replace(".", "/") for name in sorted(names)]
        files = [f for base in beside for f in (base.with_suffix(".py"), base / "__init__.py")]
        known = {path.parent / name for name in found} | {*waiting}
        waiting += [each for each in files if each.is_file() and each not in known]
    return found


def _imported(node: ast.AST) -> list[str]:
    """The modules that a statement imports, or may."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


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
