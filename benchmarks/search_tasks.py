"""Search tasks whose best front is known: tables of trained networks, and a synthetic truth.

A table is a CSV file with a row a network:

- ``arch`` or ``ops``: its genotype, a digit a choice (eight of ``macro``, six of ``cell``);
- accuracy in percent: ``acc1``, ``acc2``, ... of repeated trainings, or one column
  ``<data>_test_<epochs>``;
- costs: ``flops``, ``macs``, ``lat_<device>``; of ``macro`` also the latencies that we model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import hw_profiles
import search_spaces
from evaluators.complexity import PATHS, Complexity
from evaluators.kernel_table import tabulate
from evaluators.modeled import predict
from evaluators.workload import BlockCaches
from nas.blocks import Block
from nas.choices import Choice, Genotype, Value, canonical
from nas.objectives import Objective
from nas.pareto import Costs, hypervolume
from nas.task import Task as Data
from nas.trials import Candidate, CandidateError
from search_spaces import cell, macro

Array = NDArray[np.float64]

PROFILES = ("generic-cpu", "nvidia-jetson-orin-nano", "tpu-v5e")
"""Latencies of ``macro`` are modeled on these."""

MEASURED = ("lat_1080ti_1", "lat_gold_6240", "lat_pixel3")
"""Columns of ``cell`` that are searched unless others are named."""

CIFAR = Data("cifar10", "classification", (3, 32, 32), 10, "accuracy", "none")
IMAGENET = Data("imagenet", "classification", (3, 224, 224), 1000, "accuracy", "none")

SYNTHETIC = "accel25"
_EVOLVED = 400


@dataclass(frozen=True)
class SearchTask:
    """Networks whose accuracy and cost can be looked up.

    Args:
        name: ``<table>:<cost>``.
        choices: the space.
        cost: the metric that is known before training.
        known: the metrics known before training; raises `CandidateError` for what is not there.
        accuracy: (what a search is told, what it is scored by), shares.
        reference: of the hypervolume: the worst error and cost.
        best: the hypervolume of the best front, as scored.
    """

    name: str
    choices: Sequence[Choice]
    cost: str
    known: Callable[[Genotype], Mapping[str, float]]
    accuracy: Callable[[Genotype], tuple[float, float]]
    reference: Costs
    best: float
    objectives: Sequence[Objective] = field(init=False)

    def __post_init__(self) -> None:
        objectives = (Objective("accuracy", "maximize"), Objective(self.cost, "minimize"))
        object.__setattr__(self, "objectives", objectives)

    def told(self, genotype: Genotype) -> Costs:
        """What a search hears of a training."""
        return -self.accuracy(genotype)[0], self.known(genotype)[self.cost]

    def scored(self, genotype: Genotype) -> Costs:
        """What a training is worth."""
        return -self.accuracy(genotype)[1], self.known(genotype)[self.cost]

    def regret(self, genotypes: Sequence[Genotype]) -> float:
        """The percentage of the best hypervolume that these networks miss."""
        found = hypervolume([self.scored(g) for g in genotypes], self.reference)
        return 100 * (1 - found / self.best)


def load_tasks(folder: Path, names: Sequence[str] = (), noisy: bool = False) -> list[SearchTask]:
    """The tasks of a folder.

    Args:
        folder: with ``nasbench_macro_*.csv.gz``, ``nb201_*.csv.gz`` and ``accel_*.csv.gz``, or
            some of them.
        names: those wanted, by the start of their names; all of them where empty.
        noisy: told the first of the repeated trainings, scored by the mean of the others.

    Raises:
        ValueError: one line, when there is nothing to search or a file cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"--data must be a folder, but {folder} is none")
    tasks: list[SearchTask] = []
    for pattern, read in (("nasbench_macro_*", _macro), ("nb201_*", _cells), ("accel_*", _accel)):
        for file in sorted(folder.glob(f"{pattern}.csv*")):
            wanted = [n for n in names if _may_be(pattern, n)]
            if wanted or not names:
                tasks += read(file, wanted, noisy)
    if not tasks:
        known = "nasbench_macro_*.csv.gz, nb201_*.csv.gz, accel_*.csv.gz"
        raise ValueError(f"{folder} holds no task {', '.join(names) or f'({known})'}")
    return tasks


def _may_be(pattern: str, name: str) -> bool:
    short = {"nasbench_macro_*": "macro", "nb201_*": "cell", "accel_*": SYNTHETIC}[pattern]
    return short.startswith(name.split(":")[0]) or name.startswith(short)


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    return not wanted or any(name.startswith(each) for each in wanted)


