"""From a few measured networks to a latency model of a device.

`calibrate` fits the physical components of a profile to measurements and gives a profile that
carries the result; `choose` says which networks to measure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evaluators import calibrated, lookup
from evaluators.calibration_fit import Array, Fit, Settings, choose_settings, fit, folds
from evaluators.calibration_residual import (
    Inputs,
    Residual,
    ResidualSettings,
    choose_residual_settings,
)
from evaluators.components import engine_of
from evaluators.kernel_table import (
    CALL,
    KernelTable,
    anchors_of,
    components_of,
    tabulate,
    zero_shot_ms,
)
from evaluators.workload import QUANTIZED, Workload
from hw_profiles import HardwareProfile, load

METHODS = ("physical", "lookup")
FEWEST = 5
"""Networks below which no coefficient can be trusted."""
_COVERAGE = 0.9
_WRONG_UNIT = math.sqrt(1000)
_CONSTANT = 0.01
_POOL = 1000
_ROBUST_FROM = 30
"""Networks from which on heavy tails can be told from a bad model."""
_MOST_FOR_SETTINGS = 300
"""Networks from which settings and error bars are found; more only take time."""
_LEAVE_ONE_OUT, _FOLDS = 30, 10
_BETTER = 0.99
"""A more complicated model must have less than this share of the error of a simpler one."""
_OUTLIER = 0.3
_NONE = ResidualSettings()
_STIFFNESS = 1.0


def calibrate(
    profile: HardwareProfile,
    workloads: Sequence[Workload],
    measured_ms: Sequence[float],
    method: str = "physical",
    *,
    batch: int = 1,
    dtype: str = "",
    check_unit: bool = True,
) -> HardwareProfile:
    """Fit a latency model to measurements.

    Args:
        profile: of the device; a calibration that it has is replaced. Where it names a sibling
            that is calibrated, the fit is drawn towards that one's coefficients.
        workloads: of the measured networks, lowered for the profile.
        measured_ms: of one call of each, in milliseconds.
        method: ``physical``, or ``lookup``: a table of times by kernel, as a baseline.
        batch: examples a call, of workloads traced with one.
        dtype: in which floating-point kernels were computed; ``""``: the profile's.
        check_unit: refuse measurements that are far from the data sheet.

    Returns:
        The profile with its ``calibration``, to be saved and used like any other.

    Raises:
        ValueError: one line for too few networks, measurements that are no positive numbers, all
            alike, or off by so much that the unit must be wrong.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, but got {method!r}")
    if len(measured_ms) != len(workloads):
        raise ValueError(
            f"each workload needs one measurement, but got {len(workloads)} workloads "
            f"and {len(measured_ms)} measurements"
        )
    if batch < 1:
        raise ValueError(f"batch must be at least 1, but got {batch}")
    _check_workloads(profile, workloads)
    measured = _checked(measured_ms)
    table = tabulate(workloads)
    if check_unit:
        _check_unit(profile, table, measured, batch, dtype or profile.dtype)
    return calibrate_table(profile, table, measured, method, batch=batch, dtype=dtype)


def calibrate_table(
    profile: HardwareProfile,
    table: KernelTable,
    measured: Array,
    method: str = "physical",
    *,
    batch: int = 1,
    dtype: str = "",
) -> HardwareProfile:
    """The same as `calibrate` for workloads that are tabulated already, nothing checked.

    Args:
        profile: see `calibrate`.
        table: of the measured networks.
        measured: (networks,), milliseconds.
        method: see `calibrate`.
        batch: see `calibrate`.
        dtype: see `calibrate`.
    """
    plain, dtype, table = (
        replace(profile, calibration=None),
        dtype or profile.dtype,
        table.compact(),
    )
    fitted = lookup.fitted if method == "lookup" else _physical
    about = {
        "method": method,
        "networks": len(measured),
        "dtype": dtype,
        "batch": batch,
        "lowering": profile.lowering,
        "range_ms": [float(f"{value:.6g}") for value in (measured.min(), measured.max())],
    }
    record = fitted(plain, table, measured, batch, dtype)
    return replace(profile, calibration={**about, **record})


def choose(
    workloads: Sequence[Workload], profile: HardwareProfile, count: int, seed: int = 0
) -> list[int]:
    """Which networks to measure for a calibration: half at random, half D-optimal.

    The second half is taken greedily, each the one whose shares of the components are the least
    predictable from those taken already (Fedorov 1972); so that they span what can occur.

    Args:
        workloads: a pool, lowered for the profile.
        profile: of the device.
        count: how many.
        seed: of the random half.

    Returns:
        Indexes into the pool, in the order in which they were taken.

    Raises:
        ValueError: for more than there are, or workloads that cannot be calibrated on.
    """
    _check_workloads(profile, workloads)
    if not 0 < count <= len(workloads):
        raise ValueError(f"count must be 1 to {len(workloads)}, the networks, but got {count}")
    pool = np.random.default_rng(seed).permutation(len(workloads))[: max(_POOL, count)]
    table = tabulate([workloads[index] for index in pool])
    return [int(pool[row]) for row in choose_rows(table, profile, count)]


