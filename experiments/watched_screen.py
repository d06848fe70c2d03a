"""The screen that strategies are given, with a sign of life for whoever waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nas.choices import Genotype
from nas.trials import Readings

EVERY = 50
"""Screened candidates between two signs."""


class WatchedScreen:
    """Screens as before, and tells recorders that have ``screening(candidates)`` how many it were.

    Args:
        screen: of a candidate.
        recorders: of the search.
    """

    def __init__(
        self, screen: Callable[[Genotype], Readings], recorders: Iterable[object] = ()
    ) -> None:
        self._screen, self._count = screen, 0
        self._hear = [r.screening for r in recorders if hasattr(r, "screening")]

    def __call__(self, genotype: Genotype) -> Readings:
        """What is known of a candidate before training."""
        self._count += 1
        if self._count % EVERY == 0:
            for hear in self._hear:
                hear(EVERY)
        return self._screen(genotype)
