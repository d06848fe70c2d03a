"""What the physical components leave: a Gaussian process on the relative residual.

Its kernel is linear in the shares of time that each kernel of a network takes (some kernels are
slower than others of their class) plus a squared exponential of the logarithms of the components
(whatever else depends on size), plus noise (Rasmussen and Williams 2006). It gives the correction
and its standard deviation.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from evaluators.calibration_fit import Array

_LENGTHS = (2.0, 6.0)
_LINEAR = (0.0, 0.3, 1.0, 3.0)
_SMOOTH = (0.0, 1.0)
_NOISES = (1e-3, 1e-2, 0.1, 0.5, 2.0, 8.0, 32.0)
_MOST_FOR_SETTINGS = 300
"""Networks from which the settings are found; the rest adds nothing to them but time."""
_LARGEST, _SMALLEST = 1.5, -0.6
"""Bounds of a correction: beyond them the network is unlike all that were measured."""


@dataclass(frozen=True)
class ResidualSettings:
    """Hyperparameters; by default there is only noise, and nothing is corrected.

    Args:
        length: of the squared exponential, in standard deviations a feature and 2 features.
        linear: variance of the linear part.
        smooth: variance of the squared exponential.
        noise: variance of the noise.
    """

    length: float = _LENGTHS[0]
    linear: float = 0.0
    smooth: float = 0.0
    noise: float = 1.0


@dataclass(frozen=True)
class Inputs:
    """What the process knows of networks.

    Args:
        shares: (networks, kernels), of the time of a network, of each kernel.
        features: (networks, features), logarithms.
    """

    shares: sparse.csr_matrix
    features: Array

    def __getitem__(self, rows: Any) -> Inputs:
        return Inputs(self.shares[rows], self.features[rows])

    def __len__(self) -> int:
        return len(self.features)


class Residual:
    """A fitted process.

    Args:
        inputs: of the measured networks.
        residuals: (networks,), measured / modeled - 1.
        weights: (networks,), how much each is believed; its noise is divided by it.
        settings: hyperparameters.
    """

    def __init__(
        self, inputs: Inputs, residuals: Array, weights: Array, settings: ResidualSettings
    ) -> None:
        self.inputs, self.residuals, self.weights = inputs, residuals, weights
        self.settings = settings
        self._center = inputs.features.mean(axis=0)
        spread = inputs.features.std(axis=0)
        self._used = spread > 1e-9
        self._spread = spread[self._used] + 1e-6
        self._features = self._standardized(inputs.features)
        linear = (inputs.shares @ inputs.shares.T).toarray()
        self._unit = max(float(np.trace(linear)) / len(residuals), 1e-12)
        gram = self._gram(linear / self._unit, self._features)
        gram[np.diag_indices_from(gram)] += settings.noise / weights
        self._factor = cho_factor(gram, lower=True)
        self._solved = cho_solve(self._factor, residuals)
        self._variance = max(float(residuals @ self._solved) / len(residuals), 1e-10)

    def predict(self, inputs: Inputs) -> tuple[Array, Array]:
        """Corrections and their standard deviations, (networks,) each."""
        shares = (inputs.shares @ self.inputs.shares.T).toarray() / self._unit
        cross = self._gram(shares, self._standardized(inputs.features))
        mean = np.clip(cross @ self._solved, _SMALLEST, _LARGEST)
        own = np.asarray(inputs.shares.multiply(inputs.shares).sum(axis=1)).ravel() / self._unit
        prior = self.settings.linear * own + self.settings.smooth + self.settings.noise
        known = (cross * cho_solve(self._factor, cross.T).T).sum(axis=1)
        deviation = np.sqrt(np.maximum(prior - known, 1e-12) * self._variance)
        return mean, deviation

    @property
    def kernels(self) -> int:
        """The number of columns of the shares."""
        return int(self.inputs.shares.shape[1])

    def predict_one(self, shares: Array, features: Array) -> tuple[float, float]:
        """The same as `predict` for one network, from dense (kernels,) and (features,)."""
        cross = self._gram(
            (self._dense @ shares / self._unit)[None], self._standardized(features[None])
        )[0]
        mean = float(np.clip(cross @ self._solved, _SMALLEST, _LARGEST))
        prior = self.settings.linear * float(shares @ shares) / self._unit
        prior += self.settings.smooth + self.settings.noise
        known = float(cross @ cho_solve(self._factor, cross))
        return mean, math.sqrt(max(prior - known, 1e-12) * self._variance)

    @cached_property
    def _dense(self) -> Array:
        dense: Array = self.inputs.shares.toarray()
        return dense

    def _standardized(self, features: Array) -> Array:
        standard: Array = (features - self._center)[:, self._used] / self._spread
        return standard

    def _gram(self, shares: Array, features: Array) -> Array:
        distances = _squared_distances(features, self._features)
        return _combined(shares, distances, features.shape[1], self.settings)


def choose_residual_settings(inputs: Inputs, residuals: Array, weights: Array) -> ResidualSettings:
    """The settings of the highest marginal likelihood."""
    inputs, residuals = inputs[:_MOST_FOR_SETTINGS], residuals[:_MOST_FOR_SETTINGS]
    root = np.sqrt(weights[:_MOST_FOR_SETTINGS])
    spread = inputs.features.std(axis=0)
    used = spread > 1e-9
    features = (inputs.features - inputs.features.mean(axis=0))[:, used] / (spread[used] + 1e-6)
    distances = _squared_distances(features, features)
    shares = (inputs.shares @ inputs.shares.T).toarray()
    shares /= max(float(np.trace(shares)) / len(residuals), 1e-12)
    best, settings = np.inf, ResidualSettings()
    for length, linear, smooth in itertools.product(_LENGTHS, _LINEAR, _SMOOTH):
        if not linear and not smooth:
            continue
        trial = ResidualSettings(length, linear, smooth, 0.0)
        gram = _combined(shares, distances, features.shape[1], trial)
        values, vectors = np.linalg.eigh(root[:, None] * gram * root)
        seen = (vectors.T @ (root * residuals)) ** 2
        for noise in _NOISES:
            spectrum = np.maximum(values, 0.0) + noise
            variance = max(float((seen / spectrum).mean()), 1e-10)
            cost = len(residuals) * np.log(variance) + np.log(spectrum).sum()
            if cost < best:
                best, settings = cost, ResidualSettings(length, linear, smooth, noise)
    return settings


def _combined(shares: Array, distances: Array, features: int, settings: ResidualSettings) -> Array:
    width = 2 * settings.length**2 * max(1, features) / 4
    combined: Array = settings.linear * shares + settings.smooth * np.exp(-distances / width)
    return combined


def _squared_distances(one: Array, other: Array) -> Array:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)
    distances: Array = np.maximum(squares - 2 * one @ other.T, 0.0)
    return distances
