"""What is known of candidates before training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.choices import Genotype
from nas.objectives import Constraint
from nas.trials import ESTIMATED, CandidateError, Readings, sure_violation
from strategies.base import Screen
from strategies.history import DIGITS, Code

Array = NDArray[np.float64]

KEPT = 100_000
"""Screened candidates that are remembered, the latest."""

ALIKE = 0.9999
"""Features whose correlation with an earlier one is above this say nothing new."""


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
        if not self.names:
            self._name(metrics)
        values = tuple(float(metrics.get(name, math.nan)) for name in self.names)
        violation = math.fsum(sure_violation(c, metrics) for c in self._constraints)
        return Seen(values, violation)

    def _name(self, metrics: object) -> None:
        self.names = tuple(metrics)  # type: ignore[arg-type]
        known = metrics.provenance if isinstance(metrics, Readings) else {}
        self.estimated = frozenset(
            name for name in self.names if f"{ESTIMATED}{name}" in known and name not in known
        )


@dataclass(frozen=True)
class Features:
    """Turns screened metrics into features of mean 0 and deviation 1 over a sample of the space.

    Args:
        columns: the metrics that vary and are not alike.
        is_log: (columns,), whether the logarithm is taken: those that are positive throughout.
        mean: (columns,).
        deviation: (columns,).
    """

    columns: NDArray[np.int64]
    is_log: NDArray[np.bool_]
    mean: Array
    deviation: Array

    @classmethod
    def of(cls, sample: Array) -> Features:
        """The features of a space.

        Args:
            sample: (candidates, metrics), screened; NaN where something is not known.
        """
        kept: list[int] = []
        known = [i for i in range(sample.shape[1]) if np.isfinite(sample[:, i]).all()]
        is_log = np.array([bool((column > 0).all()) for column in sample.T], dtype=bool)
        scaled = np.empty(sample.shape)
        for i in known if len(sample) > 1 else []:
            values = _logs(sample[:, i], bool(is_log[i]))
            spread = values.std()
            if spread <= 1e-9 * max(1.0, float(np.abs(values).max())):
                continue
            scaled[:, i] = (values - values.mean()) / spread
            if all(abs(float((scaled[:, i] * scaled[:, k]).mean())) < ALIKE for k in kept):
                kept.append(i)
        columns = np.array(kept, dtype=int)
        chosen = np.array([_logs(sample[:, i], bool(is_log[i])) for i in kept])
        chosen = chosen.reshape(len(kept), len(sample))
        deviation = chosen.std(axis=1) if kept else np.ones(0)
        mean = chosen.mean(axis=1) if kept else np.zeros(0)
        return cls(columns, is_log[columns], mean, deviation)

    def __call__(self, values: Array) -> Array:
        """(candidates, metrics) -> (candidates, features); 0 where something is not known."""
        if not len(self.columns):
            return np.zeros((len(values), 0))
        chosen = values[:, self.columns]
        logs = np.log(np.where(self.is_log & (chosen > 0), chosen, math.nan))
        chosen = np.where(self.is_log, logs, chosen)
        scaled = (chosen - self.mean) / self.deviation
        scaled = np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)
        return np.asarray(np.round(scaled, DIGITS), dtype=np.float64)


def _logs(values: Array, is_log: bool) -> Array:
    return np.log(values) if is_log else values
