"""Coefficients of physical components from a few measured networks.

Relative least squares with coefficients that are not negative, drawn towards the zero-shot model by
a ridge whose strength is found by cross-validation; with many networks also robustly, because the
measurements of some devices have heavy tails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Array = NDArray[np.float64]

STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_DEGREES = 4.0
"""Degrees of freedom of Student's t, of residuals with heavy tails (Lange et al. 1989)."""
_SEED = 0


@dataclass(frozen=True)
class Settings:
    """How coefficients are fitted.

    Args:
        strength: of the ridge.
        robust: outliers count less.
    """

    strength: float
    robust: bool = False


@dataclass(frozen=True)
class Fit:
    """Fitted coefficients.

    Args:
        coefficients: (components,), of the zero-shot components.
        scale: by which the measured networks are slower than the zero-shot model.
        weights: (networks,), how much each measurement was believed; all 1 unless robust.
        settings: that were used.
    """

    coefficients: Array
    scale: float
    weights: Array
    settings: Settings


def fit(components: Array, measured: Array, anchors: Array, settings: Settings) -> Fit:
    """Fit coefficients with given settings.

    Args:
        components: (networks, components), zero-shot milliseconds.
        measured: (networks,), milliseconds.
        anchors: (components,), the coefficients of the zero-shot model up to a common factor;
            those that are 0 are drawn to 0.
        settings: ridge and robustness.
    """
    scale = float(np.median(measured / np.maximum(components @ anchors, 1e-12)))
    relative = components / measured[:, None]
    typical = np.where(anchors > 0, scale * anchors, 1 / np.maximum(relative.mean(axis=0), 1e-12))
    design, targets = relative * typical, (anchors > 0).astype(float)
    weights = np.ones(len(measured))
    ratios = _solved(design, targets, weights, settings.strength)
    for _ in range(5 if settings.robust else 0):
        used = int(np.count_nonzero(ratios[design.any(axis=0)]))
        weights = _believed(design @ ratios - 1, used)
        ratios = _solved(design, targets, weights, settings.strength)
    return Fit(ratios * typical, scale, weights, settings)


def choose_settings(components: Array, measured: Array, anchors: Array) -> Settings:
    """The settings with the smallest mean relative error in cross-validation, not robust ones."""
    errors = [
        _cross_validated(components, measured, anchors, Settings(strength))
        for strength in STRENGTHS
    ]
    best = 0
    for index in range(1, len(errors)):
        if errors[index] < 0.999 * errors[best]:
            best = index
    return Settings(STRENGTHS[best])


def folds(networks: int, most: int = 10) -> list[NDArray[np.bool_]]:
    """Masks of the networks that are left out together, in random order."""
    count = min(networks, most)
    labels = np.random.default_rng(_SEED).permutation(networks) % count
    return [labels == label for label in range(count)]


def _cross_validated(
    components: Array, measured: Array, anchors: Array, settings: Settings
) -> float:
    errors = []
    for out in folds(len(measured)):
        fitted = fit(components[~out], measured[~out], anchors, settings)
        errors.append(np.abs(components[out] @ fitted.coefficients / measured[out] - 1))
    return float(np.concatenate(errors).mean())


def _solved(design: Array, targets: Array, weights: Array, strength: float) -> Array:
    """Non-negative least squares (Lawson and Hanson 1974) with the ridge as further rows."""
    present = design.any(axis=0)
    ratios = targets.copy()
    if not present.any():
        return ratios
    root, width = np.sqrt(weights), int(present.sum())
    pull = math.sqrt(strength * len(design))
    rows = np.vstack([design[:, present] * root[:, None], pull * np.eye(width)])
    sides = np.concatenate([root, pull * targets[present]])
    ratios[present] = nnls(rows, sides, maxiter=100 * width)[0]
    return ratios


def _believed(residuals: Array, coefficients: int) -> Array:
    """Weights of residuals under Student's t, its scale estimated with them.

    Each coefficient that was fitted takes one of them: a scale that leaves that out is too small
    where networks are few, and takes honest measurements for outliers.
    """
    weights, free = np.ones(len(residuals)), max(1, len(residuals) - coefficients)
    for _ in range(10):
        variance = max(float((weights * residuals**2).sum()) / free, 1e-8)
        weights = (_DEGREES + 1) / (_DEGREES + residuals**2 / variance)
    return weights
