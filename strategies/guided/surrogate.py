"""A Gaussian process over choices and screened features, with a logarithm fitted to the costs.

Rasmussen and Williams 2006, chapters 2 and 5; warped: Snelson, Rasmussen and Ghahramani 2004.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

Array = NDArray[np.float64]

OFFSETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
"""Of the logarithm, as shares of the range of the costs; with the last one it is nearly linear."""

STEPS = 40
"""Of the optimizer, at most."""

_CHOICES, _FEATURES = 3.0, 1.1
"""The sum of the weights, of all choices and of all features, that is expected."""

_NOISE = np.log(0.02)
_BOUNDS = {"weight": (-9.0, 3.0), "signal": (-3.0, 4.0), "noise": (-9.0, 1.0)}


@dataclass(frozen=True)
class Points:
    """Where results are, or candidates.

    Args:
        places: (points, coordinates); those of the choices, then one for each feature.
        groups: (coordinates,), the number of the choice or feature that each belongs to.
        choices: how many of the groups are choices.
    """

    places: Array
    groups: NDArray[np.int64]
    choices: int

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: object) -> Points:
        return Points(self.places[rows], self.groups, self.choices)  # type: ignore[index]

    @property
    def n_groups(self) -> int:
        """Choices and features."""
        return int(self.groups.max(initial=-1)) + 1


@dataclass(frozen=True)
class Settings:
    """What is fitted: the logarithms of a weight for each group, of signal and noise; the offset.

    Args:
        theta: (groups + 2,).
        offset: of the logarithm of costs; None: they are taken as they are.
    """

    theta: Array
    offset: float | None

    def kernel(self, one: Points, other: Points) -> Array:
        """(points, points): ``signal * exp(-sum of weighted squared distances)``."""
        scale = np.exp(self.theta[:-2] / 2)[one.groups]
        return float(np.exp(self.theta[-2])) * np.exp(
            -_squared_distances(one.places * scale, other.places * scale)
        )

    @property
    def signal(self) -> float:
        """The variance where nothing is known."""
        return float(np.exp(self.theta[-2]))

    @property
    def noise(self) -> float:
        """The variance of one result."""
        return float(np.exp(self.theta[-1]))

    def warped(self, costs: Array) -> Array:
        """What the process is fitted to."""
        return costs if self.offset is None else np.log(np.maximum(costs, 0) + self.offset)


def _squared_distances(one: Array, other: Array) -> Array:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    clipped: Array = np.maximum(squares, 0)
    return clipped


def _prior(points: Points) -> tuple[Array, Array]:
    """Means and deviations of the settings. The more groups there are, the less each counts."""
    features = points.n_groups - points.choices
    means = [np.log(_CHOICES / points.choices)] * points.choices
    means += [np.log(_FEATURES / features)] * features if features else []
    deviations = [1.0] * (len(means) + 1) + [2.0]
    return np.array([*means, 0.0, _NOISE]), np.array(deviations)


def _inverse(matrix: Array) -> tuple[Array, float]:
    """The inverse of a positive definite matrix and half the logarithm of its determinant."""
    factor = linalg.cholesky(matrix, lower=True, check_finite=False)
    inverse, _ = linalg.lapack.dpotri(factor, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    return inverse, float(np.log(np.diag(factor)).sum())


def fit(points: Points, costs: Array, counts: Array, is_warped: bool = True) -> Settings:
    """The most probable settings.

    Args:
        points: of the results.
        costs: (points,), over [0, 1] where they are warped, else as the process shall see them.
        counts: (points,), how many results each cost is the mean of.
        is_warped: whether to choose a logarithm for the costs.
    """
    means, deviations = _prior(points)
    fitted = Settings(means, OFFSETS[-1] if is_warped else None)
    if len(points) < 2:
        return fitted
    for round_ in range(2 if is_warped else 1):
        if is_warped:
            offset = _best_offset(fitted, points, costs, counts)
            if offset == fitted.offset and round_:
                break
            fitted = Settings(fitted.theta, offset)
        targets = _standard(fitted.warped(costs))[0]
        bounds = [_BOUNDS["weight"]] * points.n_groups + [_BOUNDS["signal"], _BOUNDS["noise"]]
        found = optimize.minimize(
            _loss,
            fitted.theta,
            (points, targets, counts, means, deviations),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": STEPS},
        )
        fitted = Settings(found.x, fitted.offset)
    return fitted


def _standard(values: Array) -> tuple[Array, float, float]:
    mean, deviation = float(values.mean()), float(values.std()) or 1.0
    return (values - mean) / deviation, mean, deviation


def _best_offset(settings: Settings, points: Points, costs: Array, counts: Array) -> float:
    """The offset of the logarithm under which the costs are most probable."""
    kernel = settings.kernel(points, points)
    inverse, _ = _inverse(kernel + np.diag(settings.noise / counts + 1e-8))
    losses = []
    for offset in OFFSETS:
        values = Settings(settings.theta, offset).warped(costs)
        targets, _, deviation = _standard(values)
        losses.append(
            0.5 * targets @ inverse @ targets + len(costs) * np.log(deviation) + values.sum()
        )
    return OFFSETS[int(np.argmin(np.round(losses, 6)))]


def _loss(
    theta: Array, points: Points, targets: Array, counts: Array, means: Array, deviations: Array
) -> tuple[float, Array]:
    """The negative logarithm of the posterior density of the settings, and its gradient."""
    settings, off = Settings(theta, None), (theta - means) / deviations
    kernel = settings.kernel(points, points)
    try:
        inverse, determinant = _inverse(kernel + np.diag(settings.noise / counts + 1e-8))
    except linalg.LinAlgError:
        return 1e10, np.zeros_like(theta)
    solved = inverse @ targets
    slope = 0.5 * (inverse - np.outer(solved, solved))
    by_kernel = slope * kernel
    # The sum over all pairs of by_kernel times the squared distance in each coordinate.
    rows, places = by_kernel.sum(axis=1), points.places
    spread = 2 * (rows @ places**2 - (places * (by_kernel @ places)).sum(axis=0))
    by_group = np.bincount(points.groups, spread, minlength=points.n_groups)
    gradient = np.concatenate(
        [
            -by_group * np.exp(theta[:-2]),
            [rows.sum(), settings.noise * float((np.diag(slope) / counts).sum())],
        ]
    )
    loss = 0.5 * float(targets @ solved) + determinant + 0.5 * float(off @ off)
    return loss, gradient + off / deviations


class Process:
    """Settings conditioned on results.

    Args:
        settings: see `fit`.
        points: of the results; at least one.
        costs: (points,).
        counts: (points,), how many results each cost is the mean of.
    """

    def __init__(self, settings: Settings, points: Points, costs: Array, counts: Array) -> None:
        self.settings, self._points = settings, points
        targets, self.mean, self.deviation = _standard(settings.warped(costs))
        covariance = settings.kernel(points, points) + np.diag(settings.noise / counts + 1e-8)
        self._factor = linalg.cholesky(covariance, lower=True, check_finite=False)
        self._solved = linalg.cho_solve((self._factor, True), targets, check_finite=False)

    def predict(self, points: Points) -> tuple[Array, Array]:
        """Mean and deviation, each (points,), of what the costs are warped to."""
        kernel = self.settings.kernel(points, self._points)
        half = linalg.solve_triangular(self._factor, kernel.T, lower=True, check_finite=False)
        variance = np.maximum(self.settings.signal - (half**2).sum(axis=0), 1e-9)
        mean = kernel @ self._solved
        return mean * self.deviation + self.mean, np.sqrt(variance) * self.deviation

    def unwarped(self, values: Array) -> Array:
        """The costs that are warped to these values."""
        offset = self.settings.offset
        return values if offset is None else np.exp(values) - offset
