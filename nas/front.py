"""Which trials are points of a front."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nas.objectives import Constraint, Objective, total_violation
from nas.pareto import Costs, ParetoArchive
from nas.trials import Trial


def costs_of(trial: Trial, objectives: Sequence[Objective]) -> Costs | None:
    """The costs of a trial that is done, None where one of them is not known."""
    costs = tuple(objective.cost(trial.metrics) for objective in objectives)
    known = tuple(cost for cost in costs if cost is not None)
    return known if trial.status == "done" and len(known) == len(costs) else None


def legal_costs(
    trial: Trial, objectives: Sequence[Objective], constraints: Sequence[Constraint]
) -> Costs | None:
    """The costs of a trial that may be on the front: None where it violates a constraint, too.

    A metric that is not known breaks no constraint.
    """
    return costs_of(trial, objectives) if not total_violation(constraints, trial.metrics) else None


def front_of(
    trials: Iterable[Trial], objectives: Sequence[Objective], constraints: Sequence[Constraint]
) -> ParetoArchive:
    """The front of these trials, by their numbers."""
    archive = ParetoArchive()
    for trial in trials:
        costs = legal_costs(trial, objectives, constraints)
        if costs is not None:
            archive.add(trial.number, costs)
    return archive
