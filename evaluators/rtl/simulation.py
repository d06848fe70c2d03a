"""Simulation of a circuit by Verilator: what it answers to every vector, and after how many cycles.

The test bench is Verilog, so that other simulators run it too, and checks itself.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.rtl.circuit import Circuit, Port
from evaluators.rtl.tools import ToolError, call, check_tools

BENCH, INPUTS, EXPECTED = "testbench.v", "inputs.hex", "expected.hex"

_NEWER_LINT = "WIDTHTRUNC"
"""A warning that da4ml's modules switch off, and that Verilator before 5.8 stumbles over."""
_RESULT = re.compile(r"vectors=(\d+) mismatches=(\d+) cycles=(\d+)")
_BENCH = """\
`timescale 1 ns / 1 ps
// Feeds {vectors} vectors to the circuit, one a clock, and compares all that comes out.
// Run it where {inputs} and {expected} lie.
module testbench;
    reg clk = 0;
    reg [{in_bits}:0] inputs [0:{last}];
    reg [{out_bits}:0] expected [0:{last}];
    reg [{in_bits}:0] given;
    wire [{out_bits}:0] found;
    integer i, other, cycles, mismatches;

    top_wrapper circuit (.clk(clk), .model_inp(given), .model_out(found));
    always #5 clk = ~clk;

    initial begin
        $readmemh("{inputs}", inputs);
        $readmemh("{expected}", expected);
        // Its latency: let all registers hold one vector, and count until another one is answered.
        other = 0;
        while (other < {last} && expected[other] === expected[0]) other = other + 1;
        given = inputs[0];
        repeat ({patience}) @(posedge clk);
        #1 given = inputs[other];
        cycles = 0;
        while (found !== expected[other] && cycles < {patience}) begin
            @(posedge clk);
            #1 cycles = cycles + 1;
        end
        mismatches = 0;
        for (i = 0; i < {vectors} + cycles; i = i + 1) begin
            given = inputs[i < {vectors} ? i : {last}];
            @(posedge clk);
            #1 if (i + 1 >= cycles && i + 1 - cycles < {vectors})
                if (found !== expected[i + 1 - cycles]) mismatches = mismatches + 1;
        end
        $display("vectors=%0d mismatches=%0d cycles=%0d", {vectors}, mismatches, cycles);
        $finish;
    end
endmodule
"""


@dataclass(frozen=True)
class Simulated:
    """What a simulation saw.

    Args:
        vectors: that were fed.
        mismatches: of those, with another output than expected.
        cycles: rising edges from the one that takes an input in to the one that puts its output
            out.
    """

    vectors: int
    mismatches: int
    cycles: int

    @property
    def bit_exact(self) -> bool:
        """Whether every bit of every output was as expected."""
        return self.vectors > 0 and self.mismatches == 0


def write_bench(
    circuit: Circuit, integers: NDArray[Any], outputs: NDArray[Any], folder: Path
) -> None:
    """Write the test bench with its vectors.

    Args:
        circuit: to be tested.
        integers: (n, ...), what goes in.
        outputs: (n, outputs), what must come out.
        folder: is there.

    Raises:
        ValueError: for outputs that the circuit's format cannot hold.
    """
    given, found = circuit.inputs, circuit.outputs
    (folder / INPUTS).write_text(_hexadecimal(integers, given), encoding="ascii")
    (folder / EXPECTED).write_text(_hexadecimal(outputs, found), encoding="ascii")
    text = _BENCH.format(
        vectors=len(integers),
        last=len(integers) - 1,
        in_bits=given.count * given.bits - 1,
        out_bits=found.count * found.bits - 1,
        patience=2 * circuit.cycles + 8,
        inputs=INPUTS,
        expected=EXPECTED,
    )
    (folder / BENCH).write_text(text, encoding="ascii")


def _hexadecimal(values: NDArray[Any], port: Port) -> str:
    """A line a vector, as ``$readmemh`` takes it."""
    flat = values.reshape(len(values), -1).astype(np.float64) * 2.0**port.fraction
    low = -(2 ** (port.bits - 1)) if port.signed else 0
    if flat.shape[1] != port.count or (flat != np.floor(flat)).any():
        raise ValueError(f"{port.count} whole numbers were expected, but got {flat.shape[1]}")
    if flat.min() < low or flat.max() >= low + 2**port.bits:
        raise ValueError(f"{port.bits} bits do not hold {flat.min():g} to {flat.max():g}")
    digits = -(-port.count * port.bits // 4)
    mask = 2**port.bits - 1
    lines = []
    for row in flat.astype(np.int64).tolist():
        packed = sum((value & mask) << (place * port.bits) for place, value in enumerate(row))
        lines.append(f"{packed:0{digits}x}\n")
    return "".join(lines)


def simulate(bench: Path, sources: Iterable[Path]) -> Simulated:
    """Run a test bench by Verilator.

    Args:
        bench: the folder of `write_bench`.
        sources: the Verilog files of the circuit.

    Raises:
        ToolError: when Verilator is not there, or fails.
    """
    check_tools(("verilator",))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for path in sources:
            text = path.read_text(encoding="utf-8").replace(_NEWER_LINT, "WIDTH")
            (folder / path.name).write_text(text, encoding="utf-8")
        names = sorted(path.name for path in folder.glob("*.v"))
        for name in (BENCH, INPUTS, EXPECTED):
            shutil.copyfile(bench / name, folder / name)
        options = ["--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-Wno-style", "-j", "1"]
        # No optimization: compiling takes far longer than the few thousand clocks of a run.
        for what in ("OPT_FAST", "OPT_SLOW", "OPT_GLOBAL"):
            options += ["-MAKEFLAGS", f"{what}=-O0"]
        options += ["--top-module", "testbench", "-Mdir", "built"]
        call(["verilator", *options, BENCH, *names], folder)
        said = call([str(folder / "built" / "Vtestbench")], folder)
    result = _RESULT.search(said)
    if result is None:
        raise ToolError("verilator's simulation ended without a result")
    return Simulated(*(int(number) for number in result.groups()))
