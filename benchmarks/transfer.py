"""What earlier results are worth to a search: regret with and without them.

    python -m benchmarks.transfer --data DIR [--seeds 3] [--first-seed 0] [--earlier 50]
        [--budget 50] [--proposer genetic] [--pairs macro:generic-cpu>macro:tpu-v5e,...]

Each pair ``SOURCE>TARGET`` names two tasks of one table (see search_tasks.py). The source is
searched by guided search with so many trainings, and its results are handed to a search of the
target, in several ways:

- ``none``: nothing is;
- ``device``: the accuracies as they are: the same task, another device;
- ``task``: accuracies of another task, which we make up, since the tables have one each: a third
  of the accuracy's variance comes from a random polynomial of the choices, and scale and zero are
  others; then also the source was searched for these;
- ``shuffled``: the accuracies of ``device``, dealt out at random: harmful;
- ``reversed``: the worst for the best.

Regret: the percentage of the best hypervolume that is missed after 20 and so on trainings.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import strategies
from benchmarks.search_tasks import SearchTask, load_tasks
from nas.choices import Genotype, sample
from nas.trials import CandidateError

Row = dict[str, Any]
Results = list[tuple[Genotype, tuple[float, float]]]

PAIRS = (
    "macro:generic-cpu>macro:tpu-v5e,macro:flops>macro:nvidia-jetson-orin-nano,"
    "cell:lat_1080ti_1>cell:lat_pixel3,cell:lat_pixel3>cell:lat_gold_6240"
)
AT = (10, 20, 30, 50)
OTHER = 1 / 3
"""Of the variance of the made-up task's accuracies, what the real one does not have."""


def search(
    task: SearchTask,
    seed: int,
    budget: int,
    told: Callable[[Genotype], tuple[float, float]],
    **options: Any,
) -> Results:
    """The results of guided search, in their order."""
    strategy = strategies.create(
        "guided", task.choices, task.objectives, seed, screen=task.known, **options
    )
    results: Results = []
    while len(results) < budget:
        genotype = strategy.ask()
        costs = told(genotype)
        results.append((genotype, costs))
        strategy.tell(genotype, costs)
    return results


def other_task(task: SearchTask, seed: int) -> Callable[[Genotype], tuple[float, float]]:
    """Errors of a made-up task, related to the real one."""
    import random

    rng, draw = np.random.default_rng(seed), random.Random(seed)  # noqa: S311 (no secret)
    sizes = [len(choice.options) for choice in task.choices]
    single = [rng.normal(size=size) for size in sizes]
    pairs = [rng.normal(size=(a, b)) for a, b in zip(sizes, sizes[1:], strict=False)]

    def place(genotype: Genotype) -> list[int]:
        return [c.options.index(genotype[c.name]) for c in task.choices]

    def polynomial(genotype: Genotype) -> float:
        at = place(genotype)
        total = sum(float(table[i]) for table, i in zip(single, at, strict=True))
        return total + sum(float(t[i, j]) for t, i, j in zip(pairs, at, at[1:], strict=False))

    both: list[tuple[float, float]] = []
    while len(both) < 400:
        genotype = sample(task.choices, draw)
        try:
            both.append((task.scored(genotype)[0], polynomial(genotype)))
        except CandidateError:
            continue
    values: NDArray[np.float64] = np.array(both)
    mean, deviation = values.mean(axis=0), values.std(axis=0)

    def told(genotype: Genotype) -> tuple[float, float]:
        error, cost = task.scored(genotype)
        one = (error - mean[0]) / deviation[0]
        two = (polynomial(genotype) - mean[1]) / deviation[1]
        return -0.5 + 0.02 * float(np.sqrt(1 - OTHER) * one + np.sqrt(OTHER) * two), cost

    return told


def handed_over(results: Results, how: str, seed: int) -> list[tuple[Genotype, Any]]:
    """Without the source's cost, which says nothing of the target."""
    errors = [costs[0] for _, costs in results]
    if how == "shuffled":
        errors = list(np.random.default_rng(seed).permutation(errors))
    if how == "reversed":
        errors = [-error for error in errors]
    return [(g, (float(e), None)) for (g, _), e in zip(results, errors, strict=True)]


def run(
    source: SearchTask, target: SearchTask, seed: int, earlier: int, budget: int, **options: Any
) -> list[Row]:
    """Regret of each way on one pair."""
    before = search(source, seed + 1000, earlier, source.told, **options)
    made_up = search(source, seed + 1000, earlier, other_task(source, seed), **options)
    rows = []
    for how in ("none", "device", "task", "shuffled", "reversed"):
        results = made_up if how == "task" else before
        more = {} if how == "none" else {"prior": handed_over(results, how, seed)}
        found = [g for g, _ in search(target, seed, budget, target.told, **options, **more)]
        curve = {n: target.regret(found[:n]) for n in AT if n <= budget}
        name = f"{source.name} > {target.name}"
        rows.append({"pair": name, "how": how, "seed": seed, "curve": curve})
    return rows


def show(rows: Sequence[Row], console: Console) -> None:
    pairs = list(dict.fromkeys(row["pair"] for row in rows))
    for pair in [*pairs, *(["all pairs"] if len(pairs) > 1 else [])]:
        here = [row for row in rows if pair in (row["pair"], "all pairs")]
        at = list(here[0]["curve"])
        table = Table("earlier results", *(f"after {n}" for n in at), title=f"regret in %, {pair}")
        for how in dict.fromkeys(row["how"] for row in here):
            curves = [row["curve"] for row in here if row["how"] == how]
            means = (float(np.mean([curve[n] for curve in curves])) for n in at)
            table.add_row(how, *(f"{mean:.3f}" for mean in means))
        console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--pairs", default=PAIRS, help="SOURCE>TARGET, with commas between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--earlier", type=int, default=50, help="results handed over")
    parser.add_argument("--budget", type=int, default=50, help="trainings of the target")
    parser.add_argument("--proposer", default="genetic")
    chosen = parser.parse_args(arguments)
    pairs = [tuple(pair.split(">")) for pair in chosen.pairs.split(",")]
    try:
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"--pairs must be SOURCE>TARGET,..., but got {chosen.pairs}")
        names = sorted({name for pair in pairs for name in pair})
        tasks = {task.name: task for task in load_tasks(chosen.data, names)}
        if missing := [name for name in names if name not in tasks]:
            raise ValueError(f"--data must hold {', '.join(missing)}, but holds {', '.join(tasks)}")
    except ValueError as error:
        print(f"transfer: {error}", file=sys.stderr)
        return 2
    console, rows = Console(), list[Row]()
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        for source, target in pairs:
            both = tasks[source], tasks[target]
            parts = seed, chosen.earlier, chosen.budget
            rows += run(*both, *parts, proposer=chosen.proposer)
    show(rows, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
