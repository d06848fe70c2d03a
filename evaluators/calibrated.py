"""The latency model of a calibrated profile: weighed components, then what they leave.

It is kept in the profile as plain values: coefficients for people to read, and the measured
networks, packed, from which the Gaussian process is set up again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from evaluators.calibration_fit import Array
from evaluators.calibration_residual import Inputs, Residual, ResidualSettings
from evaluators.components import ConvolutionEngine, Processor, engine_of
from evaluators.kernel_table import (
    CALL,
    Components,
    KernelTable,
    anchors_of,
    components_of,
    zero_shot_ms,
)
from evaluators.latency import KernelLatency
from evaluators.packing import arrays_from, arrays_to, kernels_from, kernels_to
from evaluators.unseen import Known
from evaluators.workload import Kernel, counted
from hw_profiles import HardwareProfile

METHOD = "physical"
_SMALLEST_SHARE = 1e-3
"""Of the dearest kernel; cheaper ones count as so dear, since models of them are the worst."""
_SMALLEST_COMPONENT = 1e-4
"""Of the largest value of a component; below it the logarithm says nothing."""
_LEAST_OF_ZERO_SHOT = 1e-3
"""A latency is positive, also where every coefficient of a network is 0."""
_WIDEST_BAR = 0.95


@dataclass(frozen=True)
class Weighed:
    """Workloads with their components weighed by coefficients.

    Args:
        table: of the workloads.
        components: of the kernels.
        each_ms: (kernels,), the weighed time of one execution of each kernel.
        total_ms: (workloads,).
        strange_ms: (kernels,), the part of ``each_ms`` that no measured network had.
    """

    table: KernelTable
    components: Components
    each_ms: Array
    total_ms: Array
    strange_ms: Array

    def inputs(self, floors: Array, known: Mapping[Kernel, int]) -> Inputs:
        """What the Gaussian process knows of the workloads.

        Args:
            floors: of the components, and last the smallest time of a kernel.
            known: the columns of the kernels of the measured networks; all others share one.
        """
        each = np.maximum(self.each_ms, floors[-1])
        shares = sparse.diags(1 / self.total_ms) @ self.table.counts @ sparse.diags(each)
        amounts = self.table.counts @ self.components.each[:, : len(floors) - 1]
        zero_shot = zero_shot_ms(self.table, self.components)
        features = np.log(np.column_stack([np.maximum(amounts, floors[:-1]), zero_shot]))
        return Inputs(_arranged(shares.tocsr(), self.table.kernels, known), features)


def weigh(
    table: KernelTable,
    engine: Processor | ConvolutionEngine,
    coefficients: Mapping[str, float],
    scale: float,
) -> Weighed:
    """Weigh the components of workloads.

    Args:
        table: of the workloads.
        engine: that runs their kernels.
        coefficients: by component.
        scale: the coefficient of those that no measured network had.
    """
    names = [name for name in coefficients if name != CALL]
    components = components_of(table, engine, names)
    weights = scale * anchors_of(components.names)
    weights[: len(names)] = [coefficients[name] for name in names]
    each = components.each @ weights
    strange = components.each[:, len(names) :] @ weights[len(names) :]
    total = table.counts @ each + components.call_ms * coefficients[CALL]
    least = _LEAST_OF_ZERO_SHOT * scale * zero_shot_ms(table, components)
    return Weighed(table, components, each, np.maximum(total, np.maximum(least, 1e-9)), strange)


def floors_of(weighed: Weighed) -> Array:
    """The floors for `Weighed.inputs`, from the measured networks."""
    amounts = weighed.table.counts @ weighed.components.each
    floors = np.maximum(amounts.max(axis=0) * _SMALLEST_COMPONENT, 1e-30)
    return np.append(floors, weighed.each_ms.max() * _SMALLEST_SHARE)


@dataclass(frozen=True)
class Prediction:
    """Latencies of workloads.

    Args:
        latency_ms: (workloads,).
        low_ms: (workloads,), lower end of the error bar.
        high_ms: (workloads,), its upper end.
        notes: what is to be said of each, ``""`` where it is like those measured.
    """

    latency_ms: Array
    low_ms: Array
    high_ms: Array
    notes: tuple[str, ...] = ()


class _Part(NamedTuple):
    """A kernel under the model, of one execution."""

    each_ms: float
    zero_shot_ms: float
    fetched_s: tuple[float, float]
    amounts: Array
    column: int
    binds: str
    unseen_ms: float


Noted = tuple[float, float, float, tuple[KernelLatency, ...], str, str]
"""Milliseconds, both ends of the bar, the kernels, what binds, and what is to be said of it."""


class Calibrated:
    """The model that a profile's calibration describes.

    Args:
        profile: calibrated by this method.
        batch: examples a call, of a workload traced with one.
        dtype: in which floating-point kernels are computed.

    Raises:
        ValueError: the calibration cannot be read.
    """

    def __init__(self, profile: HardwareProfile, batch: int, dtype: str) -> None:
        record = profile.calibration or {}
        self._engine = engine_of(profile, batch, dtype)
        try:
            self._coefficients = {n: number(v) for n, v in record["coefficients"].items()}
            self._scale, self._bar = number(record["scale"]), number(record["bar"])
            self._networks = int(record["networks"])
            self._residual = _unpacked(record["residual"])
            self._seen = Known.of(profile, self._residual[2])
            if CALL not in self._coefficients or len(self._residual[1]) != len(self._coefficients):
                raise ValueError("coefficients are missing")
        except UNREADABLE as error:
            raise unreadable(profile, error) from None
        self._known: dict[Kernel, _Part] = {}
        self._dtype = dtype
        self.method = f"physical, calibrated on {self._networks} networks"

    def predict(self, table: KernelTable) -> Prediction:
        """The latencies of workloads with their 90 % bars."""
        weighed = weigh(table, self._engine, self._coefficients, self._scale)
        process, floors, known = self._residual
        correction, deviation = process.predict(weighed.inputs(floors, known))
        latency = weighed.total_ms * (1 + correction)
        reach = np.minimum(self._bar * deviation / (1 + correction), _WIDEST_BAR)
        known_dtype = [self._seen.has(kernel, self._dtype) for kernel in table.kernels]
        unseen = np.where(known_dtype, weighed.strange_ms, weighed.each_ms)
        share = np.minimum(table.counts @ unseen / weighed.total_ms, 1.0)
        low, high = self._seen.bar(latency, reach, self._seen.unknown(latency, share))
        pairs = zip(latency, share, strict=True)
        return Prediction(latency, low, high, tuple(self._seen.said(*pair) for pair in pairs))

    def times(
        self, kernels: Sequence[Kernel]
    ) -> tuple[float, float, float, tuple[KernelLatency, ...], str]:
        """Milliseconds of one call with both ends of its bar, those of each kernel, what binds.

        The same as `predict`, for one workload, fast: nothing is looked up twice.
        """
        return self.noted(kernels)[:5]

    def noted(self, kernels: Sequence[Kernel]) -> Noted:
        """The same as `times`, and what is to be said of the latency, see `Prediction`."""
        parts = [self._part(kernel) for kernel in kernels]
        process, floors, _ = self._residual
        counts = np.array([kernel.count for kernel in kernels], dtype=float)
        each = np.array([part.each_ms for part in parts])
        fetched_s = counts @ np.array([part.fetched_s for part in parts])
        call = 1e3 * (self._engine.call_s(kernels[0]) + self._engine.evicted_s(*fetched_s))
        zero_shot = counts @ np.array([part.zero_shot_ms for part in parts]) + call
        total = counts @ each + call * self._coefficients[CALL]
        total = max(total, _LEAST_OF_ZERO_SHOT * self._scale * zero_shot, 1e-9)
        shares = counts * np.maximum(each, floors[-1]) / total
        columns = np.array([part.column for part in parts])
        dense = np.zeros(process.kernels)
        np.add.at(dense, columns[columns >= 0], shares[columns >= 0])
        dense[-1] = math.sqrt(float((shares[columns < 0] ** 2).sum()))
        amounts = np.maximum(counts @ np.array([part.amounts for part in parts]), floors[:-1])
        correction, deviation = process.predict_one(dense, np.log(np.append(amounts, zero_shot)))
        latency = total * (1 + correction)
        reach = min(self._bar * deviation / (1 + correction), _WIDEST_BAR)
        unseen = min(1.0, float(counts @ np.array([part.unseen_ms for part in parts])) / total)
        low, high = self._seen.bar(latency, reach, self._seen.unknown(latency, unseen))
        note = self._seen.said(latency, unseen)
        spent = {"overhead": 0.0, "compute": 0.0, "memory": 0.0}
        shown = []
        for kernel, part in zip(kernels, parts, strict=True):
            time_ms = part.each_ms * kernel.count * (1 + correction)
            spent[part.binds] += time_ms
            shown.append(
                KernelLatency(
                    op=kernel.op,
                    in_shape=kernel.in_shape,
                    out_shape=kernel.out_shape,
                    count=kernel.count,
                    latency_ms=time_ms,
                    binds=part.binds,
                )
            )
        spent["overhead"] += max(0.0, latency - sum(spent.values()))
        binds = max(spent, key=lambda name: spent[name])
        return latency, float(low), float(high), tuple(shown), binds, note

    def _part(self, kernel: Kernel) -> _Part:
        return self._known.get(kernel) or self._learn(kernel)

    def _learn(self, kernel: Kernel) -> _Part:
        """What the model needs to know of a kernel, remembered."""
        demand = self._engine.demand(kernel)
        found = demand.components()
        columns = [name for name in self._coefficients if name != CALL]
        strange = [name for name in found if name not in self._coefficients]
        each = sum(found[name] * self._coefficients[name] for name in columns if name in found)
        unseen = sum(
            found[name] * self._scale * anchor
            for name, anchor in zip(strange, anchors_of(strange), strict=True)
        )
        each += unseen
        part = _Part(
            each_ms=1e3 * float(each),
            zero_shot_ms=1e3 * (demand.busy_s + demand.overhead_s),
            fetched_s=(demand.weights_s, demand.refetched_s),
            amounts=1e3 * np.array([found.get(name, 0.0) for name in columns]),
            column=self._residual[2].get(counted(kernel, 1), -1),
            binds=demand.binds,
            unseen_ms=1e3 * float(unseen if self._seen.has(kernel, self._dtype) else each),
        )
        self._known[kernel] = part
        return part


UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, np.linalg.LinAlgError)
"""What comes of a record that is not what a calibration has written."""


def unreadable(profile: HardwareProfile, error: Exception) -> ValueError:
    """One line on a calibration that somebody has changed, or another version has written."""
    return ValueError(
        f"the calibration of {profile.name} cannot be read "
        f"({type(error).__name__}: {error}): calibrate it again"
    )


def number(value: Any) -> float:
    """A finite number that is not negative.

    Raises:
        ValueError: it is something else.
    """
    found = float(value)
    if not (math.isfinite(found) and found >= 0):
        raise ValueError(f"numbers must be finite and not negative, but got {value!r}")
    return found


def packed(process: Residual, floors: Array, known: Mapping[Kernel, int]) -> dict[str, Any]:
    """A Gaussian process as plain values."""
    shares = process.inputs.shares
    arrays = {
        "shares": shares.data.astype(np.float32),
        "columns": shares.indices,
        "starts": shares.indptr,
        "features": process.inputs.features,
        "residuals": process.residuals,
        "weights": process.weights,
        "floors": floors,
    }
    return {
        "settings": asdict(process.settings),
        "kernels": kernels_to(known),
        "networks": arrays_to(arrays),
    }


def _unpacked(record: Mapping[str, Any]) -> tuple[Residual, Array, dict[Kernel, int]]:
    known = {kernel: column for column, kernel in enumerate(kernels_from(record["kernels"]))}
    arrays = arrays_from(record["networks"])
    starts = arrays["starts"]
    shares = sparse.csr_matrix(
        (arrays["shares"].astype(float), arrays["columns"], starts),
        shape=(len(starts) - 1, len(known) + 1),
    )
    process = Residual(
        Inputs(shares, arrays["features"]),
        arrays["residuals"],
        arrays["weights"],
        ResidualSettings(**record["settings"]),
    )
    return process, arrays["floors"], known


def _arranged(
    shares: sparse.csr_matrix, kernels: Sequence[Kernel], known: Mapping[Kernel, int]
) -> sparse.csr_matrix:
    """Shares in the columns of the measured networks; the root of the others' squares last."""
    columns = np.array([known.get(kernel, -1) for kernel in kernels])
    there = np.flatnonzero(columns >= 0)
    move = sparse.csr_matrix(
        (np.ones(len(there)), (there, columns[there])), shape=(len(kernels), len(known))
    )
    strange = shares[:, np.flatnonzero(columns < 0)]
    rest = np.sqrt(strange.multiply(strange).sum(axis=1))
    return sparse.hstack([shares @ move, sparse.csr_matrix(rest)]).tocsr()
