"""What is known of a candidate before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import evaluators.compression as compression
from evaluators.devices import Device
from experiments.wiring import screen_evaluators
from nas.choices import Genotype
from nas.keys import seed_of
from nas.task import Task
from nas.trials import Candidate, Readings


class Screen:
    """What is known of a candidate before training: operations, parameters, modeled latencies.

    Spaces that give their blocks are screened from cached kernels in about a millisecond. The
    networks of others are built, pruned in shape and traced, which runs the user's code: that is
    left to a worker, since it may crash or hang.

    Args:
        space: whose networks are screened.
        task: what they are for.
        devices: what latencies are modeled for.
        align: of structured pruning.
    """

    def __init__(self, space: Any, task: Task, devices: Sequence[Device], align: int) -> None:
        from evaluators.workload import BlockCache

        self._space, self._task, self._align = space, task, align
        self.is_fast = getattr(space, "blocks", None) is not None
        self._evaluators = screen_evaluators(devices)
        lowerings = {"onnxruntime", *(device.lowering for device in devices)}
        self._caches = {lowering: BlockCache(lowering) for lowering in sorted(lowerings)}

    def __call__(self, candidate: Candidate) -> Readings:
        """The readings of all screening evaluators.

        Raises:
            CandidateError: for what cannot be built.
        """
        architecture, chosen = compression.split(candidate.genotype)
        config = compression.PruneConfig.from_genotype(chosen, self._align)
        if self.is_fast:
            blocks = self._space.blocks(architecture, self._task, config.keep)
            workload = {name: cache.workload(blocks) for name, cache in self._caches.items()}
        else:
            workload = self._traced(candidate, architecture, config)
        candidate, readings = replace(candidate, workload=workload), Readings()
        for evaluator in self._evaluators:
            readings = readings.merged(evaluator.evaluate(candidate))
        return readings

    def _traced(
        self, candidate: Candidate, architecture: Genotype, config: compression.PruneConfig
    ) -> dict[str, Any]:
        from evaluators.training import seeded
        from evaluators.workload import traces

        with seeded(seed_of(candidate.training_key, "init")):
            module = self._space.build(architecture, self._task)
        module = compression.reshape(module, config, self._task)
        return traces(module, (1, *self._task.input_shape), [*self._caches])
