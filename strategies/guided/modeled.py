"""Search where everything is known before training: nothing has to be trained to find the front."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.keys import seed_of
from strategies.guided.codes import CodeSpace
from strategies.guided.pool import CHILDREN, Pool
from strategies.guided.screened import Screened, Seen
from strategies.history import Code

Array = NDArray[np.float64]

EXHAUSTIVE = 5000
"""Candidates of a space that is screened as a whole; a screen takes about a millisecond."""

GENERATIONS = 40
"""Of the evolution in a larger one; and at most as many to meet the constraints before."""

PARENTS = 16
"""Of those who violate least, while none meets the constraints."""


class ModeledFront:
    """The front of the screened costs: of all candidates in a small space, else by evolution.

    Args:
        space: of the candidates.
        pool: makes candidates; one of a size of `EXHAUSTIVE`.
        screened: what is known of them.
        costs: (codes, objectives) of codes, lower is better.
        seed: of all randomness.
    """

    def __init__(
        self,
        space: CodeSpace,
        pool: Pool,
        screened: Screened,
        costs: Callable[[Sequence[Code]], Array],
        seed: int,
    ) -> None:
        self._space, self._pool, self._screened = space, pool, screened
        self._costs, self._seed = costs, seed
        self._kept: dict[frozenset[Code], list[Code]] = {}

    def without(self, failed: Collection[Code]) -> list[Code]:
        """One candidate for each point of the front, by the first cost.

        Args:
            failed: candidates that turned out not to work; others take their places.
        """
        failed = frozenset(failed)
        if failed not in self._kept:
            self._kept[failed] = self._found(failed)
        return self._kept[failed]

    def _found(self, failed: frozenset[Code]) -> list[Code]:
        def rule(code: Code) -> Seen:
            seen = self._screened(code)
            if code in failed or not np.isfinite(self._costs([code])).all():
                return Seen(None, math.inf)
            return seen

        front = self._pool.evolved(rule, self._costs, GENERATIONS, self._legal(rule))
        if not front:
            return []
        costs = self._costs(front)
        # Of candidates that are alike in all costs one stands for all: the first one.
        ranked = sorted(zip(costs.tolist(), front, strict=True))
        return [
            code for i, (point, code) in enumerate(ranked) if not i or point != ranked[i - 1][0]
        ]

    def _legal(self, rule: Callable[[Code], Seen]) -> list[Code]:
        """Candidates that meet the constraints, by a descent where no random one does."""
        rng = np.random.default_rng(seed_of(str(self._seed), "legal"))
        codes = self._pool.sample()
        for _ in range(GENERATIONS):
            codes = sorted(set(codes), key=lambda code: (rule(code).violation, code))[:PARENTS]
            if not codes or not 0 < rule(codes[0]).violation < math.inf:
                break
            children = self._space.varied(np.array(codes), CHILDREN, rng)
            codes += [tuple(code) for code in children.tolist()]
        return [code for code in codes if rule(code).violation == 0]
