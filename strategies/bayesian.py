"""Bayesian search by Optuna: tree-structured Parzen estimators, or Gaussian processes."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.choices import Choice, Genotype, Value
from nas.objectives import Constraint, Objective
from nas.registry import unknown
from strategies.base import BaseStrategy, Screen
from strategies.history import INACTIVE, Code, Observation, completed, scaled
from strategies.options import check_whole
from strategies.variation import mutate

SAMPLERS = ("tpe", "gp")

GP_RESULTS = 150
"""With more results a Gaussian process takes longer than most trainings; TPE takes over."""

STUDY = "scratch"

PROPOSALS_AN_ASK = 4
"""How often the model is asked while what it proposes is known already or ruled out."""

TRIALS_AN_ASK = 1000
"""Results times proposals: with more results the model is asked less often, an ask stays cheap."""

MUTANTS_AN_ASK = 32
"""One-step mutants of its last proposal, before random genotypes take over."""

WORST_VIOLATION = sys.float_info.max


class _Indices(CategoricalDistribution):
    """Categories 0, 1, ...: no search for the index of each value of each trial in each ask."""

    def to_internal_repr(self, param_value_in_external_repr: Any) -> float:
        """The value is its own index."""
        return float(param_value_in_external_repr)


class _Scratch(optuna.storages.InMemoryStorage):
    """A study whose trials are put there for one ask: adding them one by one copies each."""

    def __init__(self, objectives: int) -> None:
        super().__init__()
        self.trials: list[FrozenTrial] = []
        with _quiet():
            self.create_new_study([StudyDirection.MINIMIZE] * objectives, STUDY)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The trials put there, not copied: nobody changes them during an ask."""
        return [t for t in self.trials if states is None or t.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Nothing: a sampler would tell other processes what it proposes."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna announces studies, and that they converge; its verbosity is left as it was set."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


class BayesianStrategy(BaseStrategy):
    """Optuna on a scratch study that is filled anew for each ask, with a sampler seeded for it.

    - ``tpe``: multivariate. A choice is a category, ordered or not: integers modeled by Gaussians
      found worse fronts on a toy space of widths and depths. A conditional choice has one category
      more, for "not made", so that all choices are in every trial and are modeled jointly.
    - ``gp``: a Gaussian process an objective and one for the violations, expected hypervolume
      improvement. It needs fewer trials, but seconds an ask: up to `GP_RESULTS` results; TPE
      goes on from there, which `notes` tell. Choices are categories too: as
      numbers the ordered ones were no better on that space, and worse on ladders of eight steps.
    - A cost that is unknown in a feasible trial (its training was stopped because it was losing)
      counts as the worst one seen. Failed trials count as the worst violation: the model must
      learn to stay away from them, and Optuna leaves failed trials out.
    - Pending genotypes are only kept from being proposed again by TPE. Among the bad ones until
      they are told (constant liar) they changed nothing, on three search tasks with four workers.
      The Gaussian process takes them into account.

    Args:
        choices: see `BaseStrategy`.
        objectives: see `BaseStrategy`.
        seed: see `BaseStrategy`.
        screen: see `BaseStrategy`.
        constraints: see `BaseStrategy`.
        sampler: ``"tpe"`` or ``"gp"``.
        startup: genotypes told before the model is asked; random ones until then.
        candidates: drawn from the model for one proposal of TPE.

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
        sampler: str = "tpe",
        startup: int = 10,
        candidates: int = 24,
    ) -> None:
        super().__init__(choices, objectives, seed, screen, constraints)
        if sampler not in SAMPLERS:
            raise ValueError(unknown("sampler", sampler, SAMPLERS))
        self._sampler = sampler
        self._startup = check_whole("startup", startup, 1)
        self._candidates = check_whole("candidates", candidates, 1)
        self._space: dict[str, BaseDistribution] = {
            choice.name: _Indices(range(len(choice.options) + bool(choice.when)))
            for choice in self._choices
            if len(choice.options) > 1
        }
        self._storage = _Scratch(len(objectives))
        self._trials: dict[Code, FrozenTrial] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Says when TPE has taken over."""
        if self._sampler == "tpe" or self._history.distinct <= GP_RESULTS:
            return ()
        return (f"bayesian: sampler gp is for up to {GP_RESULTS} results; tpe went on from there",)

    def _learn(self, observation: Observation) -> None:
        violation = min(observation.violation, WORST_VIOLATION)
        trial = create_trial(
            params=self._params(observation.code),
            distributions=self._space,
            values=[0.0] * len(self._objectives),
            constraints={"violation": violation} if violation else None,
        )
        known = self._trials.get(observation.code)
        trial.number = known.number if known else len(self._trials)
        self._trials[observation.code] = trial

    def _params(self, code: Code) -> dict[str, int]:
        return {
            choice.name: len(choice.options) if index == INACTIVE else index
            for choice, index in zip(self._choices, code, strict=True)
            if choice.name in self._space
        }

    def _propose(self, rng: random.Random) -> Iterator[Genotype]:
        if not self._space or len(self._trials) < self._startup:
            return
        use_gp = self._sampler == "gp" and len(self._trials) <= GP_RESULTS
        proposal: Genotype = {}
        for indices in self._by_gp(rng) if use_gp else self._by_tpe(rng):
            proposal = self._genotype(indices, rng)
            yield proposal
        for _ in range(MUTANTS_AN_ASK):
            yield mutate(self._choices, proposal, rng)

    def _by_tpe(self, rng: random.Random) -> Iterator[dict[str, Any]]:
        trials = list(self._trials.values())
        for trial, costs in zip(trials, self._costs(), strict=True):
            trial.values = list(costs)
        sampler = optuna.samplers.TPESampler(
            seed=rng.getrandbits(32),
            multivariate=True,
            n_startup_trials=0,
            n_ei_candidates=self._candidates,
            constant_liar=False,
        )
        for _ in range(max(1, min(PROPOSALS_AN_ASK, TRIALS_AN_ASK // len(trials)))):
            yield self._sample(sampler, trials)

    def _by_gp(self, rng: random.Random) -> Iterator[dict[str, Any]]:
        observations = self._history.observations
        margins: list[dict[str, float] | None] = [None] * len(observations)
        if any(observation.violation for observation in observations):
            margins = [{"violation": _margin(o.violation)} for o in observations]
        trials = [
            create_trial(
                params=self._params(observation.code),
                distributions=self._space,
                values=list(costs),
                constraints=margin,
            )
            for observation, costs, margin in zip(observations, self._costs(), margins, strict=True)
        ]
        for code in self._history.pending_codes:
            params = self._params(code)
            trials.append(
                create_trial(state=TrialState.RUNNING, params=params, distributions=self._space)
            )
        for number, trial in enumerate(trials):
            trial.number = number
        sampler = optuna.samplers.GPSampler(seed=rng.getrandbits(32), n_startup_trials=0)
        yield self._sample(sampler, trials)

    def _sample(
        self, sampler: optuna.samplers.BaseSampler, trials: list[FrozenTrial]
    ) -> dict[str, Any]:
        self._storage.trials = trials
        study = optuna.load_study(study_name=STUDY, storage=self._storage, sampler=sampler)
        trial = create_trial(state=TrialState.RUNNING)
        # Where no proposal is better than another one, the samplers divide zero by zero.
        with _quiet(), np.errstate(invalid="ignore", divide="ignore"):
            return sampler.sample_relative(study, trial, self._space)

    def _costs(self) -> list[tuple[float, ...]]:
        """What was told, scaled by all of it; one row a genotype."""
        unknown = (None,) * len(self._objectives)
        rows = [observation.costs or unknown for observation in self._history.observations]
        return scaled(completed(rows))

    def _genotype(self, proposal: dict[str, int], rng: random.Random) -> Genotype:
        """The genotype proposed; a choice that is active, though the model says not, is drawn."""
        genotype: dict[str, Value] = {}
        for choice in self._choices:
            if choice.is_active(genotype):
                index = proposal.get(choice.name, 0)
                if index == len(choice.options):
                    index = rng.randrange(index)
                genotype[choice.name] = choice.options[index]
        return genotype


def _margin(violation: float) -> float:
    """A violation as a Gaussian process takes it: bounded, and clearly below zero where met."""
    if not violation:
        return -1.0
    return 1.0 if violation >= WORST_VIOLATION else violation / (1 + violation)
