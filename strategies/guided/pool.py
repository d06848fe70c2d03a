"""The candidates among which the next one is chosen."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Container, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.choices import count, enumerate_genotypes
from nas.keys import seed_of
from strategies.guided.codes import Codes, CodeSpace
from strategies.guided.improvement import nondominated
from strategies.guided.screened import Seen
from strategies.history import Code

Array = NDArray[np.float64]

KEPT_ASKS = 40
"""Random candidates and neighbours stay in the pool for so many asks, since screening takes longer
than anything else: most candidates of an ask have been screened for the one before."""

NEAR_SHARE, CHILDREN_SHARE, RANDOM_SHARE = 0.5, 0.02, 0.4
"""Of the pool: neighbours of the front, its children, random candidates."""

SAMPLE = 500
"""Random genotypes that stand for the space: screened before the first ask."""

CHILDREN = 100
"""In each generation of the evolution on screened metrics alone."""


class Pool:
    """Makes candidates; all of it follows from the seed and the arguments.

    Args:
        space: to draw from.
        encode: the code of a genotype.
        seed: of all randomness.
        size: about how many candidates an ask has.
    """

    def __init__(
        self,
        space: CodeSpace,
        encode: Callable[[dict[str, int | float | str]], Code],
        seed: int,
        size: int,
    ) -> None:
        self._space, self._encode, self._seed, self._size = space, encode, seed, size
        self._is_small = count(space.choices) <= size
        self._kept = min(KEPT_ASKS, math.ceil(RANDOM_SHARE * size))
        self._random = functools.lru_cache(maxsize=2 * KEPT_ASKS)(self._random_block)
        self._near = functools.lru_cache(maxsize=4096)(self._neighbours)

    @functools.cached_property
    def _everything(self) -> Codes:
        return np.array([self._encode(g) for g in enumerate_genotypes(self._space.choices)])

    def sample(self) -> list[Code]:
        """Distinct genotypes that stand for the space; all of a small one."""
        codes = self._everything if self._is_small else self._drawn(SAMPLE, "sample")
        return _distinct(codes)

    def candidates(
        self, asks: int, parents: Codes, proposals: Iterable[Code], rng: np.random.Generator
    ) -> list[Code]:
        """Proposals, what is near the parents, children of the parents, and random ones.

        Args:
            asks: told and pending genotypes.
            parents: (parents, choices), the front.
            proposals: of another strategy.
            rng: of what is new in this ask.
        """
        if self._is_small:
            return _distinct(self._everything)
        parts = [np.array([*proposals], dtype=int).reshape(-1, len(self._space.choices))]
        if len(parents):
            each = math.ceil(NEAR_SHARE * self._size / len(parents))
            first = each * (asks // KEPT_ASKS)
            for code in parents.tolist():
                near = self._near(tuple(code))
                parts.append(np.roll(near, -first, axis=0)[:each])
            children = round(CHILDREN_SHARE * self._size)
            parts.append(self._space.varied(parents, children, rng))
        parts += [self._random(asks - k) for k in range(self._kept)]
        return _distinct(np.concatenate(parts))

    def near(self, code: Code, number: int, known: Container[Code]) -> list[Code]:
        """Neighbours that are not known, at most so many."""
        if self._is_small:
            return []
        new = (c for c in map(tuple, self._near(code).tolist()) if c not in known)
        return list(dict.fromkeys(itertools.islice(new, number)))

    def evolved(
        self,
        screened: Callable[[Code], Seen],
        worth: Callable[[Sequence[Code]], Array],
        generations: int,
        start: Sequence[Code] = (),
    ) -> list[Code]:
        """The front by what is screened alone: of all in a small space, else by evolution.

        Args:
            screened: rules out candidates.
            worth: (codes, criteria) of codes, lower is better.
            generations: how many.
            start: candidates to begin with besides the sample.
        """
        rng = np.random.default_rng(seed_of(str(self._seed), "evolution"))
        front = _best([*self.sample(), *start], screened, worth)
        for _ in range(0 if self._is_small or not front else generations):
            children = self._space.varied(np.array(front), CHILDREN, rng)
            front = _best([*front, *_distinct(children)], screened, worth)
        return front

    def _drawn(self, number: int, purpose: str) -> Codes:
        return self._space.random(number, np.random.default_rng(seed_of(str(self._seed), purpose)))

    def _random_block(self, index: int) -> Codes:
        number = math.ceil(RANDOM_SHARE * self._size / self._kept)
        return self._drawn(number, f"random {index}")

    def _neighbours(self, code: Code) -> Codes:
        seed = seed_of(f"{self._seed}/{code}", "neighbours")
        rng = np.random.default_rng(seed)
        return rng.permutation(self._space.neighbours(code, rng))


def _best(
    codes: Sequence[Code],
    screened: Callable[[Code], Seen],
    worth: Callable[[Sequence[Code]], Array],
) -> list[Code]:
    """Those that no other one dominates, of those that nothing rules out."""
    allowed = [code for code in dict.fromkeys(codes) if screened(code).violation == 0]
    if not allowed:
        return []
    kept = nondominated(worth(allowed))
    return [code for code, is_kept in zip(allowed, kept, strict=True) if is_kept]


def _distinct(codes: Codes) -> list[Code]:
    return list(dict.fromkeys(map(tuple, codes.tolist())))
