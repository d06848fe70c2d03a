"""The evaluator ``fpga_dataflow``: a candidate as a streaming circuit on an FPGA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from evaluators.dataflow.folding import Folding, budget_of, fold_within
from evaluators.dataflow.model import Timing, timing
from evaluators.dataflow.resources import NAMES
from evaluators.dataflow.tracing import WHOLE, Bits, circuit_of
from evaluators.dataflow.units import INPUT_BITS
from evaluators.devices import Device
from nas.choices import Genotype
from nas.trials import Candidate, CandidateError, Provenance, Readings


class FpgaDataflow:
    """The evaluator ``fpga_dataflow``: latency and resources of the best folding that fits.

    It needs the candidate's module, after structured pruning; weights do not matter.

    Args:
        device: with a profile of an FPGA that is lowered as dataflow.
        input_shape: of the task, without batch.
        limits: of resources by name, where less than the device has may be used.
    """

    stage = "screen"
    needs = ""

    def __init__(
        self,
        device: Device,
        input_shape: tuple[int, ...],
        limits: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self._device, self._input_shape = device, tuple(input_shape)
        budget = budget_of(device.profile)
        self._budget = {n: min(there, limits.get(n, there)) for n, there in budget.items()}
        names = ("latency_ms", *NAMES, "fits")
        self.provides = tuple(f"{name}.{device.alias}" for name in names)

    def evaluate(self, candidate: Candidate) -> Readings:
        """``latency_ms.<alias>`` of core and board, the resources, and ``fits.<alias>``, 1.

        Raises:
            CandidateError: the network has no module, no circuit, or fits at no folding.
        """
        if candidate.module is None:
            raise CandidateError("a streaming circuit is made of a module, but there is none")
        device = self._device
        try:
            bits = bits_of(candidate.genotype)
            circuit = circuit_of(candidate.module, self._input_shape, bits)
            found = fold_within(circuit, self._budget, device.name)
        except ValueError as error:
            raise CandidateError(str(error)) from None
        time = timing(found.circuit, device.profile)
        latency_ms = time.latency_ms(device.batch)
        bar = device.profile.uncertainty.value
        about = self._about(time, bits)
        values = {f"latency_ms.{device.alias}": latency_ms, f"fits.{device.alias}": 1.0}
        known = dict.fromkeys(values, about)
        known[f"latency_ms.{device.alias}"] = replace(
            about, low=latency_ms / bar, high=latency_ms * bar
        )
        used = self._resources(found)
        counted = Provenance(
            source="modeled",
            device=device.name,
            runtime="dataflow",
            dtype=str(bits),
            method="fpga_dataflow: estimates of FINN-R, before synthesis",
        )
        return Readings({**values, **used}, {**known, **dict.fromkeys(used, counted)})

    def _resources(self, found: Folding) -> dict[str, float]:
        return {f"{name}.{self._device.alias}": found.used[name] for name in NAMES}

    def _about(self, time: Timing, bits: Bits) -> Provenance:
        core, board = f"core {time.core_ms:.4g} ms", f"board {time.board_ms:.4g} ms"
        clock = f"assumed clock {time.clock_hz / 1e6:g} MHz"
        rate = f"{time.throughput_fps:.4g} frames/s, slowest {time.slowest}"
        return Provenance(
            source="modeled",
            device=self._device.name,
            runtime="dataflow",
            dtype=str(bits),
            batch=self._device.batch,
            method=f"fpga_dataflow: {core} + {board}, {clock}, {rate}",
        )


def bits_of(genotype: Genotype) -> Bits:
    """The bit-widths that a genotype chooses; 8 where it chooses none.

    Raises:
        ValueError: for bits that are not 1 to 8.
    """
    inputs = int(genotype.get("quantize.input_bits", INPUT_BITS))
    weights, activations = (
        _by_stage(genotype, f"quantize.{what}_bits") for what in ("weight", "activation")
    )
    return Bits(weights, activations, inputs)


def _by_stage(genotype: Genotype, name: str) -> Mapping[str, int]:
    found = {WHOLE: int(genotype[name])} if name in genotype else {}
    for key, value in genotype.items():
        if key.startswith(f"{name}."):
            found[key.removeprefix(f"{name}.")] = int(value)
    return found
