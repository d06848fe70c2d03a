"""What a search costs beside training: the command, a trial, an ask, a screen, latency models.

    python -m benchmarks.overhead [--trials 12] [--strategies NAME ...] [--json FILE]

CPU seconds are of this process and all its threads; everything else is wall time. Medians, with
the range from the lower to the upper quartile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

import evaluators.training
import strategies
from benchmarks.overhead_guided import guided_costs
from benchmarks.overhead_latency import latency_costs
from benchmarks.overhead_strategies import space_of_25, strategy_costs
from experiments.config import load_config
from experiments.pipeline import CandidatePipeline, Parts
from experiments.runs import create_run
from experiments.stages import RunFiles, Worker
from nas.choices import sample
from nas.objectives import Objective
from nas.protocols import Ask
from nas.trials import Trial

ASK_GOALS_MS = {"bayesian": 40.0, "genetic": 5.0}


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    samples: list[float]
    goal: float | None
    unit: str

    def row(self) -> dict[str, object]:
        """Median, quartiles and goal, rounded for reading."""
        low, median, high = statistics.quantiles(self.samples, n=4)
        return {
            "what": self.what,
            "median": round(median, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "goal": self.goal,
            "unit": self.unit,
            "met": self.goal is None or median <= self.goal,
        }


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long a call takes."""
    began = clock()
    call()
    return clock() - began


def help_command(repeats: int = 15) -> Figure:
    """The start of the command line."""
    command = [str(Path(sys.executable).with_name("nas")), "--help"]

    def call() -> object:
        return subprocess.run(command, check=True, capture_output=True)

    call()
    return Figure("nas --help", [seconds(call) for _ in range(repeats)], 0.4, "s")


@contextlib.contextmanager
def training_time() -> Iterator[list[float]]:
    """Collects the CPU seconds of each training and fine-tuning."""
    spent: list[float] = []
    train = evaluators.training.train

    def timed(*args: object, **options: object) -> object:
        began = time.process_time()
        try:
            return train(*args, **options)  # type: ignore[arg-type]
        finally:
            spent.append(time.process_time() - began)

    with mock.patch.object(evaluators.training, "train", timed):
        yield spent


def trial(trials: int, seed: int = 0) -> Figure:
    """Build, prune, export, quantize, score and measure: random candidates of digits-cpu."""
    config = load_config("digits-cpu", ["training.epochs=1", "training.fine_tune_epochs=1"])
    parts, rng, samples = Parts.of(config), random.Random(seed), []
    with tempfile.TemporaryDirectory() as folder, training_time() as spent:
        run = create_run(Path(folder), config)
        pipeline = CandidatePipeline(parts, run.path, config.trial_limit_s)
        RunFiles(run.path).prepare()
        worker = Worker(run.path)
        for number in range(trials + 1):
            candidate = pipeline.candidate(sample(parts.choices, rng))
            spent.clear()
            began = time.process_time()
            for stage in pipeline.stages:
                result = worker.run(stage.name, stage.key(candidate), candidate)
                candidate = _with_artifact(candidate, result)
            if number:  # the first one pays for the imports
                samples.append(time.process_time() - began - sum(spent))
    return Figure("a trial outside training, CPU", samples, 1.5, "s")


def _with_artifact(candidate, result):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(candidate, artifact=result.artifact or candidate.artifact)


def screen(genotypes: int = 500, seed: int = 0) -> Figure:
    """The screen of convnet with four devices, warm."""
    config = load_config("digits-cpu")
    parts, rng = Parts.of(config), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        pipeline = CandidatePipeline(parts, Path(folder), config.trial_limit_s)
        batch = [sample(parts.choices, rng) for _ in range(genotypes)]
        for genotype in batch:
            pipeline.known(genotype)
        times = [1e3 * seconds(lambda g=genotype: pipeline.known(g)) for genotype in batch]
    return Figure("screen of convnet, warm", times, 1.0, "ms")


def ask(kind: str, told: int = 1000, repeats: int = 30) -> Figure:
    """Ask + ledger + tell, after so many results."""
    choices, rng = space_of_25(), random.Random(0)
    objectives = (Objective("accuracy", "maximize"), Objective("latency_ms.cpu", "minimize"))
    strategy = strategies.create(kind, choices, objectives, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        ledger = create_run(Path(folder), load_config("smoke")).ledger(write=True)

        def result(genotype: dict[str, int | float | str]) -> None:
            number, accuracy, latency = ledger.next_number(), rng.random(), rng.random()
            ledger.asked(Ask(number, genotype, "t", f"c{number}"))
            metrics = {"accuracy": accuracy, "latency_ms.cpu": latency}
            ledger.done(Trial(number, genotype, "t", f"c{number}", "done", metrics), float(number))
            strategy.tell(genotype, [-accuracy, latency])

        for _ in range(told):
            result(sample(choices, rng))
        times = [1e3 * seconds(lambda: result(dict(strategy.ask()))) for _ in range(repeats)]
        ledger.close()
    what = f"ask + ledger + tell at {told} trials, {kind}"
    return Figure(what, times, ASK_GOALS_MS[kind], "ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=12, help="candidates that are packed")
    parser.add_argument("--strategies", nargs="*", help="whose asks are timed; default: all")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    arguments = parser.parse_args()
    figures = [
        help_command(),
        trial(arguments.trials),
        ask("bayesian"),
        ask("genetic"),
        *(Figure(*row) for row in strategy_costs(arguments.strategies or ())),
        *(Figure(*row) for row in guided_costs()),
        screen(),
        *(Figure(*row) for row in latency_costs()),
    ]
    rows = [figure.row() for figure in figures]
    for row in rows:
        print(
            f"{row['what']:<45} {row['median']:>8} {row['unit']:<3}"
            f"[{row['low']} .. {row['high']}]  "
            + (f"goal {row['goal']}  " if row["goal"] is not None else "")
            + ("" if row["goal"] is None else "met" if row["met"] else "MISSED")
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
