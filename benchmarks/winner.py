"""Does a search find a network that answers faster than the hand-made ones, and as well?

    python -m benchmarks.winner [--size 32 16] [--trials 60] [--seeds 5] [--json FILE]

A search is told the latency that is wanted and yields candidates, chosen on the validation split.
Images for training and validation are there five times, moved by a pixel (see winner_task.py), for
the hand-made networks too.
They and the hand-made networks are then trained again with several seeds, by one recipe. The one
that validates best among those that are fast enough is compared with ResNet-8 on the test split.
All latencies: ONNX Runtime, float32, one thread, measured in turns in this process.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats
from torch import nn

import search_spaces
from benchmarks.baselines import lenet5, resnet8
from evaluators import runtimes
from evaluators.compression import split
from evaluators.devices import Device
from evaluators.latency import Latency
from evaluators.measured import measure, remeasure
from evaluators.packaging import package
from evaluators.tasks import Split, TaskData
from evaluators.training import TrainingConfig, seeded, train
from experiments.config import load_config
from experiments.experiment import Experiment
from experiments.wiring import build_devices, build_task
from nas.keys import digest, seed_of
from nas.objectives import Constraint, total_violation
from nas.task import Task
from nas.trials import Artifact, Trial

CONFIG = Path(__file__).with_name("winner.yaml")
GOALS = {32: 12.0, 16: 4.0}
"""How many times faster than ResNet-8, by image size."""
TOLERANCE_POINTS = 0.5
"""How much less accurate on the test split, in percentage points."""
FINALISTS = 12

Build = Callable[[Task], nn.Module]


@dataclass(frozen=True)
class Contender:
    """A network to be compared: its name, where it comes from, and how it is built."""

    name: str
    origin: str
    build: Build
    genotype: Mapping[str, int | float | str] | None = None


@dataclass(frozen=True)
class Trained:
    """One training of a contender: shares of validation and test that are right, and the file."""

    validation: float
    test: float
    artifact: Artifact


@dataclass(frozen=True)
class Row:
    """One contender in the table; accuracies in percent, differences to ResNet-8 in points."""

    name: str
    origin: str
    params: int
    validation: float
    test: float
    test_sd: float
    difference: float
    difference_low: float
    difference_high: float
    latency_us: float
    latency_low_us: float
    latency_high_us: float
    speedup: float
    picked: bool
    genotype: Mapping[str, int | float | str] | None


def hand_made() -> list[Contender]:
    """ResNet-8, which everything is compared with, and LeNet-5."""
    return [Contender("ResNet-8", "by hand", resnet8), Contender("LeNet-5", "by hand", lenet5)]


def overrides(
    size: int, trials: int, seed: int, bound_ms: float, epochs: int | None = None
) -> list[str]:
    """What the command changes in winner.yaml."""
    recipe = [] if epochs is None else [f"training.epochs={epochs}"]
    return [
        *recipe,
        f"task.size={size}",
        f"budget.trials={trials}",
        f"seed={seed}",
        f"constraints=['latency_ms.cpu <= {bound_ms:.6g}']",
    ]


def searched(settings: Sequence[str], home: Path) -> list[Contender]:
    """The front of a search, and the most accurate on the validation split beside it.

    One lucky training is enough to push a sound candidate off the front, so those next to it are
    trained again too.
    """
    config = load_config(CONFIG, settings)
    space = search_spaces.create(config.space.kind, **config.space.options)
    result = Experiment(config, home).run()
    return [
        Contender(
            f"trial {trial.number}",
            "front" if trial in result.front else "next best",
            functools.partial(space.build, split(trial.genotype)[0]),
            dict(trial.genotype),
        )
        for trial in finalists(result.trials, result.front, config.constraints_parsed())
    ]


def finalists(
    trials: Sequence[Trial], front: Sequence[Trial], constraints: tuple[Constraint, ...]
) -> list[Trial]:
    """The front, filled up with the most accurate of the others, the faster first.

    Where nothing meets the bound, those are taken that break it least.
    """
    done = [trial for trial in trials if trial.status == "done"]
    least = min((total_violation(constraints, trial.metrics) for trial in done), default=0.0)
    met = [t for t in done if total_violation(constraints, t.metrics) <= least]
    met.sort(key=lambda trial: (-trial.metrics["accuracy"], trial.metrics["latency_ms.cpu"]))
    others = [trial for trial in met if trial not in front]
    return [*front, *others][:FINALISTS]


def trained(
    contender: Contender, data: TaskData, config: TrainingConfig, seed: int, folder: Path
) -> Trained:
    """Train a contender from scratch, pack it, and score the file."""
    key = digest({"contender": contender.name, "seed": seed})
    with seeded(seed_of(key, "init")):
        module = contender.build(data.task)
    train(module, data, config, seed_of(key, "batches"))
    path = folder / f"{key}.onnx"
    artifact = package(module, data, path, {"contender": contender.name})
    with runtimes.load(path) as session:
        return Trained(_accuracy(session, data.validation), _accuracy(session, data.test), artifact)


def trained_again(
    contenders: Sequence[Contender],
    data: TaskData,
    config: TrainingConfig,
    seeds: int,
    folder: Path,
) -> list[list[Trained]]:
    """Each contender trained with each seed, in a process for each core; they are gone then."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=spawn) as pool:
        jobs = [
            [pool.submit(trained, contender, data, config, seed, folder) for seed in range(seeds)]
            for contender in contenders
        ]
        return [[job.result() for job in line] for line in jobs]


