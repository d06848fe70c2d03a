"""Guided search: a surrogate and what is known before training choose among many candidates."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import strategies
from nas.choices import Choice, Genotype
from nas.objectives import Constraint, Objective
from nas.registry import unknown
from nas.trials import Exhausted
from strategies.base import BaseStrategy, Screen
from strategies.guided.closer import LOOKED_AT, Closer, Look
from strategies.guided.codes import CodeSpace
from strategies.guided.expense import Expense
from strategies.guided.foreknown import Foreknown
from strategies.guided.improvement import SpaceLeft, expected_improvement, nondominated
from strategies.guided.model import TUNED, Beliefs, Evidence, Model
from strategies.guided.modeled import EXHAUSTIVE, ModeledFront
from strategies.guided.pool import Pool
from strategies.guided.prior import Earlier, Prior, checked, helps
from strategies.guided.screened import Screened
from strategies.guided.surrogate import Points
from strategies.history import DIGITS, Code, Observation
from strategies.options import check_share, check_whole

Array = NDArray[np.float64]

PROPOSERS = ("genetic", "bayesian", "random")

PROPOSALS_AN_ASK = {"genetic": 8, "bayesian": 2}
"""Of the proposer; one of the latter takes milliseconds, and each new candidate is screened."""

RETUNED = 1.15
"""The surrogate's settings are fitted anew when there are so many times the results."""

BEYOND = 1.0
"""How far beyond the worst known cost the reference point lies, as a share of the range.

So far that the ends of the front count, of which the results so far show the least."""

KNOWN = (
    "guided: all objectives are known before training: nothing is trained to search, only the "
    "front of what is modeled, for its artifacts"
)
NO_SCREEN = (
    "guided: nothing is known before training (no screen): it learns from choices alone; "
    "a space of your own is screened once it defines blocks"
)

STEPS, NEAR_A_STEP = 3, 8
"""Of the ascent from the best candidate of the pool, and the neighbours tried in each."""

FIRST_GENERATIONS = 10
"""Of evolution on what is screened, for the first trainings."""


@dataclass(frozen=True)
class _Expected:
    """What the candidates of an ask were found to promise.

    Args:
        state: what was told and is pending then.
        random_state: of the ask's generator, after.
        pool: the candidates.
        gains: (candidates,), relative to the best.
        share: of the hypervolume, what the best is expected to add in the time of a mean trial.
    """

    state: tuple[int, int] = (-1, -1)
    random_state: Any = None
    pool: list[Code] = field(default_factory=list)
    gains: Array = field(default_factory=lambda: np.zeros(0))
    share: float | None = None


