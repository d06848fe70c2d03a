"""Several trainings of one genotype: what they say together, and which genotypes need more.

A training is noisy. The best of many results are there by luck in part, so a front of single
results promises more than it keeps. With ``Budget.confirm`` of 3 each of its members is trained
two times more, and the front is then taken of the means.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from nas.choices import Genotype
from nas.front import front_of, legal_costs
from nas.objectives import Constraint, Objective, total_violation
from nas.pareto import Costs, ParetoArchive
from nas.trials import Provenance, Trial

NEAR = 1.0
"""Deviations of luck by which a genotype behind the front counts as near it."""


@dataclass(frozen=True)
class Confirmed(Trial):
    """What several trainings of one genotype say together.

    Metrics are means over those that are done, with the lowest and the highest in the provenance;
    all else is that of the training whose artifact ships: the one that is best by the first
    objective to maximize (on the validation split) among those that violate least.

    Args:
        trainings: all of them, failed ones included, by number.
    """

    trainings: tuple[Trial, ...] = ()

    @property
    def own(self) -> Trial:
        """The training whose artifact ships, with its own metrics."""
        return next(trial for trial in self.trainings if trial.number == self.number)

    @property
    def done(self) -> tuple[Trial, ...]:
        """The trainings that the means are of."""
        return tuple(trial for trial in self.trainings if trial.status == "done")


def own(trial: Trial) -> Trial:
    """The trial as it was recorded, of one training."""
    return trial.own if isinstance(trial, Confirmed) else trial


def merged(
    trials: Iterable[Trial], objectives: Sequence[Objective], constraints: Sequence[Constraint] = ()
) -> list[Trial]:
    """One trial a genotype, `Confirmed` where there are several trainings of it.

    Args:
        trials: each once; those that are merged already stay as they are.
        objectives: of the search.
        constraints: of the search.
    """
    known = list(trials)
    if not any(trial.repeat for trial in known):
        return known
    groups = _by_genotype(known).values()
    return [_together(group, objectives, constraints) for group in groups]


def _by_genotype(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(json.dumps(trial.genotype, sort_keys=True), []).append(trial)
    return groups


def _together(
    group: Sequence[Trial], objectives: Sequence[Objective], constraints: Sequence[Constraint]
) -> Trial:
    done = [trial for trial in group if trial.status == "done"]
    if len(group) == 1 or not done:
        return group[0]
    quality = next((o for o in objectives if o.direction == "maximize"), objectives[0])

    def rank(trial: Trial) -> tuple[float, float, int]:
        cost = quality.cost(trial.metrics)
        worth = math.inf if cost is None else cost
        return total_violation(constraints, trial.metrics), worth, trial.number

    best = min(done, key=rank)
    said = {name: _mean(name, best, done) for name in best.metrics}
    parts = {field.name: getattr(best, field.name) for field in fields(Trial)}
    parts["metrics"] = {name: value for name, (value, _) in said.items()}
    parts["provenance"] = {name: origin for name, (_, origin) in said.items() if origin}
    trainings = tuple(sorted(group, key=lambda trial: trial.number))
    return Confirmed(**parts, trainings=trainings)


def _mean(name: str, best: Trial, done: Sequence[Trial]) -> tuple[float, Provenance | None]:
    """A metric over all trainings that have it; what is the same in all stays as it is."""
    there = [trial for trial in done if name in trial.metrics]
    values, origin = [trial.metrics[name] for trial in there], best.provenance.get(name)
    if len(set(values)) == 1:
        return values[0], origin
    mean = math.fsum(values) / len(values)
    if origin is None:
        return mean, None
    ends: list[float] = []
    for trial, value in zip(there, values, strict=True):
        bar = trial.provenance.get(name)
        known = (bar.low, bar.high) if bar else ()
        ends += [value, *(end for end in known if end is not None)]
    said = ", ".join(filter(None, (origin.method, f"mean of {len(values)} trainings")))
    return mean, replace(origin, method=said, low=min(ends), high=max(ends))


def unconfirmed(
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    times: int,
) -> list[tuple[Genotype, int]]:
    """What to train again next, until each member of the front has so many trainings.

    First the members of the front of means. Once they have theirs, those that are behind it by no
    more than luck explains (the deviation between trainings of one genotype, as seen so far), the
    nearest first: together with the members that took the place of fallen ones not more genotypes
    than the front of first trainings had.

    Args:
        trials: all that there are, none in work.
        objectives: of the search.
        constraints: of the search.
        times: trainings in all, failed ones included.

    Returns:
        Genotypes, each with the number of its repeat; none when all is confirmed.
    """
    if times < 2:
        return []
    groups = _by_genotype(trials)
    together = [_together(group, objectives, constraints) for group in groups.values()]
    points = _points(together, objectives, constraints)
    attempts = [len(group) for group in groups.values()]
    front = _front(points)
    chosen = [index for index in front if attempts[index] < times]
    if not chosen:
        firsts = [group[0] for group in groups.values()]
        first = _front(_points(firsts, objectives, constraints))
        others = sum(n > 1 and index not in first for index, n in enumerate(attempts))
        noise = _noise(list(groups.values()), objectives)
        behind = _behind(points, front, attempts, noise)
        near = sorted((z, i) for i, z in behind.items() if z <= NEAR and attempts[i] < times)
        chosen = [index for _, index in near[: max(0, len(first) - others)]]
    genotypes = [group[0].genotype for group in groups.values()]
    return [(genotypes[i], repeat) for i in chosen for repeat in range(attempts[i], times)]


def front_of_means(
    trials: Iterable[Trial], objectives: Sequence[Objective], constraints: Sequence[Constraint]
) -> ParetoArchive:
    """The front of `merged` trials, by their numbers."""
    return front_of(merged(trials, objectives, constraints), objectives, constraints)


def _points(
    trials: Sequence[Trial], objectives: Sequence[Objective], constraints: Sequence[Constraint]
) -> dict[int, Costs]:
    """The costs of those that are done, with all of them known, and violate nothing."""
    found = [legal_costs(trial, objectives, constraints) for trial in trials]
    return {index: costs for index, costs in enumerate(found) if costs is not None}


def _front(points: Mapping[int, Costs]) -> dict[int, Costs]:
    archive = ParetoArchive()
    for index, costs in points.items():
        archive.add(index, costs)
    return archive.front


def _noise(groups: Sequence[Sequence[Trial]], objectives: Sequence[Objective]) -> list[float]:
    """Of each objective, the deviation between trainings of one genotype, pooled."""
    deviations = []
    for objective in objectives:
        squares, freedom = 0.0, 0
        for group in groups:
            found = [objective.cost(t.metrics) for t in group if t.status == "done"]
            costs = [cost for cost in found if cost is not None]
            if len(costs) > 1:
                mean = math.fsum(costs) / len(costs)
                squares += math.fsum((cost - mean) ** 2 for cost in costs)
                freedom += len(costs) - 1
        deviations.append(math.sqrt(squares / freedom) if freedom else 0.0)
    return deviations


def _behind(
    points: Mapping[int, Costs],
    front: Mapping[int, Costs],
    attempts: Sequence[int],
    noise: Sequence[float],
) -> dict[int, float]:
    """By how many deviations of luck each point would have to be better to be on the front."""

    def escapes(costs: Costs, n: int, member: Costs, m: int) -> float:
        off = math.sqrt(1 / n + 1 / m)
        pairs = [*zip(costs, member, noise, strict=True)]
        if any(a < b for a, b, _ in pairs):
            return 0.0
        return min(((a - b) / (s * off) for a, b, s in pairs if s > 0), default=math.inf)

    return {
        index: max(
            escapes(costs, attempts[index], member, attempts[i]) for i, member in front.items()
        )
        for index, costs in points.items()
        if index not in front
    }
