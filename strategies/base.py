"""What all strategies share: remembering, never asking twice, passing over what is no good."""

from __future__ import annotations

import itertools
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from nas.choices import Choice, Genotype, Value, enumerate_genotypes, sample
from nas.keys import seed_of
from nas.objectives import Constraint, Objective
from nas.trials import CandidateError, Exhausted, sure_violation
from strategies.history import Code, History, Observation

Screen = Callable[[Genotype], Mapping[str, float]]

RANDOM_TRIES = 64
"""Random genotypes drawn before the space is enumerated for one that was not asked for yet."""

SCREENED_AN_ASK = 100
"""New genotypes screened an ask before the least bad of them is taken."""


def _shuffled(choices: Sequence[Choice], rng: random.Random) -> Iterator[dict[str, Value]]:
    """Every genotype once, the options of each choice in random order."""
    yield from enumerate_genotypes(
        [replace(c, options=tuple(rng.sample(c.options, len(c.options)))) for c in choices]
    )


class BaseStrategy(ABC):
    """A strategy that has only to propose; `nas.protocols.Strategy` is the contract.

    The state law holds by construction: the generator of an ask is derived from the seed and from
    how much was told and is pending, and what a subclass keeps must follow from what was told.

    Args:
        choices: the space, parents before children.
        objectives: what the costs stand for, in their order.
        seed: of all randomness.
        screen: the metrics known before training; raises `CandidateError` for what cannot be
            built. Proposals that cannot be built or surely violate a constraint are passed over.
        constraints: checked on what ``screen`` returns; results bring their own violation.

    Raises:
        ValueError: for choices that form no space, or without objectives.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        objectives: Sequence[Objective],
        seed: int,
        screen: Screen | None = None,
        constraints: Sequence[Constraint] = (),
    ) -> None:
        if not objectives:
            raise ValueError("a strategy needs at least one objective, but got none")
        self._history = History(choices, len(objectives))
        self._choices, self._objectives = self._history.choices, tuple(objectives)
        self._seed, self._screen, self._constraints = seed, screen, tuple(constraints)
        self._screened: dict[Code, float] = {}

    @abstractmethod
    def _propose(self, rng: random.Random) -> Iterator[Genotype]:
        """Canonical genotypes, the best first; what is known already is passed over.

        Where they end, random ones follow.
        """

    def _learn(self, observation: Observation) -> None:  # noqa: B027 (optional)
        """A result was told; for a subclass that keeps more than the history."""

    def ask(self) -> dict[str, Value]:
        """A canonical genotype that was not told and is not pending; it is pending from now.

        Raises:
            Exhausted: when there is none left that can be built.
        """
        state = f"{self._seed}/{self._history.told}/{self._history.pending}"
        rng = random.Random(seed_of(state, "ask"))
        drawn = (sample(self._choices, rng) for _ in range(RANDOM_TRIES))
        left = _shuffled(self._choices, rng)
        genotype = self._pick(itertools.chain(self._propose(rng), drawn, left))
        self._history.expect(genotype)
        return dict(genotype)

    def tell(
        self,
        genotype: Genotype,
        costs: Sequence[float | None] | None,
        violation: float = 0.0,
    ) -> None:
        """Learn a result; see `nas.protocols.Strategy.tell`. NaN and infinity count as unknown.

        Raises:
            ValueError: for a genotype that is none of this space, for another number of costs than
                of objectives, for a violation that is negative or NaN.
        """
        self._learn(self._history.tell(genotype, costs, violation))

    def pending(self, genotype: Genotype) -> None:
        """Mark a genotype as asked for and not yet told.

        Raises:
            ValueError: for a genotype that is none of this space.
        """
        self._history.expect(genotype)

    def _pick(self, proposals: Iterator[Genotype]) -> Genotype:
        """The first proposal that is new and not ruled out, or else the least bad one."""
        violations: dict[Code, float] = {}
        for genotype in proposals:
            code = self._history.encode(genotype)
            if self._history.knows(code):
                continue
            violations[code] = self._screened_violation(code, genotype)
            if violations[code] == 0:
                return genotype
            if len(violations) == SCREENED_AN_ASK:
                break
        else:
            if all(math.isinf(violation) for violation in violations.values()):
                raise Exhausted("all genotypes that can be built have been asked for")
        return self._history.decode(min(violations, key=lambda code: (violations[code], code)))

    def _screened_violation(self, code: Code, genotype: Genotype) -> float:
        """0 where nothing rules the genotype out, infinite where it cannot be built."""
        if self._screen is None:
            return 0.0
        if code not in self._screened:
            try:
                metrics = self._screen(genotype)
                self._screened[code] = math.fsum(
                    sure_violation(constraint, metrics) for constraint in self._constraints
                )
            except CandidateError:
                self._screened[code] = math.inf
        return self._screened[code]
