"""From a configuration to the objects it names; nothing here trains or measures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import MappingProxyType

import evaluators
import evaluators.compression as compression
import evaluators.tasks
import search_spaces
from evaluators.devices import Device
from evaluators.tasks import TaskData
from experiments.config import ConfigError, ExperimentConfig
from experiments.deployments import deployed, deployment_choices, serving
from hw_profiles import load as load_profile
from nas.choices import Choice, Genotype, check_choices, enumerate_genotypes
from nas.objectives import Constraint
from nas.protocols import Evaluator, SearchSpace
from nas.registry import unknown
from nas.task import Task
from nas.trials import Candidate

_OF_THE_FILE = ("fpga_rtl",)
"""Methods that are evaluators by the same name, and compute from the artifact."""

WORKER_METRICS = ("float_accuracy",)
"""Metrics that the stages themselves give, beside those of the evaluators."""

_METERS = {"measured": "measured_latency", "tpu_xla": "tpu_xla"}
"""By method, the evaluator that reads a latency off an artifact."""


def build_task(config: ExperimentConfig) -> TaskData:
    """The task with all its splits.

    Raises:
        ConfigError: when the kind or its options are wrong.
    """
    try:
        return evaluators.tasks.create(config.task.kind, **config.task.options)
    except ValueError as error:
        raise ConfigError(f"task: {error}", ("task",)) from error


def build_space(config: ExperimentConfig) -> SearchSpace:
    """The search space, without the choices of compression.

    Raises:
        ConfigError: when the kind or its options are wrong.
    """
    try:
        return search_spaces.create(config.space.kind, **config.space.options)
    except ValueError as error:
        raise ConfigError(f"space: {error}", ("space",)) from error


def all_choices(config: ExperimentConfig, space: SearchSpace) -> list[Choice]:
    """The choices of the architecture, then those of compression, then those of deployment.

    Raises:
        ConfigError: when they do not fit together.
    """
    stages: Sequence[str] = getattr(space, "stages", ())
    wanted, last = config.compression, deployment_choices(config)
    try:
        extra = compression.compression_choices(wanted.prune, wanted.quantize, stages, wanted.bits)
        choices = [*space.choices, *extra, *last]
        check_choices(choices)
    except ValueError as error:
        raise ConfigError(f"space: {error}", ("space",)) from error
    return choices


def build_devices(config: ExperimentConfig) -> list[Device]:
    """The devices of a search with their profiles.

    Where runtime or dtype are to be chosen they are the first ones; see `deployed`.

    Raises:
        ConfigError: for a profile that does not exist or cannot be used that way.
    """
    devices = []
    for alias, entry in config.devices.items():
        try:
            devices.append(
                Device(
                    alias=alias,
                    profile=load_profile(entry.profile),
                    method=entry.method,
                    runtime=entry.runtimes[0],
                    dtype=entry.dtypes[0] if len(entry.dtypes) == 1 else "",
                    batch=entry.batch,
                    threads=entry.threads,
                )
            )
        except (ValueError, OSError, LookupError) as error:
            raise ConfigError(f"devices.{alias}: {error}", ("devices", alias)) from error
    return devices


def screen_evaluators(devices: Iterable[Device], task: Task) -> list[Evaluator]:
    """What is found out before training: complexity, the size, the latency model of each device.

    Circuits are made of trained weights: nothing is known of them before.
    """
    known = [device for device in devices if device.method not in _OF_THE_FILE]
    modeled = [evaluators.create("modeled_latency", device=device) for device in known]
    size = evaluators.create("file_size", input_shape=task.input_shape)
    return [evaluators.create("complexity"), size, *modeled]


def circuit_evaluators(
    devices: Iterable[Device], task: Task, constraints: Iterable[Constraint] = ()
) -> list[Evaluator]:
    """What is found out before training too, but takes longer: the circuit of a network.

    Args:
        devices: those whose method makes one count.
        task: what the networks are for.
        constraints: upper bounds on resources; a circuit is folded to meet them.
    """
    bounds = {c.metric: c.bound for c in constraints if c.operator == "<="}
    found = []
    for device in devices:
        if device.method == "fpga_dataflow":
            end = f".{device.alias}"
            limits = {n.removesuffix(end): b for n, b in bounds.items() if n.endswith(end)}
            options = {"input_shape": task.input_shape, "limits": limits}
            found.append(evaluators.create(device.method, device=device, **options))
    return found


def score_evaluators(data: TaskData, devices: Sequence[Device] = ()) -> list[Evaluator]:
    """What is read off the artifact: by running it in what serves it, and by unrolling it.

    Raises:
        ConfigError: for a device that such a method cannot be used with here.
    """

    def served(candidate: Candidate) -> tuple[str, str]:
        return serving(devices, candidate.genotype)

    return [
        evaluators.create("accuracy", data=data, serving=served),
        evaluators.create("robustness", data=data, serving=served),
        evaluators.create("size"),
        *(_of_the_file(device, data) for device in devices if device.method in _OF_THE_FILE),
    ]


def _of_the_file(device: Device, data: TaskData) -> Evaluator:
    try:
        return evaluators.create(device.method, device=device, data=data)
    except ValueError as error:
        where = ("devices", device.alias)
        raise ConfigError(f"devices.{device.alias}: {error}", where) from error


def proxy_evaluators(config: ExperimentConfig, data: TaskData) -> list[Evaluator]:
    """What untrained networks say of themselves; empty unless it is asked for."""
    names = config.proxies.names
    return [evaluators.create("proxies", data=data, names=names)] if names else []


def measure_evaluators(
    devices: Iterable[Device], genotype: Genotype = MappingProxyType({})
) -> dict[str, Evaluator]:
    """What is timed or compiled, by device alias.

    Args:
        devices: those that are measured, or compiled for, count.
        genotype: that chooses the runtime.

    Raises:
        ConfigError: for a device, or a compiler, that is not here.
    """
    found = {}
    for device in devices:
        if device.method in _METERS:
            try:
                chosen = deployed(device, genotype)
                found[device.alias] = evaluators.create(_METERS[device.method], device=chosen)
            except ValueError as error:
                where = ("devices", device.alias)
                raise ConfigError(f"devices.{device.alias}: {error}", where) from error
    return found


def check_deployments(config: ExperimentConfig, devices: Sequence[Device]) -> None:
    """Check that all that may be chosen to serve a candidate is here.

    Raises:
        ConfigError: for a runtime that is not installed, or cannot run there.
    """
    for genotype in enumerate_genotypes(deployment_choices(config)):
        measure_evaluators(devices, genotype)


def check_metrics(config: ExperimentConfig, provided: Iterable[str]) -> None:
    """Check that objectives and constraints name metrics that will be there.

    Raises:
        ConfigError: naming the metric, the nearest known one and all known ones.
    """
    known = set(provided)
    named = {
        "objectives": [objective.metric for objective in config.objectives_parsed()],
        "constraints": [constraint.metric for constraint in config.constraints_parsed()],
    }
    for section, metrics in named.items():
        for index, metric in enumerate(metrics):
            if metric not in known:
                line = f"{section}: {unknown('metric', metric, known)}"
                raise ConfigError(line, (section, index))
