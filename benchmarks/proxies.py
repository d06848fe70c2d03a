"""Zero-cost proxies on the task at hand: how they rank networks, what they cost.

    python -m benchmarks.proxies [--spaces convnet,macro] [--networks 36] [--epochs 3]

Random networks of each space are trained on digits 16x16; then the rank correlation of each proxy
with their validation accuracy is printed beside that of log MACs and log parameters, what a proxy
says beyond log MACs (partial), and the seconds of all proxies of a network on one core.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

import evaluators
import evaluators.tasks
import search_spaces
from evaluators.proxy_names import PREFIX, PROXIES
from evaluators.tasks import TaskData
from evaluators.training import seeded, train
from evaluators.training_config import TrainingConfig
from evaluators.workload import trace
from nas.choices import Genotype, sample
from nas.keys import candidate_key, seed_of, training_key
from nas.ranks import kendall, partial_kendall, spearman
from nas.trials import Candidate

SIZE = 16
SPACES = {"convnet": {}, "macro": {"width": 0.25}}
"""With their options."""

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--spaces", default=",".join(SPACES))
    parser.add_argument("--networks", type=int, default=36)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="a folder for the rows")
    options = parser.parse_args(arguments)
    config = TrainingConfig(epochs=options.epochs, warmup_epochs=min(2.0, options.epochs / 4))
    for name in options.spaces.split(","):
        values = rows(name, options.networks, config, options.seed)
        if options.save:
            np.save(options.save / f"{name}.npy", values)
        print(f"{name}: {len(values)} networks, {options.epochs} epochs")
        print("\n".join(table(values)), flush=True)


if __name__ == "__main__":
    main()
