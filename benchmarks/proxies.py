"""Zero-cost proxies on the task at hand: how they rank networks, what they cost.

    python -m benchmarks.proxies [--spaces convnet,macro] [--networks 36] [--epochs 3]
    python -m benchmarks.proxies --search 30 [--spaces convnet] [--seeds 0,1,2] [--epochs 2]

Random networks of each space are trained on digits 16x16; then the rank correlation of each proxy
with their validation accuracy is printed beside that of log MACs and log parameters, what a proxy
says beyond log MACs (partial), and the seconds of all proxies of a network on one core.

With --search the strategy `guided` looks for accuracy against MACs in so many trainings: without
proxies, with them where they help, and with them always. A network is trained the same way each
time, so the three differ in what they ask for alone.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

import evaluators
import evaluators.tasks
import search_spaces
import strategies
from evaluators.proxy_names import PREFIX, PROXIES
from evaluators.tasks import TaskData
from evaluators.training import seeded, train
from evaluators.training_config import TrainingConfig
from evaluators.workload import trace
from experiments.screening import Screen
from experiments.stages import untrained
from nas.choices import Genotype, Value, sample
from nas.keys import candidate_key, seed_of, training_key
from nas.objectives import Objective
from nas.pareto import hypervolume
from nas.ranks import kendall, partial_kendall, spearman
from nas.trials import Candidate, CandidateError
from strategies.guided import closer

SIZE = 16
SPACES = {"convnet": {}, "macro": {"width": 0.25}}
"""With their options."""

REFERENCE = (0.5, 7.0)
"""Of the hypervolume: the share of errors, and the logarithm of MACs to base 10."""

Items = tuple[tuple[str, Value], ...]

COLUMNS = ("accuracy", "macs", "params", *PROXIES, "seconds", "train_s")


def row(space: object, data: TaskData, genotype: Genotype, config: TrainingConfig) -> list[float]:
    """`COLUMNS` of a network; NaN where there is none."""
    key = training_key(genotype, config.to_json(), data.task.data_hash)
    with seeded(seed_of(key, "init")):
        module = space.build(genotype, data.task)  # type: ignore[attr-defined]
    workload = trace(module, (1, *data.task.input_shape))
    candidate = Candidate(genotype, key, candidate_key(genotype, key), module=module)
    proxies = evaluators.create("proxies", data=data)
    began = time.process_time()
    readings = proxies.evaluate(candidate)
    seconds = time.process_time() - began
    began = time.process_time()
    report = train(module, data, config, seed_of(key, "training"))
    train_s = time.process_time() - began
    found = [readings.get(f"{PREFIX}{name}", float("nan")) for name in PROXIES]
    return [report.accuracy[-1], workload.macs, workload.params, *found, seconds, train_s]


def rows(name: str, networks: int, config: TrainingConfig, seed: int) -> NDArray[np.float64]:
    """(networks, columns), distinct random networks."""
    space, data = (
        search_spaces.create(name, **SPACES[name]),
        evaluators.tasks.create("digits", size=SIZE),
    )
    rng, seen = random.Random(seed), dict[str, Genotype]()
    while len(seen) < networks:
        genotype = sample(space.choices, rng)
        seen[str(genotype)] = genotype
    return np.array([row(space, data, genotype, config) for genotype in seen.values()])


def table(values: NDArray[np.float64]) -> list[str]:
    """Lines: Kendall, Spearman and what is said beyond log MACs, of each column."""
    columns = dict(zip(COLUMNS, values.T, strict=True))
    accuracy, macs = columns["accuracy"], columns["macs"]
    lines = [f"{'':10} {'Kendall':>8} {'Spearman':>8} {'beyond MACs':>12} {'known of':>9}"]
    for name in ("macs", "params", *PROXIES):
        there = np.isfinite(columns[name])
        pair = columns[name][there], accuracy[there]
        beyond = "" if name == "macs" else f"{partial_kendall(*pair, macs[there]):.2f}"
        figures = f"{kendall(*pair):8.2f} {spearman(*pair):8.2f} {beyond:>12}"
        lines.append(f"{name:10} {figures} {there.sum():5}/{len(there)}")
    seconds = columns["seconds"]
    lines.append(
        f"all proxies of a network: median {np.median(seconds):.3f} s, most {seconds.max():.3f} s; "
        f"its training: median {np.median(columns['train_s']):.2f} s; accuracies "
        f"{accuracy.min():.3f} to {accuracy.max():.3f}"
    )
    return lines


class Trained:
    """Networks of a space, each trained and looked at once.

    Args:
        name: of the space.
        config: the recipe.
    """

    def __init__(self, name: str, config: TrainingConfig) -> None:
        self.space = search_spaces.create(name, **SPACES[name])
        self.data = evaluators.tasks.create("digits", size=SIZE)
        self._config, self._proxies = config, evaluators.create("proxies", data=self.data)
        self._screen = Screen(self.space, self.data.task, [], 8)
        self.accuracy = functools.cache(self._accuracy)
        self.known, self.looks, self.look_s = functools.cache(self._known), 0, 0.0
        self._looked = functools.cache(self._look)

    def screen(self, genotype: Genotype) -> Mapping[str, float]:
        """What is known before training."""
        return self.known(tuple(genotype.items()))

    def look(self, genotype: Genotype) -> Mapping[str, float]:
        """The proxies."""
        return self._looked(tuple(genotype.items()))

    def costs(self, genotype: Genotype) -> tuple[float, float]:
        """The share of errors, and the logarithm of MACs to base 10."""
        wrong = 1 - self.accuracy(tuple(genotype.items()))
        return wrong, math.log10(self.screen(genotype)["macs"])

    def _candidate(self, items: Items) -> Candidate:
        key = training_key(dict(items), self._config.to_json(), self.data.task.data_hash)
        return Candidate(dict(items), key, candidate_key(dict(items), key))

    def _built(self, items: Items) -> Candidate:
        candidate = self._candidate(items)
        return replace(candidate, module=untrained(self.space, candidate, self.data.task))

    def _known(self, items: Items) -> Mapping[str, float]:
        readings = self._screen(self._candidate(items))
        return {"macs": readings["macs"], "params": readings["params"]}

    def _look(self, items: Items) -> Mapping[str, float]:
        began = time.process_time()
        found = self._proxies.evaluate(self._built(items))
        self.look_s += time.process_time() - began
        self.looks += 1
        return found

    def _accuracy(self, items: Items) -> float:
        candidate = self._built(items)
        seed = seed_of(candidate.training_key, "training")
        try:
            return train(candidate.module, self.data, self._config, seed).accuracy[-1]
        except CandidateError:
            return 0.0


def searched(trained: Trained, budget: int, seed: int, variant: str) -> str:
    """A line: the hypervolume that `guided` reaches with so many trainings."""
    objectives = [Objective("error", "minimize"), Objective("macs", "minimize")]
    options = {} if variant == "without" else {"proxies": trained.look}
    before, points = (trained.looks, trained.look_s), []
    least, closer.SMALLER = closer.SMALLER, math.inf if variant == "always" else closer.SMALLER
    try:
        strategy = strategies.create(
            "guided", trained.space.choices, objectives, seed, trained.screen, **options
        )
        for _ in range(budget):
            genotype = strategy.ask()
            wrong, macs = trained.costs(genotype)
            strategy.tell(genotype, [wrong, 10**macs])
            points.append((wrong, macs))
    finally:
        closer.SMALLER = least
    volume, at_half = (hypervolume(points[:n], REFERENCE) for n in (budget, budget // 2))
    looks, seconds = trained.looks - before[0], trained.look_s - before[1]
    notes = "; ".join(getattr(strategy, "notes", ()))
    return (
        f"seed {seed} {variant:8} hypervolume {at_half:.4f} after {budget // 2}, "
        f"{volume:.4f} after {budget}; {looks} new looks in {seconds:.1f} s; {notes}"
    )


def search(name: str, budget: int, seeds: Sequence[int], config: TrainingConfig) -> None:
    """Print a line a seed and variant."""
    trained = Trained(name, config)
    for seed in seeds:
        for variant in ("without", "helpful", "always"):
            print(f"{name}: {searched(trained, budget, seed, variant)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--spaces", default=",".join(SPACES))
    parser.add_argument("--networks", type=int, default=36)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--search", type=int, default=0, help="trainings of a search")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--save", type=Path, help="a folder for the rows")
    options = parser.parse_args(arguments)
    config = TrainingConfig(epochs=options.epochs, warmup_epochs=min(2.0, options.epochs / 4))
    for name in options.spaces.split(","):
        if options.search:
            search(name, options.search, [int(s) for s in options.seeds.split(",")], config)
            continue
        values = rows(name, options.networks, config, options.seed)
        if options.save:
            np.save(options.save / f"{name}.npy", values)
        print(f"{name}: {len(values)} networks, {options.epochs} epochs")
        print("\n".join(table(values)), flush=True)


if __name__ == "__main__":
    main()
