"""What is known of a candidate before training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import evaluators.compression as compression
from evaluators.devices import Device
from experiments.deployments import deployed
from experiments.wiring import circuit_evaluators, screen_evaluators
from nas.keys import seed_of
from nas.objectives import Constraint
from nas.protocols import Evaluator
from nas.task import Task
from nas.trials import ESTIMATED, Candidate, CandidateError, Provenance, Readings


class Screen:
    """What is known of a candidate before training: operations, parameters, modeled latencies.

    Spaces that give their blocks are screened from cached kernels in about a millisecond. The
    networks of others are built, pruned in shape and traced, which runs the user's code: that is
    left to a worker, since it may crash or hang. So is what takes longer than a strategy can wait
    for each of its thousands of candidates, see `thorough`.

    Args:
        space: whose networks are screened.
        task: what they are for.
        devices: what latencies are modeled for.
        align: of structured pruning.
        constraints: of the search; circuits are folded to meet those on resources.
    """

    def __init__(
        self,
        space: Any,
        task: Task,
        devices: Sequence[Device],
        align: int,
        constraints: Sequence[Constraint] = (),
    ) -> None:
        from evaluators.workload import LOWERINGS, BlockCaches

        self._space, self._task, self._align = space, task, align
        self._devices = tuple(devices)
        self._evaluators: dict[tuple[Device, ...], list[Evaluator]] = {}
        self.is_fast = getattr(space, "blocks", None) is not None
        self._circuits = circuit_evaluators(devices, task, constraints)
        self.is_enough = self.is_fast and not self._circuits
        self._caches = BlockCaches(LOWERINGS)

    def __call__(self, candidate: Candidate) -> Readings:
        """The readings of all screening evaluators.

        Raises:
            CandidateError: for what cannot be built, and for what ignores its input, so that
                training it would be in vain.
        """
        from evaluators.modeled import lowering_on

        architecture, chosen = compression.split(candidate.genotype)
        config = compression.PruneConfig.from_genotype(chosen, self._align)
        devices = tuple([deployed(device, chosen) for device in self._devices])
        wanted = ["onnxruntime", *(lowering_on(candidate, device) for device in devices)]
        if self.is_fast:
            blocks = self._space.blocks(architecture, self._task, config.keep)
            workload = self._caches.workloads(blocks, lowerings=wanted)
            is_connected = self._caches.is_connected(blocks)
        else:
            workload, is_connected = self._traced(candidate, wanted)
        if not is_connected:
            raise CandidateError("its output does not depend on its input")
        if devices not in self._evaluators:
            self._evaluators[devices] = screen_evaluators(devices, self._task)
        candidate, readings = replace(candidate, workload=workload), Readings()
        for evaluator in self._evaluators[devices]:
            readings = readings.merged(evaluator.evaluate(candidate))
        for device in devices:
            if device.modeled_metric.startswith(ESTIMATED):
                _widen(readings, device)
        return readings

    def check(self, candidate: Candidate) -> None:
        """That the blocks of a space are those of the networks that it builds, pruned alike.

        Raises:
            CandidateError: where they are not, or the network cannot be built.
        """
        from evaluators.workload import trace

        if not self.is_fast:
            return
        architecture, chosen = compression.split(candidate.genotype)
        config = compression.PruneConfig.from_genotype(chosen, self._align)
        blocks = self._space.blocks(architecture, self._task, config.keep)
        parts = self._caches.workloads(blocks, lowerings=["eager"])["eager"]
        module = self._module(candidate)
        try:
            whole = trace(module, (1, *self._task.input_shape), "eager")
        except CandidateError:
            return  # only the blocks can be traced
        if frozenset(whole.kernels) != frozenset(parts.kernels):
            sizes = [f"{sum(k.count for k in w.kernels)} operations" for w in (parts, whole)]
            raise CandidateError(
                "blocks and build must describe the same network, but blocks have "
                f"{sizes[0]} and {parts.macs} MACs together, and what build returns has "
                f"{sizes[1]} and {whole.macs} (pruned as the candidate is)"
            )

    def thorough(self, candidate: Candidate) -> Readings:
        """What is left to a worker: circuits, which are folded, and all that is not fast.

        Raises:
            CandidateError: for what cannot be built, or fits a device at no folding.
        """
        readings = Readings() if self.is_fast else self(candidate)
        if self._circuits:
            candidate = replace(candidate, module=self._module(candidate))
        for evaluator in self._circuits:
            readings = readings.merged(evaluator.evaluate(candidate))
        return readings

    def _traced(
        self, candidate: Candidate, lowerings: Iterable[str]
    ) -> tuple[dict[str, Any], bool]:
        from evaluators.workload import is_connected, traces

        module, shape = self._module(candidate), (1, *self._task.input_shape)
        return traces(module, shape, lowerings), is_connected(module, shape)

    def _module(self, candidate: Candidate) -> Any:
        """The untrained network in the shape that pruning leaves."""
        from evaluators.training import seeded

        architecture, chosen = compression.split(candidate.genotype)
        config = compression.PruneConfig.from_genotype(chosen, self._align)
        with seeded(seed_of(candidate.training_key, "init")):
            module = self._space.build(architecture, self._task)
        return compression.reshape(module, config, self._task)


def _widen(readings: Readings, device: Device) -> None:
    """Widen the bar of an estimate whose model was calibrated in another setting.

    What was learned there is the best guess, but its error bar holds only for the runtime, dtype,
    batch and threads that were measured; elsewhere it is at least that of the data sheet.
    """
    known = device.profile.calibration
    origin = readings.provenance[device.modeled_metric]
    if not known or origin.low is None or origin.high is None or _is_of(known, device, origin):
        return
    value, factor = readings[device.modeled_metric], device.profile.uncertainty.value
    readings.provenance[device.modeled_metric] = replace(
        origin,
        low=min(origin.low, value / factor),
        high=max(origin.high, value * factor),
        method=f"{origin.method}, in another setting",
    )


def _is_of(calibration: Mapping[str, Any], device: Device, origin: Provenance) -> bool:
    """Whether a calibration was measured in the setting of a device, as far as it says."""
    runtime = str(calibration.get("runtime", device.runtime)).partition(" ")[0]
    served = runtime == device.runtime and (
        calibration.get("threads", device.threads) == device.threads
    )
    return (
        (served or device.method == "tpu_xla")
        and origin.dtype in str(calibration.get("dtype", origin.dtype)).split(",")
        and calibration.get("batch", device.batch) == device.batch
    )
