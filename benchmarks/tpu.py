"""How well do the TPU models predict published throughputs of a TPU v2?

    python -m benchmarks.tpu --data DIR [--networks 24] [--cache DIR] [--minutes M]
        [--shots 10,30,100] [--seeds 5] [--json FILE]

Networks of the space ``mnasnet`` with their throughput on one core of a TPU v2 at batch 64
(Accel-NASBench). Each is compiled twice by the XLA:TPU compiler, without a TPU:

- as it was timed: batch norm unfolded, what a backward pass would read kept as outputs, those in
  the layout of PyTorch/XLA, which lays large images out anew;
- clean, the inference program that a user gets: batch norm folded, one output.

Nothing is fitted to the measurements but, where it is said, one factor for all. Only throughputs
below 800 images a second count for the compiler; above, the published ones are noisy. Compiling
takes 10 to 40 s a program: what was compiled is kept in the cache, and ``--minutes`` ends early.

The analytic model is calibrated on 10, 30 and 100 networks and tested on all others.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import hw_profiles
import search_spaces
from benchmarks.latency_data import Array, Collection, collections
from benchmarks.latency_models import score
from evaluators.calibration import calibrate_table
from evaluators.components import engine_of
from evaluators.kernel_table import KernelTable, components_of, zero_shot_ms
from evaluators.modeled import predict
from evaluators.tpu.autograd import keeping
from evaluators.tpu.export import export
from evaluators.tpu.xla import Compiled, XlaCompiler, latency
from hw_profiles import HardwareProfile
from nas.task import Task
from search_spaces import mnasnet

BATCH = 64
COLUMN = "throughput_tpuv2"
FASTEST = 800.0
"""Images a second, above which the published throughputs are noisy."""
_KEPT_WRITES = 1.0
"""As timed, the result of a convolution is written beside that of its activation."""
_KEPT_COPIES = 4.0
"""And where images are large, both are read and written once more in another layout."""


@dataclass(frozen=True)
class Row:
    """One network, in milliseconds a call.

    Args:
        network: the four strings of Accel-NASBench.
        measured_ms: published.
        timed_ms: the compiler's estimate of the program that was timed.
        clean_ms: of the inference program.
        copies_ms: of what changes layouts in the program that was timed.
        seconds: that compiling both took, 0 where they were kept.
    """

    network: str
    measured_ms: float
    timed_ms: float
    clean_ms: float
    copies_ms: float
    seconds: float


@dataclass(frozen=True)
class Summary:
    """How estimates compare with measurements, nothing fitted.

    Args:
        spearman: rank correlation.
        level: the median of estimate by measurement.
        w10: percent within 10 % after one factor for all.
        spread: standard deviation of estimate by measurement, as a share of its mean.
    """

    spearman: float
    level: float
    w10: float
    spread: float

    @classmethod
    def of(cls, estimated: Array, measured: Array) -> Summary:
        """Of all networks."""
        ratio = estimated / measured
        level = float(np.median(ratio))
        return cls(
            spearman=float(stats.spearmanr(estimated, measured)[0]),
            level=level,
            w10=float(100 * (np.abs(ratio / level - 1) <= 0.1).mean()),
            spread=float(ratio.std() / ratio.mean()),
        )

    def __str__(self) -> str:
        return (
            f"Spearman {self.spearman:.3f}, level {self.level:.2f} of the measured, "
            f"w10 {self.w10:.0f} % after one factor, spread {100 * self.spread:.1f} %"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _options(arguments)
    profile = hw_profiles.load("tpu-v2")
    record: dict[str, object] = {}
    try:
        collection = _accel(options.data)
        if options.networks:
            compiler = XlaCompiler(options.cache)
            rows = list(_compiled(options, collection.rows, compiler, profile))
            record |= {"compiler": [asdict(row) for row in rows], "summaries": _say(rows)}
            compiler.close()
        record["analytic"] = _analytic(options, collection, profile)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def as_timed_ms(table: KernelTable, profile: HardwareProfile, batch: int = BATCH) -> Array:
    """The analytic model of the program that was timed, nothing fitted: (networks,) ms.

    The time of the inference program, and what keeping tensors adds: they are written, and large
    images are laid out anew.
    """
    parts = components_of(table, engine_of(profile, batch, profile.dtype))
    amounts = table.counts @ parts.each
    ends = np.array([name.rpartition(".")[2] for name in parts.names])
    written = amounts[:, ends == "memory"].sum(axis=1)
    relaid = amounts[:, ends == "relayout"].sum(axis=1)
    total: Array = zero_shot_ms(table, parts) + _KEPT_WRITES * written + _KEPT_COPIES * relaid
    return total


def estimated(
    row: pd.Series, profile: HardwareProfile, compiler: XlaCompiler
) -> tuple[Compiled, Compiled]:
    """The programs of one network: as it was timed, and clean.

    Args:
        row: with the strings ``e``, ``k``, ``l`` and ``se``.
        profile: of the chip.
        compiler: that compiles.
    """
    task = Task("imagenet", "classification", (3, 224, 224), 1000, "accuracy", "none")
    genotype = mnasnet.genotype_of(row.e, row.k, row.l, row.se)
    module = search_spaces.create("mnasnet").build(genotype, task)
    shape = (BATCH, *task.input_shape)
    unfolded, _ = export(module, shape, fold=False)
    clean, _ = export(module, shape)
    timed = compiler.compile(keeping(unfolded), profile.chip, profile.dtype)
    return timed, compiler.compile(clean, profile.chip, profile.dtype)


def _compiled(
    options: argparse.Namespace,
    rows: pd.DataFrame,
    compiler: XlaCompiler,
    profile: HardwareProfile,
) -> Iterator[Row]:
    """Random networks of those whose throughput is not too high, a line each."""
    known = rows[rows[COLUMN] < FASTEST]
    chosen = known.sample(min(options.networks, len(known)), random_state=0)
    end = time.monotonic() + 60 * options.minutes
    print(f"{'network (e k l se)':34s} measured as timed ratio    clean  seconds")
    for count, (_, row) in enumerate(chosen.iterrows()):
        if time.monotonic() > end:
            print(f"stopped after {count} of {len(chosen)} networks: start again to go on")
            return
        timed, clean = estimated(row, profile, compiler)
        copies = sum(each.cycles for each in timed.instructions if each.opcode == "copy")
        found = Row(
            network=f"{row.e} {row.k} {row.l} {row.se}",
            measured_ms=1e3 * BATCH / float(row[COLUMN]),
            timed_ms=latency(timed, profile).latency_ms,
            clean_ms=latency(clean, profile).latency_ms,
            copies_ms=1e3 * copies / profile.clock_hz.value,
            seconds=timed.seconds + clean.seconds,
        )
        ratio = found.timed_ms / found.measured_ms
        print(
            f"{found.network:34s} {found.measured_ms:8.2f} {found.timed_ms:8.2f} {ratio:5.2f} "
            f"{found.clean_ms:8.2f} {found.seconds:8.1f}",
            flush=True,
        )
        yield found


def _say(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Summaries, in words and as values."""
    if len(rows) < 2:
        return {}
    measured, timed, clean, copies = (
        np.array([getattr(row, name) for row in rows])
        for name in ("measured_ms", "timed_ms", "clean_ms", "copies_ms")
    )
    found = {"timed": Summary.of(timed, measured), "clean": Summary.of(clean, measured)}
    print(f"\n{len(rows)} networks, XLA:TPU compiler for v2, batch {BATCH}, nothing fitted:")
    print(f"  as timed  {found['timed']}")
    print(f"  clean     {found['clean']}")
    rest = timed - clean - copies
    print(
        f"The clean program takes {100 * np.median(clean / timed):.0f} % of the time of the one "
        f"that was timed. Of the difference, {100 * np.median(copies / (timed - clean)):.0f} % "
        "are changes of layout of what is kept for a backward pass, "
        f"{100 * np.median(rest / (timed - clean)):.0f} % are writing it and what is therefore "
        "not fused."
    )
    return {name: asdict(summary) for name, summary in found.items()}


