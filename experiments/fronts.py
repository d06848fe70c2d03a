"""The Pareto front of a finished or running search, and which of its points to take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.confirming import record
from experiments.second_look import META, widened
from nas.front import costs_of, front_of
from nas.objectives import Constraint, Objective
from nas.pareto import Costs
from nas.registry import unknown
from nas.repeats import Confirmed, merged
from nas.trials import Trial

if TYPE_CHECKING:
    from experiments.runs import Run

PICKS = ("knee", "fastest", "most-accurate")
LATENCY = "latency_ms."


class NothingFound(LookupError):  # noqa: N818 - it says what is, as FileNotFoundError does
    """No trial is left to show or to pick; the message says what came nearest."""


@dataclass(frozen=True)
class Front:
    """The trials of a run that nothing else of that run beats in every objective.

    Args:
        run: the id of the run.
        objectives: what it was searched for.
        reference_point: costs of the hypervolume's reference point, None until it is fixed.
        trials: best first by the first objective.
        why_empty: what to say where there are none.
    """

    run: str
    objectives: tuple[Objective, ...]
    reference_point: Costs | None
    trials: tuple[Trial, ...]
    why_empty: str = "no trial is done yet"

    def require_trials(self) -> None:
        """See that there are any.

        Raises:
            NothingFound: when there are none, saying why.
        """
        if not self.trials:
            raise NothingFound(f"the front of run {self.run} is empty: {self.why_empty}")

    def to_json(self) -> dict[str, Any]:
        """What ``nas front --json`` prints; the reference point in the metrics' own units."""
        reference = self.reference_point
        return {
            "run": self.run,
            "objectives": [
                {"metric": objective.metric, "direction": objective.direction}
                for objective in self.objectives
            ],
            "reference_point": None
            if reference is None
            else [o.value(cost) for o, cost in zip(self.objectives, reference, strict=True)],
            "front": [_point(trial) for trial in self.trials],
        }


def _point(trial: Trial) -> dict[str, Any]:
    together = {"confirmed": record(trial)} if isinstance(trial, Confirmed) else {}
    return {
        "trial": trial.number,
        "genotype": dict(trial.genotype),
        "metrics": dict(trial.metrics),
        "provenance": {name: p.to_json() for name, p in trial.provenance.items()},
        "artifact_sha256": trial.artifact.sha256 if trial.artifact else None,
        **together,
    }


def meets(trial: Trial, filters: Iterable[Constraint]) -> bool:
    """Whether a trial meets them all; a metric that is not known meets nothing."""
    return all(bound.violation(trial.metrics) == 0.0 for bound in filters)


def front_trials(
    trials: Iterable[Trial],
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint] = (),
    filters: Sequence[Constraint] = (),
) -> tuple[Trial, ...]:
    """The trials that are done, meet all bounds and are not dominated by another such one.

    Args:
        trials: in any order; one that is told again counts once, several trainings of one
            genotype as their mean, see `nas.repeats.merged`.
        objectives: what the front is taken in.
        constraints: of the search; as in the search, a metric that is not known breaks none.
        filters: bounds set afterwards; a metric that is not known meets none.

    Returns:
        Best first by the first objective, then the second, and so on.
    """
    each = {trial.number: trial for trial in trials}
    together = merged(each.values(), objectives, constraints)
    kept = {trial.number: trial for trial in together if meets(trial, filters)}
    front = front_of(kept.values(), objectives, constraints).front
    ranked = sorted((costs, number) for number, costs in front.items())
    return tuple(kept[number] for _, number in ranked)


def run_front(run: Run, filters: Sequence[Constraint] = ()) -> Front:
    """The front of a run, read from its ledger, which may be growing meanwhile.

    Args:
        run: the run.
        filters: bounds that its points must meet besides the constraints of the search.

    Returns:
        The front; the bars of measured latencies hold what the second look at them has shown.
    """
    objectives, constraints = run.config.objectives_parsed(), run.config.constraints_parsed()
    with run.ledger() as ledger:
        everything, reference_point = ledger.trials(), ledger.reference_point
        notes = ledger.get_meta(META)
    trials = widened(front_trials(everything, objectives, constraints, filters), notes)
    why = "" if trials else why_empty(everything, objectives, (*constraints, *filters))
    return Front(run.id, objectives, reference_point, trials, why)


def scaled(points: Sequence[Costs]) -> list[Costs]:
    """The costs of a front scaled to [0, 1] in each objective; one without a range becomes 0."""
    columns = list(zip(*points, strict=True))
    low = [min(column) for column in columns]
    span = [max(column) - best or 1.0 for column, best in zip(columns, low, strict=True)]
    return [
        tuple((c - a) / s for c, a, s in zip(point, low, span, strict=True)) for point in points
    ]


