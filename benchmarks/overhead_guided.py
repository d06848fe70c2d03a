"""What an ask of `guided` costs in the shipped search: `screen` of convnet with four devices.

    python -m benchmarks.overhead_guided [--results 200,2000] [--proposers genetic,bayesian]

The first ask, which screens while nothing is cached, and the medians of ask + tell after so many
results; the accuracies told are random, latency and size are what is screened.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import strategies
from experiments.config import load_config
from experiments.pipeline import CandidatePipeline, Parts
from nas.choices import Genotype, sample
from nas.objectives import Objective

TOLD = (200, 2000)
PROPOSERS = ("genetic", "bayesian")
GOALS_MS = {200: 150.0, 2000: 1000.0}

Row = tuple[str, list[float], float | None, str]


def guided_costs(
    told: Sequence[int] = TOLD,
    proposers: Sequence[str] = PROPOSERS,
    repeats: int = 13,
    experiment: str = "digits-cpu",
) -> Iterator[Row]:
    """(what, samples, goal or None, unit): the first ask, and those after so many results.

    Args:
        told: numbers of results, rising.
        proposers: of `guided`.
        repeats: asks that are timed at each.
        experiment: whose space and devices are screened.
    """
    config = load_config(experiment)
    parts = Parts.of(config)
    objectives = (Objective("accuracy", "maximize"), Objective("latency_ms.fpga", "minimize"))
    for proposer in proposers:
        with tempfile.TemporaryDirectory() as folder:
            known = CandidatePipeline(parts, Path(folder), config.trial_limit_s).known
            rng, count = random.Random(0), 0

            def costs(genotype: Genotype) -> list[float]:
                return [-rng.random(), known(genotype)["latency_ms.fpga"]]  # noqa: B023

            strategy = strategies.create(
                "guided", parts.choices, objectives, 0, known, proposer=proposer
            )
            began = time.perf_counter()
            strategy.tell(genotype := strategy.ask(), costs(genotype))
            first = 1e3 * (time.perf_counter() - began)
            yield f"first ask, convnet screened, guided {proposer}", [first] * 2, None, "ms"
            for target in told:
                for _ in range(target - count):
                    genotype = sample(parts.choices, rng)
                    strategy.tell(genotype, costs(genotype))
                times = []
                for _ in range(repeats):
                    began = time.perf_counter()
                    genotype = strategy.ask()
                    answer = costs(genotype)
                    strategy.tell(genotype, answer)
                    times.append(1e3 * (time.perf_counter() - began))
                count = target + repeats
                what = f"ask + tell at {target} results, convnet screened, guided {proposer}"
                yield what, times, GOALS_MS.get(target), "ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", default=",".join(map(str, TOLD)), help="with commas")
    parser.add_argument("--proposers", default=",".join(PROPOSERS), help="with commas")
    parser.add_argument("--repeats", type=int, default=13)
    arguments = parser.parse_args()
    told = [int(number) for number in arguments.results.split(",")]
    for what, samples, goal, unit in guided_costs(
        told, arguments.proposers.split(","), arguments.repeats
    ):
        verdict = "" if goal is None else f"goal {goal:g}"
        print(f"{what:<70} {statistics.median(samples):>9.1f} {unit} {verdict}", flush=True)


if __name__ == "__main__":
    main()
