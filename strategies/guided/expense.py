"""What a training is expected to take, by what is known before it.

Expected improvement per second (Snoek, Larochelle and Adams 2012, section 3.2).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from strategies.guided.screened import Screened
from strategies.history import DIGITS, Code

Array = NDArray[np.float64]

TAKES_TIME = ("macs", "params", "memory_kb", "longest_path")
"""Screened metrics that time grows with: arithmetic, weights, activations, launches."""

FEWEST = 5
"""Trainings below which nothing is learned."""

MOST = 500
"""Trainings that it is learned from, the latest."""

ROUNDS = 5
"""Of reweighting."""

CHEAPEST = 0.1
"""What a training is expected to take at least, as a share of what they took in the mean."""

FIRST = 4.0
"""What the first trainings may take, by a rough guess, over that of a median network."""


class Expense:
    """Learns what trainings take.

    Args:
        screened: what is known of a candidate.
        sample: of the space.
    """

    def __init__(self, screened: Screened, sample: Callable[[], Sequence[Code]]) -> None:
        self._screened, self._sample = screened, sample
        self._seconds: dict[Code, float] = {}
        self._weights: Array | None = None

    def took(self, code: Code, seconds: float) -> None:
        """Note what a training took; the first time counts, and nothing that took no time."""
        if math.isfinite(seconds) and seconds > 0:
            self._seconds.setdefault(code, seconds)
            self._weights = None

    def __call__(self, codes: Sequence[Code]) -> Array:
        """(codes,): what each is expected to take over what trainings took in the mean.

        1 for all while too little is known.
        """
        told = list(self._seconds)[-MOST:]
        if len(told) < FEWEST or not self._columns():
            return np.ones(len(codes))
        if self._weights is None:
            seconds = np.array([self._seconds[code] for code in told])
            self._weights = _fitted(self._features(told), seconds / seconds.mean())
        expected = np.maximum(self._features(codes) @ self._weights, CHEAPEST)
        return np.asarray(np.round(expected, DIGITS), dtype=np.float64)

    def is_modest(self, codes: Sequence[Code]) -> NDArray[np.bool_]:
        """(codes,): which are cheap enough to begin with, before anything is learned."""
        if not self._columns():
            return np.ones(len(codes), bool)
        guess = self._features(codes)[:, 1:].mean(axis=1)
        return np.asarray(guess <= FIRST, dtype=bool)

    def _columns(self) -> list[int]:
        names = self._screened.names
        return [names.index(name) for name in TAKES_TIME if name in names]

    def _features(self, codes: Sequence[Code]) -> Array:
        """(codes, 1 + metrics): 1, and each metric over its median in the sample."""
        values = self._screened.values(codes)[:, self._columns()] / self._medians
        return np.hstack([np.ones((len(codes), 1)), np.nan_to_num(values, nan=1.0)])

    @functools.cached_property
    def _medians(self) -> Array:
        """(metrics,), in the sample; 1 where that is 0 or not known."""
        values = self._screened.values(self._sample())[:, self._columns()]
        known = [column[np.isfinite(column)] for column in values.T]
        medians = np.array([np.median(column) if len(column) else 0.0 for column in known])
        return np.where(medians > 0, medians, 1.0)


def _fitted(features: Array, shares: Array) -> Array:
    """(features,), not negative: least squares of the errors relative to what is expected."""
    expected = np.ones(len(shares))
    weights = np.zeros(features.shape[1])
    for _ in range(ROUNDS):
        weights, _ = optimize.nnls(features / expected[:, None], shares / expected)
        expected = np.maximum(features @ weights, CHEAPEST)
    return weights
