"""What the compiler says of a program: its instructions with their estimated cycles.

The text of an optimized HLO module has them in the ``backend_config`` of each instruction of the
entry computation, a fusion counting once for all that is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from nas.trials import CandidateError

_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%([\w.\-]+) = (.*?)\s([\w\-]+)\(")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_SOURCE = re.compile(r'op_name="[^"]*?([\w\-]+)"')
_SHAPE = re.compile(r"\w+\[([\d,]*)\]")
_FREE = frozenset({"parameter", "constant", "bitcast", "get-tuple-element", "tuple", "reshape"})
"""Nothing is done for these."""
_HIDDEN = frozenset(
    {"copy-start", "copy-done", "slice-start", "slice-done", "async-start", "async-done"}
    | {"async-update"}
)
"""Transfers beside the computation; the compiler estimates none of them."""
_BODIES = frozenset({"while", "conditional", "call"})
"""What they contain is not in the entry computation."""


@dataclass(frozen=True)
class Instruction:
    """One instruction of the entry computation that takes time.

    Args:
        name: in the text.
        opcode: for example ``fusion``.
        source: the operation of JAX that it comes from, the last one of a fusion.
        shape: of its first result.
        cycles: estimated; 0 where the compiler says nothing.
    """

    name: str
    opcode: str
    source: str
    shape: tuple[int, ...]
    cycles: int


def instructions(text: str) -> list[Instruction]:
    """The instructions of a program.

    Args:
        text: of an optimized HLO module.

    Raises:
        CandidateError: its time is not in the entry computation, or there is none.
    """
    _, entry, body = text.partition("\nENTRY")
    if not entry:
        raise CandidateError("the compiled program has no entry computation")
    found = []
    for line in body.splitlines():
        match = _INSTRUCTION.match(line)
        if match is None or match[3] in _FREE or match[3] in _HIDDEN:
            continue
        if match[3] in _BODIES:
            raise CandidateError(
                f"the compiled program has a {match[3]}, whose cycles are not estimated"
            )
        found.append(_read(line, match))
    return found


def unestimated(found: Iterable[Instruction]) -> dict[str, int]:
    """How often there is no estimate, by opcode."""
    counts: dict[str, int] = {}
    for instruction in found:
        if not instruction.cycles:
            counts[instruction.opcode] = counts.get(instruction.opcode, 0) + 1
    return counts


def _read(line: str, match: re.Match[str]) -> Instruction:
    cycles, source, shape = (
        pattern.search(text)
        for pattern, text in ((_CYCLES, line), (_SOURCE, line), (_SHAPE, match[2]))
    )
    return Instruction(
        name=match[1],
        opcode=match[3],
        source=source[1] if source else "",
        shape=tuple(int(size) for size in shape[1].split(",") if size) if shape else (),
        cycles=int(cycles[1]) if cycles else 0,
    )
