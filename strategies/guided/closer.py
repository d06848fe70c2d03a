"""A second, dearer look at the few candidates that promise most, as long as it helps.

What is seen (zero-cost proxies of accuracy, for example) becomes further features of the surrogate.
With each new fit of the surrogate it is judged anew, on what was told, whether they help.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.choices import Genotype
from nas.ranks import chance, kendall, partial_kendall
from nas.trials import CandidateError
from strategies.guided.model import TUNED, Evidence, Model, Place, Rows
from strategies.guided.surrogate import Points, fit, left_out
from strategies.history import Code

Array = NDArray[np.float64]
Look = Callable[[Genotype], Mapping[str, float]]

LOOKED_AT = 24
"""Candidates an ask: those that promise most without it."""

FEWEST = 10
"""Complete results below which nothing is judged."""

SMALLER = 0.95
"""The surrogate's error with further features, over that without, from which they help."""

ERROR_OFFSET = 0.03
"""Of the logarithm in which errors are compared, as a share of the range of the costs."""

_DIGITS = 6


@dataclass(frozen=True)
class Verdict:
    """Whether a closer look helps.

    Args:
        columns: the names that rank a cost beyond what capacity does.
        correlations: by name, the Kendall correlation with the cost that it ranks best.
        errors: squared errors of the surrogate's left-out predictions with them over without;
            not a number where that was not compared.
    """

    columns: tuple[str, ...] = ()
    correlations: Mapping[str, float] | None = None
    errors: float = math.nan

    @property
    def helps(self) -> bool:
        """Whether to look closer."""
        return self.errors <= SMALLER

    def __str__(self) -> str:
        known = self.correlations or {}
        found = ", ".join(f"{name} {value:.2f}" for name, value in known.items())
        if math.isnan(self.errors):
            return f"proxies are not used: none ranks beyond chance and MACs ({found or 'none'})"
        change = f"error of left-out predictions {100 * (self.errors - 1):+.0f} %"
        state = "used" if self.helps else "not used"
        return f"proxies are {state}: {', '.join(self.columns)} ({change}; {found})"


class Closer:
    """Looks closer at candidates, each once, and judges whether that helps.

    Args:
        look: the further metrics of a genotype, what is not known left out; raises
            `CandidateError` where there are none. The same each time.
        decode: the genotype of a code.
        place: where codes are without it.
        capacity: (codes,) what is known before and ranks alike, such as log MACs; None: nothing.
    """

    def __init__(
        self,
        look: Look,
        decode: Callable[[Code], Genotype],
        place: Place,
        capacity: Callable[[Sequence[Code]], Array | None],
    ) -> None:
        self._look, self._decode, self._place, self._capacity = look, decode, place, capacity
        self._seen: dict[Code, Mapping[str, float]] = {}
        self._model: Model | None = None
        self._is_judged = False
        self.verdict: Verdict | None = None

    def forget(self) -> None:
        """Judge anew when asked next; until then `verdict` is the one before."""
        self._is_judged, self._model = False, None

    def model(self, tuning: Evidence) -> Model | None:
        """A model of all features; None where they do not help.

        Args:
            tuning: what to judge by, the same until `forget`.
        """
        if not self._is_judged:
            tuned = tuning[tuning.nearest_front(TUNED)]
            self.verdict, place = self._judged(tuned)
            self._model = Model(place, tuned) if self.verdict.helps else None
            self._is_judged = True
        return self._model

    def _judged(self, tuned: Evidence) -> tuple[Verdict, Place]:
        there = np.isfinite(tuned.costs).all(axis=1)
        if there.sum() < FEWEST:
            return Verdict(), self._place
        names = sorted({name for code in _codes(tuned.codes) for name in self._seen_of(code)})
        unknown = [j for j in range(tuned.costs.shape[1]) if not tuned.is_known(j)]
        done = tuned[there]
        known = self._values(done.codes, names)
        capacity = self._capacity(_codes(done.codes))
        correlations, columns = {}, []
        for name, values in zip(names, known.T, strict=True):
            found = [_correlation(values, done.costs[:, j], capacity) for j in unknown]
            plain, is_beyond = max(found, key=lambda pair: abs(pair[0]), default=(0.0, False))
            correlations[name] = plain
            if is_beyond:
                columns.append(name)
        if not columns:
            return Verdict((), correlations), self._place
        place = self._further(columns, self._values(tuned.codes, columns))
        errors = [_error(done, j, place) / _error(done, j, self._place) for j in unknown]
        return Verdict(tuple(columns), correlations, min(errors)), place

    def _further(self, columns: Sequence[str], told: Array) -> Place:
        """Places with further features, of mean 0 and deviation 1 among the told; 0 if unknown."""
        mean = np.nanmean(told, axis=0)
        deviation = np.nanstd(told, axis=0)

        def place(codes: Rows) -> Points:
            points = self._place(codes)
            scaled = (self._values(codes, columns) - mean) / deviation
            scaled = np.round(np.nan_to_num(scaled, nan=0.0), _DIGITS)
            groups = np.concatenate([points.groups, points.n_groups + np.arange(len(columns))])
            return Points(np.hstack([points.places, scaled]), groups, points.choices)

        return place

    def _values(self, codes: Rows, names: Sequence[str]) -> Array:
        """(codes, names), NaN where it is not known."""
        rows = [
            [self._seen_of(code).get(name, math.nan) for name in names] for code in _codes(codes)
        ]
        return np.array(rows, dtype=float).reshape(len(rows), len(names))

    def _seen_of(self, code: Code) -> Mapping[str, float]:
        if code not in self._seen:
            try:
                found = self._look(self._decode(code))
            except CandidateError:
                found = {}
            self._seen[code] = {n: float(v) for n, v in found.items() if math.isfinite(v)}
        return self._seen[code]


def _codes(rows: Rows) -> list[Code]:
    return [tuple(row) for row in rows.tolist()]


def _correlation(values: Array, costs: Array, capacity: Array | None) -> tuple[float, bool]:
    """Kendall's, and whether what it says beyond capacity is beyond chance."""
    there = np.isfinite(values)
    number = int(there.sum())
    if number < FEWEST:
        return 0.0, False
    plain = kendall(values[there], costs[there])
    plain = 0.0 if math.isnan(plain) else plain
    sized = there if capacity is None else there & np.isfinite(capacity)
    if capacity is None or len(np.unique(capacity[sized])) < 2:
        return plain, abs(plain) > chance(number)
    known = int(sized.sum())
    if known < FEWEST:
        return plain, False
    beyond = partial_kendall(values[sized], costs[sized], capacity[sized])
    return plain, abs(beyond) > chance(known)


def _error(done: Evidence, objective: int, place: Place) -> float:
    """The mean squared error of the surrogate's predictions of a cost, each result left out."""
    points, costs = place(done.codes), done.scaled(done.costs)[:, objective]
    predicted = left_out(fit(points, costs, done.counts), points, costs, done.counts)
    logs = [np.log(np.maximum(values, 0) + ERROR_OFFSET) for values in (costs, predicted)]
    return float(((logs[0] - logs[1]) ** 2).mean()) or 1e-12