class GuidedStrategy(BaseStrategy):
    """Trains what is expected to add most to the front.

    Each ask makes some hundred candidates: the proposer's, neighbours and children of the front,
    and random ones. Those that surely violate a constraint fall out. A Gaussian process for each
    metric that is not known before training, and for the risk of failing or violating a
    constraint, says what to expect of the others; the one with the largest expected gain in
    hypervolume for its time, after an ascent from neighbour to neighbour, is asked for. What is
    pending counts as told as expected.

    The first genotypes are half those with much capacity (multiply-accumulates, parameters) for
    their known costs, half random ones.

    - Without ``screen`` it learns from choices alone. Where all objectives and constraints are on
      what is known before training it asks for the front of what ``screen`` says, and for nothing
      else. `notes` tells so.
    - A screened metric that turns out to be an estimate (what is told differs) is corrected by a
      surrogate of its error.

    Args:
        choices: see `BaseStrategy`.
        objectives: see `BaseStrategy`.
        seed: see `BaseStrategy`.
        screen: see `BaseStrategy`; the more metrics it knows, the better.
        constraints: see `BaseStrategy`.
        proposer: ``"genetic"``, ``"bayesian"`` or ``"random"``.
        startup: genotypes told before the surrogate is asked.
        pool: about how many candidates an ask chooses from; each new one is screened.
        exploration: the share of asks for a random candidate.
        per_second: weigh what is expected of a candidate against the time that its training is
            expected to take, see `took`; False: all trainings count alike.
        proxies: further metrics of a genotype that take long (zero-cost proxies of accuracy, say):
            looked at for the few best candidates of an ask, as long as they help the surrogate.
        prior: results of an earlier search of the same space, on another task or device: what they
            predict is known of every candidate from the beginning, see `Prior`.

    Raises:
        ValueError: for an option that cannot be.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        objectives: Sequence[Objective],
        seed: int,
        screen: Screen | None = None,
        constraints: Sequence[Constraint] = (),
        *,
        proposer: str = "genetic",
        startup: int = 10,
        pool: int = 800,
        exploration: float = 0.02,
        per_second: bool = True,
        proxies: Look | None = None,
        prior: Earlier = (),
    ) -> None:
        super().__init__(choices, objectives, seed, screen, constraints)
        if proposer not in PROPOSERS:
            raise ValueError(unknown("proposer", proposer, PROPOSERS))
        self._startup = check_whole("startup", startup, 2)
        self._exploration = check_share("exploration", exploration)
        history = self._history
        self._known = Screened(screen, constraints, history.decode)
        self._earlier = checked(prior, history, len(self._objectives))
        self._space = CodeSpace(self._choices)
        self._pool = Pool(self._space, history.encode, seed, check_whole("pool", pool, 16))
        self._before = Foreknown(self._known, self._pool, objectives, constraints)
        if not isinstance(per_second, bool):
            raise ValueError(f"per_second must be true or false, but got {per_second!r}")
        self._expense = Expense(self._known, lambda: self._before.sample) if per_second else None
        self._proposals = PROPOSALS_AN_ASK.get(proposer, 0)
        self._base = strategies.create(proposer, choices, objectives, seed, None, constraints)
        self._waiting: dict[Code, None] = {}
        if proxies is not None and not callable(proxies):
            raise ValueError(f"proxies must be a function of a genotype, but got {proxies!r}")
        self._closer = proxies and Closer(
            proxies, history.decode, self._place, self._before.capacity
        )
        self._model: Model | None = None
        self._space_left: SpaceLeft | None = None
        self._tuned_at, self._tuning = 0, list[Observation]()
        self._expected = _Expected()
        everything = Pool(self._space, history.encode, seed, max(pool, EXHAUSTIVE))
        self._modeled = ModeledFront(
            self._space, everything, self._known, self._before.comparable_costs, seed
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how it searches, one line each."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        if self._screen is None:
            yield NO_SCREEN
            return
        sample = self._before.sample
        violations = [self._known(code).violation for code in sample]
        buildable = [violation for violation in violations if math.isfinite(violation)]
        if buildable and min(buildable) > 0:
            bounds = " and ".join(map(str, self._constraints))
            yield (
                f"guided: no candidate of {len(sample)} satisfies {bounds}; "
                f"nearest violates by {100 * min(buildable):.3g} %"
            )
        if self._before.is_all:
            yield KNOWN
        if self._closer is not None and self._closer.verdict is not None:
            yield f"guided: {self._closer.verdict}"

    # What is known before training

    @functools.cached_property
    def _prior(self) -> Prior:
        codes, costs = self._earlier
        built = [self._known(tuple(code)).values is not None for code in codes.tolist()]
        codes, costs = codes[built], costs[built]
        screened = self._before.costs([tuple(code) for code in codes.tolist()])
        return Prior(codes, costs, screened, self._place_plainly)

    def _place(self, codes: NDArray[np.int64]) -> Points:
        return self._place_plainly(codes, self._prior(codes))

    def _trusts_prior(self, tuning: Evidence) -> bool:
        chosen = tuning[tuning.nearest_front(TUNED)]
        return any(
            helps(chosen, j, self._place_plainly, self._place) for j in self._prior.objectives
        )

    def _place_plainly(self, codes: NDArray[np.int64], more: Array | None = None) -> Points:
        places = self._space.placed(codes)
        values = self._known.values(map(tuple, codes.tolist()))
        features = self._before.features(values)
        features = features if more is None else np.hstack([features, more])
        numbers = np.arange(features.shape[1]) + len(self._choices)
        groups = np.concatenate([self._space.groups, numbers])
        return Points(np.hstack([places, features]), groups, len(self._choices))

    def _screened_violation(self, code: Code, genotype: Genotype) -> float:
        return self._known(code).violation

    # What is told

    def _learn(self, observation: Observation) -> None:
        self._waiting.pop(observation.code, None)
        distinct = self._history.distinct
        if distinct >= self._startup and distinct >= RETUNED * self._tuned_at + 1:
            self._tuned_at, self._tuning = distinct, self._history.observations
            self._model = None
            if self._closer is not None:
                self._closer.forget()

    def tell(
        self,
        genotype: Genotype,
        costs: Sequence[float | None] | None,
        violation: float = 0.0,
    ) -> None:
        """See `BaseStrategy.tell`."""
        before = self._history.distinct
        super().tell(genotype, costs, violation)
        if self._history.distinct > before:
            # A repeated result would have passed through the proposer's population for good or
            # ill before the mean of all is known; the surrogate takes it into account.
            self._base.tell(genotype, costs, violation)

    def took(self, genotype: Genotype, seconds: float) -> None:
        """Learn how long the trial of a genotype took, before its result is told.

        From five on, expected gains are divided by the time that a candidate is expected to take,
        in what the trials so far took in the mean.
        """
        if self._expense:
            self._expense.took(self._history.encode(genotype), seconds)

    def pending(self, genotype: Genotype) -> None:
        """See `BaseStrategy.pending`."""
        super().pending(genotype)
        self._waiting[self._history.encode(genotype)] = None

    def ask(self) -> dict[str, int | float | str]:
        """See `BaseStrategy.ask`."""
        genotype = super().ask()
        self._waiting[self._history.encode(genotype)] = None
        return genotype

    # What to propose

    def _propose(self, rng: random.Random) -> Iterator[Genotype]:
        observations = self._history.observations
        if not self._has_learned(observations):
            yield from map(self._history.decode, self._first)
            return
        codes, gains = self._scored(observations, rng)
        best = np.argsort(-gains, kind="stable").tolist()
        if best and rng.random() < self._exploration:
            best.insert(0, rng.randrange(len(best)))
        for index in best:
            yield self._history.decode(codes[index])

    def _has_learned(self, observations: Sequence[Observation]) -> bool:
        """Whether there are enough results for a surrogate."""
        complete = sum(o.complete_costs is not None for o in observations)
        in_work = len(observations) + len(self._waiting)
        return complete >= 2 and in_work >= self._startup and bool(self._tuning)

    def _pick(self, proposals: Iterator[Genotype]) -> Genotype:
        if self._screen is None or not self._before.is_all:
            return super()._pick(proposals)
        failed = [o.code for o in self._history.observations if o.costs is None]
        front = self._modeled.without(failed)
        if not front:
            return super()._pick(proposals)
        # Those that are far from one another come first, should the budget be small.
        for code in (front[i] for i in _spread(len(front))):
            if not self._history.knows(code):
                return self._history.decode(code)
        raise Exhausted(f"all {len(front)} on the front of what is modeled have been asked for")

    @functools.cached_property
    def _first(self) -> list[Code]:
        """Genotypes to begin with: from layer after layer, and random ones, in turn.

        By capacity where something is screened, and by what a prior predicts where there is one.
        None of those that would take very long.
        """
        codes = self._before.allowed
        kinds = [self._promise] if self._prior.objectives else []
        kinds += [self._before.worth] if self._known.names else []
        lists = list[list[Code]]()
        for worth in kinds if codes else []:
            best = self._pool.evolved(self._known, worth, FIRST_GENERATIONS)
            codes = self._modest(list(dict.fromkeys([*codes, *best])))
            lists.append([codes[i] for i in _by_layers(worth(codes), 4 * self._startup)])
        layered = {code for each in lists for code in each}
        mixed = itertools.zip_longest(*lists, [c for c in codes if c not in layered])
        return list(dict.fromkeys(code for each in mixed for code in each if code is not None))

    def _modest(self, codes: list[Code]) -> list[Code]:
        """Those whose trainings should not take very long; all, if these are too few."""
        if self._expense is None:
            return codes
        is_modest = self._expense.is_modest(codes).tolist()
        modest = [code for code, is_cheap in zip(codes, is_modest, strict=True) if is_cheap]
        return modest if len(modest) >= self._startup else codes

    def _promise(self, codes: Sequence[Code]) -> Array:
        """Known costs, and those that the prior predicts: (codes, criteria), lower is better."""
        costs = self._before.costs(codes)
        costs = costs[:, np.isfinite(costs).all(axis=0)]
        predicted = self._prior(np.array(codes, dtype=int).reshape(-1, len(self._choices)))
        return np.hstack([costs, predicted])

    def _scored(
        self, observations: list[Observation], rng: random.Random
    ) -> tuple[list[Code], Array]:
        """Candidates, and what each is expected to gain."""
        state = self._history.told, self._history.pending
        if self._expected.state == state:
            rng.setstate(self._expected.random_state)
            return self._expected.pool, self._expected.gains
        found = self._newly_scored(observations, rng)
        self._expected = _Expected(state, rng.getstate(), *found)
        return found[:2]

    def expected_improvement(self) -> float | None:
        """The hypervolume that the next ask is expected to add, as a share of the present one.

        It is what the ask adds in the time of a mean trial: twice as much where its training should
        take half of that. Costs are scaled to the range that was told, and the reference point lies
        as far beyond the worst. None while there are too few results, and where nothing is
        trained.
        """
        observations = self._history.observations
        if not self._has_learned(observations) or (
            self._screen is not None and self._before.is_all
        ):
            return None
        self._scored(observations, self._generator("ask"))
        return self._expected.share

    def _newly_scored(
        self, observations: list[Observation], rng: random.Random
    ) -> tuple[list[Code], Array, float | None]:
        generator = np.random.default_rng(rng.getrandbits(64))
        evidence = self._evidence(observations)
        proposals = itertools.islice(self._base_proposals(rng), self._proposals)
        pool = self._pool.candidates(
            len(observations) + len(self._waiting),
            _best_codes(evidence),
            [self._history.encode(genotype) for genotype in proposals],
            generator,
        )
        pool = self._eligible(pool)
        if not pool:
            return [], np.zeros(0), 0.0
        gains, tried = self._gains(evidence, pool), set(pool)
        for _ in range(STEPS):
            best = pool[int(np.argmax(_relative(gains)))]
            near = self._pool.near(best, NEAR_A_STEP, tried)
            tried.update(near)
            new = self._eligible(near)
            if new:
                pool, gains = pool + new, np.concatenate([gains, self._gains(evidence, new)])
        volume = self._space_left.volume if self._space_left else 0.0
        share = float(gains.max()) / volume if volume else None
        return pool, self._looked_closer(evidence, pool, _relative(gains)), share

    def _looked_closer(self, evidence: Evidence, codes: Sequence[Code], gains: Array) -> Array:
        """The gains, those of the best anew with proxies where these help; they stay the best."""
        model = self._closer and self._closer.model(self._evidence(self._tuning))
        if not model:
            return gains
        best = np.argsort(-gains, kind="stable")[:LOOKED_AT]
        gains = gains.copy()
        gains[best] = 1 + _relative(self._gains(evidence, [codes[i] for i in best], model))
        return gains

    def _eligible(self, codes: Sequence[Code]) -> list[Code]:
        """Those not known that nothing rules out."""
        return [c for c in codes if not self._history.knows(c) and self._known(c).violation == 0]

    def _gains(
        self, evidence: Evidence, codes: Sequence[Code], model: Model | None = None
    ) -> Array:
        """(codes,), the expected gain of each, in the time of a mean trial."""
        pending, candidates = self._beliefs(evidence, codes, model)
        gains = candidates.chance * self._improvement(evidence, pending, candidates)
        return gains / self._expense(codes) if self._expense else gains

    def _base_proposals(self, rng: random.Random) -> Iterator[Genotype]:
        if isinstance(self._base, BaseStrategy) and self._proposals:
            yield from self._base._propose(rng)

    def _evidence(self, observations: Sequence[Observation]) -> Evidence:
        def known(codes: NDArray[np.int64]) -> Array:
            return self._before.costs([tuple(code) for code in codes.tolist()])

        return Evidence.of(observations, len(self._objectives), known)

    def _beliefs(
        self, evidence: Evidence, codes: Sequence[Code], model: Model | None = None
    ) -> tuple[Beliefs, Beliefs]:
        """Of what is pending, in an order that does not depend on who asked first, and of codes."""
        if self._model is None:
            tuning = self._evidence(self._tuning)
            self._model = Model(
                self._place if self._trusts_prior(tuning) else self._place_plainly, tuning
            )
        waiting = sorted(self._waiting)
        shape = -1, len(self._choices)
        return (model or self._model).beliefs(
            evidence,
            np.array(waiting, dtype=int).reshape(shape),
            np.array(codes, dtype=int).reshape(shape),
            self._before.costs([*waiting, *codes]),
        )

    def _improvement(self, evidence: Evidence, pending: Beliefs, candidates: Beliefs) -> Array:
        """(candidates,), expected; equal for all as long as nothing feasible is known."""
        feasible = evidence.scaled(evidence.costs[evidence.feasible])
        if not len(feasible):
            return np.ones(len(candidates.chance))
        believed = np.column_stack([belief.median for belief in pending.costs])
        front = np.vstack([feasible, believed[pending.chance > 0.5]])
        known = [not belief.deviation.any() for belief in candidates.costs]
        worst = np.where(known, np.fmax(evidence.scaled(self._before.worst), 1.0), 1.0)
        reference = worst + BEYOND
        front = front[nondominated(front)]
        # The same for all that are looked at in an ask.
        if self._space_left is None or not self._space_left.is_beyond(front, reference):
            self._space_left = SpaceLeft(front, reference)
        return expected_improvement(candidates.costs, self._space_left.boxes)

    def expected_costs(self, genotypes: Sequence[Genotype]) -> list[tuple[float, ...]]:
        """What their costs are believed to be, one an objective, by all results together.

        Where results are noisy these tell better than the results themselves which genotypes are
        on the front. Known and repeated results weigh more than others.

        Raises:
            ValueError: before there are enough results for a surrogate.
        """
        observations = self._history.observations
        if not self._tuning or sum(o.complete_costs is not None for o in observations) < 2:
            raise ValueError(f"a surrogate needs {self._startup} results")
        evidence = self._evidence(observations)
        _, found = self._beliefs(evidence, [self._history.encode(g) for g in genotypes])
        scaled = np.column_stack([belief.median for belief in found.costs])
        return [tuple(row) for row in (scaled * evidence.span + evidence.low).tolist()]


def _relative(gains: Array) -> Array:
    """To the largest, without what rounding does to costs that were scaled or shifted."""
    return np.asarray(np.round(gains / (gains.max() or 1.0), DIGITS), dtype=np.float64)


def _best_codes(evidence: Evidence) -> NDArray[np.int64]:
    """Those on the front; while nothing is feasible, those that violate least."""
    feasible = evidence[evidence.feasible]
    if len(feasible):
        return feasible.codes[nondominated(evidence.scaled(feasible.costs))]
    tried = evidence[~evidence.failed]
    if not len(tried):
        return evidence.codes[:0]
    return tried.codes[np.argsort(tried.violations, kind="stable")[:8]]


def _by_layers(worth: Array, number: int) -> list[int]:
    """Rows of the first non-dominated layers, evenly spread along each.

    Args:
        worth: (candidates, criteria), lower is better.
        number: of rows, at least, where there are so many.
    """
    left, picked = np.arange(len(worth)), list[int]()
    while len(picked) < number and len(left):
        on_layer = nondominated(worth[left]) if worth.shape[1] > 1 else np.ones(len(left), bool)
        layer = left[on_layer]
        if worth.shape[1]:
            layer = layer[np.argsort(worth[layer, 0], kind="stable")]
        picked += [int(i) for i in layer[_spread(len(layer))]]
        left = left[~on_layer]
    return picked


def _spread(size: int) -> list[int]:
    """All indices, so that those at the beginning are far from one another: by bisection."""
    order, step = dict.fromkeys([size - 1, 0][:size]), size - 1
    while len(order) < size:
        order.update(dict.fromkeys(range(step // 2, size, max(1, step))))
        step = max(1, step // 2) if step > 1 else 1
        if step == 1:
            order.update(dict.fromkeys(range(size)))
    return list(order)
