"""The evaluator fpga_dataflow."""

import pytest
from torch import nn

import evaluators
from evaluators.dataflow.evaluator import FpgaDataflow, bits_of
from evaluators.devices import Device
from hw_profiles import load
from nas.trials import Candidate, CandidateError
from tests.evaluators.workload_nets import cnv, conv, head

DEVICE = Device("fpga", load("pynq-z2"), "fpga_dataflow")
LOW = {"quantize.weight_bits": 2, "quantize.activation_bits": 2}


def candidate(module: nn.Module | None, **genotype: int | str) -> Candidate:
    return Candidate(dict(genotype), "t", "c", module=module)


def small() -> nn.Module:
    return nn.Sequential(conv(3, 8), conv(8, 16, stride=2), head(16, 10))


def test_it_gives_latency_and_resources_with_their_origin() -> None:
    evaluator = evaluators.create("fpga_dataflow", device=DEVICE, input_shape=(3, 32, 32))
    assert isinstance(evaluator, FpgaDataflow)
    readings = evaluator.evaluate(candidate(small(), **LOW))
    assert set(readings) == set(evaluator.provides)
    assert readings["fits.fpga"] == 1
    for name, limit in (("lut", 37240), ("ff", 53200), ("bram18", 224), ("dsp", 176)):
        assert 0 <= readings[f"{name}.fpga"] <= limit
    origin = readings.provenance["latency_ms.fpga"]
    assert (origin.source, origin.device, origin.dtype) == ("modeled", "pynq-z2", "w2a2")
    assert origin.low < readings["latency_ms.fpga"] < origin.high
    for word in ("fpga_dataflow", "core", "board", "assumed clock 100 MHz"):
        assert word in origin.method
    assert "estimates" in readings.provenance["lut.fpga"].method


def test_memories_of_larger_devices_are_told_and_can_be_bounded() -> None:
    """A network whose weights lie in UltraRAM where there is any."""
    device = Device("fpga", load("alveo-u250"), "fpga_dataflow")
    wide = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 2048))
    free = FpgaDataflow(device, (2048,)).evaluate(candidate(wide))
    assert free["uram.fpga"] > 8
    less = FpgaDataflow(device, (2048,), {"uram": 8}).evaluate(candidate(wide))
    assert less["uram.fpga"] <= 8
    assert FpgaDataflow(DEVICE, (3, 32, 32)).evaluate(candidate(small()))["uram.fpga"] == 0


def test_fewer_bits_are_faster_and_8_are_the_default() -> None:
    evaluator = FpgaDataflow(DEVICE, (3, 32, 32))
    low = evaluator.evaluate(candidate(small(), **LOW))
    plain = evaluator.evaluate(candidate(small()))
    static = evaluator.evaluate(candidate(small(), **{"quantize.scheme": "static"}))
    assert low["latency_ms.fpga"] < plain["latency_ms.fpga"] == static["latency_ms.fpga"]
    assert static.provenance["latency_ms.fpga"].dtype == "int8"


def test_a_batch_streams_through() -> None:
    five = Device("fpga", load("pynq-z2"), "fpga_dataflow", batch=5)
    one, more = (
        FpgaDataflow(device, (3, 32, 32)).evaluate(candidate(small(), **LOW))["latency_ms.fpga"]
        for device in (DEVICE, five)
    )
    assert one < more < 5 * one


def test_bits_by_stage() -> None:
    bits = bits_of(
        {"quantize.weight_bits": 4, "quantize.weight_bits.stage1": 1, "quantize.input_bits": 6}
    )
    assert (bits.of("stage1.0"), bits.of("head")) == ((1, 8), (4, 8))
    assert bits.inputs == 6


@pytest.mark.parametrize(
    ("module", "genotype", "message"),
    [
        (None, {}, "is made of a module, but there is none"),
        (cnv(), {}, "does not fit pynq-z2 at any folding: the smallest one needs"),
        (nn.Sequential(cnv(), nn.Softmax(1)), LOW, "a streaming circuit has no unit for"),
        (small(), {"quantize.weight_bits": 12}, "bits of a circuit must be 1 to 8, but got 12"),
    ],
)
def test_the_candidate_fails_with_one_line(
    module: nn.Module | None, genotype: dict[str, int], message: str
) -> None:
    with pytest.raises(CandidateError, match=message) as caught:
        FpgaDataflow(DEVICE, (3, 32, 32)).evaluate(candidate(module, **genotype))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("profile", ["zcu102-dpu", "tpu-v3", "generic-cpu"])
def test_only_devices_that_stream_have_circuits(profile: str) -> None:
    with pytest.raises(ValueError, match=f"needs a profile lowered as dataflow, but {profile}"):
        Device("fpga", load(profile), "fpga_dataflow")


def test_the_quick_model_is_an_estimate_of_it() -> None:
    assert DEVICE.modeled_metric == "estimated_latency_ms.fpga"
    assert Device("fpga", load("pynq-z2"), "modeled").modeled_metric == "latency_ms.fpga"
