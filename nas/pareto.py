"""Pareto fronts of costs (lower is better): an incremental archive and its hypervolume."""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np

Costs = tuple[float, ...]


def dominates(one: Costs, other: Costs) -> bool:
    """Whether ``one`` is nowhere worse than ``other`` and somewhere better."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


class ParetoArchive:
    """The non-dominated points seen so far; equal points are all kept.

    Adding one costs a comparison with each point of the front, not with all that were added.
    """

    def __init__(self) -> None:
        self._front: dict[int, Costs] = {}

    def add(self, number: int, costs: Costs) -> bool:
        """Add a point; returns whether it is on the front now."""
        if any(dominates(point, costs) for point in self._front.values()):
            return False
        self._front = {n: p for n, p in self._front.items() if not dominates(costs, p)}
        self._front[number] = costs
        return True

    @property
    def front(self) -> dict[int, Costs]:
        """Costs by number, sorted by number."""
        return dict(sorted(self._front.items()))


def hypervolume(points: Sequence[Costs], reference: Costs) -> float:
    """The volume between the points and the reference point, in the product of their units.

    Points that are not better than the reference in every cost add nothing. Computed by moocore
    (Fonseca, Paquete, Lopez-Ibanez 2006).
    """
    inside = [p for p in points if all(c < r for c, r in zip(p, reference, strict=True))]
    if not inside:
        return 0.0
    return float(moocore.hypervolume(np.array(inside, dtype=float), ref=list(reference)))


def reference_point(points: Sequence[Costs], margin: float = 0.1) -> Costs:
    """The worst cost of each objective, moved outwards by a share of its range.

    A range of zero counts as the size of the cost itself (or 1).

    Raises:
        ValueError: without points.
    """
    if not points:
        raise ValueError("a reference point needs at least one point, but got none")
    columns = list(zip(*points, strict=True))
    spans = [(max(column) - min(column)) or abs(max(column)) or 1.0 for column in columns]
    return tuple(max(column) + margin * span for column, span in zip(columns, spans, strict=True))
