"""A latency model that only looks up: a time for each kernel, fitted to measured networks.

What most search frameworks do, kept as a baseline (FBNet, Wu et al. 2019). Kernels that no measured
network had take their zero-shot time, scaled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import nnls

from evaluators.calibrated import UNREADABLE, Noted, Prediction, number, unreadable
from evaluators.calibration_fit import Array, folds
from evaluators.components import engine_of
from evaluators.kernel_table import KernelTable, components_of
from evaluators.latency import KernelLatency
from evaluators.packing import kernels_from, kernels_to
from evaluators.unseen import Known
from evaluators.workload import Kernel, counted
from hw_profiles import HardwareProfile

METHOD = "lookup"
_RIDGE = 1e-3


def fitted(
    profile: HardwareProfile, table: KernelTable, measured: Array, batch: int, dtype: str
) -> dict[str, Any]:
    """The record of the method ``lookup``: a time for each kernel, and its error.

    Args:
        profile: without a calibration.
        table: of the measured networks.
        measured: (networks,), milliseconds.
        batch: examples a call.
        dtype: in which floating-point kernels were computed.
    """
    parts = components_of(table, engine_of(profile, batch, dtype))
    counts = np.column_stack([table.counts.toarray(), np.ones(len(measured))])
    zero_shot = np.append(parts.zero_shot, np.median(parts.call_ms))
    times, scale = _times(counts, measured, zero_shot)
    errors = np.zeros(len(measured))
    for out in folds(len(measured)):
        known, _ = _times(counts[~out], measured[~out], zero_shot)
        errors[out] = np.abs(counts[out] @ known / measured[out] - 1)
    return {
        "scale": scale,
        "call_ms": float(times[-1]),
        "times_ms": [float(time) for time in times[:-1]],
        "kernels": kernels_to(table.kernels),
        "error": {"mape": float(100 * errors.mean()), "w10": float(100 * (errors <= 0.1).mean())},
        "bar": float(np.quantile(errors, 0.9)),
    }


class Lookup:
    """The model that such a record describes.

    Args:
        profile: calibrated by this method.
        batch: examples a call.
        dtype: in which floating-point kernels are computed.

    Raises:
        ValueError: the calibration cannot be read.
    """

    def __init__(self, profile: HardwareProfile, batch: int, dtype: str) -> None:
        record = profile.calibration or {}
        try:
            times = [number(time) for time in record["times_ms"]]
            self._times = dict(zip(kernels_from(record["kernels"]), times, strict=True))
            self._scale, self._call = number(record["scale"]), number(record["call_ms"])
            self._reach = min(number(record["bar"]), 0.95)
            self._networks = int(record["networks"])
            self._seen = Known.of(profile, self._times)
        except UNREADABLE as error:
            raise unreadable(profile, error) from None
        self._engine, self._dtype = engine_of(profile, batch, dtype), dtype
        self._kinds = {self._engine.demand(kernel).kind for kernel in self._times}
        self.method = f"lookup, calibrated on {self._networks} networks"

    def predict(self, table: KernelTable) -> Prediction:
        """The latencies of workloads; the bars are the errors of networks left out."""
        each = np.array([self._time(kernel) for kernel in table.kernels])
        total = np.maximum(table.counts @ each + self._call, 1e-9)
        strange = np.array([not self._is_known(kernel) for kernel in table.kernels])
        share = np.minimum(table.counts @ (each * strange) / total, 1.0)
        low, high = self._seen.bar(total, self._reach, self._seen.unknown(total, share))
        pairs = zip(total, share, strict=True)
        return Prediction(total, low, high, tuple(self._seen.said(*pair) for pair in pairs))

    def times(
        self, kernels: Sequence[Kernel]
    ) -> tuple[float, float, float, tuple[KernelLatency, ...], str]:
        """Milliseconds of one call with both ends of its bar, those of each kernel, what binds."""
        return self.noted(kernels)[:5]

    def noted(self, kernels: Sequence[Kernel]) -> Noted:
        """The same as `times`, and what is to be said of the latency, see `Prediction`."""
        spent = {"overhead": self._call, "compute": 0.0, "memory": 0.0}
        parts = []
        for kernel in kernels:
            time_ms, binds = self._time(counted(kernel, 1)) * kernel.count, self._binds(kernel)
            spent[binds] += time_ms
            shapes = kernel.in_shape, kernel.out_shape
            parts.append(KernelLatency(kernel.op, *shapes, kernel.count, time_ms, binds))
        total = max(sum(spent.values()), 1e-9)
        unseen = self._share(kernels, total)
        low, high = self._seen.bar(total, self._reach, self._seen.unknown(total, unseen))
        binds = max(spent, key=lambda name: spent[name])
        note = self._seen.said(total, unseen)
        return total, float(low), float(high), tuple(parts), binds, note

    def _share(self, kernels: Sequence[Kernel], total_ms: float) -> float:
        """Of the time, in kinds of kernels or dtypes that no measured network had."""
        each = [(counted(kernel, 1), kernel.count) for kernel in kernels]
        times = [self._time(one) * count for one, count in each if not self._is_known(one)]
        return min(1.0, sum(times) / total_ms)

    def _is_known(self, kernel: Kernel) -> bool:
        kind = self._engine.demand(kernel).kind
        return kind in self._kinds and self._seen.has(kernel, self._dtype)

    def _binds(self, kernel: Kernel) -> str:
        return self._engine.demand(kernel).binds

    def _time(self, kernel: Kernel) -> float:
        if kernel in self._times:
            return self._times[kernel]
        demand = self._engine.demand(kernel)
        return 1e3 * self._scale * (demand.busy_s + demand.overhead_s)


def _times(counts: Array, measured: Array, zero_shot: Array) -> tuple[Array, float]:
    """Times of the kernels and of the call, drawn to the scaled zero-shot ones, and the scale."""
    scale = float(np.median(measured / np.maximum(counts @ zero_shot, 1e-12)))
    typical = np.maximum(scale * zero_shot, 1e-12)
    present = counts.any(axis=0)
    design = (counts / measured[:, None] * typical)[:, present]
    width = int(present.sum())
    pull = math.sqrt(_RIDGE * len(measured))
    rows = np.vstack([design, pull * np.eye(width)])
    sides = np.concatenate([np.ones(len(measured)), np.full(width, pull)])
    ratios = np.ones(len(typical))
    ratios[present] = nnls(rows, sides, maxiter=100 * width)[0]
    return ratios * typical, scale
