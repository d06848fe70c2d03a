"""Genotypes as rows of option indices, thousands at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.choices import Choice, Value
from strategies.history import INACTIVE

Codes = NDArray[np.int64]
Array = NDArray[np.float64]

CROSSED = 0.3
"""Of the children, those that have two parents."""

NEAR = 0.5
"""Of the steps of an ordered choice, those to the next option up or down."""


class CodeSpace:
    """Draws and varies genotypes, and places them in space.

    Args:
        choices: parents before children.
    """

    def __init__(self, choices: Sequence[Choice]) -> None:
        place = {choice.name: i for i, choice in enumerate(choices)}
        self.choices = tuple(choices)
        self._sizes = np.array([len(choice.options) for choice in choices])
        self._ordered = np.array([choice.ordered for choice in choices])
        self._conditions = [
            [
                (
                    place[name],
                    np.isin(np.arange(self._sizes[place[name]]), _indices(values, parent)),
                )
                for name, values in choice.when.items()
                for parent in [choices[place[name]]]
            ]
            for choice in choices
        ]
        self._tables = [_places(choice) for choice in choices]
        self.groups = np.repeat(np.arange(len(choices)), [t.shape[1] for t in self._tables])

    def canonical(self, codes: Codes) -> Codes:
        """Rows whose choices are all made, with those that are not active taken back; in place."""
        for place, conditions in enumerate(self._conditions):
            for parent, allowed in conditions:
                there = codes[:, parent]
                codes[~(allowed[there] & (there != INACTIVE)), place] = INACTIVE
        return codes

    def random(self, number: int, rng: np.random.Generator) -> Codes:
        """(number, choices): every active choice uniformly."""
        return self.canonical(self._drawn(number, rng))

    def neighbours(self, code: Sequence[int], rng: np.random.Generator) -> Codes:
        """All genotypes with one active choice changed; choices that become active are drawn."""
        steps = [
            (place, option)
            for place, index in enumerate(code)
            for option in range(self._sizes[place])
            if index not in (INACTIVE, option)
        ]
        codes = self._filled(np.repeat(np.array([code]), len(steps), axis=0), rng)
        for row, (place, option) in zip(codes, steps, strict=True):
            row[place] = option
        return self.canonical(codes)

    def varied(self, parents: Codes, number: int, rng: np.random.Generator) -> Codes:
        """Children of the parents: crossed in part, then one or two choices changed."""
        codes = parents[rng.integers(len(parents), size=number)]
        others = parents[rng.integers(len(parents), size=number)]
        taken = (rng.random(codes.shape) < 0.5) & (rng.random((number, 1)) < CROSSED)
        codes = np.where(taken, others, codes)
        changes = rng.random((number, 2))
        active = codes != INACTIVE
        codes = self._filled(codes, rng)
        rows = np.arange(number)
        for i in range(2):
            # The place of a random active choice: the active ones come first in the sorted order.
            order = np.argsort(np.where(active, rng.random(codes.shape), 2.0), axis=1)
            place = order[:, 0]
            step = self._stepped(codes[rows, place], place, rng)
            changed = np.ones(number, bool) if i == 0 else changes[:, 1] < 0.5
            codes[rows[changed], place[changed]] = step[changed]
        return self.canonical(codes)

    def placed(self, codes: Codes) -> Array:
        """(rows, coordinates), of which `groups` says the choice.

        The squared distance of two options is 1; where they are ordered they lie evenly on a line
        of length 1. A choice that is not made lies amid its options.
        """
        return np.concatenate([table[codes[:, i]] for i, table in enumerate(self._tables)], axis=1)

    def _drawn(self, number: int, rng: np.random.Generator) -> Codes:
        return rng.integers(0, self._sizes, (number, len(self._sizes)))

    def _filled(self, codes: Codes, rng: np.random.Generator) -> Codes:
        return np.where(codes == INACTIVE, self._drawn(len(codes), rng), codes)

    def _stepped(self, index: Codes, place: Codes, rng: np.random.Generator) -> Codes:
        """Another option of each choice, of an ordered one often the next."""
        size = self._sizes[place]
        offset = 1 + (rng.random(len(index)) * np.maximum(size - 1, 0)).astype(int)
        far = (index + offset) % size
        near = index + np.where(rng.random(len(index)) < 0.5, 1, -1)
        near = np.where(near < 0, 1, np.where(near >= size, size - 2, near)) % size
        is_near = self._ordered[place] & (rng.random(len(index)) < NEAR)
        return np.asarray(np.where(is_near, near, far))


def _indices(values: Collection[Value], parent: Choice) -> list[int]:
    return [parent.options.index(value) for value in values]


def _places(choice: Choice) -> Array:
    """(options + 1, coordinates); the last row is that of the choice not made."""
    size = len(choice.options)
    if size == 1:
        return np.zeros((2, 0))
    line = np.arange(size)[:, None] / (size - 1)
    table = line if choice.ordered else np.eye(size) / np.sqrt(2)
    return np.vstack([table - table.mean(axis=0), np.zeros(table.shape[1])])
