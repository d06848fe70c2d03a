"""How fast this machine was whenever something was measured on it, kept from process to process.

A process that is slow from its first to its last moment cannot tell by itself, and two processes
may both measure well at speeds that differ by a quarter. What is kept here says how much the speed
of this machine wanders.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from hw_profiles import host
from hw_profiles.home import profiles_folder

_KEPT = 400
_APART_S = 30.0
"""Between two that are kept: a search measures every second, and would forget yesterday."""
_RARE = 0.05
"""The share at either end that does not count: moments that hardly ever come again."""


@dataclass(frozen=True)
class Standing:
    """How fast the machine was during a measurement, beside how fast it is at other times.

    Args:
        now_ns: time of the reference network.
        best_ns: the same where the machine was about as fast as it ever was.
        worst_ns: the same where it was about as slow as it ever was while something was measured.
    """

    now_ns: float
    best_ns: float
    worst_ns: float

    @property
    def slower(self) -> float:
        """By what factor it was slower than at its best, at least 1."""
        return max(1.0, self.now_ns / self.best_ns)

    @property
    def faster(self) -> float:
        """By what factor it was faster than at its worst, at least 1."""
        return max(1.0, self.worst_ns / self.now_ns)


@dataclass
class PaceMemory:
    """The times of the reference network, one for each measurement that was not disturbed.

    Args:
        path: of the file that keeps them; None: they are kept as long as this process lives.
        runtime: that ran it, with its version; those of another one are forgotten.
    """

    path: Path | None = None
    runtime: str = ""
    _seen: list[tuple[float, float]] = field(default_factory=list)

    def add(self, level_ns: float, at_s: float) -> None:
        """Keep a time, unless there is one of the last half minute.

        Args:
            level_ns: of the reference network.
            at_s: seconds since whenever, the same for all processes.
        """
        seen = self._read()
        if not seen or not 0 <= at_s - seen[-1][0] < _APART_S:
            self._seen = [*seen, (at_s, level_ns)][-_KEPT:]
            self._write()

    def standing(self, now_ns: float) -> Standing:
        """Where a time stands among those that are kept, itself included."""
        levels = sorted([*(level for _, level in self._read()), now_ns])
        rare = int(_RARE * len(levels))
        return Standing(now_ns, levels[rare], levels[-1 - rare])

    def _read(self) -> list[tuple[float, float]]:
        if self.path is None:
            return self._seen
        try:
            record = json.loads(self.path.read_text(encoding="utf-8"))
            if record["runtime"] != self.runtime:
                return []
            seen = [(float(at_s), float(level_ns)) for at_s, level_ns in record["levels"]]
            return [each for each in seen if math.isfinite(each[0]) and 0 < each[1] < math.inf]
        except (OSError, ValueError, KeyError, TypeError):
            return self._seen  # nobody has written yet, or something else has

    def _write(self) -> None:
        """Moved into place: a reader never sees half of it. It may fail, at little cost."""
        if self.path is None:
            return
        beside = self.path.with_suffix(f".{os.getpid()}.tmp")
        record = {"runtime": self.runtime, "levels": [[round(s, 1), ns] for s, ns in self._seen]}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(record) + "\n", encoding="utf-8")
            beside.replace(self.path)


def memory_of_this_machine(runtime: str) -> PaceMemory:
    """What is kept in ``NAS_HOME/profiles`` under the fingerprint of this machine."""
    name = f"host-cpu-{host.detect().fingerprint()}.pace.json"
    return PaceMemory(profiles_folder() / name, runtime)
