"""What is believed of candidates, by what was told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from strategies.guided.improvement import Belief, nondominated
from strategies.guided.surrogate import Points, Process, Settings, fit
from strategies.history import DIGITS, Observation

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Place = Callable[[Rows], Points]

CONDITIONED = 1000
"""Results that a surrogate is conditioned on, at most."""

TUNED = 250
"""Results that its settings are fitted to, at most."""

AGREES = 1e-6
"""A told cost that differs from the screened one by no more, relative to their range, is it."""


@dataclass(frozen=True)
class Evidence:
    """What was told.

    Args:
        codes: (results, choices).
        costs: (results, objectives), NaN where unknown.
        screened: (results, objectives), the costs known before training, NaN where there is none.
        counts: (results,), repeated results of each.
        violations: (results,), infinite for failures.
    """

    codes: Rows
    costs: Array
    screened: Array
    counts: Array
    violations: Array

    @classmethod
    def of(
        cls, observations: Sequence[Observation], objectives: int, known: Callable[[Rows], Array]
    ) -> Evidence:
        """The evidence of at least one observation.

        Args:
            observations: in the order of their first results.
            objectives: how many.
            known: the costs known before training, NaN where there is none.
        """
        nothing = (None,) * objectives
        codes = np.array([o.code for o in observations])
        costs = np.array([o.costs or nothing for o in observations], dtype=float)
        counts = np.array([max(1, o.results) for o in observations], dtype=float)
        violations = np.array([o.violation for o in observations])
        return cls(codes, costs, known(codes), counts, violations)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> Evidence:
        parts = (self.codes, self.costs, self.screened, self.counts, self.violations)
        return Evidence(*(part[rows] for part in parts))

    @property
    def failed(self) -> NDArray[np.bool_]:
        """(results,)."""
        return np.isinf(self.violations)

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """(results,), with all costs known."""
        return np.asarray((self.violations == 0) & np.isfinite(self.costs).all(axis=1))

    @cached_property
    def low(self) -> Array:
        """(objectives,), the least cost known of each; 0 where none is."""
        least = np.where(np.isnan(self.costs), np.inf, self.costs).min(axis=0)
        return np.where(np.isfinite(least), least, 0.0)

    @cached_property
    def span(self) -> Array:
        """(objectives,), the range of the costs of each; 1 where there is none."""
        most = np.where(np.isnan(self.costs), -np.inf, self.costs).max(axis=0)
        span = np.where(np.isfinite(most), most, self.low) - self.low
        return np.where(span > 0, span, 1.0)

    def scaled(self, costs: Array) -> Array:
        """Costs with each objective over [0, 1], so that its unit and zero do not matter."""
        return _rounded((costs - self.low) / self.span)

    def is_known(self, objective: int) -> bool:
        """Whether the cost is what was screened, in all results so far."""
        costs, screened = self.costs[:, objective], self.screened[:, objective]
        told = np.isfinite(costs)
        if not np.isfinite(screened[told]).all():
            return False
        off = np.abs(costs[told] - screened[told])
        return bool((off <= AGREES * np.maximum(self.span[objective], np.abs(costs[told]))).all())

    def is_estimated(self, objective: int) -> bool:
        """Whether the screened cost is a guess at one that is measured later, in its unit."""
        costs, screened = self.costs[:, objective], self.screened[:, objective]
        there = np.isfinite(costs) & np.isfinite(screened)
        return bool(there.any() and (costs[there] > 0).all() and (screened[there] > 0).all())

    def nearest_front(self, number: int) -> Rows:
        """The rows that matter most: half those nearest to the front, half spread over the rest."""
        if len(self) <= number:
            return np.arange(len(self))
        scaled = self.scaled(self.costs)
        front = scaled[self.feasible]
        front = front[nondominated(front)] if len(front) else np.zeros((1, scaled.shape[1]))
        behind = np.full(len(self), np.inf)
        for point in front:
            gap = np.nan_to_num(scaled - point, nan=1.0).max(axis=1)
            behind = np.minimum(behind, gap)
        order = np.argsort(behind + 10.0 * (self.violations > 0), kind="stable")
        near, rest = order[: number // 2], np.sort(order[number // 2 :])
        spread = rest[np.linspace(0, len(rest) - 1, number - len(near)).round().astype(int)]
        return np.sort(np.concatenate([near, spread]))


@dataclass(frozen=True)
class Beliefs:
    """What is believed of candidates.

    Args:
        costs: one an objective, over [0, 1] as `Evidence.scaled`.
        chance: (candidates,), the probability that it neither fails nor violates a constraint.
    """

    costs: list[Belief]
    chance: Array


class Model:
    """Beliefs about candidates, by what was told.

    Args:
        place: where codes are.
        tuning: that settings are fitted to, so that they change only now and then.
    """

    def __init__(self, place: Place, tuning: Evidence) -> None:
        self._place = place
        self._tuning = tuning[tuning.nearest_front(TUNED)]
        self._fitted: dict[str, Settings] = {}
        self._ground: _Ground | None = None

    def beliefs(
        self, evidence: Evidence, pending: Rows, codes: Rows, screened: Array
    ) -> tuple[Beliefs, Beliefs]:
        """Of the pending and of the candidates.

        Args:
            evidence: all that was told.
            pending: (pending, choices); what is believed of them counts as told, so that
                candidates near by are less uncertain.
            codes: (candidates, choices).
            screened: (pending and candidates, objectives), their costs known before training.
        """
        ground, candidates = self._grounded(evidence, pending), self._place(codes)
        columns = [
            self._cost(j, ground, candidates, screened[:, j])
            for j in range(evidence.costs.shape[1])
        ]
        chances = self._chance(ground, ground.pending.joined(candidates))
        return tuple(  # type: ignore[return-value]
            Beliefs([column[i] for column in columns], part)
            for i, part in enumerate(np.split(chances, [len(pending)]))
        )

    def _grounded(self, evidence: Evidence, pending: Rows) -> _Ground:
        """The same as long as neither changes."""
        ground = self._ground
        if ground is None or ground.evidence is not evidence or not ground.expects(pending):
            chosen = evidence[evidence.nearest_front(CONDITIONED)]
            told, waiting = self._place(chosen.codes), self._place(pending)
            ground = self._ground = _Ground(evidence, chosen, told, pending, waiting)
        return ground

    def _cost(
        self, objective: int, ground: _Ground, candidates: Points, screened: Array
    ) -> tuple[Belief, Belief]:
        evidence, chosen = ground.evidence, ground.chosen
        low, span = evidence.low[objective], evidence.span[objective]
        of_pending, of_candidates = np.split(screened, [len(ground.pending)])
        if evidence.is_known(objective) and np.isfinite(screened).all():
            return tuple(  # type: ignore[return-value]
                Belief(_rounded((part - low) / span), np.zeros(len(part)))
                for part in (of_pending, of_candidates)
            )
        if evidence.is_estimated(objective) and (screened > 0).all():
            # The measured one is the estimate times a log-normal error.
            errors = np.log(chosen.costs[:, objective] / chosen.screened[:, objective])
            tuned = np.log(self._tuning.costs[:, objective] / self._tuning.screened[:, objective])
            name = f"error {objective}"
            settings = self._settings(name, _rounded(tuned), False)
            found = ground.predictions(name, settings, _rounded(errors), candidates)
            return tuple(  # type: ignore[return-value]
                Belief(np.log(part / span) + mean, deviation, float(low / span))
                for part, (mean, deviation) in zip((of_pending, of_candidates), found, strict=True)
            )
        costs = _rounded((chosen.costs[:, objective] - low) / span)
        tuned = self._tuning.scaled(self._tuning.costs)[:, objective]
        name = f"cost {objective}"
        settings = self._settings(name, tuned, True)
        found = ground.predictions(name, settings, costs, candidates)
        return tuple(Belief(m, d, settings.offset) for m, d in found)  # type: ignore[return-value]

    def _chance(self, ground: _Ground, points: Points) -> Array:
        """Of neither failing nor violating a constraint."""
        chance = np.ones(len(points))
        for name, levels in (("failure", _failures), ("violation", _violations)):
            values = levels(ground.chosen)
            if (values[np.isfinite(values)] > 0).any() and len(points):
                settings = self._settings(name, levels(self._tuning), False)
                mean, deviation = ground.process(name, settings, values).predict(points)
                chance = chance * ndtr(-mean / deviation)
        return chance

    def _settings(self, name: str, values: Array, is_warped: bool) -> Settings:
        """Fitted once to what was there for tuning."""
        if name not in self._fitted:
            there = np.isfinite(values)
            points, counts = self._place(self._tuning.codes[there]), self._tuning.counts[there]
            self._fitted[name] = fit(points, values[there], counts, is_warped)
        return self._fitted[name]


@dataclass
class _Ground:
    """What beliefs rest on, for as many candidates as are asked about.

    Args:
        evidence: all that was told.
        chosen: the part of it that processes are conditioned on.
        told: where that is.
        codes: (pending, choices), of what is pending.
        pending: where that is.
    """

    evidence: Evidence
    chosen: Evidence
    told: Points
    codes: Rows
    pending: Points
    _processes: dict[str, Process] = field(default_factory=dict)
    _believed: dict[str, tuple[Array, Array]] = field(default_factory=dict)

    def expects(self, pending: Rows) -> bool:
        """Whether it is this that is pending."""
        return np.array_equal(self.codes, pending)

    def process(self, name: str, settings: Settings, values: Array) -> Process:
        """Conditioned on what was told."""
        if name not in self._processes:
            there = np.isfinite(values)
            counts = self.chosen.counts[there]
            self._processes[name] = Process(settings, self.told[there], values[there], counts)
        return self._processes[name]

    def predictions(
        self, name: str, settings: Settings, values: Array, candidates: Points
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Of the pending, then of the candidates once these are taken to be as predicted."""
        if name not in self._believed:
            process = self.process(name, settings, values)
            mean, deviation = process.predict(self.pending)
            if len(self.pending):
                there = np.isfinite(values)
                points = self.told[there].joined(self.pending)
                counts = np.concatenate([self.chosen.counts[there], np.ones(len(mean))])
                values = np.concatenate([values[there], process.unwarped(mean)])
                self._processes[name] = Process(settings, points, values, counts)
            self._believed[name] = mean, deviation
        return self._believed[name], self._processes[name].predict(candidates)


def _failures(evidence: Evidence) -> Array:
    """1 for a failure, else -1."""
    return np.where(evidence.failed, 1.0, -1.0)


def _violations(evidence: Evidence) -> Array:
    """Above 0 by the violation, -1 where there is none, NaN where it is not known."""
    violations = np.where(evidence.failed, np.nan, evidence.violations)
    there = violations[violations > 0]
    middle = float(np.median(there)) if len(there) else 1.0
    return np.where(violations > 0, np.log1p(violations / middle), -violations - 1.0)


def _rounded(values: Array) -> Array:
    """Without what rounding does to costs that were scaled or shifted."""
    return np.asarray(np.round(values, DIGITS), dtype=np.float64)
