"""The evaluator ``tpu_xla``: the latency of a candidate as the XLA:TPU compiler estimates it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

from evaluators.devices import Device
from evaluators.tpu.chips import chip_of
from evaluators.tpu.twins import read_twin
from evaluators.tpu.xla import DTYPES, XlaCompiler, compiler_version, latency
from nas.trials import Candidate, CandidateError, Readings


@functools.cache
def shared_compiler() -> XlaCompiler:
    """The compiler of this process, started when it is first needed.

    Raises:
        ValueError: it is absent or of another version.
    """
    return XlaCompiler()


@dataclass(frozen=True)
class TpuXla:
    """The evaluator ``tpu_xla``.

    Args:
        device: with method ``tpu_xla``, its batch and its dtype.
        compiler: that of this process by default.

    Raises:
        ValueError: no TPU that the compiler knows, a dtype that it is not asked for, or no
            compiler here.
    """

    device: Device
    compiler: XlaCompiler | None = None

    stage = "measure"
    needs = ""

    def __post_init__(self) -> None:
        chip_of(self.device.profile)
        if self._dtype not in DTYPES:
            raise ValueError(
                f"the dtype of device {self.device.alias} must be one of {', '.join(DTYPES)} with "
                f"tpu_xla, but got {self._dtype!r}"
            )
        if self.compiler is None:
            object.__setattr__(self, "compiler", shared_compiler())

    @property
    def provides(self) -> tuple[str, ...]:
        """The latency by the device's alias."""
        return (self.device.metric,)

    @property
    def _dtype(self) -> str:
        return self.device.dtype or self.device.profile.dtype

    def evaluate(self, candidate: Candidate) -> Readings:
        """Compile the network that the candidate's artifact was made of.

        Raises:
            CandidateError: there is no artifact, an operation has no mapping, the program does
                not fit, or the compiler fails.
        """
        artifact = candidate.artifact
        if artifact is None:
            raise CandidateError("there is no artifact to compile")
        if self.compiler is None:
            raise CandidateError("there is no compiler")
        graph = read_twin(artifact.path, self.device.batch)
        program = self.compiler.compile(graph, chip_of(self.device.profile).name, self._dtype)
        found = latency(program, self.device.profile)
        origin = found.provenance(self.device, compiler_version(), self._dtype)
        if artifact.dtype == "int8":
            stands = f"{origin.method}; {self._dtype} stands in for int8, not modeled on TPU"
            origin = replace(origin, method=stands)
        return Readings({self.device.metric: found.latency_ms}, replace(origin, threads=None))