# Tables


def _read(file: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table, and the genotypes as digits."""
    try:
        rows = pd.read_csv(file, dtype={"arch": str, "ops": str})
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
    column = next((n for n in ("ops", "arch") if n in rows), None)
    if column is None:
        raise ValueError(f"{file} must have a column arch or ops, but has {', '.join(rows)}")
    return rows, [str(digits) for digits in rows[column]]


def _accuracies(file: Path, rows: pd.DataFrame, noisy: bool) -> tuple[Array, Array]:
    """(told, scored), shares."""
    repeats = sorted(name for name in rows if re.fullmatch(r"acc\d+", name))
    tests = [name for name in rows if re.fullmatch(r".+_test_\d+", name)]
    if not repeats and not tests:
        raise ValueError(f"{file} must have columns acc1, acc2, ... or <data>_test_<epochs>")
    values = rows[repeats or tests[:1]].to_numpy(float) / 100
    if not noisy:
        return values.mean(axis=1), values.mean(axis=1)
    if values.shape[1] < 2:
        raise ValueError(f"{file} must have repeated trainings acc1, acc2, ... to be noisy")
    return values[:, 0], values[:, 1:].mean(axis=1)


def repeat_deviation(folder: Path) -> float:
    """Of the accuracy of repeated trainings of one network of ``macro``, pooled; a share.

    Raises:
        ValueError: one line, when no table has repeated trainings.
    """
    for file in sorted(folder.glob("nasbench_macro_*.csv*")):
        rows, _ = _read(file)
        repeats = rows[sorted(name for name in rows if re.fullmatch(r"acc\d+", name))]
        if repeats.shape[1] > 1:
            return float(np.sqrt((repeats / 100).var(axis=1, ddof=1).mean()))
    raise ValueError(f"{folder} has no table with repeated trainings acc1, acc2, ...")


def _macro(file: Path, wanted: Sequence[str], noisy: bool) -> list[SearchTask]:
    rows, digits = _read(file)
    accuracies = _accuracies(file, rows, noisy)
    genotypes = [macro.genotype_of(each) for each in digits]
    costs = {"flops": rows["flops"].to_numpy(float)} if "flops" in rows else {}
    space = search_spaces.create("macro")
    assert space.blocks is not None  # noqa: S101 (for the type checker)
    networks = [space.blocks(genotype, CIFAR) for genotype in genotypes]
    for profile in PROFILES:
        if _is_wanted(f"macro:{profile}", wanted):
            costs[profile] = modeled_ms(networks, profile)
    complexity = complexity_of("macro")
    return [
        _tabular(f"macro:{name}", space.choices, genotypes, accuracies, values, complexity)
        for name, values in costs.items()
        if _is_wanted(f"macro:{name}", wanted)
    ]


def modeled_ms(networks: Sequence[Sequence[Block]], profile: str) -> Array:
    """(networks,): their latencies on a device, as modeled."""
    device = hw_profiles.load(profile)
    caches = BlockCaches([device.lowering])
    table = tabulate([caches.workloads(blocks)[device.lowering] for blocks in networks])
    return np.asarray(predict(table, device).latency_ms, dtype=float)


def _cells(file: Path, wanted: Sequence[str], noisy: bool) -> list[SearchTask]:
    if noisy:
        return []
    rows, digits = _read(file)
    if "connected" in rows:  # screening refuses networks that ignore their input
        kept = rows["connected"].to_numpy(bool)
        rows, digits = (
            rows[kept],
            [each for each, is_kept in zip(digits, kept, strict=True) if is_kept],
        )
    accuracies = _accuracies(file, rows, noisy)
    genotypes = [cell.genotype_of(each) for each in digits]
    named = [name for name in rows if name.startswith("lat_")]
    explicit = [name for name in named if f"cell:{name}" in wanted]
    columns = explicit or [name for name in named if name in MEASURED]
    choices, complexity = search_spaces.create("cell").choices, complexity_of("cell")
    return [
        _tabular(
            f"cell:{name}", choices, genotypes, accuracies, rows[name].to_numpy(float), complexity
        )
        for name in columns
        if _is_wanted(f"cell:{name}", wanted)
    ]


def complexity_of(name: str) -> Callable[[Genotype], Mapping[str, float]]:
    """What `evaluators.complexity` says of the networks of a space, each traced when asked for."""
    space, caches = search_spaces.create(name), BlockCaches(["onnxruntime"])
    assert space.blocks is not None  # noqa: S101 (for the type checker)
    blocks, evaluator = space.blocks, Complexity()
    known: dict[tuple[Value, ...], Mapping[str, float]] = {}

    def complexity(genotype: Genotype) -> Mapping[str, float]:
        key = tuple(genotype.values())
        if key not in known:
            workload = caches.workloads(blocks(genotype, CIFAR))
            known[key] = evaluator.evaluate(Candidate(genotype, "", "", workload=workload))
        return known[key]

    return complexity


def _tabular(
    name: str,
    choices: Sequence[Choice],
    genotypes: Sequence[Genotype],
    accuracies: tuple[Array, Array],
    costs: Array,
    complexity: Callable[[Genotype], Mapping[str, float]],
) -> SearchTask:
    metric = "flops" if name.endswith(":flops") else "latency_ms.device"
    place = {tuple(genotype.values()): i for i, genotype in enumerate(genotypes)}

    def row(genotype: Genotype) -> int:
        try:
            return place[tuple(genotype.values())]
        except KeyError:
            raise CandidateError("this network is not in the table") from None

    def known(genotype: Genotype) -> dict[str, float]:
        index = row(genotype)
        return {metric: float(costs[index]), **complexity(genotype)}

    def accuracy(genotype: Genotype) -> tuple[float, float]:
        index = row(genotype)
        return float(accuracies[0][index]), float(accuracies[1][index])

    points = np.column_stack([-accuracies[1], costs])
    reference = tuple(points.max(axis=0).tolist())
    best = hypervolume([tuple(point) for point in _front(points).tolist()], reference)
    return SearchTask(name, choices, metric, known, accuracy, reference, best)


def _front(points: Array) -> Array:
    """(points, 2) -> those that no other one dominates."""
    points = points[np.lexsort((points[:, 0], points[:, 1]))]
    before = np.minimum.accumulate(np.concatenate([[np.inf], points[:-1, 0]]))
    return points[points[:, 0] < before]


# A space with conditions, too large for a table


def accel25_choices() -> list[Choice]:
    """25 choices; squeeze-excitation is chosen only where a stage expands."""
    choices = []
    for stage in range(1, 8):
        choices.append(Choice(f"stage{stage}.expansion", (1, 4, 6), ordered=True))
        choices.append(Choice(f"stage{stage}.kernel", (3, 5)))
        choices.append(Choice(f"stage{stage}.layers", (1, 2, 3), ordered=True))
        if stage > 3:
            when = {f"stage{stage}.expansion": (4, 6)}
            choices.append(Choice(f"stage{stage}.se", (0, 1), when=when))
    return choices


def _accel(file: Path, wanted: Sequence[str], noisy: bool) -> list[SearchTask]:
    """Accuracy: a polynomial fitted to measured networks; latency: modeled, stage by stage."""
    name = f"{SYNTHETIC}:zcu102-dpu"
    if noisy or not _is_wanted(name, wanted):
        return []
    texts = {name: str for name in ("e", "k", "l", "se")}
    rows = pd.read_csv(file, dtype=texts)
    digits = np.array(
        [[[int(d) for d in row[name]] for name in texts] for _, row in rows.iterrows()]
    )
    terms, choices = _terms(digits), accel25_choices()
    mean = float(rows["val_top1"].mean())
    gram = terms.T @ terms + 3.0 * np.eye(terms.shape[1])
    weights = np.linalg.solve(gram, terms.T @ (rows["val_top1"].to_numpy(float) - mean))
    tables = _stage_tables()

    def shares(found: NDArray[np.int64]) -> Array:
        return np.asarray((mean + _terms(found) @ weights) / 100)

    def total(table: Array, found: NDArray[np.int64]) -> Array:
        e, k, layers, se = (found[:, i] for i in range(4))
        places = (np.searchsorted((1, 4, 6), e), (k - 3) // 2, layers - 1, se)
        return np.asarray(table[(np.arange(7), *places)].sum(axis=1))

    def latencies(found: NDArray[np.int64]) -> Array:
        return total(tables["latency_ms.device"], found)

    def known(genotype: Genotype) -> dict[str, float]:
        digits = _digits(genotype)[None]
        return {name: float(total(table, digits)[0]) for name, table in tables.items()}

    def accuracy(genotype: Genotype) -> tuple[float, float]:
        share = float(shares(_digits(genotype)[None])[0])
        return share, share

    points = _evolved(lambda found: np.column_stack([-shares(found), latencies(found)]))
    sample = _drawn(5000, np.random.default_rng(1))
    worst = np.column_stack([-shares(sample), latencies(sample)]).max(axis=0)
    reference = tuple(worst.tolist())
    best = hypervolume([tuple(point) for point in points.tolist()], reference)
    return [SearchTask(name, choices, "latency_ms.device", known, accuracy, reference, best)]


def _digits(genotype: Genotype) -> NDArray[np.int64]:
    """(4, 7): expansion, kernel, layers, squeeze-excitation of each stage."""
    return np.array(
        [
            [int(genotype.get(f"stage{stage}.{name}", 0)) for stage in range(1, 8)]
            for name in ("expansion", "kernel", "layers", "se")
        ]
    )


def _terms(digits: NDArray[np.int64]) -> Array:
    """(networks, terms): each stage's choices, their products within it and with its neighbour."""
    e, k, layers, se = (digits[:, i].astype(float) for i in range(4))
    parts = [(e - 4) / 2, (e == 1) * 1.0, k - 4, layers - 2, (layers == 1) * 1.0, se]
    columns = [*parts]
    for i, one in enumerate(parts):
        columns += [one * other for other in parts[i + 1 :]]
        columns += [one[:, 1:] * other[:, :-1] for other in parts]
    return np.hstack(columns)


def _stage_tables() -> dict[str, Array]:
    """By metric, (stage, expansion, kernel, layers, se): what each stage adds to it."""
    space = search_spaces.create("mnasnet")
    assert space.blocks is not None  # noqa: S101 (for the type checker)
    plain = {f"stage{s}.{n}": v for s in range(1, 8) for n, v in _PLAIN.items()}
    networks, shape = [], (7, 3, 2, 3, 2)
    for place in np.ndindex(*shape):
        options = ((1, 4, 6), (3, 5), (1, 2, 3), (0, 1))
        chosen = {
            f"stage{place[0] + 1}.{name}": values[index]
            for name, values, index in zip(_PLAIN, options, place[1:], strict=True)
        }
        networks.append(space.blocks(canonical(space.choices, {**plain, **chosen}), IMAGENET))
    caches = BlockCaches(["eager"])
    workloads = [caches.workloads(blocks)["eager"] for blocks in networks]
    readings = [
        Complexity().evaluate(Candidate({}, "", "", workload={"eager": workload}))
        for workload in workloads
    ]
    found = {
        name: np.array([each[name] for each in readings])
        for name in ("macs", "params", *PATHS)  # what stages add up to
    }
    found["latency_ms.device"] = modeled_ms(networks, "zcu102-dpu")
    tables = {name: values.reshape(shape) for name, values in found.items()}
    # The first network is plain in all stages: what it has is shared among them.
    return {name: table - table.flat[0] * 6 / 7 for name, table in tables.items()}


_PLAIN = {"expansion": 1, "kernel": 3, "layers": 1, "se": 0}


def _drawn(number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    digits = np.stack(
        [rng.choice(options, (number, 7)) for options in ((1, 4, 6), (3, 5), (1, 2, 3), (0, 1))],
        axis=1,
    )
    return _legal(digits)


def _legal(digits: NDArray[np.int64]) -> NDArray[np.int64]:
    digits[:, 3, :3] = 0
    digits[:, 3] = np.where(digits[:, 0] > 1, digits[:, 3], 0)
    return digits


def _evolved(costs: Callable[[NDArray[np.int64]], Array]) -> Array:
    """The costs of a front that long evolution does not improve any more."""
    rng = np.random.default_rng(0)
    digits = _drawn(20_000, rng)
    for _ in range(_EVOLVED):
        points = costs(digits)
        order = np.lexsort((points[:, 0], points[:, 1]))
        before = np.minimum.accumulate(np.concatenate([[np.inf], points[order][:-1, 0]]))
        front = digits[order[points[order, 0] < before]]
        parents = front[rng.integers(len(front), size=(2, 4000))]
        mask = (rng.random((4000, 1, 7)) < 0.5) & (rng.random((4000, 1, 1)) < 0.5)
        children = np.where(mask, parents[1], parents[0])
        fresh = _drawn(4000, rng)
        children = np.where(rng.random(children.shape) < 0.06, fresh, children)
        digits = np.concatenate([front, _legal(children)])
    return _front(costs(digits))
