"""The evaluator `fpga_rtl`."""

from dataclasses import replace

import pytest

import evaluators
from evaluators.devices import Device
from evaluators.rtl import latency
from evaluators.rtl.circuit import Circuit
from hw_profiles import load
from nas.trials import CandidateError
from tests.evaluators.packed import candidate
from tests.evaluators.rtl.fixed_nets import DATA, fixed, mlp
from tests.evaluators.rtl.test_circuit import needs_da4ml
from tests.hw_profiles.profiles import fig, processor

BOARD = Device("fpga", load("pynq-z2"), "fpga_rtl")

pytestmark = needs_da4ml


def smaller(lut: float) -> Device:
    profile = replace(BOARD.profile, parts={**BOARD.profile.parts, "lut": fig(lut)})
    return replace(BOARD, profile=profile)


def evaluator(device: Device = BOARD) -> latency.FpgaRtl:
    made = evaluators.create("fpga_rtl", device=device, data=DATA)
    assert isinstance(made, latency.FpgaRtl)
    return made


def test_the_readings_of_a_network(tmp_path):
    readings = evaluator().evaluate(candidate(fixed(mlp(), tmp_path)))

    assert set(readings) == set(evaluator().provides)
    assert set(readings) == {f"{n}.fpga" for n in ("lut", "ff", "cycles", "latency_ms", "fits")}
    assert readings["lut.fpga"] > 100
    assert readings["latency_ms.fpga"] == pytest.approx(readings["cycles.fpga"] / 100e6 * 1e3)
    assert readings["fits.fpga"] == 1
    origin = readings.provenance["latency_ms.fpga"]
    assert (origin.source, origin.device, origin.dtype) == ("modeled", "pynq-z2", "fixed")
    assert origin.runtime.startswith("da4ml 0.")
    assert origin.method == "unrolled logic, estimate, clock assumed 100 MHz"


def test_it_fits_as_far_as_the_usable_share_goes(tmp_path):
    artifact = candidate(fixed(mlp(), tmp_path))
    lut = evaluator().evaluate(artifact)["lut.fpga"]
    usable = BOARD.profile.part("usable_lut")

    assert evaluator(smaller(lut / usable + 1)).evaluate(artifact)["fits.fpga"] == 1
    assert evaluator(smaller(lut / usable - 1)).evaluate(artifact)["fits.fpga"] == 0


def test_a_circuit_that_answers_otherwise_is_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(Circuit, "predict", lambda self, integers: integers[:, :10])

    with pytest.raises(CandidateError, match="the circuit does not compute what ONNX Runtime does"):
        evaluator().evaluate(candidate(fixed(mlp(), tmp_path)))


def test_a_candidate_without_a_file_is_refused():
    with pytest.raises(CandidateError, match="nothing to unroll"):
        evaluator().evaluate(candidate(None))


@pytest.mark.parametrize(
    ("device", "line"),
    [
        (replace(BOARD, profile=processor()), "of an FPGA with LUTs, but made-up lacks parts.lut"),
        (replace(BOARD, profile=load("zcu102-dpu")), "zcu102-dpu lacks parts"),
        (replace(BOARD, batch=2), "batch must be 1 with method fpga_rtl, but got 2"),
    ],
)
def test_a_device_that_is_no_such_fpga_is_refused(device, line):
    with pytest.raises(ValueError, match=line):
        evaluator(device)
