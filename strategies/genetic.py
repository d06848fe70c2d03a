"""A steady-state genetic search: NSGA-II, NSGA-III or ageing, operators that know the choices."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterator, Sequence

from nas.choices import Choice, Genotype
from nas.objectives import Constraint, Objective
from nas.registry import unknown
from strategies.base import BaseStrategy, Screen
from strategies.history import Code, Observation
from strategies.options import check_share, check_whole
from strategies.selection import leaders, ranked, ranked_by_reference, reference_points
from strategies.variation import cross, mutate

ALGORITHMS = ("nsga2", "nsga3", "ageing")

CHILDREN_AN_ASK = 50
"""Children that are known already or ruled out, before random genotypes take over."""

POPULATION = {"nsga2": 16, "nsga3": 16, "ageing": 48}
"""Members that are kept where nothing else is asked for."""

ENTRANTS = 3
"""Members of the population that compete to be a parent."""

AGEING_ENTRANTS = 0.75
"""The share of it that does so with ageing, where only parents are selected."""

RECENT = 100
"""Results that say how far a child should be from the population."""

FAR = 4
"""Choices in which a child differs from its nearest relative; more count as so many."""


class GeneticStrategy(BaseStrategy):
    """One child at a time: a result enters the population, and the worst or the oldest leaves it.

    - ``nsga2``: the population is what NSGA-II keeps.
    - ``nsga3``: what NSGA-III keeps, by reference directions; for three objectives or more.
    - ``ageing``: it is the latest results, good or bad; a parent is one of the non-dominated of
      those that compete to be it (regularized evolution, Real, Aggarwal, Huang and Le 2019, for
      several objectives). It forgets lucky results.

    Failed candidates never enter, nor do feasible ones with an unknown cost (their training was
    stopped because they were losing). Those that violate a constraint enter by their violation
    alone, which leads a search that has found nothing feasible yet.

    Mutation adapts: a child is kept with a probability that grows with the success of recent ones
    as far from the population as it is (in choices that differ); success is to be a leader.

    DEAP's random operators draw from the global generator, so the operators are our own.

    Args:
        choices: see `BaseStrategy`.
        objectives: see `BaseStrategy`.
        seed: see `BaseStrategy`.
        screen: see `BaseStrategy`.
        constraints: see `BaseStrategy`.
        algorithm: one of `ALGORITHMS`; None: ``nsga3`` from three objectives on, else ``nsga2``.
        population: how many are kept; None: see `POPULATION`.
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
        algorithm: str | None = None,
        population: int | None = None,
        startup: int = 12,
        crossover: float = 0.5,
    ) -> None:
        super().__init__(choices, objectives, seed, screen, constraints)
        if algorithm is None:
            algorithm = "nsga3" if len(objectives) > 2 else "nsga2"
        if algorithm not in ALGORITHMS:
            raise ValueError(unknown("algorithm", algorithm, ALGORITHMS))
        self._algorithm = algorithm
        size = POPULATION[algorithm] if population is None else population
        self._size = check_whole("population", size, 2)
        self._startup = check_whole("startup", startup, 1)
        self._crossover = check_share("crossover", crossover)
        self._directions = reference_points(len(objectives), self._size)
        self._told = 0
        self._population: list[Observation] = []
        self._steps: deque[tuple[int, bool]] = deque(maxlen=RECENT)

    def _learn(self, observation: Observation) -> None:
        codes = [member.code for member in self._population]
        steps = self._distance(observation.code)
        others = [member for member in self._population if member.code != observation.code]
        if not observation.is_comparable:
            self._population = others
        elif self._algorithm == "ageing":
            at = codes.index(observation.code) if observation.code in codes else len(codes)
            self._population = [*others[:at], observation, *others[at:]][-self._size :]
        else:
            self._population = self._best([*others, observation])
        is_new, self._told = self._history.distinct > self._told, self._history.distinct
        if is_new and self._told > self._startup:
            self._steps.append((steps, observation in leaders(self._population)))

    def _best(self, candidates: Sequence[Observation]) -> list[Observation]:
        if self._algorithm == "nsga3":
            return ranked_by_reference(candidates, self._size, self._directions)
        return ranked(candidates, self._size)

    def _propose(self, rng: random.Random) -> Iterator[Genotype]:
        if not self._population or self._told < self._startup:
            return
        success = self._success()
        for _ in range(CHILDREN_AN_ASK):
            child = self._child(rng)
            steps = self._distance(self._history.encode(child))
            if steps and rng.random() * max(success) < success[steps]:
                yield child

    def _success(self) -> list[float]:
        """The share of recent results that were leaders, by distance; a half without any."""
        tried, led = [2] * (FAR + 1), [1] * (FAR + 1)
        for steps, leader in self._steps:
            tried[steps] += 1
            led[steps] += leader
        return [part / whole for part, whole in zip(led, tried, strict=True)]

    def _distance(self, code: Code) -> int:
        """In how many choices it differs from the nearest member of the population, up to `FAR`."""
        distances = (
            sum(one != other for one, other in zip(code, member.code, strict=True))
            for member in self._population
        )
        return min(FAR, min(distances, default=FAR))

    def _child(self, rng: random.Random) -> Genotype:
        child = self._parent(rng)
        if rng.random() < self._crossover:
            child = cross(self._choices, child, self._parent(rng), rng)
        return mutate(self._choices, child, rng)

    def _parent(self, rng: random.Random) -> Genotype:
        """The winner of a tournament."""
        if self._algorithm == "ageing":
            count = math.ceil(AGEING_ENTRANTS * len(self._population))
            entrants = rng.sample(self._population, count)
            return self._history.decode(rng.choice(leaders(entrants)).code)
        # The population is in order of rank.
        index = min(rng.randrange(len(self._population)) for _ in range(ENTRANTS))
        return self._history.decode(self._population[index].code)
