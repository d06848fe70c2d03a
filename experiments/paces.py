"""At what pace of the machine the latencies of several runs were measured."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from experiments.fronts import LATENCY, Front
from nas.trials import Trial

if TYPE_CHECKING:
    from experiments.comparison import Group

PACE = "reference_ms."
"""The metric, before an alias: see `evaluators.measured.PACE`."""
_ALIKE = 1.05
"""Paces that differ by less are the same for all that can be told."""


def pace_of(trials: Sequence[Trial], alias: str) -> float | None:
    """Milliseconds of the reference network meanwhile, None where they are not known."""
    known = [t.metrics[f"{PACE}{alias}"] for t in trials if f"{PACE}{alias}" in t.metrics]
    return median(known) if known else None


def pace_notes(group: Group, fronts: Sequence[Front]) -> list[str]:
    """A line for each measured objective that the runs of a group read at different paces.

    Args:
        group: runs of one machine.
        fronts: of all runs, those of the group among them.
    """
    members = {row.run for row in group.rows}
    notes = []
    for objective in group.objectives:
        alias = objective.metric.removeprefix(LATENCY)
        if alias == objective.metric:
            continue
        found = {f.run: pace_of(f.trials, alias) for f in fronts if f.run in members}
        paces = {run: pace for run, pace in found.items() if pace is not None}
        if len(paces) > 1 and max(paces.values()) > _ALIKE * min(paces.values()):
            notes.append(_note(objective.metric, paces))
    return notes


def _note(metric: str, paces: dict[str, float]) -> str:
    fastest = min(paces, key=lambda run: paces[run])
    others = ", ".join(
        f"{pace / paces[fastest]:.2f} times slower during {run}"
        for run, pace in paces.items()
        if pace > _ALIKE * paces[fastest]
    )
    return (
        f"Note: {metric} was measured at different speeds of this machine: it was {others} than "
        f"during {fastest}. Differences of that size are the machine's, not the networks'."
    )
