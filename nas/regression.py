"""Regressions that know how far off they are, for few examples and many features."""

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
        self._middle, self._scale = _scaling(features, weights)
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


KERNELS = [(0.0, 1.0), *((mix, length) for mix in (0.3, 1.0) for length in (1.0, 4.0))]
"""From which the kernel is chosen: the share of a Gaussian one beside the linear one, and its
squared length as a multiple of the median squared distance."""

NOISES = np.logspace(-4, 1, 11)
"""From which the variance of the noise is chosen, by that of the kernel."""


class KernelRidge:
    """Smooth: the kernel and the noise under which each example is predicted best from the others.

    A Gaussian process whose settings are chosen by leave-one-out errors, which also say how far off
    it is (Rasmussen and Williams 2006, section 5.4.2).

    Args:
        features: see `Ridge`.
        values: see `Ridge`.
        weights: see `Ridge`.
    """

    def __init__(self, features: Array, values: Array, weights: Array | None = None) -> None:
        count = len(values)
        self._middle, self._scale = _scaling(features, weights)
        self._scale = self._scale / np.sqrt(max(1, int(np.count_nonzero(self._scale))))
        self._places = (features - self._middle) * self._scale
        squares = _squared_distances(self._places, self._places)
        self._median = float(np.median(squares[squares > 0])) if (squares > 0).any() else 1.0
        self._mean, best = float(values.mean()), np.inf
        off = values - self._mean
        self._freedom = 0.0
        for shape in KERNELS:
            sizes, vectors = np.linalg.eigh(self._kernel(self._places, shape))
            along = vectors.T @ off
            for noise in NOISES:
                inverse = 1.0 / (np.maximum(sizes, 0.0) + noise)
                freedom = count - 1.0 - float((sizes * inverse).sum())
                if freedom < LEAST_FREEDOM:
                    continue
                solved, own = vectors @ (inverse * along), vectors**2 @ inverse
                error = float(np.mean((solved / own) ** 2))
                if error < best:
                    best, self._freedom, self._shape, self._noise = error, freedom, shape, noise
                    self._solved, self._scatter = solved, float(np.mean(solved**2 / own))
                    self._inverse, self._vectors = inverse, vectors

    def predict(self, features: Array) -> Prediction | None:
        """Of (features,); None while there are too few examples to say how far off it may be."""
        if not self._freedom:
            return None
        place = ((features - self._middle) * self._scale)[None]
        near = self._kernel(place, self._shape)[0]
        own = float(_kernel(place, place, self._shape, self._median)[0, 0])
        explained = float(((self._vectors.T @ near) ** 2) @ self._inverse)
        variance = self._scatter * (max(own - explained, 0.0) + self._noise)
        mean = self._mean + float(near @ self._solved)
        return Prediction(mean, float(np.sqrt(variance)), self._freedom)

    def _kernel(self, places: Array, shape: tuple[float, float]) -> Array:
        return _kernel(places, self._places, shape, self._median)


def _kernel(one: Array, other: Array, shape: tuple[float, float], median: float) -> Array:
    mix, length = shape
    smooth = np.exp(-_squared_distances(one, other) / (length * median)) if mix else 0.0
    return np.asarray(one @ other.T + mix * smooth)


def _squared_distances(one: Array, other: Array) -> Array:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.asarray(np.maximum(squares, 0.0))


def _scaling(features: Array, weights: Array | None) -> tuple[Array, Array]:
    """The middle of each feature, and what brings it to a deviation of 1; 0 for constant ones."""
    middle, spread = features.mean(axis=0), features.std(axis=0)
    varies = spread > 1e-9 * np.maximum(1.0, np.abs(middle))
    scale = np.where(varies, 1.0 / np.where(varies, spread, 1.0), 0.0)
    return middle, scale if weights is None else scale * weights