def _analytic(
    options: argparse.Namespace, collection: Collection, profile: HardwareProfile
) -> list[dict[str, float]]:
    """The analytic model on all networks with a measurement, a line for each number of shots."""
    throughput = collection.rows[COLUMN].to_numpy(dtype=float)
    usable = np.flatnonzero(np.isfinite(throughput) & (throughput > 0))
    table, measured = collection.tables["xla"][usable], 1e3 * BATCH / throughput[usable]
    networks = collection.groups[usable]
    print(f"\ntpu_analytic on {len(usable)} networks, nothing fitted:")
    print(f"  as timed  {Summary.of(as_timed_ms(table, profile), measured)}")
    print(f"  clean     {Summary.of(predict(table, profile, BATCH).latency_ms, measured)}")
    print(f"calibrated, tested on all others, mean of {options.seeds} draws:")
    found = []
    for shots in options.shots:
        scores = []
        for seed in range(options.seeds):
            order = np.random.default_rng(seed).permutation(len(usable))
            train = order[:shots]
            test = np.flatnonzero(~np.isin(networks, networks[train]))
            fitted = calibrate_table(profile, table[train], measured[train], batch=BATCH)
            predicted = predict(table[test], fitted, BATCH).latency_ms
            scores.append(score(measured[test], predicted, None))
        w10 = float(np.mean([each.w10 for each in scores]))
        spearman = float(np.mean([each.spearman for each in scores]))
        print(f"  {shots:4d} networks: w10 {w10:.1f} %, Spearman {spearman:.3f}", flush=True)
        found.append({"shots": shots, "w10": w10, "spearman": spearman})
    return found


def _accel(folder: Path) -> Collection:
    """The networks of Accel-NASBench in a folder.

    Raises:
        ValueError: there are none with throughputs of a TPU v2.
    """
    for collection in collections(folder, ("xla",), "accel"):
        if COLUMN in collection.rows:
            return collection
    raise ValueError(f"{folder} must hold accel_*.csv.gz with a column {COLUMN}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the measurements")
    parser.add_argument("--networks", type=int, default=24, help="to compile; 0: none")
    parser.add_argument("--cache", type=Path, help="folder of compiled programs")
    parser.add_argument("--minutes", type=float, default=60.0, help="after which compiling ends")
    parser.add_argument("--shots", type=_numbers, default=(10, 30, 100), help="by comma")
    parser.add_argument("--seeds", type=int, default=5, help="draws of the networks")
    parser.add_argument("--json", type=Path, help="write all figures here")
    return parser.parse_args(arguments)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip()]


if __name__ == "__main__":
    sys.exit(main())
