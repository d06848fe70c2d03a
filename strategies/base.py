"""What all strategies share: remembering, never asking twice, passing over what is no good."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from nas.choices import Choice, Genotype, Value, enumerate_genotypes, sample
from nas.keys import seed_of
from nas.objectives import Constraint, Objective, excesses
from nas.trials import CandidateError, Exhausted, sure_violation
from strategies.history import Code, History, Observation
from strategies.variation import mutate

Screen = Callable[[Genotype], Mapping[str, float]]

RANDOM_TRIES = 64
"""Random genotypes drawn before the space is enumerated for one that was not asked for yet."""

SCREENED_AN_ASK = 100
"""New genotypes screened an ask before mutants of the least bad ones take over."""

SCREENED_AT_MOST = 2000
"""New genotypes screened an ask before the constraints count as impossible to meet."""

LEAST_BAD = 16
"""Genotypes that such mutants are made of."""

MUTANTS_A_ROUND = 50
"""Mutants made of them before they are chosen anew, and the end where none of them was new."""


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
        if not choices:
            raise ValueError("a strategy needs at least one choice, but got none")
        self._history = History(choices, len(objectives))
        self._choices, self._objectives = self._history.choices, tuple(objectives)
        self._seed, self._screen, self._constraints = seed, screen, tuple(constraints)
        self._screened: dict[Code, float] = {}

    @abstractmethod
    def _propose(self, rng: random.Random) -> Iterator[Genotype]:
        """Canonical genotypes, the best first; what is known already is passed over.

        Where they end, random ones follow.
        """

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how it searches, one line each."""
        return ()

    def _learn(self, observation: Observation) -> None:  # noqa: B027 (optional)
        """A result was told; for a subclass that keeps more than the history."""

    def ask(self) -> dict[str, Value]:
        """A canonical genotype that was not told and is not pending; it is pending from now.

        Raises:
            Exhausted: when there is none left that can be built and may meet the constraints.
        """
        rng = self._generator("ask")
        drawn = (sample(self._choices, rng) for _ in range(RANDOM_TRIES))
        left = _shuffled(self._choices, rng)
        genotype = self._pick(itertools.chain(self._propose(rng), drawn, left))
        self._history.expect(genotype)
        return dict(genotype)

    def _generator(self, purpose: str) -> random.Random:
        """Seeded by what an ask may depend on."""
        state = f"{self._seed}/{self._history.told}/{self._history.pending}"
        return random.Random(seed_of(state, purpose))

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
        """The first proposal that is new and not ruled out.

        Raises:
            Exhausted: when there is none, also among mutants of what is ruled out least.
        """
        misfits: dict[Code, float] = {}
        for genotype in self._with_mutants(proposals, misfits):
            if self._fits(genotype, misfits):
                return genotype
            if len(misfits) >= SCREENED_AT_MOST:
                break
        raise Exhausted(self._why_none(misfits))

    def _with_mutants(
        self, proposals: Iterator[Genotype], misfits: Mapping[Code, float]
    ) -> Iterator[Genotype]:
        """The proposals; once many are ruled out a descent of the violation comes in between.

        It trains nothing: violations are screened.
        """
        for genotype in proposals:
            yield genotype
            if len(misfits) >= SCREENED_AN_ASK:
                break
        rng, known = self._generator("repair"), 0
        while known < len(misfits) >= SCREENED_AN_ASK:
            known = len(misfits)
            least_bad = heapq.nsmallest(LEAST_BAD, ((v, code) for code, v in misfits.items()))
            for _ in range(MUTANTS_A_ROUND):
                yield mutate(self._choices, self._history.decode(rng.choice(least_bad)[1]), rng)
        yield from proposals

    def _fits(self, genotype: Genotype, misfits: dict[Code, float]) -> bool:
        """Whether it is new and not ruled out; a new one that is becomes a misfit."""
        code = self._history.encode(genotype)
        if self._history.knows(code):
            return False
        violation = self._screened_violation(code, genotype)
        if violation:
            misfits[code] = violation
        return not violation

    def _why_none(self, misfits: Mapping[Code, float]) -> str:
        """Why there is nothing to ask for, given what was ruled out; one line."""
        asked = self._history.told or self._history.pending
        violation, code = min(((v, code) for code, v in misfits.items()), default=(math.inf, ()))
        if self._screen is None or (math.isinf(violation) and asked):
            return "all candidates that can be built have been asked for"
        try:
            metrics = self._screen(self._history.decode(code))
        except CandidateError as error:
            return f"no candidate can be built: {error}"
        broken = ((c, sure_violation(c, metrics)) for c in self._constraints)
        return (
            f"no {'further ' if asked else ''}candidate satisfies "
            f"{' and '.join(map(str, self._constraints))}; the nearest of {len(misfits)} screened "
            f"violates {excesses(broken)}"
        )

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
