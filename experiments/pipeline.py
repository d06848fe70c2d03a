"""How a genotype becomes a scored candidate: keys, the screen, and the stages as jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import evaluators.compression as compression
from evaluators.devices import Device
from evaluators.training_config import TrainingConfig
from experiments.config import ExperimentConfig
from experiments.screening import Screen
from experiments.stages import RunFiles, StageCall, keep_result, read_result, untrained
from experiments.wiring import (
    WORKER_METRICS,
    all_choices,
    build_devices,
    build_space,
    build_task,
    check_deployments,
    check_metrics,
    circuit_evaluators,
    measure_evaluators,
    proxy_evaluators,
    score_evaluators,
    screen_evaluators,
)
from nas.choices import Choice, Genotype
from nas.keys import candidate_key, digest, training_key
from nas.protocols import Evaluator, Job, SearchSpace, Stage, StageResult
from nas.task import Task
from nas.trials import ESTIMATED, Candidate, CandidateError, Readings


@dataclass(frozen=True)
class RemoteStage:
    """A stage that runs in a worker; see `nas.protocols.Stage`.

    Args:
        name: ``screen``, ``proxies``, ``train``, ``score`` or ``measure.<alias>``.
        needs: the device it must have for itself.
        folder: of the run.
        limit_s: wall-clock seconds for one job.
    """

    name: str
    needs: str
    folder: str
    limit_s: float

    @property
    def screens(self) -> bool:
        """Whether it may reject a candidate before training."""
        return self.name in ("screen", "proxies")

    def key(self, candidate: Candidate) -> str:
        """Trainings and proxies are shared by the compressed variants of a network."""
        is_shared = self.name in ("proxies", "train")
        return candidate.training_key if is_shared else candidate.candidate_key

    def job(self, candidate: Candidate) -> Job:
        """The stage of this candidate, without what does not travel."""
        bare = replace(candidate, module=None, workload=None)
        call = StageCall(self.folder, self.name, self.key(candidate), bare)
        return Job(call, self.needs, self.limit_s)


@dataclass(frozen=True)
class Parts:
    """What a configuration names, built and checked, before there is a run.

    Args:
        task: what the search space may know.
        space: without the choices of compression.
        choices: of the architecture, then of compression and of deployment.
        devices: with their profiles.
        training: the recipe.
        screen: what is known before training.
        meters: the device that each measuring stage needs for itself, by alias.
        proxies: the evaluator of zero-cost proxies, where they are asked for.
    """

    task: Task
    space: SearchSpace
    choices: Sequence[Choice]
    devices: Sequence[Device]
    training: TrainingConfig
    screen: Screen
    meters: Mapping[str, str]
    proxies: Evaluator | None = None

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
        choices, meters = all_choices(config, space), measure_evaluators(devices)
        check_deployments(config, devices)
        proxies = proxy_evaluators(config, data.without_test())
        provided = [
            *proxies,
            *screen_evaluators(devices, data.task),
            *circuit_evaluators(devices, data.task),
            *score_evaluators(data, devices),
            *meters.values(),
        ]
        names = [name for evaluator in provided for name in evaluator.provides]
        check_metrics(config, [*names, *WORKER_METRICS])
        return cls(
            task=data.task,
            space=space,
            choices=choices,
            devices=devices,
            training=config.training,
            screen=Screen(
                space,
                data.task,
                devices,
                config.compression.align,
                config.constraints_parsed(),
            ),
            meters={alias: meter.needs for alias, meter in meters.items()},
            proxies=proxies[0] if proxies else None,
        )


class CandidatePipeline:
    """The pipeline of one search; see `nas.protocols.Pipeline`.

    Args:
        parts: of its configuration.
        folder: of the run, where the stages keep what they make.
        limit_s: wall-clock seconds for one stage of a candidate.
    """

    def __init__(self, parts: Parts, folder: Path, limit_s: float) -> None:
        self._parts, self._files = parts, RunFiles(folder)
        self._training = parts.training.to_json()
        self.refusal = ""
        names = [] if parts.screen.is_enough else [("screen", "")]
        names += [("proxies", "")] if parts.proxies else []
        names += [("train", ""), ("score", "")]
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
        """See `Screen`; nothing yet where all of it is left to the first stage."""
        return self._parts.screen(candidate) if self._parts.screen.is_fast else Readings()

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

    def proxies(self, genotype: Genotype) -> Readings:
        """The zero-cost proxies of a genotype for strategies, in tens of milliseconds.

        They are kept in the folder of the run, where the stage of that name finds them.

        Raises:
            CandidateError: for what cannot be built or back-propagated.
        """
        candidate = self.candidate(genotype)
        path = self._files.result("proxies", candidate.training_key)
        kept = read_result(path)
        if kept is None:
            module = untrained(self._parts.space, candidate, self._parts.task)
            evaluator = cast(Evaluator, self._parts.proxies)
            found = evaluator.evaluate(replace(candidate, module=module))
            kept = StageResult(Readings().merged(found))
            keep_result(self._files, path, kept)
        return kept.readings
