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
from nas.pareto import hypervolume
from nas.protocols import Strategy
from nas.trials import CandidateError, Exhausted
from strategies.toys import (
    HILLS,
    NESTED,
    TINY,
    TOY,
    Step,
    follow,
    hill_costs,
    many_costs,
    play,
    regret,
    toy_costs,
)

METRICS = ("error", "latency_ms.cpu", "size_kb", "energy_mj.cpu")

_IN_ANOTHER_PROCESS = """
import json, sys
import strategies
from nas.objectives import Objective
from strategies.toys import TOY, follow
job = json.load(sys.stdin)
objectives = [Objective(metric, "minimize") for metric in job["metrics"]]
strategy = strategies.create(job["name"], TOY, objectives, job["seed"], **job["options"])
json.dump(follow(strategy, job["steps"]), sys.stdout)
"""


def _random_states() -> dict[str, str]:
    """The states of the global generators, torch's only where something has imported it."""
    states = {"random": repr(random.getstate()), "numpy": repr(np.random.get_state())}
    torch = sys.modules.get("torch")
    return {**states, "torch": repr(torch.get_rng_state().tolist())} if torch else states


class StrategyContract:
    """What `nas.protocols.Strategy` promises; subclass it and set `name`.

    Attributes:
        name: of the strategy.
        options: for its creation.
        asks: of a test that repeats itself under several conditions; fewer where an ask is slow,
            but enough that the strategy does more than start.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    asks: ClassVar[int] = 40

    def create(
        self,
        choices: Sequence[Choice] = TOY,
        objectives: int = 2,
        seed: int = 0,
        **arguments: Any,
    ) -> Strategy:
        """A fresh strategy; override it for one that is not registered."""
        wanted = [Objective(metric, "minimize") for metric in METRICS[:objectives]]
        return strategies.create(self.name, choices, wanted, seed, **arguments, **self.options)

    # What it asks for

    def test_asks_for_legal_genotypes_and_none_twice(self) -> None:
        """Active choices only, each with one of its options, in the order of the choices."""
        asked = play(self.create(), self.asks)
        for genotype in asked:
            validate(TOY, genotype)
            assert list(genotype) == [c.name for c in TOY if c.name in genotype]
        assert len({json.dumps(genotype) for genotype in asked}) == len(asked)

    def test_conditions_upon_conditions(self) -> None:
        """A choice of a choice of a choice is made where all above it are, and only there."""
        everything = list(enumerate_genotypes(NESTED))
        asked = play(
            self.create(NESTED), len(everything), lambda g: (float(len(g)), -float(len(g) % 3))
        )
        assert sorted(map(json.dumps, asked)) == sorted(map(json.dumps, everything))

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
            with pytest.raises(Exhausted, match="have been asked for"):
                strategy.ask()

    def test_a_single_genotype(self) -> None:
        """A space without a decision."""
        strategy = self.create([Choice("only", (1,))])
        assert strategy.ask() == {"only": 1}
        with pytest.raises(Exhausted):
            strategy.ask()

    def test_a_choice_of_one_option_is_none(self) -> None:
        """It may stand anywhere, and changes nothing."""
        strategy = self.create([*TOY, Choice("only", ("x",))])
        for _ in range(14):
            genotype = strategy.ask()
            assert genotype["only"] == "x"
            strategy.tell(genotype, toy_costs(genotype))

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

    def _history(self, objectives: int) -> list[Step]:
        """What a strategy was told: asked for or not, repeated, failed, unknown, infeasible."""
        strategy, rng = self.create(objectives=objectives, seed=3), random.Random(0)
        steps: list[Step] = []
        for i in range(self.asks):
            genotype = sample(TOY, rng) if i % 4 == 3 else dict(strategy.ask())
            costs: list[float | None] | None = list(many_costs(genotype, objectives))
            if costs and i % 10 == 5:
                costs[0] = None if i == 5 else math.nan
            step = ["tell", genotype, None if i % 10 == 8 else costs, 0.5 * (i % 7 == 6)]
            steps += [step] * (2 if i % 9 == 2 else 1)
            follow(strategy, steps[-2:] if i % 9 == 2 else steps[-1:])
        return [*steps, *(["pending", dict(strategy.ask())] for _ in range(3))]

    @pytest.mark.parametrize("objectives", [1, 2, 3])
    def test_an_ask_depends_only_on_what_was_told_and_is_pending(self, objectives: int) -> None:
        """Three workers whose results come out of order, rebuilt by replay."""
        live: list[Step] = []
        strategy, waiting = self.create(objectives=objectives, seed=5), []
        for i in range(self.asks):
            waiting.append(dict(strategy.ask()))
            if len(waiting) == 3:
                genotype = waiting.pop(i % 3)
                live.append(["tell", genotype, many_costs(genotype, objectives), 0.0])
                follow(strategy, live[-1:])
        again = self.create(objectives=objectives, seed=5)
        follow(again, [*live, *(["pending", genotype] for genotype in reversed(waiting))])
        asks: list[Step] = [["ask"]] * 3
        assert follow(again, asks) == follow(strategy, asks)

    @pytest.mark.parametrize(("hash_seed", "objectives"), [("1", 2), ("2", 4)])
    def test_another_process_with_another_hash_seed_asks_the_same(
        self, hash_seed: str, objectives: int
    ) -> None:
        """All kinds of results, replayed elsewhere; nothing is printed or warned of."""
        steps = [*self._history(objectives), *([["ask"]] * 2)]
        here = follow(self.create(objectives=objectives, seed=3), steps)
        job = {"name": self.name, "options": dict(self.options), "seed": 3, "steps": steps}
        path = os.pathsep.join(sys.path)
        there = subprocess.run(
            [sys.executable, "-W", "error", "-c", _IN_ANOTHER_PROCESS],
            input=json.dumps({**job, "metrics": METRICS[:objectives]}),
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert there.stderr == ""
        assert json.loads(there.stdout) == here

    def test_another_seed_asks_for_something_else(self) -> None:
        """The seed matters from the first ask."""
        asks = min(15, self.asks)
        first, second = play(self.create(seed=1), asks), play(self.create(seed=2), asks)
        assert first != second
        assert first[0] != second[0]

    def test_global_random_state_is_left_as_found(self) -> None:
        """It is not used either."""
        before = _random_states()
        first = play(self.create(), self.asks)
        after = _random_states()
        assert {name: after[name] for name in before} == before
        random.seed(17)
        np.random.seed(17)
        assert play(self.create(), self.asks) == first

    # What it may be told

    def test_a_repeated_result_counts_with_its_mean(self) -> None:
        """Repeats with noise that cancels are as good as repeats without."""
        answers = []
        for noise in (0.0, 0.125):
            strategy = self.create()
            asked = play(strategy, min(25, self.asks + 5))
            for genotype in asked[:5]:
                strategy.tell(genotype, [cost - 2 * noise for cost in toy_costs(genotype)])
                strategy.tell(genotype, [cost + 2 * noise for cost in toy_costs(genotype)])
            answers.append([strategy.ask() for _ in range(3)])
            assert not any(genotype in asked for genotype in answers[-1])
        assert answers[0] == answers[1]

    def test_noisy_results_of_the_same_genotypes(self) -> None:
        """Told again and again, with noise and once as a failure, none is asked for again."""
        strategy, rng = self.create(), random.Random(0)
        asked: list[Genotype] = []
        for i in range(self.asks):
            asked.append(strategy.ask())
            strategy.tell(asked[-1], toy_costs(asked[-1]))
            if i % 3 == 0:
                again = rng.choice(asked)
                noisy = [cost * rng.gauss(1.0, 0.2) for cost in toy_costs(again)]
                strategy.tell(again, None if i % 15 == 0 else noisy)
        assert len({json.dumps(genotype) for genotype in asked}) == len(asked)

    @pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf])
    def test_a_cost_that_is_no_number_is_unknown(self, unknown: float) -> None:
        """NaN and infinity are the same as None in that place."""

        def evaluate(genotype: Genotype, stopped: float | None) -> Sequence[float | None]:
            error, latency_ms = toy_costs(genotype)
            return (stopped, latency_ms) if genotype["stem"] == 8 else (error, latency_ms)

        first = play(self.create(), self.asks, functools.partial(evaluate, stopped=None))
        again = play(self.create(), self.asks, functools.partial(evaluate, stopped=unknown))
        assert again == first

    @pytest.mark.parametrize("enormous", [10**400, -(10**400), 1e308, -1e308])
    def test_a_cost_beyond_all_measure_is_unknown(self, enormous: float) -> None:
        """No error, no warning, and the same asks as without it."""

        def evaluate(genotype: Genotype, stopped: float | None) -> Sequence[float | None]:
            error, latency_ms = toy_costs(genotype)
            return (stopped, latency_ms) if genotype["stem"] == 8 else (error, latency_ms)

        asks = min(15, self.asks)
        first = play(self.create(), asks, functools.partial(evaluate, stopped=None))
        again = play(self.create(), asks, functools.partial(evaluate, stopped=enormous))
        assert again == first

    @pytest.mark.parametrize("costs", [None, (None, None), (math.nan, 1.0)])
    def test_goes_on_when_nothing_is_known_of_any(self, costs: Any) -> None:
        """Failures only, or never a complete result."""
        for genotype in play(self.create(), self.asks, lambda genotype: costs):
            validate(TOY, genotype)

    @pytest.mark.parametrize("constant", [{0}, {1}, {0, 1}])
    def test_goes_on_where_a_metric_is_constant(self, constant: set[int]) -> None:
        """Nothing to learn from it, and no reason to fail."""

        def evaluate(genotype: Genotype) -> Sequence[float]:
            return [3.0 if i in constant else c for i, c in enumerate(toy_costs(genotype))]

        asked = play(self.create(), self.asks, evaluate)
        assert len({json.dumps(genotype) for genotype in asked}) == len(asked)

    @pytest.mark.parametrize("violation", [1e-300, 1e300, 10**400, math.inf])
    def test_goes_on_where_everything_violates(self, violation: float) -> None:
        """However little or much."""
        asked = play(self.create(), self.asks, toy_costs, lambda genotype: violation)
        assert len({json.dumps(genotype) for genotype in asked}) == len(asked)

    @pytest.mark.parametrize("objectives", [1, 3, 4])
    def test_one_or_many_objectives(self, objectives: int) -> None:
        """The number of costs is free."""
        strategy = self.create(objectives=objectives)
        asked = play(strategy, self.asks, lambda genotype: many_costs(genotype, objectives))
        for genotype in asked:
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

    @pytest.mark.parametrize(("objectives", "place"), [(1, 0), (2, 0), (2, 1), (3, 2)])
    @pytest.mark.parametrize(("factor", "shift"), [(1024.0, 0.0), (7.0, -30.0)])
    def test_asks_the_same_of_a_metric_in_another_unit(
        self, objectives: int, place: int, factor: float, shift: float
    ) -> None:
        """Scaling or shifting one of the costs changes no ask."""

        def evaluate(genotype: Genotype) -> Sequence[float]:
            costs = many_costs(genotype, objectives)
            costs[place] = costs[place] * factor + shift
            return costs

        plain = functools.partial(many_costs, objectives=objectives)
        first = play(self.create(objectives=objectives), self.asks, plain)
        assert play(self.create(objectives=objectives), self.asks, evaluate) == first

    # What it makes of the screen

    def test_passes_over_what_the_screen_rules_out(self) -> None:
        """What cannot be built or surely violates a constraint costs no trial."""

        def screen(genotype: Genotype) -> Mapping[str, float]:
            if genotype["scheme"] == "static":
                raise CandidateError("no such kernel")
            return {"latency_ms.cpu": toy_costs(genotype)[1]}

        constraint = Constraint.parse("latency_ms.cpu <= 6")
        for genotype in play(self.create(screen=screen, constraints=[constraint]), self.asks):
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

    def test_says_so_where_no_constraint_can_be_met(self) -> None:
        """One line that names the constraints and how near the nearest comes."""

        def screen(genotype: Genotype) -> Mapping[str, float]:
            return {"width": float(genotype.get("width", 32))}

        strategy = self.create(TINY, screen=screen, constraints=[Constraint.parse("width <= 4")])
        for _ in range(2):
            with pytest.raises(
                Exhausted, match="no candidate satisfies width <= 4; .* by 100"
            ) as e:
                strategy.ask()
            assert "\n" not in str(e.value)

    def test_finds_the_few_that_meet_a_constraint(self) -> None:
        """Nine of 31,104 do: the screen leads there without a single training."""

        def screen(genotype: Genotype) -> Mapping[str, float]:
            return {"latency_ms.cpu": toy_costs(genotype)[1]}

        constraint = Constraint.parse("latency_ms.cpu <= 2.33")
        strategy = self.create(screen=screen, constraints=[constraint])
        assert all(toy_costs(genotype)[1] <= 2.33 for genotype in play(strategy, 4))


class LearningContract(StrategyContract):
    """What a strategy promises that heeds the costs; subclass it and set `name`.

    Attributes:
        regret: after 100 results, as a share of that of random search.
    """

    regret: ClassVar[float] = 0.85

    def test_finds_a_better_front_than_random_search(self) -> None:
        """Regret against the exact front after 100 results, mean of six seeds."""

        def mean_regret(create: Callable[[int], Strategy]) -> float:
            return sum(regret(play(create(seed), 100)) for seed in range(6)) / 6

        objectives = [Objective("error", "minimize"), Objective("latency_ms.cpu", "minimize")]
        chance = mean_regret(lambda seed: strategies.create("random", TOY, objectives, seed))
        assert mean_regret(lambda seed: self.create(seed=seed)) < self.regret * chance

    @pytest.mark.parametrize("objectives", [3, 4])
    def test_finds_a_better_front_of_many_objectives(self, objectives: int) -> None:
        """Hypervolume after 80 results, sum of four seeds, against random search."""
        evaluate = functools.partial(hill_costs, objectives=objectives)

        def volume(create: Callable[[int], Strategy]) -> float:
            asked = (play(create(seed), 80, evaluate) for seed in range(4))
            fronts = [[tuple(evaluate(genotype)) for genotype in each] for each in asked]
            return sum(hypervolume(front, (0.5,) * objectives) for front in fronts)

        wanted = [Objective(metric, "minimize") for metric in METRICS[:objectives]]
        chance = volume(lambda seed: strategies.create("random", HILLS, wanted, seed))
        assert volume(lambda seed: self.create(HILLS, objectives, seed)) > 1.2 * chance

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
