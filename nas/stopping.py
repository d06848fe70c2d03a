"""Whether a training is worth going on: early stopping for several objectives.

Two rules. ``prediction``: regressions on finished trainings say from the curve so far, and from
what is known before training, what every objective will probably be; it is stopped when it is
unlikely that no member of the front is as good in all of them. ``rungs``: asynchronous successive
halving (Li et al. 2020) with the hypervolume contribution in place of a score; what no other one
dominates at a rung, or what will probably get onto the front, goes on all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import moocore
import numpy as np
from numpy.typing import NDArray

from nas.choices import Genotype
from nas.front import front_of
from nas.objectives import Constraint, Objective, is_share
from nas.pareto import Costs, hypervolume, reference_point
from nas.regression import KernelRidge, Prediction, Ridge
from nas.trials import ESTIMATED, Curve, Provenance, Readings, Trial

Array = NDArray[np.float64]
RuleName = Literal["none", "prediction", "rungs"]


LEAST_CURVES = 8
"""Finished trainings before any is stopped."""

MOST_CURVES = 500
"""Finished trainings that the regression sees, the latest."""

CATEGORY_WEIGHT = 0.3
"""How much a category is believed to matter beside the curve and what is known before training."""

_CASES = 1024
"""In which it is tried whether a candidate gets onto the front."""

_ABOVE_ONE = 0.002
"""Keeps the logarithm of what is missing to an accuracy of 1 finite."""


@dataclass(frozen=True)
class StoppingRule:
    """When to stop a training.

    Args:
        rule: ``none``, ``prediction`` or ``rungs``.
        confidence: of the prediction: the probability with which the candidate does not get onto
            the front, as far as the regressions know.
        grace: epochs before any is stopped, as a share of all.
        reduction: of the rungs: one in so many goes on, and rungs are so many times apart, the
            first one as far from the grace.
    """

    rule: RuleName = "none"
    confidence: float = 0.95
    grace: float = 0.08
    reduction: int = 3

    def first_epoch(self, epochs: int) -> int:
        """The number of epochs after which a training may be stopped."""
        return max(1, round(self.grace * epochs))

    def rungs(self, epochs: int) -> list[int]:
        """Epochs after which the rungs are."""
        found, rung = list[int](), self.reduction * self.first_epoch(epochs)
        while rung < epochs:
            found.append(rung)
            rung *= self.reduction
        return found


@dataclass(frozen=True)
class Guess:
    """What a metric will be.

    Args:
        at: what it is below with these probabilities, (shares,) -> (shares,).
    """

    at: Callable[[Array], Array]

    @property
    def bar(self) -> list[float]:
        """The middle, and the ends of a 90 % interval."""
        return [float(value) for value in self.at(np.array([0.5, 0.05, 0.95]))]

    @property
    def middle(self) -> float:
        """As likely too high as too low."""
        return self.bar[0]


class Stopper:
    """Decides about one training, by what was known when its candidate was asked for.

    Args:
        rule: when to stop.
        objectives: of the search.
        constraints: of the search.
        past: the trials told before the candidate was asked for, in that order.
        genotype: of the candidate.
        known: what is known of it before training, estimates under ``estimated_<metric>``.
        epochs: of a whole training.
    """

    def __init__(
        self,
        rule: StoppingRule,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        past: Sequence[Trial],
        genotype: Genotype,
        known: Mapping[str, float],
        epochs: int,
    ) -> None:
        self._rule, self._objectives = rule, tuple(objectives)
        self._constraints, self._epochs = tuple(constraints), epochs
        self._sized: dict[str, Guess | None] = {}
        self._genotype, self._known = genotype, known
        # A trial may be told twice, and variants share a training; each trial counts once.
        self._past = list({trial.number: trial for trial in past}.values())

    def why_stop(self, curve: Curve) -> str:
        """Why to stop after the epochs of this curve, one line; empty: go on.

        Args:
            curve: ``loss`` and ``accuracy`` of the finished epochs.
        """
        done = len(curve["accuracy"])
        if not self._rule.first_epoch(self._epochs) <= done < self._epochs:
            return ""
        if len(self._finished) < LEAST_CURVES or not self._front:
            return ""
        decide = {"prediction": self._by_prediction, "rungs": self._by_rung}.get(self._rule.rule)
        why = decide(curve) if decide else ""
        return f"stopped after {done} of {self._epochs} epochs: {why}" if why else ""

    def estimates(self, curve: Curve) -> Readings:
        """What the objectives that are not known will probably be, by this curve."""
        guesses = {
            f"{ESTIMATED}{objective.metric}": guess
            for objective in self._objectives
            if not {objective.metric, f"{ESTIMATED}{objective.metric}"} & self._known.keys()
            and (guess := self._guess(objective.metric, curve))
        }
        method = f"learning curve of {len(curve['accuracy'])} epochs, {len(self._finished)} others"
        readings = Readings()
        for name, guess in guesses.items():
            readings[name], low, high = guess.bar
            readings.provenance[name] = Provenance("modeled", method=method, low=low, high=high)
        return readings

    # What the past says

    @cached_property
    def _finished(self) -> list[Trial]:
        """With a whole curve."""
        return [
            trial
            for trial in self._past
            if trial.status == "done" and len(trial.curve.get("accuracy", ())) == self._epochs
        ][-MOST_CURVES:]

    @cached_property
    def _front(self) -> dict[int, Costs]:
        return front_of(self._past, self._objectives, self._constraints).front

    @cached_property
    def _categories(self) -> list[tuple[str, str]]:
        genotypes = [self._genotype, *(trial.genotype for trial in self._finished)]
        found = {(n, v) for g in genotypes for n, v in g.items() if isinstance(v, str)}
        return sorted(found)

    def _features(self, genotype: Genotype, metrics: Mapping[str, float]) -> list[float]:
        """Logarithms of what was screened, then categories."""
        screened = [float(np.log(metrics[name])) for name in self._screened]
        return [*screened, *(float(genotype.get(n) == value) for n, value in self._categories)]

    @cached_property
    def _screened(self) -> list[str]:
        """What is known of the candidate before training, and was of all finished trainings."""
        tables: list[Mapping[str, float]] = [self._known, *(t.metrics for t in self._finished)]
        return sorted(name for name in self._known if all(t.get(name, 0.0) > 0 for t in tables))

    def _guess(self, metric: str, curve: Curve) -> Guess | None:
        """What a metric will be; None where the past does not tell."""
        if metric in self._known:
            value = self._known[metric]
            return Guess(lambda shares: np.full(len(shares), value))
        if not is_share(metric):
            if metric not in self._sized:
                self._sized[metric] = self._sized_guess(metric)
            return self._sized[metric]
        examples = self._examples(metric)
        done = len(curve["accuracy"])
        rows = [
            _ends(_cut(t.curve, done)) + self._features(t.genotype, t.metrics) for t in examples
        ]
        values = np.array([trial.metrics[metric] for trial in examples])
        if len(set(values.tolist())) < 2:
            return None  # all guessed one class, say: nothing can be learned from them
        own = _ends(curve) + self._features(self._genotype, self._known)
        found = self._predicted(Ridge, rows, np.asarray(_bent(values)), own)
        return None if found is None else Guess(lambda shares: _unbent(found.quantiles(shares)))

    def _sized_guess(self, metric: str) -> Guess | None:
        """What a latency or a size will be, whatever the curve: how far off its estimate is."""
        examples = self._examples(metric)
        values = np.array([trial.metrics[metric] for trial in examples])
        if (values <= 0).any():
            return None
        estimated, own_size = f"{ESTIMATED}{metric}", 1.0
        if estimated in self._screened:
            own_size = self._known[estimated]
            values = values / np.array([trial.metrics[estimated] for trial in examples])
        rows = [self._features(t.genotype, t.metrics) for t in examples]
        own = self._features(self._genotype, self._known)
        found = self._predicted(KernelRidge, rows, np.log(values), own)
        if found is None:
            return None
        return Guess(lambda shares: own_size * np.exp(found.quantiles(shares)))

    def _examples(self, metric: str) -> list[Trial]:
        return [trial for trial in self._finished if metric in trial.metrics]

    def _predicted(
        self,
        model: type[Ridge | KernelRidge],
        rows: Sequence[Sequence[float]],
        values: Array,
        own: Sequence[float],
    ) -> Prediction | None:
        """What a model of these examples says of this candidate."""
        if len(rows) < LEAST_CURVES:
            return None
        weights = np.ones(len(own))
        if self._categories:
            weights[-len(self._categories) :] = CATEGORY_WEIGHT
        return model(np.array(rows), values, weights).predict(np.array(own))

    # The rules

    def _by_prediction(self, curve: Curve) -> str:
        guesses = self._guesses(curve)
        if guesses is None:
            return ""
        shares = _spread_evenly(_CASES, len(guesses))
        columns = [guess.at(shares[:, j]) for j, guess in enumerate(guesses)]
        chance = float(1 - self._is_beaten(np.column_stack(columns)).mean())
        if chance >= 1 - self._rule.confidence:
            return ""
        return f"{self._shown(guesses)} gets onto the front with a chance of {100 * chance:.2g} %"

    def _guesses(self, curve: Curve) -> list[Guess] | None:
        """Of each objective; None where one of them is not even guessed."""
        found = [self._guess(objective.metric, curve) for objective in self._objectives]
        guesses = [guess for guess in found if guess is not None]
        return guesses if len(guesses) == len(found) else None

    def _is_beaten(self, values: Array) -> NDArray[np.bool_]:
        """(cases,): whether a member of the front is as good in everything.

        Args:
            values: (cases, objectives), metrics as they are.
        """
        signs = np.array([o.cost({o.metric: 1.0}) for o in self._objectives], dtype=float)
        front = np.array(list(self._front.values()))
        is_behind = np.asarray((front <= (signs * values)[:, None]).all(axis=2))
        return np.asarray(is_behind.any(axis=1))

    def _shown(self, guesses: Sequence[Guess]) -> str:
        pairs = zip(self._objectives, guesses, strict=True)
        unknown = [(o, guess) for o, guess in pairs if o.metric not in self._known]
        return "probably " + ", ".join(f"{o.metric} {guess.middle:.4g}" for o, guess in unknown)

    def _by_rung(self, curve: Curve) -> str:
        done = len(curve["accuracy"])
        if done not in self._rule.rungs(self._epochs):
            return ""
        guesses = self._guesses(curve)
        if guesses is None:
            return ""
        middles = [guess.middle for guess in guesses]
        if not self._is_beaten(np.array([middles])).all():
            return ""
        expected = {o.metric: m for o, m in zip(self._objectives, middles, strict=True)}
        own = self._costs_at(done, curve, {**self._known, **expected})
        there = [t for t in self._past if len(t.curve.get("accuracy", ())) >= done]
        others = [self._costs_at(done, _cut(t.curve, done), t.metrics) for t in there]
        points = [costs for costs in others if costs is not None]
        if own is None or len(points) < LEAST_CURVES:
            return ""
        place = _place(own, points)
        allowed = (len(points) + 1) // self._rule.reduction
        if place < max(1, allowed):
            return ""
        shown = self._shown(guesses)
        return f"place {place + 1} of {len(points) + 1} on this rung, {allowed} go on; {shown}"

    def _costs_at(self, done: int, curve: Curve, metrics: Mapping[str, float]) -> Costs | None:
        """What a trial was worth after some epochs; None where a cost is not known."""
        costs = list[float]()
        for objective in self._objectives:
            name = objective.metric
            if is_share(name):
                value: float | None = curve["accuracy"][done - 1]
            else:
                value = metrics.get(name, metrics.get(f"{ESTIMATED}{name}"))
            if value is None:
                return None
            costs.append(objective.cost({name: value}) or 0.0)
        return tuple(costs)


def _place(own: Costs, others: Sequence[Costs]) -> int:
    """How many are ahead: by non-dominated layers, in each by hypervolume contribution.

    0 for what no other one dominates.
    """
    points = np.array([*others, own])
    ranks = moocore.pareto_rank(points)
    if ranks[-1] == 0:
        return 0
    layer = [tuple(point) for point in points[ranks == ranks[-1]].tolist()]
    reference = reference_point([tuple(point) for point in points.tolist()])
    whole = hypervolume(layer, reference)
    gains = [whole - hypervolume(layer[:i] + layer[i + 1 :], reference) for i in range(len(layer))]
    return int((ranks < ranks[-1]).sum()) + sum(gain > gains[-1] for gain in gains[:-1])


def _cut(curve: Curve, done: int) -> Curve:
    return {name: values[:done] for name, values in curve.items()}


def _ends(curve: Curve) -> list[float]:
    """Where a curve has got to."""
    accuracy = curve["accuracy"]
    mean = sum(accuracy[-3:]) / len(accuracy[-3:])
    return [float(_bent(accuracy[-1])), float(_bent(mean)), float(np.log(curve["loss"][-1] + 1e-6))]


def _bent(share: Array | float) -> Array | float:
    """A share as what is missing to 1, logarithmic: near 1 small differences count."""
    return -np.log(1.0 + _ABOVE_ONE - share)


def _unbent(values: Array) -> Array:
    return np.asarray(np.clip(1.0 + _ABOVE_ONE - np.exp(-values), 0.0, 1.0))


def _spread_evenly(count: int, dimensions: int) -> Array:
    """(count, dimensions), in (0, 1): an additive recurrence of low discrepancy.

    Its steps are the powers of the root of x^(d + 1) = x + 1, as the golden ratio in one dimension.
    """
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1.0, dimensions + 1)
    return np.asarray((0.5 + np.outer(np.arange(count), steps)) % 1.0)
