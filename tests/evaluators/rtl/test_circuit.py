"""Circuits by da4ml: what they answer, and what they cost."""

import subprocess
import sys

import numpy as np
import pytest

from evaluators.rtl import circuit
from evaluators.rtl.circuit import Port, check_installed, trace, version
from evaluators.rtl.program import load_program
from nas.trials import CandidateError
from tests.evaluators.packed import convolutions
from tests.evaluators.rtl.fixed_nets import DATA, answers, fixed, mlp

CLOCK_HZ = 100e6
needs_da4ml = pytest.mark.skipif(
    not circuit.importlib.util.find_spec("da4ml"), reason="da4ml is not installed (extra `fpga`)"
)


@needs_da4ml
@pytest.mark.parametrize("bits", [1, 2, 5])
def test_it_computes_what_onnx_runtime_does(bits, tmp_path):
    artifact = fixed(mlp(), tmp_path, bits, bits, bits)
    program = load_program(artifact.path)
    found = trace(program, CLOCK_HZ)

    outputs = found.predict(program.integers(DATA.validation.inputs))
    assert np.array_equal(outputs, answers(artifact, DATA.validation.inputs))
    assert found.inputs == Port(64, bits, 0, signed=True)
    assert found.outputs.count == 10


@needs_da4ml
def test_a_small_convolutional_network_is_unrolled_too(tmp_path):
    artifact = fixed(convolutions(2), tmp_path, 2, 2, 2)
    program = load_program(artifact.path)

    outputs = trace(program, CLOCK_HZ).predict(program.integers(DATA.validation.inputs))
    assert np.array_equal(outputs, answers(artifact, DATA.validation.inputs))


@needs_da4ml
def test_more_bits_and_more_weights_cost_more(tmp_path):
    def lut(hidden, bits):
        return trace(load_program(fixed(mlp(hidden), tmp_path, bits).path), CLOCK_HZ).lut

    assert 0 < lut(4, 2) < lut(4, 4) < lut(12, 4)


@needs_da4ml
def test_a_faster_clock_takes_more_stages(tmp_path):
    program = load_program(fixed(mlp(), tmp_path).path)
    slow, fast = (trace(program, clock_hz) for clock_hz in (50e6, 500e6))

    assert slow.cycles < fast.cycles
    assert slow.ff < fast.ff
    assert slow.lut == fast.lut
    assert slow.cycles / 50e6 > fast.cycles / 500e6


@needs_da4ml
def test_the_same_file_gives_the_same_circuit(tmp_path):
    program = load_program(fixed(mlp(), tmp_path).path)
    texts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files = trace(program, CLOCK_HZ).write(tmp_path / name)
        texts.append({path.name: path.read_text() for path in files})

    assert texts[0] == texts[1]
    assert {"top.v", "top_wrapper.v", "top_stage0.v", "shift_adder.v"} <= set(texts[0])
    assert "lookup_table.v" not in texts[0]


@needs_da4ml
def test_what_is_too_large_is_refused_before_it_is_unrolled(tmp_path, monkeypatch):
    monkeypatch.setattr(circuit, "MOST_MACS", 887)
    program = load_program(fixed(mlp(12), tmp_path, 1).path)

    with pytest.raises(CandidateError, match="too large to be unrolled: 888 products .* most 887"):
        trace(program, CLOCK_HZ)


@needs_da4ml
def test_sums_that_float32_does_not_hold_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(circuit, "_EXACT_BITS", 6)
    program = load_program(fixed(mlp(), tmp_path).path)

    with pytest.raises(CandidateError, match="a sum of .* bits: float32 holds 6 exactly"):
        trace(program, CLOCK_HZ)


def test_without_da4ml_there_is_one_line(monkeypatch):
    monkeypatch.setattr(circuit.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ValueError, match="needs da4ml, which is not installed: pip install 'hwnas"):
        check_installed()


@needs_da4ml
def test_da4ml_is_imported_only_to_trace():
    code = (
        "import sys, evaluators.rtl.circuit, evaluators.rtl.latency; print('da4ml' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "False"
    assert version().startswith("da4ml 0.")
