"""Profiles as YAML files: where they lie, how they are read and written."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from hw_profiles import host
from hw_profiles.home import profiles_folder
from hw_profiles.profile import GROUPS, Figure, HardwareProfile

_T = TypeVar("_T")
SHIPPED = Path(__file__).parent
_TEXTS = ("name", "title", "kind", "lowering", "dtype")
_SINGLE = ("clock_hz", "uncertainty")
_OPTIONAL = ("calibration", "identity", "sibling", "chip")
_KNOWN = (*_TEXTS, *_SINGLE, "peak_ops_s", *GROUPS, *_OPTIONAL)


def load(name_or_path: str | Path) -> HardwareProfile:
    """Read a profile.

    Args:
        name_or_path: the path of a YAML file, or a name: first looked for in
            ``NAS_HOME/profiles`` (``NAS_HOME`` is ``./nas-runs`` by default), then among the
            shipped ones. ``host-cpu`` is the machine that this runs on, detected.

    Raises:
        ValueError: one line for an unknown name, a file that cannot be read, malformed YAML, or a
            figure that is missing, wrong or without a source.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")) or os.sep in text:
        return _read(Path(name_or_path))
    for folder in (profiles_folder(), SHIPPED):
        if (folder / f"{text}.yaml").is_file():
            return _read(folder / f"{text}.yaml")
    if text == host.NAME:
        return host.detect()
    raise ValueError(_unknown_profile(text))


def names() -> list[str]:
    """The names that `load` knows: the shipped ones, those in ``NAS_HOME``, ``host-cpu``."""
    files = [*SHIPPED.glob("*.yaml"), *profiles_folder().glob("*.yaml")]
    return sorted({host.NAME, *(file.stem for file in files)})


def own_file(name: str) -> Path | None:
    """The file of a user's own profile of this name, which comes before a shipped one."""
    path = profiles_folder() / f"{name}.yaml"
    return path if path.is_file() else None


def is_shipped(name: str) -> bool:
    """Whether there is a shipped profile of this name, hidden or not."""
    return (SHIPPED / f"{name}.yaml").is_file()


def keep_old(name: str) -> Path | None:
    """Copy a user's own profile that is about to be replaced to ``NAME.yaml.bak``.

    Returns:
        The copy; None where there is nothing to replace.

    Raises:
        ValueError: when it cannot be copied.
    """
    path = own_file(name)
    if path is None:
        return None
    kept = path.with_name(f"{path.name}.bak")
    try:
        shutil.copyfile(path, kept)
    except OSError as error:
        raise ValueError(f"cannot keep profile {path} as {kept}: {error.strerror}") from None
    return kept


def save(profile: HardwareProfile, path: str | Path) -> None:
    """Write a profile as YAML; `load` reads back an equal one.

    Raises:
        ValueError: when the file cannot be written.
    """
    record: dict[str, Any] = {name: getattr(profile, name) for name in _TEXTS}
    record |= {name: _plain(getattr(profile, name)) for name in _SINGLE}
    record["peak_ops_s"] = {
        engine: {dtype: _plain(figure) for dtype, figure in by_dtype.items()}
        for engine, by_dtype in profile.peak_ops_s.items()
    }
    for group in GROUPS:
        figures = getattr(profile, group).items()
        if figures:
            record[group] = {name: _plain(figure) for name, figure in figures}
    record |= {name: getattr(profile, name) for name in _OPTIONAL if getattr(profile, name)}
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(yaml.safe_dump(record, sort_keys=False, width=100), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot write profile {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"cannot write profile {path}: {str(error).splitlines()[0]}") from None


def _unknown_profile(name: str) -> str:
    """One line: the names that hold this one, else the nearest, else all."""
    known = names()
    part = re.sub(r"[^a-z0-9]", "", name.lower())
    near = [each for each in known if part and part in each.replace("-", "")]
    near = near or difflib.get_close_matches(name.lower(), known, n=1)
    if near:
        hint = " or ".join(repr(each) for each in near[:3])
        return f"unknown hardware profile {name!r}; did you mean {hint}? (see nas devices)"
    return f"unknown hardware profile {name!r} (known: {', '.join(known)})"


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    """One line: what was wrong, the nearest known name, all known names."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {name!r}{hint} (known: {', '.join(known)})"


def _plain(figure: Figure) -> dict[str, Any]:
    return {"value": figure.value, "source": figure.source}


def _read(path: Path) -> HardwareProfile:
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read profile {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"cannot read profile {path}: it is no text") from None
    except yaml.YAMLError as error:
        raise ValueError(f"profile {path} is no valid YAML: {_yaml_line(error)}") from None
    try:
        return _profile(record)
    except ValueError as error:
        raise ValueError(f"profile {path}: {error}") from None


def _yaml_line(error: yaml.YAMLError) -> str:
    """The first line of what is wrong, with its place."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error).splitlines()[0]


def _profile(record: Any) -> HardwareProfile:
    fields = dict(_mapping("the file", record))
    for key in fields:
        if key not in _KNOWN:
            raise ValueError(_unknown("key", str(key), _KNOWN))
    for key in (*_TEXTS, *_SINGLE):
        if key not in fields:
            raise ValueError(f"{key} is missing")
    for key in (*_TEXTS, "identity", "sibling", "chip"):
        if not isinstance(fields.get(key, ""), str):
            raise ValueError(f"{key} must be a text, but got {fields[key]!r}")
    fields |= {key: _figure(key, fields[key]) for key in _SINGLE}
    fields |= {group: _table(group, fields.get(group), _figure) for group in GROUPS}
    fields["peak_ops_s"] = _table("peak_ops_s", fields.get("peak_ops_s"), _by_dtype)
    if fields.get("calibration") is not None:
        fields["calibration"] = _mapping("calibration", fields["calibration"])
    return HardwareProfile(**fields)


def _table(where: str, value: Any, read: Callable[[str, Any], _T]) -> dict[str, _T]:
    entries = {} if value is None else _mapping(where, value)
    return {str(name): read(f"{where}.{name}", entry) for name, entry in entries.items()}


def _by_dtype(where: str, value: Any) -> dict[str, Figure]:
    return _table(where, value, _figure)


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a mapping, but got {value!r}")
    return value


def _figure(where: str, value: Any) -> Figure:
    """A figure ``{value, source}``; YAML reads ``312e12`` as a text, which is taken as a number."""
    entry = _mapping(where, value)
    for key in ("value", "source"):
        if key not in entry:
            raise ValueError(f"figure {where} has no {key}")
    for key in entry:
        if key not in ("value", "source"):
            raise ValueError(f"figure {where}: " + _unknown("key", str(key), ("value", "source")))
    try:
        number = entry["value"]
        if isinstance(number, bool) or not isinstance(number, (int, float, str)):
            raise ValueError(f"it must be a number, but got {number!r}")
        return Figure(float(number), str(entry["source"] or ""))
    except ValueError as error:
        raise ValueError(f"figure {where}: {error}") from None
