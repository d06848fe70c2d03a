"""Fronts side by side, with hypervolumes that may be compared.

A latency read on one device says nothing about a latency of the same name read on another, nor an
accuracy on one data set about another's. Runs that differ in that are put into separate groups,
each with its own objectives in common, reference point and hypervolumes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from experiments.device_settings import device_settings
from experiments.fronts import Front, front_trials, run_front
from nas.front import costs_of
from nas.objectives import Objective
from nas.pareto import Costs, hypervolume, reference_point
from nas.trials import Trial

if TYPE_CHECKING:
    from experiments.runs import Run


@dataclass(frozen=True)
class Contender:
    """A front and what its numbers hold for.

    Args:
        front: of one run.
        task: says which data it was searched on.
        devices: by alias, a line that says everything a latency depends on: profile,
            fingerprint, method, runtime, dtype, batch and threads.
    """

    front: Front
    task: str = ""
    devices: Mapping[str, str] = field(default_factory=dict)

    def setting(self, metric: str) -> str:
        """What a metric's values hold for, empty where that is the same everywhere."""
        if metric.startswith("accuracy"):
            return self.task
        _, _, rest = metric.partition(".")
        return self.devices.get(rest.partition(".")[0], "")


@dataclass(frozen=True)
class Row:
    """One run of a group.

    Args:
        run: its id.
        trials: its front in the objectives that the group has in common.
        hypervolume: between them and the group's reference point.
    """

    run: str
    trials: tuple[Trial, ...]
    hypervolume: float


@dataclass(frozen=True)
class Group:
    """Runs whose numbers may be compared.

    Args:
        objectives: those that all of them have.
        settings: what these runs have in common and others have not, by metric.
        reference_point: costs, common to all rows.
        rows: one a run.
        joint: the hypervolume of all rows together.
    """

    objectives: tuple[Objective, ...]
    settings: Mapping[str, str]
    reference_point: Costs
    rows: tuple[Row, ...]
    joint: float


def contender_of(run: Run) -> Contender:
    """The front of a run, with the data and the devices that its numbers hold for."""
    task = run.config.task
    options = (f"{name} {value}" for name, value in sorted(task.options.items()))
    with run.ledger() as ledger:
        data = ledger.data_hash
    # The same options read other data where a user's file has changed between two searches.
    words = [task.kind, *options, *([f"data {data[:12]}"] if data else [])]
    devices = {alias: str(setting) for alias, setting in device_settings(run).items()}
    return Contender(run_front(run), " ".join(words), devices)


def compare(contenders: Sequence[Contender]) -> list[Group]:
    """Groups of comparable runs, in the order of the runs.

    Raises:
        NothingFound: when a front is empty.
        ValueError: when comparable runs share no objective.
    """
    for contender in contenders:
        contender.front.require_trials()
    contested = _contested(contenders)
    groups: dict[tuple[tuple[str, str], ...], list[Contender]] = defaultdict(list)
    for contender in contenders:
        metrics = sorted({o.metric for o in contender.front.objectives} & contested)
        groups[tuple((metric, contender.setting(metric)) for metric in metrics)].append(contender)
    return [_group(dict(settings), members) for settings, members in groups.items()]


def _contested(contenders: Sequence[Contender]) -> set[str]:
    settings: dict[str, set[str]] = defaultdict(set)
    for contender in contenders:
        for objective in contender.front.objectives:
            settings[objective.metric].add(contender.setting(objective.metric))
    return {metric for metric, values in settings.items() if len(values) > 1}


def _group(settings: Mapping[str, str], members: Sequence[Contender]) -> Group:
    shared = tuple(
        objective
        for objective in members[0].front.objectives
        if all(objective in member.front.objectives for member in members)
    )
    if not shared:
        names = ", ".join(member.front.run for member in members)
        raise ValueError(f"the runs share no objective: {names}")
    # A point that is not dominated in the shared objectives has an equal on the whole front.
    fronts = [front_trials(member.front.trials, shared) for member in members]
    points = [[costs_of(trial, shared) or () for trial in trials] for trials in fronts]
    everything = [point for front in points for point in front]
    reference = reference_point(everything)
    rows = tuple(
        Row(member.front.run, trials, hypervolume(costs, reference))
        for member, trials, costs in zip(members, fronts, points, strict=True)
    )
    return Group(shared, settings, reference, rows, hypervolume(everything, reference))
