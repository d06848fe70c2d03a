"""A probe of this machine: two seconds that replace what is derived or assumed of one thread.

It runs once a machine: what it finds is kept in ``NAS_HOME/profiles`` under the fingerprint of the
machine, and ``hw_profiles.load("host-cpu")`` reads it from there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from hw_profiles.home import profiles_folder

SECONDS = 2.0
_TIMEOUT_S = 120.0
_ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    )
}
_PLAUSIBLE = {
    "float32_ops_s": (1e8, 1e14),
    "memory_bytes_s": (1e7, 1e13),
    "cache_bytes_s": (1e7, 1e14),
}
Worker = Callable[[float, int], str]


@dataclass(frozen=True)
class Probe:
    """What one thread attained.

    Args:
        float32_ops_s: operations a second of a matrix product; a multiply-accumulate is two.
        memory_bytes_s: bytes a second, read and written, of copying what fits in no cache of its
            own.
        cache_bytes_s: the same within the second-level cache.
        date: when, as in ``2026-11-22``.

    Raises:
        ValueError: for a figure that no thread of any machine attains.
    """

    float32_ops_s: float
    memory_bytes_s: float
    cache_bytes_s: float
    date: str

    def __post_init__(self) -> None:
        for name, (least, most) in _PLAUSIBLE.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not least <= value <= most:
                raise ValueError(
                    f"{name} of a probe must be between {least:g} and {most:g}, but got {value!r}"
                )


def run(
    fingerprint: str, cache_bytes: int, seconds: float = SECONDS, worker: Worker | None = None
) -> Probe:
    """Measure this machine and keep the result.

    Args:
        fingerprint: of the machine, under which the result is kept.
        cache_bytes: of its second-level cache.
        seconds: of measuring.
        worker: measures for so many seconds with a cache of so many bytes and returns JSON; by
            default `hw_profiles.probe_worker` in a process of its own with one thread.

    Raises:
        ValueError: one line, when the measurement fails or cannot be kept.
    """
    if seconds <= 0:
        raise ValueError(f"seconds of a probe must be positive, but got {seconds}")
    answer = (worker or _in_a_process)(seconds, cache_bytes)
    probe = _parsed(answer, datetime.now(UTC).date().isoformat())
    if probe is None:
        raise ValueError(f"the probe failed: it answered {answer.strip()[:200]!r}")
    _keep(probe, _path(fingerprint))
    return probe


def stored(fingerprint: str) -> Probe | None:
    """What a probe of this machine has found, None before one or when the file is damaged."""
    try:
        return _parsed(_path(fingerprint).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def _path(fingerprint: str) -> Path:
    return profiles_folder() / f"host-cpu-{fingerprint}.probe.json"


def _parsed(text: str, date: str = "") -> Probe | None:
    try:
        record = json.loads(text)
        if not isinstance(record, Mapping):
            return None
        return Probe(**{**({"date": date} if date else {}), **record})
    except (TypeError, ValueError):
        return None


def _keep(probe: Probe, path: Path) -> None:
    """Written beside and moved into place, so that a reader never sees half of it."""
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(asdict(probe)) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise ValueError(f"cannot keep the probe in {path.parent}: {error.strerror}") from None


def _in_a_process(seconds: float, cache_bytes: int) -> str:
    root = Path(__file__).resolve().parent.parent
    paths = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-P", "-m", "hw_profiles.probe_worker"]
    try:
        done = subprocess.run(
            [*command, str(seconds), str(cache_bytes)],
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"the probe did not end within {_TIMEOUT_S:g} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"the probe failed: {last}")
    return done.stdout
