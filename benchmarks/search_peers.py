"""Other people's optimizers, used plainly; what they ask for again is answered from a cache."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import strategies
from benchmarks.search_tasks import SearchTask
from nas.choices import Choice, Genotype, canonical
from nas.pareto import ParetoArchive
from nas.trials import CandidateError, Exhausted
from strategies.variation import mutate

POPULATION = 20
REPEATS = 50
"""Asks for each training of the budget, after which an optimizer is stopped."""


class BudgetSpentError(Exception):
    """The budget is spent."""


class Trainer:
    """Trains each network once.

    Args:
        task: where the costs are looked up.
        budget: distinct trainings.
    """

    def __init__(self, task: SearchTask, budget: int) -> None:
        self._task, self._budget, self._asks = task, budget, 0
        self._known: dict[tuple[Any, ...], tuple[float, float]] = {}
        self.trained: list[Genotype] = []
        self.told: list[tuple[float, float]] = []
        self.expected: Callable[[int], list[tuple[float, float]]] | None = None

    def __call__(self, values: Genotype) -> tuple[float, float]:
        """Error and cost; the reference point for a network that cannot be built.

        Raises:
            BudgetSpentError: when nothing is left of the budget.
        """
        self._asks += 1
        if len(self.trained) >= self._budget or self._asks > REPEATS * self._budget:
            raise BudgetSpentError
        genotype = canonical(self._task.choices, values)
        key = tuple(genotype.items())
        if key not in self._known:
            try:
                error, cost = self._task.told(genotype)
                self.trained.append(genotype)
                self.told.append((error, cost))
            except CandidateError:
                error, cost = self._task.reference
            self._known[key] = (error, cost)
        return self._known[key]

    def presented(self, number: int) -> list[Genotype]:
        """The front of the first trainings as a user would see it."""
        costs = self.told[:number]
        if self.expected is not None:
            costs = self.expected(number)
        archive = ParetoArchive()
        for index, each in enumerate(costs):
            archive.add(index, each)
        return [self.trained[index] for index in archive.front]


Run = Callable[[SearchTask, Trainer, int], None]


def ours(name: str, **options: Any) -> Run:
    """One of our strategies, with all that is known before training."""

    def run(task: SearchTask, train: Trainer, seed: int) -> None:
        def create() -> Any:
            return strategies.create(
                name, task.choices, task.objectives, seed, screen=task.known, **options
            )

        def expected(number: int) -> list[tuple[float, float]]:
            again = create()
            for genotype, costs in zip(train.trained[:number], train.told, strict=False):
                again.tell(genotype, costs)
            found: list[tuple[float, float]] = again.expected_costs(train.trained[:number])
            return found

        strategy = create()
        if hasattr(strategy, "expected_costs"):
            train.expected = expected
        while True:
            try:
                genotype = strategy.ask()
            except Exhausted:
                return
            strategy.tell(genotype, train(genotype))

    return run


def _values(choices: Sequence[Choice], indices: Sequence[int]) -> dict[str, Any]:
    return {c.name: c.options[int(i)] for c, i in zip(choices, indices, strict=True)}


def optuna(sampler: str) -> Run:
    """``tpe`` (multivariate), ``nsga2`` or ``gp``."""

    def run(task: SearchTask, train: Trainer, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samplers = optuna.samplers
            made = {
                "tpe": lambda: samplers.TPESampler(seed=seed, multivariate=True),
                "nsga2": lambda: samplers.NSGAIISampler(seed=seed, population_size=POPULATION),
                "gp": lambda: samplers.GPSampler(seed=seed),
            }[sampler]()
            study = optuna.create_study(directions=["minimize"] * 2, sampler=made)
            while True:
                trial = study.ask()
                values = {
                    c.name: trial.suggest_categorical(c.name, c.options) for c in task.choices
                }
                study.tell(trial, train(values))

    return run


def pymoo(task: SearchTask, train: Trainer, seed: int) -> None:
    """NSGA-II on the indices of options, with the operators that its manual has for integers."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling

    class Problem(ElementwiseProblem):
        def __init__(self) -> None:
            upper = [len(choice.options) - 1 for choice in task.choices]
            super().__init__(n_var=len(upper), n_obj=2, xl=0, xu=upper, vtype=int)

        def _evaluate(self, x: Sequence[int], out: dict[str, Any], *_: Any, **__: Any) -> None:
            out["F"] = train(_values(task.choices, x))

    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    algorithm.setup(Problem(), termination=("n_gen", 10**6), seed=seed, verbose=False)
    while algorithm.has_next():
        algorithm.next()


