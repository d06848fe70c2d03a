"""A compiler for tests: it counts what it is asked and answers at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evaluators.tpu import process
from evaluators.tpu.xla import XlaCompiler


class Answers:
    """Cycles that follow from the number of nodes; see `evaluators.tpu.xla.Process`."""

    def __init__(self, **changes: Any) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self._changes = changes

    def compile(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        if "error" in self._changes:
            return dict(self._changes)
        fusion = {"name": "fusion.1", "opcode": "fusion", "source": "dot", "shape": [2, 3]}
        cycles = 1000 * len(request["graph"]["nodes"])
        copy = {"name": "copy.1", "opcode": "copy", "source": "", "shape": [2], "cycles": 0}
        return {
            "instructions": [{**fusion, "cycles": cycles}, {**fusion, "cycles": 500}, copy],
            "memory_bytes": {"arguments": 1024, "temporary": 1024},
            "seconds": 0.1,
            **self._changes,
        }


def compiler(monkeypatch: pytest.MonkeyPatch, folder: Path, answers: Answers) -> XlaCompiler:
    """One that needs nothing installed."""
    monkeypatch.setattr(process, "installed", process.VERSIONS.__getitem__)
    return XlaCompiler(folder, process=answers)