def untrained_latency(contender: Contender, data: TaskData, device: Device) -> Latency:
    """The latency of a contender, which does not depend on its weights."""
    with tempfile.TemporaryDirectory() as folder, seeded(0):
        path = Path(folder) / "untrained.onnx"
        return measure(package(contender.build(data.task).eval(), data, path, {}), device)


def _accuracy(session: runtimes.Session, split: Split) -> float:
    return float(np.mean(session.run(split.inputs).argmax(axis=1) == split.labels))


def difference(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """Mean of ``one`` less mean of ``other``, with its 95 % interval (Welch 1947).

    Without any spread the interval is the difference itself.
    """
    mean = statistics.fmean(one) - statistics.fmean(other)
    shares = [statistics.variance(values) / len(values) for values in (one, other)]
    if sum(shares) == 0:
        return mean, mean, mean
    degrees = sum(shares) ** 2 / sum(
        share**2 / (len(values) - 1) for share, values in zip(shares, (one, other), strict=True)
    )
    half = float(stats.t.ppf(0.975, degrees)) * sum(shares) ** 0.5
    return mean, mean - half, mean + half


def pick(validation: Sequence[float], speedups: Sequence[float], goal: float) -> int:
    """The index of the best on validation among those that are fast enough, if any is.

    Args:
        validation: mean accuracies.
        speedups: of the same candidates; of equally good ones the faster is taken.
        goal: what is fast enough.
    """
    indexes = range(len(validation))
    fast = [i for i in indexes if speedups[i] >= goal] or list(indexes)
    return max(fast, key=lambda i: (validation[i], speedups[i]))


def compare(
    contenders: Sequence[Contender],
    results: Sequence[Sequence[Trained]],
    latencies: Sequence[Latency],
    params: Sequence[int],
    goal: float,
) -> list[Row]:
    """The table; the first contender is the standard, those with a genotype can be picked."""
    found = [i for i, contender in enumerate(contenders) if contender.genotype is not None]
    means = [statistics.fmean(run.validation for run in runs) for runs in results]
    times = [latency.latency_ms for latency in latencies]
    picked = found[pick([means[i] for i in found], [times[0] / times[i] for i in found], goal)]
    standard = [100 * run.test for run in results[0]]
    rows = []
    for i, (contender, runs, latency) in enumerate(
        zip(contenders, results, latencies, strict=True)
    ):
        tests = [100 * run.test for run in runs]
        mean, low, high = difference(tests, standard)
        rows.append(
            Row(
                name=contender.name,
                origin=contender.origin,
                params=params[i],
                validation=100 * means[i],
                test=statistics.fmean(tests),
                test_sd=statistics.stdev(tests),
                difference=mean,
                difference_low=low,
                difference_high=high,
                latency_us=1e3 * latency.latency_ms,
                latency_low_us=1e3 * latency.low,
                latency_high_us=1e3 * latency.high,
                speedup=times[0] / times[i],
                picked=i == picked,
                genotype=contender.genotype,
            )
        )
    return rows


def verdict(rows: Sequence[Row], size: int) -> str:
    """One line on the candidate that was picked."""
    winner = next(row for row in rows if row.picked)
    reached = winner.difference >= -TOLERANCE_POINTS and winner.speedup >= GOALS[size]
    return (
        f"{size}x{size}: {winner.name} is {winner.speedup:.1f} times faster than {rows[0].name}, "
        f"{winner.difference:+.2f} points [{winner.difference_low:+.2f}, "
        f"{winner.difference_high:+.2f}] on the test split; "
        f"goal {GOALS[size]:g}x within {TOLERANCE_POINTS} points: "
        f"{'reached' if reached else 'NOT reached'}"
    )


def run(
    size: int, trials: int, seeds: int, seed: int, home: Path, epochs: int | None = None
) -> list[Row]:
    """Search, train again, measure and compare for one image size."""
    config = load_config(CONFIG, [f"task.size={size}"])
    data = build_task(config)
    (device,) = build_devices(config)
    bound_ms = untrained_latency(hand_made()[0], data, device).latency_ms / GOALS[size]
    settings = overrides(size, trials, seed, bound_ms, epochs)
    contenders = [*hand_made(), *searched(settings, home)]
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_config(CONFIG, settings).training
        results = trained_again(contenders, data, recipe, seeds, Path(folder))
        latencies = remeasure([runs[0].artifact for runs in results], device)
    params = [sum(p.numel() for p in c.build(data.task).parameters()) for c in contenders]
    return compare(contenders, results, latencies, params, GOALS[size])


def table(rows: Sequence[Row], size: int) -> Table:
    """The rows for reading."""
    shown = Table(title=f"digits {size}x{size}, ONNX Runtime float32, one thread, batch 1")
    for name in ("network", "from", "parameters", "validation %", "test %", "points to ResNet-8"):
        shown.add_column(name, justify="left" if name in ("network", "from") else "right")
    shown.add_column("latency us", justify="right")
    shown.add_column("times faster", justify="right")
    for row in rows:
        shown.add_row(
            f"{row.name} *" if row.picked else row.name,
            row.origin,
            f"{row.params:,}",
            f"{row.validation:.2f}",
            f"{row.test:.2f} ± {row.test_sd:.2f}",
            f"{row.difference:+.2f} [{row.difference_low:+.2f}, {row.difference_high:+.2f}]",
            f"{row.latency_us:.1f} [{row.latency_low_us:.1f}, {row.latency_high_us:.1f}]",
            f"{row.speedup:.1f}",
        )
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, nargs="+", default=[32, 16], choices=sorted(GOALS))
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument(
        "--seeds", type=int, default=5, help="trainings of each network, at least 2"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the search")
    parser.add_argument("--epochs", type=int, help="of each training; those of winner.yaml")
    parser.add_argument("--home", type=Path, help="keep the searches here")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error(f"--seeds must be at least 2, but got {options.seeds}")
    console = Console()
    record: dict[str, object] = {"runtime": runtimes.version(), "trials": options.trials}
    with tempfile.TemporaryDirectory() as folder:
        for size in options.size:
            home = options.home or Path(folder)
            rows = run(size, options.trials, options.seeds, options.seed, home, options.epochs)
            console.print(table(rows, size))
            console.print(verdict(rows, size), soft_wrap=True)
            record[f"{size}x{size}"] = [asdict(row) for row in rows]
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
