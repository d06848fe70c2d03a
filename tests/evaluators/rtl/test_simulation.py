"""The test bench and its simulation; synthesis."""

import shutil

import numpy as np
import pytest

from evaluators.rtl.circuit import Port, trace
from evaluators.rtl.program import load_program
from evaluators.rtl.simulation import Simulated, _hexadecimal, simulate, write_bench
from evaluators.rtl.synthesis import Synthesized, read_cells, synthesize
from evaluators.rtl.tools import ToolError
from tests.evaluators.rtl.fixed_nets import DATA, answers, fixed, mlp
from tests.evaluators.rtl.test_circuit import needs_da4ml

needs_verilator = pytest.mark.skipif(not shutil.which("verilator"), reason="no verilator")
needs_yosys = pytest.mark.skipif(not shutil.which("yosys"), reason="no yosys")


@pytest.mark.parametrize(
    ("values", "port", "lines"),
    [
        ([[0, 1], [3, 2]], Port(2, 2, 0, signed=False), "4\nb\n"),
        ([[-1, 1], [-2, 0]], Port(2, 2, 0, signed=True), "7\n2\n"),
        ([[0.5, -0.25, 0.0]], Port(3, 4, 2, signed=True), "0f2\n"),
    ],
)
def test_vectors_are_packed_from_the_lowest_bits_on(values, port, lines):
    assert _hexadecimal(np.array(values, np.float32), port) == lines


@pytest.mark.parametrize(
    ("values", "port", "line"),
    [
        ([[0.25]], Port(1, 4, 1, signed=True), "1 whole numbers were expected"),
        ([[1, 2]], Port(1, 4, 0, signed=True), "1 whole numbers were expected, but got 2"),
        ([[8.0]], Port(1, 4, 0, signed=True), "4 bits do not hold 8 to 8"),
        ([[-1.0]], Port(1, 4, 0, signed=False), "4 bits do not hold -1 to -1"),
    ],
)
def test_what_the_port_cannot_hold_is_refused(values, port, line):
    with pytest.raises(ValueError, match=line):
        _hexadecimal(np.array(values), port)


def test_no_vector_is_not_bit_exact():
    assert Simulated(3, 0, 4).bit_exact
    assert not Simulated(3, 1, 4).bit_exact
    assert not Simulated(0, 0, 4).bit_exact


@pytest.mark.slow
@pytest.mark.fpga
@needs_da4ml
@needs_verilator
def test_the_simulation_is_bit_exact_and_sees_what_is_not(tmp_path):
    artifact = fixed(mlp(4), tmp_path, 2, 2, 3)
    program, inputs = load_program(artifact.path), DATA.validation.inputs
    circuit, rtl = trace(program, 100e6), tmp_path / "rtl"
    outputs = answers(artifact, inputs)
    rtl.mkdir()
    sources = circuit.write(rtl)

    write_bench(circuit, program.integers(inputs), outputs, tmp_path)
    assert simulate(tmp_path, sources) == Simulated(len(inputs), 0, circuit.cycles)

    outputs[7, 3] += 2.0**-circuit.outputs.fraction
    write_bench(circuit, program.integers(inputs), outputs, tmp_path)
    assert simulate(tmp_path, sources) == Simulated(len(inputs), 1, circuit.cycles)


@pytest.mark.slow
@pytest.mark.fpga
@needs_da4ml
@needs_yosys
def test_the_estimate_is_near_what_synthesis_counts(tmp_path):
    circuit = trace(load_program(fixed(mlp(8), tmp_path, 4, 4).path), 100e6)
    rtl, work = tmp_path / "rtl", tmp_path / "work"
    rtl.mkdir()
    work.mkdir()
    found = synthesize(circuit.write(rtl), work)

    assert circuit.lut == pytest.approx(found.lut, rel=0.15)
    assert circuit.ff == pytest.approx(found.ff, rel=0.15)


def test_cells_are_read_from_the_statistics_of_yosys():
    text = (
        "   Number of cells:   9\n     CARRY4   2\n     FDRE    4\n     LUT6   3\n     SRL16E 1\n"
    )
    found = Synthesized(read_cells(text))

    assert found.cells == {"CARRY4": 2, "FDRE": 4, "LUT6": 3, "SRL16E": 1}
    assert (found.lut, found.ff) == (4, 4)
    with pytest.raises(ToolError, match="yosys counted no cells"):
        read_cells("nothing")
