"""A Gaussian process over choices and screened features, with a logarithm fitted to the costs.

Rasmussen and Williams 2006, chapters 2 and 5; warped: Snelson, Rasmussen and Ghahramani 2004.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

Array = NDArray[np.float64]

OFFSETS = (0.01, 0.03, 0.1)
"""Of the logarithm, as shares of the range of the costs: what is near the best counts more."""

STEPS = 40
"""Of the optimizer, at most."""

TRUST = 2.0
"""Results near by whose errors weigh as much as the deviation that the process states."""

_CHOICES, _FEATURES = 3.0, 1.1
"""The sum of the weights, of all choices and of all features, that is expected."""

_LINEAR_CHOICES, _LINEAR_FEATURES = 1.0, 0.3
"""The same of the linear kernel."""

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

    def __getitem__(self, rows: Any) -> Points:
        return Points(self.places[rows], self.groups, self.choices)

    def joined(self, others: Points) -> Points:
        """These, then the others."""
        places = np.concatenate([self.places, others.places])
        return Points(places, self.groups, self.choices)

    @property
    def n_groups(self) -> int:
        """Choices and features."""
        return max(self.choices, int(self.groups.max(initial=-1)) + 1)  # some have no coordinates


@dataclass(frozen=True)
class Settings:
    """What is fitted: logarithms of weights, signals and noise, and the offset.

    The kernel is the sum of three: one of choices and features together, a linear one of the same,
    for what each adds by itself, and one of the features alone, for what holds whatever the choices
    are (networks without operations learn nothing).

    Args:
        theta: (2 * (groups + 1) + features + 1 + 1,): a weight for each group and the signal of
            the first kernel, the same of the second, a weight for each feature and the signal of
            the third, the noise. Without features there is no third.
        offset: of the logarithm of costs; None: they are taken as they are.
    """

    theta: Array
    offset: float | None

    def kernels(self, one: Points, other: Points) -> list[Array]:
        """Each (points, points), see `_Part`."""
        found = []
        for part in _parts(one):
            scale = np.exp(self.theta[part.weights] / 2)[part.groups]
            near = one.places[:, part.coordinates] * scale
            far = other.places[:, part.coordinates] * scale
            product, signal = near @ far.T, self.theta[part.signal]
            if part.is_linear:
                found.append(np.exp(signal) * product)
            else:
                squares = (near**2).sum(axis=1)[:, None] + (far**2).sum(axis=1) - 2 * product
                found.append(np.exp(signal - np.maximum(squares, 0)))
        return found

    def kernel(self, one: Points, other: Points) -> Array:
        """(points, points), the sum."""
        total: Array = sum(self.kernels(one, other))  # type: ignore[assignment]
        return total

    def signal(self, points: Points) -> Array:
        """(points,), the variance where nothing is known."""
        total = np.zeros(len(points))
        for part in _parts(points):
            size: Array | float = 1.0
            if part.is_linear:
                weights = np.exp(self.theta[part.weights])[part.groups]
                size = points.places[:, part.coordinates] ** 2 @ weights
            total += np.exp(self.theta[part.signal]) * size
        return total

    @property
    def noise(self) -> float:
        """The variance of one result."""
        return float(np.exp(self.theta[-1]))

    def warped(self, costs: Array) -> Array:
        """What the process is fitted to."""
        return costs if self.offset is None else np.log(np.maximum(costs, 0) + self.offset)


@dataclass(frozen=True)
class _Part:
    """One kernel of the sum: where its settings are, and what it looks at.

    It is ``signal * exp(-sum of weighted squared distances)``, or a linear one
    ``signal * sum of weighted products``.

    Args:
        weights: of theta.
        signal: of theta.
        coordinates: of the places.
        groups: (coordinates,), counted from its first weight.
        is_linear: whether it is.
    """

    weights: slice
    signal: int
    coordinates: slice
    groups: NDArray[np.int64]
    is_linear: bool = False


def _parts(points: Points) -> list[_Part]:
    groups, features = points.n_groups, points.n_groups - points.choices
    both = _Part(slice(0, groups), groups, slice(None), points.groups)
    after = slice(groups + 1, 2 * groups + 1)
    parts = [both, _Part(after, after.stop, slice(None), points.groups, is_linear=True)]
    if features:
        alone = slice(after.stop + 1, after.stop + 1 + features)
        parts.append(_Part(alone, alone.stop, slice(-features, None), np.arange(features)))
    return parts


def _prior(points: Points) -> tuple[Array, Array]:
    """Means and deviations of the settings. The more groups there are, the less each counts."""
    features = points.n_groups - points.choices
    of_features = [np.log(_FEATURES / features)] * features if features else []
    linear = [np.log(_LINEAR_FEATURES / features)] * features if features else []
    means = [np.log(_CHOICES / points.choices)] * points.choices + [*of_features, 0.0]
    means += [np.log(_LINEAR_CHOICES / points.choices)] * points.choices + [*linear, 0.0]
    means += [*of_features, 0.0] if features else []
    deviations = [1.0] * len(means) + [2.0]
    return np.array([*means, _NOISE]), np.array(deviations)


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
        bounds = [_BOUNDS["weight"]] * (len(means) - 1) + [_BOUNDS["noise"]]
        for part in _parts(points):
            bounds[part.signal] = _BOUNDS["signal"]
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
    kernels = settings.kernels(points, points)
    try:
        noise = np.diag(settings.noise / counts + 1e-8)
        inverse, determinant = _inverse(sum(kernels) + noise)
    except linalg.LinAlgError:
        return 1e10, np.zeros_like(theta)
    solved = inverse @ targets
    slope = 0.5 * (inverse - np.outer(solved, solved))
    gradient = np.zeros_like(theta)
    for part, kernel in zip(_parts(points), kernels, strict=True):
        by_kernel = slope * kernel
        rows, places = by_kernel.sum(axis=1), points.places[:, part.coordinates]
        if part.is_linear:
            spread = -np.exp(theta[part.signal]) * (places * (slope @ places)).sum(axis=0)
        else:
            # The sum over pairs of by_kernel times the squared distance in each coordinate.
            spread = 2 * (rows @ places**2 - (places * (by_kernel @ places)).sum(axis=0))
        by_group = np.bincount(
            part.groups, spread, minlength=part.weights.stop - part.weights.start
        )
        gradient[part.weights] = -by_group * np.exp(theta[part.weights])
        gradient[part.signal] = rows.sum()
    gradient[-1] = settings.noise * float((np.diag(slope) / counts).sum())
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
        inverse, _ = linalg.lapack.dpotri(self._factor, lower=1)
        # Of each result, left out: its error over the deviation that was predicted, squared.
        self._errors = self._solved**2 / np.diag(inverse)

    def predict(self, points: Points) -> tuple[Array, Array]:
        """Mean and deviation, each (points,), of what the costs are warped to.

        The deviation is scaled by how large the errors of results near by are, each left out and
        predicted from the others (Rasmussen and Williams 2006, section 5.4.2): costs vary less in
        some parts of a space than in others.
        """
        kernels = self.settings.kernels(points, self._points)
        kernel: Array = sum(kernels)  # type: ignore[assignment]
        half = linalg.solve_triangular(self._factor, kernel.T, lower=True, check_finite=False)
        variance = np.maximum(self.settings.signal(points) - (half**2).sum(axis=0), 1e-9)
        mean = kernel @ self._solved
        local = [i for i, part in enumerate(_parts(points)) if not part.is_linear]
        signals = [np.exp(self.settings.theta[_parts(points)[i].signal]) for i in local]
        near: Array = sum(kernels[i] for i in local) / sum(signals)
        variance = variance * (TRUST + near @ self._errors) / (TRUST + near.sum(axis=1))
        return mean * self.deviation + self.mean, np.sqrt(variance) * self.deviation

    def unwarped(self, values: Array) -> Array:
        """The costs that are warped to these values."""
        offset = self.settings.offset
        return values if offset is None else np.exp(values) - offset


def left_out(settings: Settings, points: Points, costs: Array, counts: Array) -> Array:
    """(points,), each cost as predicted from all others (Rasmussen and Williams 2006, 5.4.2).

    Args:
        settings: see `fit`; they are those of all points.
        points: of the results.
        costs: (points,), over [0, 1] where they are warped.
        counts: (points,), how many results each cost is the mean of.
    """
    targets, mean, deviation = _standard(settings.warped(costs))
    noise = np.diag(settings.noise / counts + 1e-8)
    inverse, _ = _inverse(settings.kernel(points, points) + noise)
    predicted = (targets - inverse @ targets / np.diag(inverse)) * deviation + mean
    return predicted if settings.offset is None else np.exp(predicted) - settings.offset
