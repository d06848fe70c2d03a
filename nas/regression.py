"""A ridge regression that knows how far off it is, for few examples and many features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PENALTIES = np.logspace(-2, 3, 16)
"""From which the penalty is chosen, for features of deviation 1, as a share of the examples."""

LEAST_FREEDOM = 4.0
"""Degrees of freedom that a penalty must leave: below, the error would be anybody's guess."""


@dataclass(frozen=True)
class Prediction:
    """A Student distribution.

    Args:
        mean: of it.
        deviation: its scale.
        freedom: its degrees of freedom.
    """

    mean: float
    deviation: float
    freedom: float

    def quantiles(self, shares: Array) -> Array:
        """What the value is below with these probabilities, (shares,) -> (shares,)."""
        from scipy.special import stdtrit

        return np.asarray(self.mean + self.deviation * stdtrit(self.freedom, shares))


class Ridge:
    """Linear, with the penalty under which each example is predicted best from the others.

    Its error is that of these predictions (leave-one-out), not that of the fit.

    Args:
        features: (examples, features); constant ones do not count.
        values: (examples,).
        weights: (features,), how much each is believed to matter, 1 where None.
    """

    def __init__(self, features: Array, values: Array, weights: Array | None = None) -> None:
        count = len(values)
        self._middle, spread = features.mean(axis=0), features.std(axis=0)
        varies = spread > 1e-9 * np.maximum(1.0, np.abs(self._middle))
        self._scale = np.where(varies, 1.0 / np.where(varies, spread, 1.0), 0.0)
        if weights is not None:
            self._scale = self._scale * weights
        left, singular, self._directions = np.linalg.svd(
            (features - self._middle) * self._scale, full_matrices=False
        )
        self._mean = float(values.mean())
        along = left.T @ (values - self._mean)
        best, self._freedom = np.inf, 0.0
        for penalty in PENALTIES:
            kept = singular**2 / (singular**2 + penalty * count)
            if count - 1.0 - float(kept.sum()) < LEAST_FREEDOM:
                continue
            leverage = np.minimum(left**2 @ kept + 1.0 / count, 1 - 1e-9)
            errors = (values - self._mean - left @ (kept * along)) / (1.0 - leverage)
            off = float(np.sqrt(np.mean(errors**2)))
            if off < best:
                best, self._freedom = off, count - 1.0 - float(kept.sum())
                self._slopes = along * singular / (singular**2 + penalty * count)
                self._spreads = 1.0 / (singular**2 + penalty * count)
        self._error, self._count = best, count

    def predict(self, features: Array) -> Prediction | None:
        """Of (features,); None while there are too few examples to say how far off it may be."""
        if not self._freedom:
            return None
        along = self._directions @ ((features - self._middle) * self._scale)
        far = 1.0 / self._count + float(along**2 @ self._spreads)
        mean = self._mean + float(along @ self._slopes)
        return Prediction(mean, self._error * float(np.sqrt(1.0 + far)), self._freedom)
