"""Synthesis of a circuit by yosys: look-up tables and flip-flops, without place and route."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from evaluators.rtl.circuit import TOP
from evaluators.rtl.tools import ToolError, call, check_tools

_CELL = re.compile(r"^\s+([A-Z][A-Z0-9_]*)\s+(\d+)\s*$", re.MULTILINE)
_LUT = re.compile(r"LUT[1-6]|SRL\w+|RAM\w*")
_FF = re.compile(r"FD[A-Z]+")


@dataclass(frozen=True)
class Synthesized:
    """Cells of the 7 series by their type, for example ``LUT6``, ``CARRY4``, ``FDRE``."""

    cells: Mapping[str, int]

    @property
    def lut(self) -> int:
        """Look-up tables, those that serve as shift registers included."""
        return sum(n for cell, n in self.cells.items() if _LUT.fullmatch(cell))

    @property
    def ff(self) -> int:
        """Flip-flops."""
        return sum(n for cell, n in self.cells.items() if _FF.fullmatch(cell))


def synthesize(sources: Iterable[Path], folder: Path) -> Synthesized:
    """Run ``synth_xilinx`` on a circuit.

    Args:
        sources: its Verilog files.
        folder: to work in.

    Raises:
        ToolError: when yosys is not there, or fails.
    """
    check_tools(("yosys",))
    files = " ".join(f'"{path.resolve()}"' for path in sources)
    script = (
        f"read_verilog {files}; "
        f"synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top {TOP}; tee -o cells.txt stat"
    )
    call(["yosys", "-q", "-p", script], folder)
    return Synthesized(read_cells((folder / "cells.txt").read_text(encoding="utf-8")))


def read_cells(text: str) -> dict[str, int]:
    """The cells that yosys' ``stat`` lists.

    Raises:
        ToolError: when it lists none.
    """
    cells = {name: int(count) for name, count in _CELL.findall(text)}
    if not cells:
        raise ToolError("yosys counted no cells")
    return cells
