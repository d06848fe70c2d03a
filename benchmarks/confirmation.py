"""Which networks to present where trainings are noisy, and what a second look at them is worth.

    python -m benchmarks.confirmation --data DIR [--seeds 3] [--budget 60] [--times 3]
        [--tables macro:flops,macro:generic-cpu] [--noise 1]

The truth is the mean of the repeated trainings in a table (see search_tasks.py). A training of the
search is the truth and a normal error with the deviation that the repeated trainings of one
network have, times ``--noise``. Each search is presented in several ways:

- ``single``: the front of what was told;
- ``expected``: the front of what the surrogate expects of all that were trained;
- ``members``: the front of means, once its members were trained so many times;
- ``confirm``: likewise, with those near the front (what ``budget.confirm`` does);
- ``confirm, expected``: the same trainings, the front of what the surrogate expects;
- ``longer``, ``longer, expected``: no repeats, but as many more networks as ``confirm`` trained
  again.

Regret: the percentage of the best hypervolume that the presented networks truly miss. Promise: how
much the accuracy that is stated for them is above the true one, in points of a percent, mean.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

import strategies
from benchmarks.search_tasks import SearchTask, load_tasks, repeat_deviation
from nas import repeats
from nas.choices import Genotype
from nas.keys import digest, seed_of
from nas.pareto import ParetoArchive
from nas.trials import Trial

Row = dict[str, Any]
Costs = tuple[float, ...]


class Searched:
    """One noisy search with guided search, and what was trained again after it.

    Args:
        task: where the truth is looked up.
        deviation: of a training's accuracy.
        seed: of strategy and noise.
    """

    def __init__(self, task: SearchTask, deviation: float, seed: int) -> None:
        self._task, self._deviation, self._seed = task, deviation, seed
        self.strategy: Any = strategies.create(
            "guided", task.choices, task.objectives, seed, screen=task.known
        )
        self.trials: list[Trial] = []

    def train(self, genotype: Genotype, repeat: int = 0) -> None:
        """Once more, and tell the strategy."""
        key = digest([dict(genotype), repeat, self._seed])
        luck = np.random.default_rng(seed_of(key, "noise")).normal(0, self._deviation)
        error, cost = self._task.scored(genotype)
        metrics = {"accuracy": luck - error, self._task.cost: cost}
        number = len(self.trials)
        self.trials.append(Trial(number, genotype, key, key, "done", metrics, repeat=repeat))
        self.strategy.tell(genotype, (error - luck, cost))

    def search(self, budget: int) -> None:
        """Until so many networks are trained."""
        while len(self.trials) < budget:
            self.train(self.strategy.ask())

    def confirm(self, times: int, near: bool) -> int:
        """Train the front again; returns how many trainings that took."""
        before, kept = len(self.trials), repeats.NEAR
        repeats.NEAR = kept if near else -1.0
        try:
            while due := repeats.unconfirmed(self.trials, self._task.objectives, (), times):
                for genotype, repeat in due:
                    self.train(genotype, repeat)
        finally:
            repeats.NEAR = kept
        return len(self.trials) - before

    def told(self) -> list[tuple[Genotype, Costs]]:
        """The front of means."""
        together = repeats.merged(self.trials, self._task.objectives)
        return _front([(t.genotype, self._costs(t.metrics)) for t in together])

    def expected(self) -> list[tuple[Genotype, Costs]]:
        """The front of what the surrogate expects."""
        genotypes = [trial.genotype for trial in self.trials if not trial.repeat]
        return _front(list(zip(genotypes, self.strategy.expected_costs(genotypes), strict=True)))

    def _costs(self, metrics: Mapping[str, float]) -> Costs:
        return -metrics["accuracy"], metrics[self._task.cost]

    def worth(self, presented: Sequence[tuple[Genotype, Costs]]) -> tuple[float, float]:
        """(regret in percent, promise in points)."""
        over = [self._task.scored(genotype)[0] - costs[0] for genotype, costs in presented]
        return self._task.regret([g for g, _ in presented]), 100 * float(np.mean(over))


def _front(points: Sequence[tuple[Genotype, Costs]]) -> list[tuple[Genotype, Costs]]:
    archive = ParetoArchive()
    for index, (_, costs) in enumerate(points):
        archive.add(index, costs)
    return [points[index] for index in archive.front]


def run(task: SearchTask, deviation: float, seed: int, budget: int, times: int) -> list[Row]:
    """Each way to present one search."""

    def searched() -> Searched:
        found = Searched(task, deviation, seed)
        found.search(budget)
        return found

    rows: list[Row] = []

    def add(way: str, found: Searched, show: Callable[[], Any], more: int) -> None:
        regret, promise = found.worth(show())
        row = {"way": way, "regret": regret, "promise": promise, "more": more}
        rows.append({**row, "task": task.name, "seed": seed})

    first = searched()
    add("single", first, first.told, 0)
    add("expected", first, first.expected, 0)
    plain = searched()
    add("members", plain, plain.told, plain.confirm(times, near=False))
    more = first.confirm(times, near=True)
    add("confirm", first, first.told, more)
    add("confirm, expected", first, first.expected, more)
    longer = searched()
    longer.search(budget + more)
    add("longer", longer, longer.told, more)
    add("longer, expected", longer, longer.expected, more)
    return rows


def show(rows: Sequence[Row], console: Console) -> None:
    table = Table("way", "regret, %", "promise, points", "further trainings")
    for way in dict.fromkeys(row["way"] for row in rows):
        here = [row for row in rows if row["way"] == way]
        regret, promise, more = (
            float(np.mean([row[name] for row in here])) for name in ("regret", "promise", "more")
        )
        table.add_row(way, f"{regret:.3f}", f"{promise:+.3f}", f"{more:.1f}")
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--tables", default="macro:flops,macro:generic-cpu")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=60, help="networks trained by the search")
    parser.add_argument("--times", type=int, default=3, help="trainings of a confirmed network")
    parser.add_argument("--noise", type=float, default=1.0, help="times the deviation measured")
    chosen = parser.parse_args(arguments)
    try:
        tasks = load_tasks(chosen.data, chosen.tables.split(","))
        deviation = chosen.noise * repeat_deviation(chosen.data)
    except ValueError as error:
        print(f"confirmation: {error}", file=sys.stderr)
        return 2
    parts = deviation, chosen.budget, chosen.times
    rows = [
        row
        for seed in range(chosen.seeds)
        for task in tasks
        for row in run(task, parts[0], seed, *parts[1:])
    ]
    console = Console()
    console.print(f"deviation of a training: {100 * deviation:.3f} points", highlight=False)
    show(rows, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
