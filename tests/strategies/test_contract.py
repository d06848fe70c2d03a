"""The contract finds out strategies that break it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from nas.choices import Choice, Genotype, Value, sample
from nas.objectives import Objective
from nas.protocols import Strategy
from nas.trials import Exhausted
from strategies.base import BaseStrategy
from strategies.genetic import GeneticStrategy
from strategies.history import Observation
from strategies.random import RandomStrategy
from strategies.testing import LearningContract

Factory = Callable[..., Strategy]


class Repeating(RandomStrategy):
    def _pick(self, proposals: Iterator[Genotype]) -> Genotype:
        return sample(self._choices, random.Random(self._history.told // 2))


class Everywhere(RandomStrategy):
    """Makes choices that are not active."""

    def ask(self) -> dict[str, Value]:
        genotype = super().ask()
        return {c.name: genotype.get(c.name, c.options[0]) for c in self._choices}


class Global(RandomStrategy):
    """Draws from the generator of everybody."""

    def _propose(self, rng: random.Random) -> Iterator[Genotype]:
        yield sample(self._choices, random)  # type: ignore[arg-type]


class Counting(RandomStrategy):
    """Remembers how often it was asked, which a replay cannot know."""

    asks = 0

    def _propose(self, rng: random.Random) -> Iterator[Genotype]:
        self.asks += 1
        yield sample(self._choices, random.Random(self.asks + 1000 * self._history.told))


class LastRepeat(GeneticStrategy):
    """Believes the last result of a genotype and forgets the ones before."""

    def tell(
        self, genotype: Genotype, costs: Sequence[float | None] | None, violation: float = 0.0
    ) -> None:
        self._history._results.pop(self._history.encode(genotype), None)
        super().tell(genotype, costs, violation)


class Weighing(BaseStrategy):
    """Adds up the costs, whatever their units are."""

    best: tuple[float, Genotype] | None = None

    def _learn(self, observation: Observation) -> None:
        total = sum(observation.complete_costs or (float("inf"),))
        if self.best is None or total < self.best[0]:
            self.best = total, self._history.decode(observation.code)

    def _propose(self, rng: random.Random) -> Iterator[Genotype]:
        drawn = sorted(
            (sample(self._choices, rng) for _ in range(20)),
            key=lambda g: -len(g.items() & (self.best[1] if self.best else {}).items()),
        )
        return iter(drawn)


class Screenless(RandomStrategy):
    def _screened_violation(self, code: tuple[int, ...], genotype: Genotype) -> float:
        return 0.0


class Shy(RandomStrategy):
    """Gives up where chance finds nothing that fits."""

    def _with_mutants(
        self, proposals: Iterator[Genotype], misfits: Mapping[tuple[int, ...], float]
    ) -> Iterator[Genotype]:
        return itertools.islice(proposals, 100)


def contract(factory: Factory) -> LearningContract:
    class Contract(LearningContract):
        def create(
            self,
            choices: Sequence[Choice] = (),
            objectives: int = 2,
            seed: int = 0,
            **arguments: Any,
        ) -> Strategy:
            metrics = [Objective(f"m{i}", "minimize") for i in range(objectives)]
            arguments = {"screen": None, "constraints": ()} | arguments
            return factory(choices or self.toy, metrics, seed, *arguments.values())

        toy = LearningContract.create.__defaults__[0]  # type: ignore[index]

    Contract.name = "random"
    return Contract()


@pytest.mark.parametrize(
    ("broken", "test", "arguments"),
    [
        (Repeating, "test_asks_for_legal_genotypes_and_none_twice", ()),
        (Repeating, "test_ends_when_each_genotype_was_asked_for_once", (True,)),
        (Global, "test_global_random_state_is_left_as_found", ()),
        (Global, "test_an_ask_depends_only_on_what_was_told_and_is_pending", (2,)),
        (Counting, "test_an_ask_depends_only_on_what_was_told_and_is_pending", (2,)),
        (LastRepeat, "test_a_repeated_result_counts_with_its_mean", ()),
        (Weighing, "test_asks_the_same_of_a_metric_in_another_unit", (2, 0, 1024.0, 0.0)),
        (RandomStrategy, "test_finds_a_better_front_than_random_search", ()),
        (RandomStrategy, "test_finds_a_better_front_of_many_objectives", (3,)),
        (RandomStrategy, "test_stays_away_from_what_fails", ()),
        (RandomStrategy, "test_moves_to_where_the_constraints_are_met", (True,)),
        (RandomStrategy, "test_moves_to_where_the_constraints_are_met", (False,)),
        (Screenless, "test_passes_over_what_the_screen_rules_out", ()),
        (Screenless, "test_says_so_where_no_constraint_can_be_met", ()),
        (Shy, "test_finds_the_few_that_meet_a_constraint", ()),
    ],
)
def test_broken_strategies_are_found_out(
    broken: Factory, test: str, arguments: tuple[Any, ...]
) -> None:
    with pytest.raises((AssertionError, Exhausted, pytest.fail.Exception)):
        getattr(contract(broken), test)(*arguments)


def test_inactive_choices_are_found_out() -> None:
    with pytest.raises(ValueError, match="not active"):
        contract(Everywhere).test_asks_for_legal_genotypes_and_none_twice()


def test_a_sound_strategy_passes_under_the_same_harness() -> None:
    sound = contract(RandomStrategy)
    sound.test_an_ask_depends_only_on_what_was_told_and_is_pending(2)
    sound.test_another_process_with_another_hash_seed_asks_the_same("3", 2)
    sound.test_global_random_state_is_left_as_found()
