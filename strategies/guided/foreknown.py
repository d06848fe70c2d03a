"""What is known of candidates before training, scaled by a sample of the space."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.objectives import Constraint, Objective
from strategies.guided.pool import Pool
from strategies.guided.screened import Features, Screened
from strategies.history import DIGITS, Code

Array = NDArray[np.float64]

CAPACITIES = ("macs", "params")
"""Metrics of which the first networks should have much for what they cost."""


class Foreknown:
    """The objectives as far as they are screened.

    The sample is screened when something is first asked for.

    Args:
        screened: what is known of a candidate.
        pool: that the sample is of.
        objectives: of the search.
        constraints: of the search.
    """

    def __init__(
        self,
        screened: Screened,
        pool: Pool,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
    ) -> None:
        self._screened, self._pool = screened, pool
        self._objectives = tuple(objectives)
        self._wanted = {objective.metric for objective in objectives}
        self._bounded = {constraint.metric for constraint in constraints}

    @functools.cached_property
    def sample(self) -> list[Code]:
        """Random candidates, screened."""
        sample = self._pool.sample()
        self._screened.settle(sample)
        return sample

    @property
    def allowed(self) -> list[Code]:
        """Those of the sample that nothing rules out."""
        return [code for code in self.sample if self._screened(code).violation == 0]

    @functools.cached_property
    def features(self) -> Features:
        """Of what is screened."""
        values = self._screened.values(self.sample)
        places = [i for i, name in enumerate(self._screened.names) if name in self._wanted]
        return Features.of(values[~np.isnan(values).all(axis=1)], places)

    @functools.cached_property
    def is_all(self) -> bool:
        """Whether nothing that the search is about needs a training, as the sample shows."""
        values, names = self._screened.values(self.sample), self._screened.names
        needed = self._wanted | self._bounded
        if not needed <= set(names) - self._screened.estimated:
            return False
        values = values[~np.isnan(values).all(axis=1)]
        return bool(np.isfinite(values[:, [names.index(name) for name in needed]]).all())

    def costs(self, codes: Sequence[Code]) -> Array:
        """(codes, objectives), NaN where a cost is not known before training."""
        _ = self.sample
        values, names = self._screened.values(codes), self._screened.names
        costs = np.full((len(codes), len(self._objectives)), np.nan)
        for j, objective in enumerate(self._objectives):
            if objective.metric in names:
                sign = -1.0 if objective.direction == "maximize" else 1.0
                costs[:, j] = sign * values[:, names.index(objective.metric)]
        return costs

    def comparable_costs(self, codes: Sequence[Code]) -> Array:
        """(codes, objectives), scaled and rounded: alike in whatever unit."""
        low, span = self._range
        costs = (self.costs(codes) - low) / span
        return np.asarray(np.round(costs, DIGITS), dtype=np.float64)

    @functools.cached_property
    def _range(self) -> tuple[Array, Array]:
        """(objectives,) each: the least of the screened costs in the sample, and their span."""
        costs = self.costs(self.sample)
        low = np.where(np.isnan(costs), np.inf, costs).min(axis=0, initial=np.inf)
        span = np.where(np.isnan(costs), -np.inf, costs).max(axis=0, initial=-np.inf) - low
        return np.where(np.isfinite(low), low, 0.0), np.where(span > 0, span, 1.0)

    @functools.cached_property
    def worst(self) -> Array:
        """(objectives,), the largest costs in the sample, NaN where none is known."""
        costs = self.costs(self.allowed)
        return np.asarray(np.fmax.reduce(costs, axis=0, initial=math.nan), dtype=np.float64)

    def worth(self, codes: Sequence[Code]) -> Array:
        """(codes, criteria), lower is better: known costs, and capacity as a benefit."""
        costs = self.comparable_costs(codes)
        costs = costs[:, np.isfinite(costs).all(axis=0)]
        capacity = self._capacity(codes, self._wanted)
        return costs if capacity is None else np.hstack([costs, -capacity[:, None]])

    def capacity(self, codes: Sequence[Code]) -> Array | None:
        """(codes,), what is screened first of `CAPACITIES`, if anything."""
        return self._capacity(codes, frozenset())

    def _capacity(self, codes: Sequence[Code], without: set[str] | frozenset[str]) -> Array | None:
        names = self._screened.names
        known = [name for name in CAPACITIES if name in names and name not in without]
        return self._screened.values(codes)[:, names.index(known[0])] if known else None