def choose_rows(
    table: KernelTable, profile: HardwareProfile, count: int, batch: int = 1
) -> list[int]:
    """The same as `choose` for a table whose rows are in random order already."""
    components = components_of(table, engine_of(profile, batch, profile.dtype))
    shares = np.column_stack([table.counts @ components.each, components.call_ms])
    shares = shares[:, shares.any(axis=0)] / zero_shot_ms(table, components)[:, None]
    shares /= np.sqrt((shares**2).mean(axis=0))
    return _spanning(shares, count)


def _spanning(shares: Array, count: int) -> list[int]:
    """The first half of the rows that are wanted, then those that are the least predictable."""
    covariance = np.eye(shares.shape[1]) / _STIFFNESS
    taken: list[int] = []
    for number in range(count):
        row = number
        if number >= count - count // 2:
            novelty = ((shares @ covariance) * shares).sum(axis=1)
            novelty[taken] = -1
            row = int(novelty.argmax())
        taken.append(row)
        along = covariance @ shares[row]
        covariance = covariance - np.outer(along, along) / (1 + shares[row] @ along)
    return taken


def _check_workloads(profile: HardwareProfile, workloads: Sequence[Workload]) -> None:
    if profile.lowering == "dataflow":
        raise ValueError(f"{profile.name} is a circuit, whose model has nothing to calibrate")
    known = (profile.lowering, QUANTIZED.get(profile.lowering))
    for workload in workloads:
        if workload.lowering not in known:
            raise ValueError(
                f"{profile.name} needs workloads lowered for {profile.lowering!r}, "
                f"but got one for {workload.lowering!r}"
            )
        if not workload.kernels:
            raise ValueError(f"{profile.name} needs workloads with kernels, but one has none")


def _checked(measured_ms: Sequence[float]) -> Array:
    measured = np.array(measured_ms, dtype=float)
    if measured.ndim != 1:
        raise ValueError(f"measured_ms must be one number each, but got shape {measured.shape}")
    if len(measured) < FEWEST:
        raise ValueError(f"a calibration needs at least {FEWEST} networks, but got {len(measured)}")
    wrong = np.flatnonzero(~(np.isfinite(measured) & (measured > 0)))
    if len(wrong):
        raise ValueError(
            f"measured_ms must be positive numbers, but number {wrong[0]} is {measured[wrong[0]]}"
        )
    if measured.max() < (1 + _CONSTANT) * measured.min():
        raise ValueError(
            f"measured_ms must differ between networks, but all are {np.median(measured):.4g} ms: "
            "nothing can be learned from a constant"
        )
    return measured


def _check_unit(
    profile: HardwareProfile, table: KernelTable, measured: Array, batch: int, dtype: str
) -> None:
    expected = zero_shot_ms(table, components_of(table, engine_of(profile, batch, dtype)))
    ratio = float(np.median(measured / expected))
    limit = max(_WRONG_UNIT, profile.uncertainty.value)
    if not 1 / limit < ratio < limit:
        raise ValueError(
            f"measured_ms must be in milliseconds, but they are {ratio:.3g} times what the data "
            f"sheet of {profile.name} gives (median {np.median(expected):.3g} ms): "
            "is the unit wrong, or the device another one?"
        )


def _physical(
    profile: HardwareProfile, table: KernelTable, measured: Array, batch: int, dtype: str
) -> dict[str, Any]:
    """The record of the method ``physical``, see `evaluators.calibrated.Calibrated`."""
    problem = _Problem(profile, table, measured, batch, dtype)
    best = problem.some(_MOST_FOR_SETTINGS).best()
    fitted, process, floors = problem.model(best)
    return {
        "scale": problem.scale * fitted.scale,
        "coefficients": dict(zip(problem.names, map(float, fitted.coefficients), strict=True)),
        "strength": best.settings.strength,
        "robust": best.settings.robust,
        "error": {
            "mape": float(100 * best.errors.mean()),
            "w10": float(100 * (best.errors <= 0.1).mean()),
        },
        "bar": best.bar,
        "residual": calibrated.packed(process, floors, problem.columns),
    }