def deap(task: SearchTask, train: Trainer, seed: int) -> None:
    """(mu + lambda) with NSGA-II's selection, uniform crossover and mutation."""
    from deap import base, tools

    class Fitness(base.Fitness):
        weights = (-1.0, -1.0)

    class Individual(list[int]):
        def __init__(self, values: Sequence[int]) -> None:
            super().__init__(values)
            self.fitness = Fitness(train(_values(task.choices, values)))

    sizes = [len(choice.options) for choice in task.choices]
    state = random.getstate()
    random.seed(seed)
    try:
        population = [Individual([random.randrange(s) for s in sizes]) for _ in range(POPULATION)]
        population = tools.selNSGA2(population, POPULATION)
        while True:
            children = []
            parents = tools.selTournamentDCD(population, POPULATION)
            for one, other in zip(parents[::2], parents[1::2], strict=True):
                pair = [list(one), list(other)]
                if random.random() < 0.9:
                    tools.cxUniform(*pair, indpb=0.5)
                for child in pair:
                    upper = [size - 1 for size in sizes]
                    tools.mutUniformInt(child, 0, upper, indpb=1 / len(sizes))
                    children.append(Individual(child))
            population = tools.selNSGA2(population + children, POPULATION)
    finally:
        random.setstate(state)


def local(task: SearchTask, train: Trainer, seed: int) -> None:
    """One step from a random member of the front, random networks to begin with."""
    from nas.choices import sample

    rng, archive, known = random.Random(seed), ParetoArchive(), list[Genotype]()
    while True:
        front = list(archive.front)
        if len(known) < 10:
            genotype = sample(task.choices, rng)
        else:
            genotype = mutate(task.choices, known[rng.choice(front)], rng)
        archive.add(len(known), train(genotype))
        known.append(genotype)


STRATEGIES: dict[str, Run] = {
    "guided genetic": ours("guided", proposer="genetic"),
    "guided bayesian": ours("guided", proposer="bayesian"),
    "guided random": ours("guided", proposer="random"),
    "bayesian": ours("bayesian"),
    "genetic": ours("genetic"),
    "random": ours("random"),
    "local search": local,
    "pymoo NSGA-II": pymoo,
    "Optuna TPE": optuna("tpe"),
    "Optuna NSGA-II": optuna("nsga2"),
    "Optuna GP": optuna("gp"),
    "DEAP NSGA-II": deap,
}

PEERS = tuple(n for n in STRATEGIES if n.split()[0] in ("pymoo", "Optuna", "DEAP"))

LIMITS = {"Optuna GP": 100}
"""Trainings at most: more take it minutes each."""


def play(name: str, task: SearchTask, budget: int, seed: int) -> Trainer:
    """What a strategy has trained by the end of the budget."""
    trainer = Trainer(task, min(budget, LIMITS.get(name, budget)))
    with contextlib.suppress(BudgetSpentError):
        STRATEGIES[name](task, trainer, seed)
    return trainer


def names(wanted: str) -> Iterator[str]:
    """Those named, comma-separated, or all.

    Raises:
        ValueError: for an unknown one.
    """
    for name in STRATEGIES if wanted == "all" else wanted.split(","):
        if name.strip() not in STRATEGIES:
            raise ValueError(f"--strategies must be all or some of {', '.join(STRATEGIES)}")
        yield name.strip()
