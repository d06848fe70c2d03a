"""Who is better, for genetic search: by constraints first, then by non-dominated fronts.

The numeric parts are DEAP's; its selections draw from the global generators, so ours do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from deap.tools.emo import (
    assignCrowdingDist,
    associate_to_niche,
    find_extreme_points,
    find_intercepts,
    sortLogNondominated,
    uniform_reference_points,
)
from numpy.typing import NDArray

from nas.pareto import dominates
from strategies.history import Observation, scaled

Points = NDArray[np.float64]


class _Fitness:
    """What DEAP's selection reads (values to maximize) and writes (the crowding distance)."""

    def __init__(self, costs: tuple[float, ...]) -> None:
        values = tuple(-cost for cost in costs)
        # DEAP's sorting needs two values; the same one twice sorts as one.
        self.values = self.wvalues = values * 2 if len(values) == 1 else values
        self.crowding_dist = 0.0


@dataclass
class _Individual:
    observation: Observation
    costs: tuple[float, ...]
    fitness: _Fitness


_Front = list[_Individual]


def ranked(observations: Sequence[Observation], size: int) -> list[Observation]:
    """The best, the very best first: feasible ones by NSGA-II, then others by their violation.

    Non-dominated fronts, in each the least crowded first, constraint domination: Deb, Pratap,
    Agarwal and Meyarivan 2002. It is DEAP's ``selNSGA2(..., nd="log")`` with the order kept.

    Args:
        observations: feasible ones know all their costs.
        size: at most so many are returned.
    """

    def by_crowding(fronts: list[_Front]) -> list[_Individual]:
        for front in fronts:
            assignCrowdingDist(front)
            front.sort(key=lambda individual: -individual.fitness.crowding_dist)
        return [individual for front in fronts for individual in front]

    return _ranked(observations, size, by_crowding)


def ranked_by_reference(
    observations: Sequence[Observation], size: int, points: Points
) -> list[Observation]:
    """The best, the very best first: feasible ones by NSGA-III, then others by their violation.

    Non-dominated fronts; in each, again and again, the one nearest to the reference direction
    that has been served least: Deb and Jain 2014, with ties broken by order and not by lot.

    Args:
        observations: feasible ones know all their costs.
        size: at most so many are returned.
        points: reference directions, (directions, objectives), see `reference_points`.
    """

    def by_niche(fronts: list[_Front]) -> list[_Individual]:
        members = [individual for front in fronts for individual in front]
        costs = np.array([individual.costs for individual in members])
        best, worst = costs.min(axis=0), costs.max(axis=0)
        first = costs[: len(fronts[0])]
        intercepts = find_intercepts(find_extreme_points(costs, best), best, worst, first.max(0))
        niches, distances = associate_to_niche(costs, points, best, intercepts)
        served, order = np.zeros(len(points), dtype=int), []
        done = 0
        for front in fronts:
            left = list(range(done, done + len(front)))
            done += len(front)
            while left:
                nearest = min(left, key=lambda i: (served[niches[i]], distances[i], i))
                served[niches[nearest]] += 1
                left.remove(nearest)
                order.append(members[nearest])
        return order

    return _ranked(observations, size, by_niche)


def reference_points(objectives: int, most: int) -> Points:
    """Directions spread evenly over the costs, as fine as ``most`` of them allow.

    Returns:
        (directions, objectives), at least one an objective.
    """
    parts = 1
    while objectives > 1 and math.comb(parts + objectives, objectives - 1) <= most:
        parts += 1
    points: Points = uniform_reference_points(objectives, parts)
    return points


def leaders(observations: Sequence[Observation]) -> list[Observation]:
    """Those that none beats: the least violation, then what no other one dominates; in order.

    Args:
        observations: feasible ones know all their costs.
    """
    least = min((o.violation for o in observations), default=0.0)
    best = [o for o in observations if o.violation == least]
    if least > 0:
        return best
    costs = scaled([o.complete_costs or () for o in best])
    front: list[tuple[float, ...]] = []
    # In this order none dominates one that came before it.
    for cost in sorted(set(costs)):
        if not any(dominates(other, cost) for other in front):
            front.append(cost)
    kept = set(front)
    return [o for o, cost in zip(best, costs, strict=True) if cost in kept]


def _ranked(
    observations: Sequence[Observation], size: int, order: Callable[[list[_Front]], _Front]
) -> list[Observation]:
    feasible = [o for o in observations if o.violation == 0]
    others = sorted((o for o in observations if o.violation > 0), key=lambda o: o.violation)
    if not feasible:
        return others[:size]
    costs = scaled([o.complete_costs or () for o in feasible])
    individuals = [_Individual(o, c, _Fitness(c)) for o, c in zip(feasible, costs, strict=True)]
    fronts: list[_Front] = sortLogNondominated(individuals, len(individuals))
    return [*(individual.observation for individual in order(fronts)), *others][:size]
