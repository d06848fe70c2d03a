"""From integers to logic, by da4ml (LGPL-3; imported, never copied). No other module imports it.

da4ml (Sun et al. 2025, https://arxiv.org/abs/2507.04535) turns products with constant matrices into
trees of adders that share what they have in common (distributed arithmetic), estimates their
look-up tables, and cuts the logic into pipeline stages that take a new input every clock.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.rtl.program import Program
from nas.trials import CandidateError

MOST_MACS = 16_384
"""Products that are still unrolled: of few bits in a second or two, of 8 bits in half a minute."""
ADDER_S = 2e-9
"""Assumed time of an adder with its wires on a 28 nm FPGA; no place-and-route stands behind it."""
TOP = "top"

_EXACT_BITS = 24
_ADDER = (1, -1, -1)
"""Costs of an adder: a LUT a bit, one level of delay whatever its width, no cut while tracing."""


def check_installed() -> None:
    """Check that da4ml is here, without importing it.

    Raises:
        ValueError: when it is not; one line.
    """
    if importlib.util.find_spec("da4ml") is None:
        raise ValueError(
            "method fpga_rtl needs da4ml, which is not installed: pip install 'hwnas[fpga]'"
        )


def version() -> str:
    """For example ``da4ml 0.6.0``."""
    return f"da4ml {metadata.version('da4ml')}"


@dataclass(frozen=True)
class Port:
    """How numbers lie on the inputs or outputs of the module ``top_wrapper``.

    Args:
        count: numbers side by side, the first one in the lowest bits.
        bits: of each, in two's complement where signed.
        fraction: bits behind the binary point.
        signed: whether the highest bit is a sign.
    """

    count: int
    bits: int
    fraction: int
    signed: bool


@dataclass(frozen=True)
class Circuit:
    """Pipelined logic.

    Args:
        logic: da4ml's combinational solution.
        pipeline: the same, cut into stages.
        shape: of what comes in, without the batch.
    """

    logic: Any
    pipeline: Any
    shape: tuple[int, ...]

    @property
    def lut(self) -> int:
        """Look-up tables, estimated."""
        return round(float(self.pipeline.cost))

    @property
    def ff(self) -> int:
        """Flip-flops: of the registers between stages, of the inputs and of the outputs."""
        return int(self.pipeline.reg_bits)

    @property
    def cycles(self) -> int:
        """Rising edges from the one that takes an input in to the one that puts its output out."""
        return len(self.pipeline.solutions) + 1

    @property
    def inputs(self) -> Port:
        """The input port."""
        return _port(self.logic.inp_qint)

    @property
    def outputs(self) -> Port:
        """The output port."""
        return _port(self.logic.out_qint)

    def predict(self, integers: NDArray[Any]) -> NDArray[np.float64]:
        """What the logic computes for (n, *shape) integers: (n, outputs)."""
        flat = np.ascontiguousarray(integers.reshape(len(integers), -1), np.float64)
        found: NDArray[np.float64] = self.logic.predict(flat, n_threads=1)
        return found

    def write(self, folder: Path) -> list[Path]:
        """Write Verilog; the module to use is ``top_wrapper``, with the ports `inputs`, `outputs`.

        Args:
            folder: is there, and empty.

        Returns:
            The files: those of the design, and the modules of da4ml that they are made of.
        """
        from da4ml.codegen import RTLModel

        with tempfile.TemporaryDirectory() as scratch:
            model = RTLModel(self.pipeline, TOP, scratch, flavor="verilog", print_latency=False)
            model.write()
            made = sorted((Path(scratch) / "src").rglob("*.v"))
            for path in made:
                # Never used here: it reads a file that is not there, and yosys stumbles over it.
                if path.name != "lookup_table.v":
                    shutil.copyfile(path, folder / path.name)
        return sorted(folder.glob("*.v"))


def trace(program: Program, clock_hz: float) -> Circuit:
    """The circuit of a program, unrolled and pipelined for a clock.

    Args:
        program: of an artifact.
        clock_hz: an assumption: a stage has as many adders in a row as fit by `ADDER_S`.

    Raises:
        CandidateError: when it is too large to be unrolled, has sums that float32 does not hold
            exactly, or something that is no logic of adders.
    """
    from da4ml.trace import FixedVariableArray, HWConfig, comb_trace, to_pipeline

    macs = program.macs()
    if macs > MOST_MACS:
        raise CandidateError(
            f"too large to be unrolled: {macs} products with a weight that is not zero, "
            f"at most {MOST_MACS}"
        )
    ends = (np.full(program.shape, float(end)) for end in (program.low, program.high))
    symbols = FixedVariableArray.from_lhs(*ends, np.ones(program.shape), HWConfig(*_ADDER))
    outputs = program.run(symbols.reshape((1, *program.shape)), _Logic())
    logic = comb_trace(symbols, outputs, keep_dead_inputs=True)
    _check_exact(logic)
    levels = max(1, math.floor(1 / (clock_hz * ADDER_S) + 1e-9))
    return Circuit(logic, to_pipeline(logic, levels, verbose=False), program.shape)


class _Logic:
    """The arithmetic of da4ml's symbols; see `evaluators.rtl.program.Arithmetic`."""

    def quantize(self, values: Any, low: int, high: int) -> Any:
        from da4ml.trace.ops import quantize

        signed = low < 0
        return quantize(values, int(signed), high.bit_length(), 0, "SAT", "TRN")

    def relu(self, values: Any) -> Any:
        from da4ml.trace.ops import relu

        return relu(values)


def _check_exact(logic: Any) -> None:
    """ONNX Runtime must compute every sum exactly, or the file would not say what ships."""
    widest = max(_bits(op.qint) for op in logic.ops)
    if widest > _EXACT_BITS:
        raise CandidateError(
            f"a sum of {widest} bits: float32 holds {_EXACT_BITS} exactly; use fewer bits"
        )


def _bits(interval: Any) -> int:
    largest = max(abs(interval.min), abs(interval.max)) / interval.step
    return math.ceil(math.log2(largest + 1)) if largest else 0


def _port(intervals: Any) -> Port:
    """Of numbers that lie in intervals: all get the bits that the widest needs on each side."""
    from da4ml.types import minimal_kif

    signs, integers, fractions = zip(*map(minimal_kif, intervals), strict=True)
    fraction = max(fractions)
    return Port(len(signs), max(signs) + max(integers) + fraction, fraction, bool(max(signs)))
