"""A steady-state genetic search: selection by NSGA-II (DEAP), operators that know the choices."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deap.tools.emo import assignCrowdingDist, sortLogNondominated

from nas.choices import Choice, Genotype
from nas.objectives import Constraint, Objective
from nas.registry import unknown
from strategies.base import BaseStrategy, Screen
from strategies.history import Observation, scaled
from strategies.options import check_share, check_whole
from strategies.variation import cross, mutate

ALGORITHMS = ("nsga2",)

CHILDREN_AN_ASK = 50
"""Children that are known already or ruled out, before random genotypes take over."""


TOURNAMENT = 3
"""Members of the population that compete to be a parent."""


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
    fitness: _Fitness


def ranked(observations: Sequence[Observation], size: int) -> list[Observation]:
    """The best, the very best first: feasible ones by NSGA-II, then others by their violation.

    Non-dominated fronts, in each the least crowded first, constraint domination: Deb, Pratap,
    Agarwal and Meyarivan 2002. It is DEAP's ``selNSGA2(..., nd="log")`` with the order kept.

    Args:
        observations: feasible ones know all their costs.
        size: at most so many are returned.
    """
    feasible = [o for o in observations if o.violation == 0]
    others = sorted((o for o in observations if o.violation > 0), key=lambda o: o.violation)
    if not feasible:
        return others[:size]
    costs = scaled([o.complete_costs or () for o in feasible])
    individuals = [_Individual(o, _Fitness(c)) for o, c in zip(feasible, costs, strict=True)]
    best: list[Observation] = []
    for front in sortLogNondominated(individuals, len(individuals)):
        assignCrowdingDist(front)
        front.sort(key=lambda individual: -individual.fitness.crowding_dist)
        best += [individual.observation for individual in front]
    return [*best, *others][:size]


class GeneticStrategy(BaseStrategy):
    """NSGA-II one child at a time: a result enters the population and the worst one leaves it.

    Failed candidates never enter, nor do feasible ones with an unknown cost (their training was
    stopped because they were losing). Those that violate a constraint enter by their violation
    alone, which leads a search that has found nothing feasible yet.

    DEAP's random operators draw from the global generator, so the operators are our own.

    Args:
        choices: see `BaseStrategy`.
        objectives: see `BaseStrategy`.
        seed: see `BaseStrategy`.
        screen: see `BaseStrategy`.
        constraints: see `BaseStrategy`.
        algorithm: ``"nsga2"``.
        population: how many are kept.
        startup: genotypes told before the first child is made; random ones until then.
        crossover: the share of children that have two parents.

    Raises:
        ValueError: for an option that cannot be.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        objectives: Sequence[Objective],
        seed: int,
        screen: Screen | None = None,
        constraints: Sequence[Constraint] = (),
        *,
        algorithm: str = "nsga2",
        population: int = 16,
        startup: int = 12,
        crossover: float = 0.5,
    ) -> None:
        super().__init__(choices, objectives, seed, screen, constraints)
        if algorithm not in ALGORITHMS:
            raise ValueError(unknown("algorithm", algorithm, ALGORITHMS))
        self._size = check_whole("population", population, 2)
        self._startup = check_whole("startup", startup, 1)
        self._crossover = check_share("crossover", crossover)
        self._population: list[Observation] = []

    def _learn(self, observation: Observation) -> None:
        population = [o for o in self._population if o.code != observation.code]
        infeasible = observation.costs is not None and observation.violation > 0
        if infeasible or observation.complete_costs is not None:
            population.append(observation)
        self._population = ranked(population, self._size)

    def _propose(self, rng: random.Random) -> Iterator[Genotype]:
        if self._population and len(self._history.observations) >= self._startup:
            for _ in range(CHILDREN_AN_ASK):
                yield self._child(rng)

    def _child(self, rng: random.Random) -> Genotype:
        child = self._parent(rng)
        if rng.random() < self._crossover:
            child = cross(self._choices, child, self._parent(rng), rng)
        return mutate(self._choices, child, rng)

    def _parent(self, rng: random.Random) -> Genotype:
        """The winner of a tournament; the population is in order of rank."""
        index = min(rng.randrange(len(self._population)) for _ in range(TOURNAMENT))
        return self._history.decode(self._population[index].code)