def knee(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Trial:
    """The point of a front that bulges farthest towards the ideal.

    With costs scaled to [0, 1] it is the point farthest from the line between the two extreme
    points, which for more objectives is the plane with equal weights (Das 1999, "On characterizing
    the knee of the Pareto curve"): the one whose scaled costs have the smallest sum. Points that
    are alike in this are ranked by their costs in the order of the objectives, then by number.

    Args:
        trials: a front; all costs known.
        objectives: at least one.
    """
    points = [costs_of(trial, objectives) or () for trial in trials]

    def rank(index: int) -> tuple[float, Costs, int]:
        return round(sum(scales[index]), 12), points[index], trials[index].number

    scales = scaled(points)
    return trials[min(range(len(trials)), key=rank)]


def pick(
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    how: str = "knee",
    filters: Sequence[Constraint] = (),
    constraints: Sequence[Constraint] = (),
) -> Trial:
    """One trial of a search.

    Args:
        trials: all trials of the search.
        objectives: of the search.
        how: ``knee``, ``fastest``, ``most-accurate`` (of the front that the filters leave) or the
            number of a trial, which need not be on the front.
        filters: bounds that it must meet.
        constraints: of the search; a trial picked by its number need not meet them.

    Raises:
        ValueError: when ``how`` is none of these or a filter names a metric that no trial has.
        NothingFound: when no trial passes, naming the nearest one.
    """
    done = [trial for trial in trials if trial.status == "done"]
    _check_filters(filters, done)
    if how.isascii() and how.isdecimal():
        return _by_number(trials, int(how), filters)
    if how not in PICKS:
        raise ValueError(f"pick is one of {', '.join(PICKS)} or a trial's number, but got {how!r}")
    front = front_trials(trials, objectives, constraints, filters)
    if not front:
        raise NothingFound(why_empty(done, objectives, (*constraints, *filters)))
    if how == "knee":
        return knee(front, objectives)
    first = Objective("accuracy", "maximize") if how == "most-accurate" else _speed(objectives)
    return _best(front, (first, *objectives))


def _check_filters(filters: Sequence[Constraint], trials: Sequence[Trial]) -> None:
    known = {name for trial in trials for name in trial.metrics}
    for constraint in filters:
        if known and constraint.metric not in known:
            raise ValueError(unknown("metric", constraint.metric, known))


def _by_number(trials: Sequence[Trial], number: int, filters: Sequence[Constraint]) -> Trial:
    for trial in trials:
        if trial.number == number and trial.status == "done":
            if not meets(trial, filters):
                raise NothingFound(_nearest([trial], filters))
            return trial
        if trial.number == number:
            why = f": {trial.error}" if trial.error else ""
            raise NothingFound(f"trial {number} has no artifact, it is {trial.status}{why}")
    raise NothingFound(f"there is no finished trial {number}")


def why_empty(
    trials: Sequence[Trial], objectives: Sequence[Objective], bounds: Sequence[Constraint]
) -> str:
    """Why a front without a single point is empty: nothing is done, known, or within the bounds."""
    done = [trial for trial in trials if trial.status == "done"]
    if not done:
        return "no trial is done yet"
    known = [trial for trial in done if costs_of(trial, objectives) is not None]
    if not known:
        return f"no trial has all of {', '.join(o.metric for o in objectives)}"
    return _nearest(known, bounds)


def _nearest(trials: Sequence[Trial], bounds: Sequence[Constraint]) -> str:
    wanted = " and ".join(map(str, bounds))

    def distance(trial: Trial) -> tuple[int, float, int]:
        violations = [constraint.violation(trial.metrics) for constraint in bounds]
        missing = violations.count(None)
        return missing, sum(v for v in violations if v is not None), trial.number

    best = min(trials, key=distance)
    names = dict.fromkeys(constraint.metric for constraint in bounds)
    readings = (f"{n} {best.metrics[n]:.4g}" for n in names if n in best.metrics)
    return f"no trial meets {wanted}; nearest is trial {best.number} ({', '.join(readings)})"


def _speed(objectives: Sequence[Objective]) -> Objective:
    for objective in objectives:
        if objective.metric.startswith(LATENCY):
            return objective
    raise ValueError(
        "pick 'fastest' needs a latency among the objectives, "
        f"but got {', '.join(o.metric for o in objectives)}"
    )


def _best(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Trial:
    known = [trial for trial in trials if costs_of(trial, objectives) is not None]
    if not known:
        raise NothingFound(f"no trial of the front has {objectives[0].metric}")
    return min(known, key=lambda trial: (costs_of(trial, objectives), trial.number))


def bounds(minimum: Mapping[str, float], maximum: Mapping[str, float]) -> tuple[Constraint, ...]:
    """Filters: metrics that must be at least, and metrics that must be at most, a value.

    Raises:
        ValueError: for a name that no metric can have or a value that is not finite.
    """
    return (
        *(Constraint(metric, ">=", float(value)) for metric, value in minimum.items()),
        *(Constraint(metric, "<=", float(value)) for metric, value in maximum.items()),
    )
