"""The contract of `nas.protocols.Strategy` as tests that any strategy can be put to.

    from strategies.testing import LearningContract

    class TestMine(LearningContract):    # StrategyContract where it does not heed the costs
        name = "mine"                    # as `strategies.create` knows it
        options = {"population": 30}

Run with pytest. Needs nothing but a strategy that is registered, here or by an entry point.
"""

from __future__ import annotations

import functools
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

import strategies
from nas.choices import Choice, Genotype, enumerate_genotypes, sample, validate
from nas.objectives import Constraint, Objective
from nas.protocols import Strategy
from nas.trials import CandidateError, Exhausted
from strategies.toys import TINY, TOY, Step, follow, play, regret, toy_costs

_IN_ANOTHER_PROCESS = """
import json, sys
import strategies
from nas.objectives import Objective
from strategies.toys import TOY, follow
job = json.load(sys.stdin)
objectives = [Objective("error", "minimize"), Objective("latency_ms.cpu", "minimize")]
strategy = strategies.create(job["name"], TOY, objectives, job["seed"], **job["options"])
json.dump(follow(strategy, job["steps"]), sys.stdout)
"""


class StrategyContract:
    """What `nas.protocols.Strategy` promises; subclass it and set `name`.

    Attributes:
        name: of the strategy.
        options: for its creation.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    def create(
        self,
        choices: Sequence[Choice] = TOY,
        objectives: int = 2,
        seed: int = 0,
        **arguments: Any,
    ) -> Strategy:
        """A fresh strategy; override it for one that is not registered."""
        metrics = ["error", "latency_ms.cpu", "size_kb", "energy_mj.cpu"][:objectives]
        wanted = [Objective(metric, "minimize") for metric in metrics]
        return strategies.create(self.name, choices, wanted, seed, **arguments, **self.options)

    # What it asks for

    def test_asks_for_legal_genotypes_and_none_twice(self) -> None:
        """Active choices only, each with one of its options, in the order of the choices."""
        asked = play(self.create(), 60)
        for genotype in asked:
            validate(TOY, genotype)
            assert list(genotype) == [c.name for c in TOY if c.name in genotype]
        assert len({json.dumps(genotype) for genotype in asked}) == len(asked)

    def test_does_not_ask_for_what_is_pending_or_was_told(self) -> None:
        """Known is known, whoever asked for it."""
        everything = list(enumerate_genotypes(TINY))
        strategy = self.create(TINY)
        strategy.tell(everything[0], (1.0, 2.0))
        strategy.pending(everything[1])
        asked = [strategy.ask() for _ in everything[2:]]
        assert sorted(map(json.dumps, asked)) == sorted(map(json.dumps, everything[2:]))

    @pytest.mark.parametrize("tell", [True, False])
    def test_ends_when_each_genotype_was_asked_for_once(self, tell: bool) -> None:
        """`Exhausted` comes exactly after the last one, and again from then on."""
        everything = list(enumerate_genotypes(TINY))
        strategy, asked = self.create(TINY), []
        for i in range(len(everything)):
            asked.append(strategy.ask())
            if tell:
                strategy.tell(asked[-1], (float(i), -float(i % 3)))
        assert sorted(map(json.dumps, asked)) == sorted(map(json.dumps, everything))
        for _ in range(2):
            with pytest.raises(Exhausted):
                strategy.ask()

    def test_a_single_genotype(self) -> None:
        """A space without a decision."""
        strategy = self.create([Choice("only", (1,))])
        assert strategy.ask() == {"only": 1}
        with pytest.raises(Exhausted):
            strategy.ask()

    def test_what_it_returns_belongs_to_the_caller(self) -> None:
        """What the caller does to a genotype does not reach the strategy."""
        strategy, twin = self.create(), self.create()
        asked = strategy.ask()
        kept = dict(asked)
        assert isinstance(asked, dict)
        asked.clear()
        strategy.tell(kept, (1.0, 2.0))
        twin.tell(twin.ask(), (1.0, 2.0))
        assert strategy.ask() == twin.ask() != kept

    # The state law

    def _history(self) -> list[Step]:
        """What a strategy was told: asked for or not, repeated, failed, unknown, infeasible."""
        strategy, rng = self.create(seed=3), random.Random(0)
        steps: list[Step] = []
        for i in range(40):
            genotype = sample(TOY, rng) if i % 4 == 3 else dict(strategy.ask())
            costs: list[float | None] | None = list(toy_costs(genotype))
            if costs and i % 10 == 5:
                costs[0] = None if i == 5 else math.nan
            step = ["tell", genotype, None if i % 10 == 8 else costs, 0.5 * (i % 7 == 6)]
            steps += [step] * (2 if i % 9 == 2 else 1)
            follow(strategy, steps[-2:] if i % 9 == 2 else steps[-1:])
        return [*steps, *(["pending", dict(strategy.ask())] for _ in range(4))]

    def test_an_ask_depends_only_on_what_was_told_and_is_pending(self) -> None:
        """Three workers whose results come out of order, rebuilt by replay."""
        live: list[Step] = []
        strategy, waiting = self.create(seed=5), []
        for i in range(45):
            waiting.append(dict(strategy.ask()))
            if len(waiting) == 3:
                genotype = waiting.pop(i % 3)
                live.append(["tell", genotype, list(toy_costs(genotype)), 0.0])
                follow(strategy, live[-1:])
        again = self.create(seed=5)
        follow(again, [*live, *(["pending", genotype] for genotype in reversed(waiting))])
        asks: list[Step] = [["ask"]] * 3
        assert follow(again, asks) == follow(strategy, asks)

    def test_another_process_with_another_hash_seed_asks_the_same(self) -> None:
        """All kinds of results, replayed elsewhere; nothing is printed or warned of."""
        steps = [*self._history(), *([["ask"]] * 3)]
        here = follow(self.create(seed=3), steps)
        job = {"name": self.name, "options": dict(self.options), "seed": 3, "steps": steps}
        for hash_seed in ("1", "2"):
            there = subprocess.run(
                [sys.executable, "-W", "error", "-c", _IN_ANOTHER_PROCESS],
                input=json.dumps(job),
                env={
                    **os.environ,
                    "PYTHONHASHSEED": hash_seed,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                },
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert there.stderr == ""
            assert json.loads(there.stdout) == here

    def test_another_seed_asks_for_something_else(self) -> None:
        """The seed matters from the first ask."""
        first, second = play(self.create(seed=1), 15), play(self.create(seed=2), 15)
        assert first != second
        assert first[0] != second[0]

    def test_global_random_state_is_left_as_found(self) -> None:
        """It is not used either."""
        python, numpy = random.getstate(), np.random.get_state()
        first = play(self.create(), 20)
        assert random.getstate() == python
        for one, other in zip(np.random.get_state(), numpy, strict=True):
            assert np.array_equal(one, other)
        random.seed(17)
        assert play(self.create(), 20) == first

    # What it may be told

    def test_a_repeated_result_counts_with_its_mean(self) -> None:
        """Repeats with noise that cancels are as good as repeats without."""
        answers = []
        for noise in (0.0, 0.125):
            strategy = self.create()
            asked = play(strategy, 25)
            for genotype in asked[:5]:
                strategy.tell(genotype, [cost - 2 * noise for cost in toy_costs(genotype)])
                strategy.tell(genotype, [cost + 2 * noise for cost in toy_costs(genotype)])
            answers.append([strategy.ask() for _ in range(5)])
            assert not any(genotype in asked for genotype in answers[-1])
        assert answers[0] == answers[1]

    @pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf])
    def test_a_cost_that_is_no_number_is_unknown(self, unknown: float) -> None:
        """NaN and infinity are the same as None in that place."""

        def evaluate(genotype: Genotype, stopped: float | None) -> Sequence[float | None]:
            error, latency_ms = toy_costs(genotype)
            return (stopped, latency_ms) if genotype["stem"] == 8 else (error, latency_ms)

        first = play(self.create(), 30, functools.partial(evaluate, stopped=None))
        assert play(self.create(), 30, functools.partial(evaluate, stopped=unknown)) == first

    @pytest.mark.parametrize("costs", [None, (None, None), (math.nan, 1.0)])
    def test_goes_on_when_nothing_is_known_of_any(self, costs: Any) -> None:
        """Failures only, or never a complete result."""
        for genotype in play(self.create(), 30, lambda genotype: costs):
            validate(TOY, genotype)

    @pytest.mark.parametrize("objectives", [1, 3, 4])
    def test_one_or_many_objectives(self, objectives: int) -> None:
        """The number of costs is free."""

        def evaluate(genotype: Genotype) -> list[float]:
            error, latency_ms = toy_costs(genotype)
            return [error, latency_ms, float(genotype["stem"]), error * latency_ms][:objectives]

        for genotype in play(self.create(objectives=objectives), 40, evaluate):
            validate(TOY, genotype)

    def test_refuses_what_is_no_result(self) -> None:
        """`ValueError` in one line, and nothing has changed."""
        strategy = self.create(TINY)
        genotype: Genotype = {"kind": "none"}
        wrongs: list[tuple[Genotype, Sequence[float], float, str]] = [
            ({"kind": "other"}, (1.0, 1.0), 0.0, "kind must be one of"),
            ({"kind": "none", "width": 8}, (1.0, 1.0), 0.0, "not active"),
            ({"kind": "plain"}, (1.0, 1.0), 0.0, "lacks 'width'"),
            (genotype, (1.0,), 0.0, "2 costs"),
            (genotype, (1.0, 1.0), -1.0, "at least 0"),
            (genotype, (1.0, 1.0), math.nan, "at least 0"),
        ]
        for wrong, costs, violation, message in wrongs:
            with pytest.raises(ValueError, match=message):
                strategy.tell(wrong, costs, violation)
        with pytest.raises(ValueError, match="not active"):
            strategy.pending({"kind": "none", "width": 8})
        assert len([strategy.ask() for _ in enumerate_genotypes(TINY)]) == 9

    @pytest.mark.parametrize("place", [0, 1])
    @pytest.mark.parametrize(("factor", "shift"), [(1024.0, 0.0), (1e-3, 0.0), (7.0, -30.0)])
    def test_asks_the_same_of_a_metric_in_another_unit(
        self, place: int, factor: float, shift: float
    ) -> None:
        """Scaling or shifting one of the costs changes no ask."""

        def evaluate(genotype: Genotype) -> Sequence[float]:
            costs = list(toy_costs(genotype))
            costs[place] = costs[place] * factor + shift
            return costs

        assert play(self.create(), 40, evaluate) == play(self.create(), 40)

    # What it makes of the screen

    def test_passes_over_what_the_screen_rules_out(self) -> None:
        """What cannot be built or surely violates a constraint costs no trial."""

        def screen(genotype: Genotype) -> Mapping[str, float]:
            if genotype["scheme"] == "static":
                raise CandidateError("no such kernel")
            return {"latency_ms.cpu": toy_costs(genotype)[1]}

        constraint = Constraint.parse("latency_ms.cpu <= 6")
        for genotype in play(self.create(screen=screen, constraints=[constraint]), 40):
            assert genotype["scheme"] == "none"
            assert toy_costs(genotype)[1] <= 6

    def test_ends_when_nothing_is_left_that_can_be_built(self) -> None:
        """`Exhausted` does not wait for what cannot be built."""

        def screen(genotype: Genotype) -> Mapping[str, float]:
            if genotype["kind"] == "inverted":
                raise CandidateError("no such block")
            return {}

        strategy = self.create(TINY, screen=screen)
        assert sorted(str(strategy.ask()["kind"]) for _ in range(3)) == ["none", "plain", "plain"]
        with pytest.raises(Exhausted):
            strategy.ask()

    def test_asks_for_the_least_bad_where_no_constraint_can_be_met(self) -> None:
        """It does not give up, and takes the nearest first."""

        def screen(genotype: Genotype) -> Mapping[str, float]:
            return {"width": float(genotype.get("width", 32))}

        strategy = self.create(TINY, screen=screen, constraints=[Constraint.parse("width <= 4")])
        asked = [strategy.ask() for _ in enumerate_genotypes(TINY)]
        widths = [float(genotype.get("width", 32)) for genotype in asked]
        assert widths == sorted(widths)
        with pytest.raises(Exhausted):
            strategy.ask()


class LearningContract(StrategyContract):
    """What a strategy promises that heeds the costs; subclass it and set `name`."""

    def test_finds_a_better_front_than_random_search(self) -> None:
        """Regret against the exact front after 100 results, mean of six seeds."""

        def mean_regret(create: Callable[[int], Strategy]) -> float:
            return sum(regret(play(create(seed), 100)) for seed in range(6)) / 6

        objectives = [Objective("error", "minimize"), Objective("latency_ms.cpu", "minimize")]
        chance = mean_regret(lambda seed: strategies.create("random", TOY, objectives, seed))
        assert mean_regret(lambda seed: self.create(seed=seed)) < 0.85 * chance

    def test_stays_away_from_what_fails(self) -> None:
        """A third of the space fails; at most a fifth of the late asks may."""

        def evaluate(genotype: Genotype) -> Sequence[float] | None:
            return None if genotype["stage1.kind"] == "inverted" else toy_costs(genotype)

        asked = play(self.create(), 70, evaluate)[-25:]
        assert sum(genotype["stage1.kind"] == "inverted" for genotype in asked) <= 5

    @pytest.mark.parametrize("trained", [True, False])
    def test_moves_to_where_the_constraints_are_met(self, trained: bool) -> None:
        """A ninth of the space is feasible; three times that share is asked for in the end."""

        def violation(genotype: Genotype) -> float:
            return 6.0 - float(genotype["stage1.depth"]) - float(genotype["stage2.depth"])

        def evaluate(genotype: Genotype) -> Sequence[float | None]:
            error, latency_ms = toy_costs(genotype)
            return (error if trained or violation(genotype) == 0 else None), latency_ms

        asked = play(self.create(), 80, evaluate, violation)[-30:]
        assert sum(violation(genotype) == 0 for genotype in asked) >= 10