@dataclass(frozen=True)
class _Candidate:
    """Settings of the whole model, and how it did on networks that it did not see.

    Args:
        settings: of the coefficients.
        residual: of the Gaussian process.
        predicted: (networks,), as shares of what was measured.
        deviations: (networks,), that the process predicted, as shares of what was predicted.
    """

    settings: Settings
    residual: ResidualSettings
    predicted: Array
    deviations: Array

    @property
    def errors(self) -> Array:
        """(networks,), relative, absolute."""
        return np.abs(self.predicted - 1)

    @property
    def bar(self) -> float:
        """By how many deviations the 90 % bar reaches: what held for the networks left out.

        The smallest one that covers 90 % of them, counting one network more than there is (Vovk
        et al. 2005), so that few networks give wide bars.
        """
        missed = np.abs(1 / np.maximum(self.predicted, 1e-12) - 1)
        ratios = np.sort(missed / np.maximum(self.deviations, 1e-12))
        rank = math.ceil(_COVERAGE * (len(ratios) + 1))
        return float(ratios[min(rank, len(ratios)) - 1])

    @property
    def error(self) -> float:
        """The mean error; one network alone does not decide."""
        return float(np.minimum(self.errors, _OUTLIER).mean())


class _Problem:
    """The measured networks in numbers."""

    def __init__(
        self, profile: HardwareProfile, table: KernelTable, measured: Array, batch: int, dtype: str
    ) -> None:
        self._table, self._measured = table, measured
        self._profile, self._about = profile, (batch, dtype)
        self._engine = engine_of(profile, batch, dtype)
        parts = components_of(table, self._engine)
        self.names = (*parts.names, CALL)
        self.components = np.column_stack([table.counts @ parts.each, parts.call_ms])
        self.anchors, self.scale = _siblings(profile, self.names)
        self.columns = {kernel: column for column, kernel in enumerate(table.kernels)}

    def some(self, most: int) -> _Problem:
        """At most so many of the networks, at random, as a problem of their own."""
        if len(self._measured) <= most:
            return self
        rows = np.random.default_rng(0).permutation(len(self._measured))[:most]
        return _Problem(self._profile, self._table[rows], self._measured[rows], *self._about)

    def best(self) -> _Candidate:
        """The settings that do best on networks left out; robust ones only if clearly better."""
        settings = choose_settings(self.components, self._measured, self.anchors)
        best = self.candidate(settings)
        if len(self._measured) < _ROBUST_FROM:
            return best
        robust = self.candidate(replace(settings, robust=True))
        return robust if robust.error < _BETTER * best.error else best

    def candidate(self, settings: Settings) -> _Candidate:
        """The better one of the models with and without a correction of the residual."""
        fitted = fit(self.components, self._measured, self.anchors, settings)
        inputs, residuals, _ = self._residuals(fitted)
        chosen = choose_residual_settings(inputs, residuals, fitted.weights)
        plain = _Candidate(settings, _NONE, *self._left_out(settings, _NONE))
        corrected = _Candidate(settings, chosen, *self._left_out(settings, chosen))
        return corrected if corrected.error < _BETTER * plain.error else plain

    def model(self, candidate: _Candidate) -> tuple[Fit, Residual, Array]:
        """The model with these settings, fitted to all networks."""
        fitted = fit(self.components, self._measured, self.anchors, candidate.settings)
        inputs, residuals, floors = self._residuals(fitted)
        return fitted, Residual(inputs, residuals, fitted.weights, candidate.residual), floors

    def _residuals(self, fitted: Fit) -> tuple[Inputs, Array, Array]:
        """What the coefficients leave of all networks, and what there is to explain it."""
        weighed = self._weighed(fitted)
        floors = calibrated.floors_of(weighed)
        return weighed.inputs(floors, self.columns), self._measured / weighed.total_ms - 1, floors

    def _weighed(self, fitted: Fit) -> calibrated.Weighed:
        """All networks under fitted coefficients."""
        coefficients = dict(zip(self.names, fitted.coefficients, strict=True))
        scale = self.scale * fitted.scale
        return calibrated.weigh(self._table, self._engine, coefficients, scale)

    def _left_out(self, settings: Settings, chosen: ResidualSettings) -> tuple[Array, Array]:
        """Predicted by measured, and predicted deviations, of networks that it did not see.

        Leave-one-out up to 30 networks, ten folds beyond.
        """
        count = len(self._measured)
        predicted, deviations = np.zeros(count), np.zeros(count)
        for out in folds(count, count if count <= _LEAVE_ONE_OUT else _FOLDS):
            fitted = fit(self.components[~out], self._measured[~out], self.anchors, settings)
            inputs, residuals, _ = self._residuals(fitted)
            process = Residual(inputs[~out], residuals[~out], fitted.weights, chosen)
            correction, deviation = process.predict(inputs[out])
            predicted[out] = (1 + correction) / (1 + residuals[out])  # as shares of the measured
            deviations[out] = deviation / (1 + correction)
        return predicted, deviations


def _siblings(profile: HardwareProfile, names: Sequence[str]) -> tuple[Array, float]:
    """The coefficients towards which the fit is drawn, and their own scale."""
    anchors = anchors_of(names)
    if not profile.sibling:
        return anchors, 1.0
    theirs = load(profile.sibling).calibration or {}
    known = theirs.get("coefficients", {})
    scale = float(theirs.get("scale", 1.0))
    drawn = [known.get(n, a * scale) for n, a in zip(names, anchors, strict=True)]
    return np.array(drawn), scale
