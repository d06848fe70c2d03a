"""Local search from the front, with restarts: the simplest search that learns, a baseline."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from nas.choices import Choice, Genotype
from nas.objectives import Constraint, Objective
from strategies.base import BaseStrategy, Screen
from strategies.history import Code, Observation
from strategies.options import check_whole
from strategies.selection import leaders
from strategies.variation import neighbours


class LocalStrategy(BaseStrategy):
    """Hill climbing for several objectives (Pareto local search, Paquete, Chiarandini, Stuetzle).

    It asks for the neighbours of what leads: of all non-dominated results since the last restart,
    or of the least violation while nothing is feasible. When all of them are known it restarts from
    random genotypes; the first one that is told and is no neighbour of the leaders begins anew.

    Args:
        choices: see `BaseStrategy`.
        objectives: see `BaseStrategy`.
        seed: see `BaseStrategy`.
        screen: see `BaseStrategy`.
        constraints: see `BaseStrategy`.
        startup: genotypes told before the first climb; random ones until then.

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
        startup: int = 10,
    ) -> None:
        super().__init__(choices, objectives, seed, screen, constraints)
        self._startup = check_whole("startup", startup, 1)
        self._climb: dict[Code, Observation] = {}
        self._leaders: list[Observation] = []

    def _learn(self, observation: Observation) -> None:
        if observation.code in self._climb:
            # A repeat: it may be worse than what it had beaten.
            self._climb[observation.code] = observation
            self._leaders = leaders([o for o in self._climb.values() if o.is_comparable])
            return
        if self._is_restart(observation.code):
            self._climb, self._leaders = {}, []
        self._climb[observation.code] = observation
        if observation.is_comparable:
            self._leaders = leaders([*self._leaders, observation])

    def _is_restart(self, code: Code) -> bool:
        """Whether a result came after the climb had ended, from elsewhere."""
        if self._history.distinct <= self._startup:
            return False
        around = (c for leader in self._leaders for c in self._around(leader))
        if not all(map(self._history.knows, around)):
            return False
        return all(code not in self._around(leader) for leader in self._leaders)

    def _propose(self, rng: random.Random) -> Iterator[Genotype]:
        if self._history.distinct < self._startup:
            return
        for leader in rng.sample(self._leaders, len(self._leaders)):
            around = list(self._around(leader))
            for code in rng.sample(around, len(around)):
                yield self._history.decode(code)

    def _around(self, leader: Observation) -> Iterator[Code]:
        genotype = self._history.decode(leader.code)
        return map(self._history.encode, neighbours(self._choices, genotype))
