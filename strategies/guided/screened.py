"""What is known of candidates before training."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas.choices import Genotype
from nas.objectives import Constraint
from nas.trials import ESTIMATED, CandidateError, Readings, sure_violation
from strategies.base import Screen
from strategies.history import DIGITS, LARGEST, Code

Array = NDArray[np.float64]

KEPT = 100_000
"""Screened candidates that are remembered, the latest."""

NEWS = 0.014
"""What the earlier ones must leave of a feature of deviation 1: as at a correlation of .9999."""


BELOW = 0.1
"""How far below the least one the zero of an objective is taken to be, as a share of the range:
as with a metric whose largest values are eleven times the least."""

FARTHEST = 6.0
"""Deviations that a feature is away from the mean, at most."""


@dataclass(frozen=True)
class Seen:
    """One screened candidate.

    Args:
        values: one a metric, in the order of `Screened.names`, NaN where it is not known; None
            for what cannot be built.
        violation: how far it violates the constraints for sure; infinite where it cannot be built.
    """

    values: tuple[float, ...] | None
    violation: float


class Screened:
    """Screens each candidate once.

    Args:
        screen: see `strategies.create`; None: nothing is known.
        constraints: see there.
        decode: the genotype of a code.
    """

    def __init__(
        self,
        screen: Screen | None,
        constraints: Sequence[Constraint],
        decode: Callable[[Code], Genotype],
    ) -> None:
        self._screen, self._constraints, self._decode = screen, tuple(constraints), decode
        self._seen: dict[Code, Seen] = {}
        self._is_settled = False
        self.names: tuple[str, ...] = ()
        self.estimated: frozenset[str] = frozenset()

    def __call__(self, code: Code) -> Seen:
        """What is known of a candidate."""
        seen = self._seen.get(code)
        if seen is None:
            if len(self._seen) >= KEPT:
                del self._seen[next(iter(self._seen))]
            seen = self._seen[code] = self._look(code)
        return seen

    def settle(self, sample: Iterable[Code]) -> None:
        """Screen a sample; the metrics that any of it has are the names from now on."""
        for code in sample:
            self(code)
        self._is_settled = True
        for code, seen in self._seen.items():
            if seen.values is not None and len(seen.values) < len(self.names):
                missing = (math.nan,) * (len(self.names) - len(seen.values))
                self._seen[code] = replace(seen, values=seen.values + missing)

    def values(self, codes: Iterable[Code]) -> Array:
        """(codes, names), NaN in all the row of what cannot be built."""
        nothing = (math.nan,) * len(self.names)
        rows = [seen.values or nothing for seen in map(self, codes)]
        return np.array(rows, dtype=float).reshape(len(rows), len(self.names))

    def _look(self, code: Code) -> Seen:
        if self._screen is None:
            return Seen((), 0.0)
        try:
            metrics = self._screen(self._decode(code))
        except CandidateError:
            return Seen(None, math.inf)
        if not self._is_settled:
            self._name(metrics)
        values = tuple(_finite(metrics.get(name, math.nan)) for name in self.names)
        violation = math.fsum(sure_violation(c, metrics) for c in self._constraints)
        return Seen(values, violation)

    def _name(self, metrics: Mapping[str, float]) -> None:
        new = [name for name in metrics if name not in self.names]
        if new:
            known = metrics.provenance if isinstance(metrics, Readings) else {}
            self.names += tuple(new)
            self.estimated |= {n for n in new if f"{ESTIMATED}{n}" in known and n not in known}


def _finite(value: float) -> float:
    """NaN for what is no measurement."""
    return float(value) if abs(value) <= LARGEST else math.nan


@dataclass(frozen=True)
class Features:
    """Turns screened metrics into features: what each says that those before it do not.

    Each is brought to mean 0 and deviation 1 over a sample of the space, and what a linear
    combination of the earlier ones says of it is subtracted. So what many metrics have in common
    counts once, and the more of them are known, the less the rest of each weighs.

    Args:
        columns: the metrics that say something new; objectives first.
        zero: (columns,), what is subtracted before a logarithm is taken: 0 for those that are
            positive throughout; for objectives what makes their zero and unit not matter; NaN
            where none is taken.
        mean: (columns,).
        deviation: (columns,).
        mixing: (columns, columns), from the scaled metrics to features.
    """

    columns: NDArray[np.int64]
    zero: Array
    mean: Array
    deviation: Array
    mixing: Array

    @classmethod
    def of(cls, sample: Array, objectives: Collection[int] = ()) -> Features:
        """The features of a space.

        Args:
            sample: (candidates, metrics), screened; NaN where something is not known.
            objectives: the metrics that are objectives, whose zero and unit must not matter.
        """
        order = sorted(range(sample.shape[1]), key=lambda i: i not in objectives)
        known = [i for i in order if np.isfinite(sample[:, i]).all()]
        zero = np.array([_zero(column, i in objectives) for i, column in enumerate(sample.T)])
        kept, found, shares = list[int](), list[tuple[float, float]](), list[Array]()
        scaled = np.zeros((len(sample), 0))
        for i in known if len(sample) > 1 else []:
            values = _logs(sample[:, i], zero[i])
            mean, deviation = float(values.mean()), float(values.std())
            if deviation <= 1e-9 * max(1.0, float(np.abs(values).max())):
                continue
            own = (values - mean) / deviation
            share = np.asarray(np.linalg.lstsq(scaled, own, rcond=None)[0], dtype=np.float64)
            if np.std(own - scaled @ share) > NEWS:
                kept.append(i)
                found.append((mean, deviation))
                shares.append(share)
                scaled = np.column_stack([scaled, own])
        mixing = np.eye(len(kept))
        for j, share in enumerate(shares):
            mixing[:j, j] = -share
        columns = np.array(kept, dtype=int)
        means, deviations = np.array(found, dtype=float).reshape(-1, 2).T
        return cls(columns, zero[columns], means, deviations, mixing)

    def __call__(self, values: Array) -> Array:
        """(candidates, metrics) -> (candidates, features); 0 where something is not known."""
        if not len(self.columns):
            return np.zeros((len(values), 0))
        scaled = (_logs(values[:, self.columns], self.zero) - self.mean) / self.deviation
        scaled = np.clip(np.nan_to_num(scaled, nan=0.0), -FARTHEST, FARTHEST)
        return np.asarray(np.round(scaled @ self.mixing, DIGITS), dtype=np.float64)


def _zero(column: Array, is_objective: bool) -> float:
    """What is subtracted from a metric before its logarithm; NaN where none is to be taken."""
    low, high = float(column.min(initial=math.inf)), float(column.max(initial=-math.inf))
    if is_objective and low < high:
        return low - BELOW * (high - low)
    return 0.0 if low > 0 else math.nan


def _logs(values: Array, zero: Array | float) -> Array:
    """Logarithms above the zeros; values as they are where there is none."""
    logs = np.log(np.maximum(values - zero, 1e-300))
    return np.asarray(np.where(np.isnan(zero), values, logs), dtype=np.float64)
