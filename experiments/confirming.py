"""What is said of results that several trainings stand behind, see `nas.repeats`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas.objectives import Constraint, Objective
from nas.repeats import Confirmed, merged
from nas.trials import Trial

ACCURACY = "accuracy"


def confirmed_of(
    trial: Trial,
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint] = (),
) -> Confirmed | None:
    """All trainings of a trial's genotype together; None where it is the only one.

    Args:
        trial: of a single training.
        trials: all trials of its search.
        objectives: of the search.
        constraints: of the search.
    """
    for together in merged(trials, objectives, constraints):
        if isinstance(together, Confirmed) and any(
            each.number == trial.number for each in together.trainings
        ):
            return together
    return None


def trainings_cell(trial: Trial) -> str:
    """How many trainings the numbers of a trial are means of; empty for a single one."""
    if not isinstance(trial, Confirmed):
        return ""
    failed = len(trial.trainings) - len(trial.done)
    return f"{len(trial.done)}{f' ({failed} failed)' if failed else ''}"


def spread(trial: Trial, metric: str = ACCURACY) -> tuple[float, float] | None:
    """The lowest and the highest value among the trainings of a trial; None for a single one."""
    if not isinstance(trial, Confirmed):
        return None
    values = [each.metrics[metric] for each in trial.done if metric in each.metrics]
    return (min(values), max(values)) if values else None


def spread_cell(trial: Trial) -> str:
    """From the lowest to the highest accuracy of its trainings; empty for a single one."""
    ends = spread(trial)
    return "" if ends is None else f"{ends[0]:.4f}..{ends[1]:.4f}"


def own_cell(trial: Trial) -> str:
    """The accuracy of the file itself; empty for a single training."""
    if not isinstance(trial, Confirmed) or ACCURACY not in trial.own.metrics:
        return ""
    return f"{trial.own.metrics[ACCURACY]:.4f}"


def confirmed_lines(trials: Sequence[Trial]) -> list[str]:
    """What the numbers of a front are, a line or none."""
    together = [trial for trial in trials if isinstance(trial, Confirmed)]
    if not together:
        return []
    single = len(trials) - len(together)
    rest = f"; {single} of {len(trials)} points have a single training" if single else ""
    return [
        "accuracy and what else depends on training: the mean of several trainings, with the "
        f"lowest and the highest; the file that ships is the best of them on validation{rest}"
    ]


def statement(confirmed: Confirmed) -> str:
    """How the accuracy of the shipped file stands to that of its genotype, one sentence."""
    low, high = spread(confirmed) or (0.0, 0.0)
    failed = len(confirmed.trainings) - len(confirmed.done)
    return (
        f"Its genotype was trained {len(confirmed.trainings)} times"
        f"{f' ({failed} failed)' if failed else ''}: validation accuracy "
        f"{confirmed.metrics.get(ACCURACY, 0.0):.4f} on average, {low:.4f} to {high:.4f}; "
        f"this file is trial {confirmed.number}, the best of them on the validation split "
        f"({own_cell(confirmed) or 'unknown'})."
    )


def record(confirmed: Confirmed) -> dict[str, Any]:
    """What JSON files say of it."""
    return {
        "trainings": len(confirmed.done),
        "failed": len(confirmed.trainings) - len(confirmed.done),
        "trials": [trial.number for trial in confirmed.trainings],
        "mean": dict(confirmed.metrics),
        "low": {name: ends[0] for name, ends in _spreads(confirmed).items()},
        "high": {name: ends[1] for name, ends in _spreads(confirmed).items()},
        "file": dict(confirmed.own.metrics),
    }


def _spreads(confirmed: Confirmed) -> dict[str, tuple[float, float]]:
    found = {name: spread(confirmed, name) for name in confirmed.metrics}
    return {name: ends for name, ends in found.items() if ends is not None and ends[0] != ends[1]}
