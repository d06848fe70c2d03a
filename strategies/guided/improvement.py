"""What candidates are expected to add to the hypervolume of a front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nas.pareto import hypervolume

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Belief:
    """One cost of each candidate: known, or with a shifted log-normal or normal distribution.

    Args:
        mean: (candidates,), of the logarithm where there is an offset; the cost where known.
        deviation: (candidates,), of the same; 0 where it is known.
        offset: what the logarithm was taken of is the cost plus this; None: no logarithm.
    """

    mean: Array
    deviation: Array
    offset: float | None = None

    @property
    def median(self) -> Array:
        """(candidates,), of the costs."""
        return self.mean if self.offset is None else np.exp(self.mean) - self.offset

    def expected_below(self, bounds: Array) -> Array:
        """(candidates, bounds): by how much the cost is expected to be below each bound."""
        mean, deviation = self.mean[:, None], np.maximum(self.deviation, 1e-12)[:, None]
        if self.offset is None:
            far = (bounds - mean) / deviation
            density = np.exp(-0.5 * far**2) / np.sqrt(2 * np.pi)
            below = (bounds - mean) * ndtr(far) + deviation * density
            return np.asarray(np.maximum(below, 0))
        shifted = np.maximum(bounds + self.offset, 0)
        with np.errstate(divide="ignore"):
            far = (np.log(shifted) - mean) / deviation
        whole = np.exp(np.minimum(mean + 0.5 * deviation**2, 50.0))
        below = shifted * ndtr(far) - whole * ndtr(far - deviation)
        return np.asarray(np.maximum(below, 0))

    def __getitem__(self, rows: Any) -> Belief:
        return Belief(self.mean[rows], self.deviation[rows], self.offset)


@dataclass(frozen=True)
class Boxes:
    """Disjoint boxes that fill what a front leaves undominated below the reference point.

    Args:
        low: (boxes, objectives), minus infinity where they are open.
        high: (boxes, objectives).
    """

    low: Array
    high: Array


def boxes(front: Array, reference: Array) -> Boxes:
    """Decompose the space that is not dominated (Lacour, Klamroth and Fonseca 2017).

    Args:
        front: (points, objectives), not dominated by one another.
        reference: (objectives,); points beyond it do not count.
    """
    front = np.unique(front[(front < reference).all(axis=1)], axis=0)
    points, objectives = front.shape[0], len(reference)
    # In ranks no two points are equal in any objective, which the decomposition relies on.
    order = np.argsort(front, axis=0, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(points)[:, None], axis=0)
    values = np.vstack([np.take_along_axis(front, order, axis=0), reference])
    uppers, lowers = _search_zones(ranks, points)
    columns = np.arange(objectives)
    low = np.where(lowers < 0, -np.inf, values[lowers, columns])
    return Boxes(low, values[uppers, columns])


def _search_zones(ranks: NDArray[np.int64], top: int) -> tuple[NDArray[np.int64], ...]:
    """Upper and lower corners, in ranks; a lower one of -1 is open."""
    size = ranks.shape[1]
    uppers = np.full((1, size), top)
    # By zone and objective, the point that bounds the zone there: (zones, objectives, its ranks).
    bounds = np.full((1, size, size), -1)
    bounds[:, range(size), range(size)] = top
    for point in ranks:
        is_split = (point < uppers).all(axis=1)
        split, by = uppers[is_split], bounds[is_split]
        new_uppers, new_bounds = [uppers[~is_split]], [bounds[~is_split]]
        for j in range(size):
            others = np.delete(by[:, :, j], j, axis=1).max(axis=1, initial=-1)
            kept = point[j] > others
            upper, bound = split[kept].copy(), by[kept].copy()
            upper[:, j], bound[:, j] = point[j], point
            new_uppers.append(upper)
            new_bounds.append(bound)
        uppers, bounds = np.concatenate(new_uppers), np.concatenate(new_bounds)
    lowers = np.full_like(uppers, -1)
    for j in range(1, size):
        lowers[:, j] = bounds[:, :j, j].max(axis=1)
    return uppers, lowers


def expected_improvement(beliefs: list[Belief], zones: Boxes) -> Array:
    """(candidates,): the expected gain in hypervolume, exact for independent costs.

    It is the sum over boxes of the product over objectives of how far into the box a candidate is
    expected to reach.

    Args:
        beliefs: one an objective.
        zones: of the front.
    """
    reach: Array | None = None
    for column, belief in enumerate(beliefs):
        low, high = zones.low[:, column], zones.high[:, column]
        bounds, places = np.unique(np.concatenate([low, high]), return_inverse=True)
        below = np.zeros((len(belief.mean), len(bounds)))
        finite = np.isfinite(bounds)
        below[:, finite] = belief.expected_below(bounds[finite])
        depth = below[:, places[len(low) :]] - below[:, places[: len(low)]]
        reach = depth if reach is None else reach * depth
    return np.zeros(0) if reach is None else reach.sum(axis=1)


def nondominated(costs: Array) -> NDArray[np.bool_]:
    """(points,): which of them no other one dominates.

    Args:
        costs: (points, objectives).
    """
    kept = np.ones(len(costs), bool)
    order = np.lexsort(costs.T[::-1]) if costs.shape[1] else ()
    for row in order:
        if kept[row]:
            beaten = (costs >= costs[row]).all(axis=1) & (costs > costs[row]).any(axis=1)
            kept &= ~beaten
    return kept


class SpaceLeft:
    """What a front leaves to be gained.

    Args:
        front: (points, objectives), not dominated by one another.
        reference: (objectives,).
    """

    def __init__(self, front: Array, reference: Array) -> None:
        self._front, self._reference = front, reference
        self.boxes = boxes(front, reference)

    @property
    def volume(self) -> float:
        """The hypervolume of the front."""
        points = [tuple(point) for point in self._front.tolist()]
        return hypervolume(points, tuple(self._reference.tolist()))

    def is_beyond(self, front: Array, reference: Array) -> bool:
        """Whether it is that of this front."""
        same = np.array_equal(self._front, front)
        return same and np.array_equal(self._reference, reference)
