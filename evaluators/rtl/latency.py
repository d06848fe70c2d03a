"""The evaluator ``fpga_rtl``: look-up tables and latency of a network unrolled into logic."""

from __future__ import annotations

import numpy as np

from evaluators import runtimes
from evaluators.devices import Device
from evaluators.rtl import circuit
from evaluators.rtl.circuit import Circuit
from evaluators.rtl.program import Program, load_program
from evaluators.scoring import predict
from evaluators.tasks.data import Floats, TaskData
from nas.trials import Artifact, Candidate, CandidateError, Provenance, Readings

FAMILIES = ("lut", "ff", "cycles", "latency_ms", "fits")


class FpgaRtl:
    """What the artifact costs as a circuit of its own, estimated by da4ml in about a second.

    The circuit is read from the artifact, and what it computes for the validation split is
    compared with the outputs of ONNX Runtime: they must be equal to the last bit.

    Args:
        device: an FPGA whose profile says how many LUTs and flip-flops it has, and at what clock
            it is assumed to run.
        data: of the task.

    Raises:
        ValueError: when da4ml is not installed, or the profile is none of such an FPGA, or batch
            is not 1.
    """

    stage = "score"
    needs = ""

    def __init__(self, device: Device, data: TaskData) -> None:
        circuit.check_installed()
        lacks = [
            p for p in ("lut", "ff", "usable_lut", "usable_ff") if p not in device.profile.parts
        ]
        if device.profile.kind != "fpga" or lacks:
            why = f"lacks parts.{lacks[0]}" if lacks else f"is of a {device.profile.kind}"
            raise ValueError(
                f"method fpga_rtl needs the profile of an FPGA with LUTs, but {device.name} {why}"
            )
        if device.batch != 1:
            raise ValueError(f"batch must be 1 with method fpga_rtl, but got {device.batch}")
        self._device, self._inputs = device, data.validation.inputs
        self.provides = tuple(f"{family}.{device.alias}" for family in FAMILIES)

    def evaluate(self, candidate: Candidate) -> Readings:
        """``lut``, ``ff``, ``cycles``, ``latency_ms`` and ``fits`` (1 or 0) of the device.

        The latency is that of one example from registered inputs to registered outputs; a new one
        starts every cycle. It fits when LUTs and flip-flops stay within the usable shares.

        Raises:
            CandidateError: when the artifact cannot be unrolled; see `evaluators.rtl.circuit`.
        """
        if candidate.artifact is None:
            raise CandidateError("nothing to unroll: the candidate has not been packed")
        _, found = checked_circuit(candidate.artifact, self._device, self._inputs)
        profile = self._device.profile
        clock_hz = profile.clock_hz.value
        fits = all(
            spent <= profile.part(part) * profile.part(f"usable_{part}")
            for part, spent in (("lut", found.lut), ("ff", found.ff))
        )
        values = (found.lut, found.ff, found.cycles, found.cycles / clock_hz * 1e3, int(fits))
        origin = Provenance(
            "modeled",
            device=profile.name,
            runtime=circuit.version(),
            dtype=candidate.artifact.dtype,
            batch=1,
            method=f"unrolled logic, estimate, clock assumed {clock_hz / 1e6:g} MHz",
        )
        return Readings(dict(zip(self.provides, values, strict=True)), origin)


def checked_circuit(artifact: Artifact, device: Device, inputs: Floats) -> tuple[Program, Circuit]:
    """The circuit of an artifact, which answers as ONNX Runtime does.

    Args:
        artifact: a network from quantization-aware training.
        device: gives the clock.
        inputs: raw, to compare on.

    Raises:
        CandidateError: when it cannot be unrolled, or answers otherwise.
    """
    program = load_program(artifact.path)
    found = circuit.trace(program, device.profile.clock_hz.value)
    with runtimes.load(artifact.path) as session:
        expected = predict(session, inputs)
    if not np.array_equal(found.predict(program.integers(inputs)), expected):
        raise CandidateError("the circuit does not compute what ONNX Runtime does")
    return program, found
