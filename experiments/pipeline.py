"""How a genotype becomes a scored candidate: keys, the screen, and the stages as jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import evaluators.compression as compression
from evaluators.devices import Device
from evaluators.training_config import TrainingConfig
from experiments.config import ExperimentConfig
from experiments.stages import StageCall
from experiments.wiring import (
    WORKER_METRICS,
    all_choices,
    build_devices,
    build_space,
    build_task,
    check_metrics,
    measure_evaluators,
    score_evaluators,
    screen_evaluators,
)
from nas.choices import Choice, Genotype
from nas.keys import candidate_key, digest, seed_of, training_key
from nas.protocols import Job, SearchSpace, Stage
from nas.task import Task
from nas.trials import ESTIMATED, Candidate, CandidateError, Readings


@dataclass(frozen=True)
class RemoteStage:
    """A stage that runs in a worker; see `nas.protocols.Stage`.

    Args:
        name: ``train``, ``score`` or ``measure.<alias>``.
        needs: the device it must have for itself.
        folder: of the run.
        limit_s: wall-clock seconds for one job.
    """

    name: str
    needs: str
    folder: str
    limit_s: float

    def key(self, candidate: Candidate) -> str:
        """Trainings are shared by the compressed variants of a network."""
        return candidate.training_key if self.name == "train" else candidate.candidate_key

    def job(self, candidate: Candidate) -> Job:
        """The stage of this candidate, without what does not travel."""
        bare = replace(candidate, module=None, workload=None)
        call = StageCall(self.folder, self.name, self.key(candidate), bare)
        return Job(call, self.needs, self.limit_s)


class Screen:
    """What is known of a candidate before training: operations, parameters, modeled latencies.

    Spaces that give their blocks are screened from cached kernels in about a millisecond; the
    networks of others are built, pruned in shape and traced.
    """

    def __init__(self, space: Any, task: Task, devices: Sequence[Device], align: int) -> None:
        from evaluators.workload import BlockCache

        self._space, self._task, self._align = space, task, align
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
        if getattr(self._space, "blocks", None) is not None:
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


@dataclass(frozen=True)
class Parts:
    """What a configuration names, built and checked, before there is a run.

    Args:
        task: what the search space may know.
        space: without the choices of compression.
        choices: of the architecture, then of compression.
        devices: with their profiles.
        training: the recipe.
        screen: what is known before training.
        meters: the device that each measuring stage needs for itself, by alias.
    """

    task: Task
    space: SearchSpace
    choices: Sequence[Choice]
    devices: Sequence[Device]
    training: TrainingConfig
    screen: Screen
    meters: Mapping[str, str]

    @property
    def identity(self) -> dict[str, str]:
        """What results of one search have in common: a resumed search must find it unchanged."""
        described = [[c.name, c.options, c.ordered, c.when] for c in self.choices]
        return {
            "data": self.task.data_hash,
            "choices": digest(described),
            "space": str(getattr(self.space, "fingerprint", "")),
        }

    @classmethod
    def of(cls, config: ExperimentConfig) -> Parts:
        """Build and check everything.

        Raises:
            ConfigError: when a part of the configuration cannot be used, an objective that
                nothing provides included.
        """
        data, devices, space = build_task(config), build_devices(config), build_space(config)
        meters = measure_evaluators(devices)
        provided = [*screen_evaluators(devices), *score_evaluators(data), *meters.values()]
        names = [name for evaluator in provided for name in evaluator.provides]
        check_metrics(config, [*names, *WORKER_METRICS])
        return cls(
            task=data.task,
            space=space,
            choices=all_choices(config, space),
            devices=devices,
            training=config.training,
            screen=Screen(space, data.task, devices, config.compression.align),
            meters={alias: meter.needs for alias, meter in meters.items()},
        )


class CandidatePipeline:
    """The pipeline of one search; see `nas.protocols.Pipeline`.

    Args:
        parts: of its configuration.
        folder: of the run, where the stages keep what they make.
        limit_s: wall-clock seconds for one stage of a candidate.
    """

    def __init__(self, parts: Parts, folder: Path, limit_s: float) -> None:
        self._parts = parts
        self._training = parts.training.to_json()
        self.refusal = ""
        names = [("train", ""), ("score", "")]
        names += [(f"measure.{alias}", needs) for alias, needs in parts.meters.items()]
        self.stages: Sequence[Stage] = [
            RemoteStage(name, needs, str(folder), limit_s) for name, needs in names
        ]

    def candidate(self, genotype: Genotype, repeat: int = 0) -> Candidate:
        """The candidate with its two keys."""
        architecture, _ = compression.split(genotype)
        trained = training_key(architecture, self._training, self._parts.task.data_hash, repeat)
        return Candidate(genotype, trained, candidate_key(genotype, trained), repeat)

    def screen(self, candidate: Candidate) -> Readings:
        """See `Screen`."""
        return self._parts.screen(candidate)

    def known(self, genotype: Genotype) -> Readings:
        """The screen for strategies: an estimate goes by the name of what it stands in for.

        Its error bar stays under its own name in the provenance, see `nas.trials.sure_violation`.

        Strategies pass over what it refuses; the last refusal is kept, in case nothing is left.

        Raises:
            CandidateError: for what cannot be built.
        """
        try:
            readings = self.screen(self.candidate(genotype))
        except CandidateError as error:
            self.refusal = str(error)
            raise
        known = {name.removeprefix(ESTIMATED): value for name, value in readings.items()}
        return Readings(known, readings.provenance)
