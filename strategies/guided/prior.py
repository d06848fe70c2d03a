"""What an earlier search says of candidates: a feature, whatever its scale, zero or worth here.

A process fitted to the earlier results predicts every candidate. Its prediction is no result of
the new search; it is one more thing that is known of a candidate before training. The surrogate
learns from the new results how costs depend on it: on the same task steeply, on another one as far
as they go together, not at all where it only misleads (its weight is fitted as all others are).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.choices import Genotype
from strategies.guided.model import TUNED, Evidence, Place
from strategies.guided.surrogate import Points, Process, fit
from strategies.history import DIGITS, History

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

Earlier = Sequence[tuple[Genotype, Sequence[float | None]]]
"""Genotypes, each with its costs, one an objective, None where one is not known or not of use."""

ENOUGH = 8
"""Earlier results of an objective from which something can be learned."""

MARGIN = 2.0
"""By how much the logarithm of the density must be better with the prior for it to be used."""


def checked(earlier: Earlier, history: History, objectives: int) -> tuple[Rows, Array]:
    """Earlier results as (results, choices) and (results, objectives), NaN where unknown.

    Raises:
        ValueError: for a genotype that is none of this space, for another number of costs than of
            objectives.
    """
    known = History(history.choices, objectives)
    try:
        for genotype, told in earlier:
            known.tell(genotype, told, 0.0)
    except (ValueError, TypeError) as error:
        raise ValueError(f"prior: {error}") from None
    seen = known.observations
    codes = np.array([o.code for o in seen], dtype=int).reshape(-1, len(history.choices))
    costs = np.array([o.costs for o in seen], dtype=float).reshape(-1, objectives)
    return codes, costs


class Prior:
    """Predictions from earlier results.

    Args:
        codes: (results, choices).
        costs: (results, objectives), NaN where unknown.
        screened: (results, objectives), what is known before training here, NaN where nothing is;
            such an objective needs no prediction.
        place: where codes are.
    """

    def __init__(self, codes: Rows, costs: Array, screened: Array, place: Place) -> None:
        self._place = place
        self._processes: list[Process] = []
        unknown = ~np.isfinite(screened).all(axis=0)
        self.objectives: list[int] = [
            int(j)
            for j in np.flatnonzero(unknown)
            if _is_of_use(costs[:, j], np.isfinite(costs[:, j]))
        ]
        both = np.where(np.isfinite(costs), costs, screened)
        nothing = np.zeros(len(codes))
        evidence = Evidence(codes, both, screened, nothing + 1, nothing)
        for j in self.objectives:
            rows = evidence[np.isfinite(costs[:, j])]
            rows = rows[rows.nearest_front(TUNED)]
            values = np.round(rows.scaled(rows.costs)[:, j], DIGITS)
            points = place(rows.codes)
            settings = fit(points, values, rows.counts)
            self._processes.append(Process(settings, points, values, rows.counts))

    def __call__(self, codes: Rows) -> Array:
        """(codes, `objectives`): costs as predicted, in deviations of the earlier results.

        They are not brought to deviation 1: where nothing could be learned they hardly differ.
        """
        if not self._processes:
            return np.zeros((len(codes), 0))
        points = self._place(codes)
        columns = [(p.predict(points)[0] - p.mean) / p.deviation for p in self._processes]
        return np.asarray(np.round(np.column_stack(columns), DIGITS), dtype=np.float64)


def helps(evidence: Evidence, objective: int, plain: Place, informed: Place) -> bool:
    """Whether the new results are predicted better with the prior, each left out in turn.

    By the sum of the logarithms of the densities that they were predicted with.
    """
    rows = evidence[np.isfinite(evidence.costs[:, objective])]
    values = np.round(rows.scaled(rows.costs)[:, objective], DIGITS)
    without, including = (
        _density(place(rows.codes), values, rows.counts) for place in (plain, informed)
    )
    return including > without + MARGIN


def _density(points: Points, values: Array, counts: Array) -> float:
    settings = fit(points, values, counts)
    warped = settings.warped(values)
    deviation = float(warped.std()) or 1.0
    targets = (warped - warped.mean()) / deviation
    covariance = settings.kernel(points, points) + np.diag(settings.noise / counts + 1e-8)
    inverse = np.linalg.inv(covariance)
    variance, off = 1 / np.diag(inverse), inverse @ targets
    found = -0.5 * (np.log(variance) + off**2 * variance) - np.log(deviation) - warped
    return round(float(found.sum()), 6)


def _is_of_use(costs: Array, known: NDArray[np.bool_]) -> bool:
    return bool(known.sum() >= ENOUGH and np.ptp(costs[known]) > 0)
