"""Which runtime, precision and pruning serves a network fastest, at the accuracy that it has?

    python -m benchmarks.deployments [--networks resnet20 mobilenet_v2] [--seeds 3] [--json FILE]

Each network is trained once a seed on digits at 64x64, then pruned by a quarter and a half (whole
channels, multiples of 16, fine-tuned), each of these quantized too, and each file scored in every
runtime and dtype that can serve it. All are timed in turns in one process, one thread. The fastest
is picked among those whose validation accuracy is about that of the network as it was (mean of the
seeds), compared on the test split, and held against that network in ONNX Runtime in float32.
Then a search is asked the same of a network of 10 us. About 20 minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console
from rich.table import Table
from torch import nn

import hw_profiles
from benchmarks.baselines import mobilenet_v2, resnet20
from evaluators import runtimes, tasks
from evaluators.compression import PruneConfig, QuantizeConfig, prune, quantize
from evaluators.devices import Device
from evaluators.latency import Latency
from evaluators.measured import measure_in_turns
from evaluators.packaging import package
from evaluators.scoring import accuracy_of, predict
from evaluators.tasks import Split, TaskData
from evaluators.training import TrainingConfig, seeded, train
from experiments.experiment import Experiment
from nas.keys import digest, seed_of
from nas.trials import Trial

NETWORKS = {"resnet20": resnet20, "mobilenet_v2": mobilenet_v2}
GOALS = {"resnet20": 2.0, "mobilenet_v2": 1.6}
"""How many times faster than the network as it was in ONNX Runtime in float32."""
TOLERANCE_POINTS = 0.5
"""How much less accurate on the test split."""
PICKED_POINTS = 0.25
"""The same on the validation split: less, since the fastest that passes is often a lucky one."""
PRUNED = (0.0, 0.25, 0.5)
ALIGN = 16
BATCHES = (1, 32)
TINY = Path(__file__).with_name("deployments_tiny.yaml")


class Variant(NamedTuple):
    """A way to deploy a network: the share of channels pruned, the runtime, and the dtype."""

    pruned: float
    runtime: str
    dtype: str


STANDARD = Variant(0.0, "onnxruntime", "float32")
SERVED = (
    ("onnxruntime", "float32"),
    ("onnxruntime", "int8"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
)


@dataclass(frozen=True)
class Scored:
    """One file in one runtime: the shares of validation and test that are right."""

    path: str
    validation: float
    test: float


@dataclass(frozen=True)
class Row:
    """One deployment at one batch; accuracies in percent, differences in points."""

    network: str
    batch: int
    pruned: float
    runtime: str
    dtype: str
    validation: float
    validation_difference: float
    test: float
    test_difference: float
    latency_ms: float
    low_ms: float
    high_ms: float
    speedup: float
    noisy: bool
    picked: bool = False


def variants(network: str, seed: int, config: TrainingConfig, folder: Path) -> dict[Variant, Path]:
    """Train a network, and pack it pruned and quantized in all ways: the file of each variant."""
    data, key = tasks.create("digits", size=64), digest({"network": network, "seed": seed})
    with seeded(seed_of(key, "init")):
        module = NETWORKS[network](data.task)
    train(module, data, config, seed_of(key, "batches"))

    def fine_tune(pruned: nn.Module) -> None:
        train(
            pruned,
            data,
            config,
            seed_of(key, "fine-tuning"),
            epochs=config.fine_tune_epochs,
            learning_rate=config.fine_tune_learning_rate,
        )

    found = {}
    for ratio in PRUNED:
        how = PruneConfig("structured", {"all": ratio}, align=ALIGN) if ratio else PruneConfig()
        files = _packed(prune(module, how, data.task, fine_tune), data, folder / f"{key}-{ratio}")
        for runtime, dtype in SERVED:
            found[Variant(ratio, runtime, dtype)] = files[dtype == "int8"]
    return found


def _packed(module: nn.Module, data: TaskData, stem: Path) -> tuple[Path, Path]:
    """The float32 and the int8 file."""
    plain, integers = Path(f"{stem}.onnx"), Path(f"{stem}-int8.onnx")
    package(module, data, plain)
    return plain, quantize(plain, QuantizeConfig("static"), data.train.inputs, integers)


def scored(network: str, seed: int, config: TrainingConfig, folder: Path) -> dict[Variant, Scored]:
    """The accuracies of all variants, each in what serves it; without those that cannot run."""
    data, found = tasks.create("digits", size=64), {}
    for variant, path in variants(network, seed, config, folder).items():
        try:
            session = runtimes.load(path, variant.runtime, dtype=computed_in(variant))
        except ValueError as error:
            print(f"without {variant}: {error}", file=sys.stderr)
            continue
        with session:
            shares = [_accuracy(session, split) for split in (data.validation, data.test)]
        found[variant] = Scored(str(path), *shares)
    return found


def computed_in(variant: Variant) -> str:
    """What the runtime computes in where the file says float32."""
    return "" if variant.dtype == "int8" else variant.dtype


def _accuracy(session: runtimes.Session, split: Split) -> float:
    return accuracy_of(predict(session, split.inputs), split.labels)


def latencies(results: Mapping[Variant, Scored], batch: int) -> dict[Variant, Latency]:
    """The latency of each variant at one batch, measured in turns."""
    host = hw_profiles.load("host-cpu")
    entries = [
        (found.path, Device("cpu", host, "measured", v.runtime, computed_in(v), batch))
        for v, found in results.items()
    ]
    return dict(zip(results, measure_in_turns(entries), strict=True))


def compare(
    network: str,
    batch: int,
    results: Sequence[Mapping[Variant, Scored]],
    times: Mapping[Variant, Latency],
) -> list[Row]:
    """A row a variant, with the one that is picked.

    Args:
        network: by name.
        batch: examples a call.
        results: of each seed.
        times: by variant.
    """
    means = {
        variant: (
            100 * statistics.fmean(result[variant].validation for result in results),
            100 * statistics.fmean(result[variant].test for result in results),
        )
        for variant in times
    }
    base = means[STANDARD]
    fit = [v for v in times if means[v][0] >= base[0] - PICKED_POINTS - 1e-9]
    picked = min(fit, key=lambda variant: times[variant].latency_ms)
    return [
        Row(
            network=network,
            batch=batch,
            pruned=variant.pruned,
            runtime=variant.runtime,
            dtype=variant.dtype,
            validation=means[variant][0],
            validation_difference=means[variant][0] - base[0],
            test=means[variant][1],
            test_difference=means[variant][1] - base[1],
            latency_ms=latency.latency_ms,
            low_ms=latency.low,
            high_ms=latency.high,
            speedup=times[STANDARD].latency_ms / latency.latency_ms,
            noisy=latency.noisy,
            picked=variant == picked,
        )
        for variant, latency in times.items()
    ]


def verdict(rows: Sequence[Row]) -> str:
    """One line on the variant that was picked, of the rows of one network and batch."""
    row = next(row for row in rows if row.picked)
    goal = GOALS[row.network]
    reached = row.speedup >= goal and row.test_difference >= -TOLERANCE_POINTS - 1e-9
    return (
        f"{row.network}, batch {row.batch}: {row.runtime} {row.dtype}, {100 * row.pruned:g} % "
        f"pruned, is {row.speedup:.2f} times faster, {row.test_difference:+.2f} points on the test "
        f"split; goal {goal:g}x within {TOLERANCE_POINTS} points: "
        f"{'reached' if reached else 'NOT reached'}"
    )


def run(
    networks: Sequence[str], seeds: int, config: TrainingConfig, batches: Sequence[int] = BATCHES
) -> Iterator[list[Row]]:
    """Train, pack and score in a process for each core; then measure, alone.

    Yields:
        The rows of one network and batch.
    """
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=spawn) as pool:
            work = functools.partial(pool.submit, scored, config=config, folder=Path(folder))
            jobs = {name: [work(name, seed) for seed in range(seeds)] for name in networks}
            results = {name: [job.result() for job in of] for name, of in jobs.items()}
        for name in networks:
            for batch in batches:
                times = latencies(results[name][0], batch)
                yield compare(name, batch, results[name], times)


def tiny(home: Path) -> list[Trial]:
    """What a search makes of the small network, the fastest first."""
    result = Experiment.from_yaml(TINY, where=home).run()
    done = [trial for trial in result.trials if trial.status == "done"]
    return sorted(done, key=lambda trial: trial.metrics["latency_ms.cpu"])


def tiny_verdict(trials: Sequence[Trial]) -> str:
    """One line on the fastest deployment of the small network."""
    fastest = {"int8": float("inf"), "other": float("inf")}
    for trial in trials:
        kind = "int8" if trial.genotype["quantize.scheme"] == "static" else "other"
        fastest[kind] = min(fastest[kind], trial.metrics["latency_ms.cpu"])
    origin = trials[0].provenance["latency_ms.cpu"]
    return (
        f"tiny: the search found {origin.runtime} {origin.dtype} "
        f"({1e3 * fastest['other']:.1f} us); int8 takes {fastest['int8'] / fastest['other']:.2f} "
        f"times as long; goal float is faster: "
        f"{'reached' if fastest['other'] < fastest['int8'] else 'NOT reached'}"
    )


def table(rows: Sequence[Row]) -> Table:
    """The rows of one network and batch for reading."""
    shown = Table(title=f"{rows[0].network}, digits 64x64, one thread, batch {rows[0].batch}")
    for name in ("runtime", "dtype"):
        shown.add_column(name, no_wrap=True)
    for name in ("pruned %", "validation", "test", "latency ms", "times"):
        shown.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: row.latency_ms):
        shown.add_row(
            f"{row.runtime} *" if row.picked else row.runtime,
            row.dtype,
            f"{100 * row.pruned:g}",
            f"{row.validation_difference:+.2f}",
            f"{row.test:.2f} ({row.test_difference:+.2f})",
            f"{row.latency_ms:.4g}{' noisy' if row.noisy else ''}",
            f"{row.speedup:.2f}",
        )
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", nargs="*", default=[*NETWORKS], choices=[*NETWORKS])
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each network")
    parser.add_argument("--epochs", type=int, default=12, help="of each training")
    parser.add_argument("--fine-tune-epochs", type=int, default=4, help="after pruning")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, but got {options.seeds}")
    try:
        versions = [runtimes.version(name) for name in ("onnxruntime", "openvino")]
        config = TrainingConfig(options.epochs, fine_tune_epochs=options.fine_tune_epochs)
    except ValueError as error:
        parser.error(str(error))
    console, rows = Console(), []
    for found in run(options.networks, options.seeds, config):
        console.print(table(found))
        console.print(verdict(found), soft_wrap=True)
        rows += found
    with tempfile.TemporaryDirectory() as folder:
        trials = tiny(Path(folder))
    console.print(tiny_verdict(trials), soft_wrap=True)
    if options.json:
        machine = hw_profiles.load("host-cpu").title
        record = {
            "machine": machine,
            "runtimes": versions,
            "seeds": options.seeds,
            "training": config.to_json(),
            "rows": [asdict(row) for row in rows],
            "tiny": [{**trial.genotype, **trial.metrics} for trial in trials],
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
