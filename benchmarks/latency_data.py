"""Other people's measurements: networks of two collections, built by the spaces, and their columns.

The folder holds ``accel_*.csv.gz`` (Accel-NASBench: networks of the space ``mnasnet``) and
``nb201_*.csv.gz`` (NAS-Bench-201 with HW-NAS-Bench and HELP: networks of the space ``cell``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import hw_profiles
import search_spaces
from evaluators.kernel_table import KernelTable, tabulate
from evaluators.workload import BlockCaches
from hw_profiles import HardwareProfile
from nas.task import Task
from search_spaces import cell, mnasnet

Array = NDArray[np.float64]

LOWERINGS = ("eager", "onnxruntime", "tflite", "xla", "dpu")


@dataclass(frozen=True)
class Setting:
    """What runs the networks of a column.

    Args:
        profile: by name.
        lowering: how it executes networks; ``""``: as the profile says.
        dtype: in which it computes; ``""``: as the profile says.
    """

    profile: str
    lowering: str = ""
    dtype: str = ""

    def load(self) -> HardwareProfile:
        """The profile, lowered so."""
        profile = hw_profiles.load(self.profile)
        return replace(
            profile, lowering=self.lowering or profile.lowering, dtype=self.dtype or profile.dtype
        )

    def __str__(self) -> str:
        """For the table."""
        return " ".join(filter(None, (self.profile, self.lowering, self.dtype)))


KINDS = {
    "gpu": (Setting("generic-gpu", "eager"),),
    "cpu": (Setting("generic-cpu", "eager"), Setting("generic-cpu", "onnxruntime")),
    "tflite": (Setting("generic-phone", "tflite"),),
    "tpu": (Setting("generic-tpu", "xla"),),
    "dpu": (Setting("generic-dpu", "dpu"),),
}
"""Among these an unknown device is looked for, by the error of networks left out."""

DEVICES = {
    "a100": Setting("nvidia-a100", "eager", "float16"),
    "rtx3090": Setting("nvidia-rtx-3090", "eager", "float16"),
    "tpuv2": Setting("tpu-v2"),
    "tpuv3": Setting("tpu-v3"),
    "zcu102": Setting("zcu102-dpu"),
    "vck190": Setting("vck190-dpu"),
    "1080ti": Setting("nvidia-gtx-1080-ti", "eager", "float32"),
    "2080ti": Setting("nvidia-rtx-2080-ti", "eager", "float32"),
    "titanx": Setting("nvidia-titan-x", "eager", "float32"),
    "titanxp": Setting("nvidia-titan-xp", "eager", "float32"),
    "titan_rtx": Setting("nvidia-titan-rtx", "eager", "float32"),
    "gold_6240": Setting("xeon-gold-6240", "eager", "float32"),
    "gold_6226": Setting("xeon-gold-6226", "eager", "float32"),
    "silver_4114": Setting("xeon-silver-4114", "eager", "float32"),
    "raspi4": Setting("cortex-a72", "tflite", "float32"),
    "pixel3": Setting("pixel3", "tflite", "float32"),
    "samsung_a50": Setting("samsung-a50", "eager", "float32"),
    "essential_ph_1": Setting("essential-ph-1", "eager", "float32"),
}
"""Devices whose profile is shipped, as the collections ran them; see their papers."""
_THROUGHPUT_BATCH = {"tpu": 64, "fpga": 1}
_GPU_BATCH = 128


@dataclass(frozen=True)
class Column:
    """Measurements of one device.

    Args:
        name: in the file.
        device: as the name says.
        batch: examples a call; 0: it depends on what kind of device it is.
        is_throughput: images a second instead of milliseconds.
    """

    name: str
    device: str
    batch: int
    is_throughput: bool

    def batch_on(self, profile: HardwareProfile) -> int:
        """Examples a call."""
        return self.batch or _THROUGHPUT_BATCH.get(profile.kind, _GPU_BATCH)

    def milliseconds(self, values: Array, batch: int) -> Array:
        """Of one call with the whole batch."""
        return 1000 * batch / values if self.is_throughput else values


@dataclass(frozen=True)
class Collection:
    """The networks of one file.

    Args:
        name: ``accel`` or ``nb201``.
        rows: of the file, those that can be modeled.
        groups: (networks,), equal for networks that are the same one.
        macs: (networks,), as the tracing counts them.
        baselines: by name, (networks, features): what other frameworks rank by.
        tables: by lowering, the kernels of all networks at batch 1.
    """

    name: str
    rows: pd.DataFrame
    groups: NDArray[Any]
    macs: Array
    baselines: Mapping[str, Array]
    tables: Mapping[str, KernelTable]

    def columns(self) -> list[Column]:
        """The measured columns."""
        found = [column_of(name) for name in self.rows.columns]
        return [column for column in found if column is not None]


def column_of(name: str) -> Column | None:
    """What a column's name says; None for a column that is no measurement."""
    match = re.fullmatch(r"(lat|latency|throughput)_(.+)", name)
    if match is None or name.endswith("_std"):
        return None
    device, is_throughput = match[2], match[1] == "throughput"
    with_batch = re.fullmatch(r"(.+)_(\d+)", device)
    if with_batch and device not in DEVICES and len(with_batch[2]) <= 3:
        return Column(name, with_batch[1], int(with_batch[2]), is_throughput)
    return Column(name, device, 0 if is_throughput else 1, is_throughput)


def columns_of(folder: Path) -> list[Column]:
    """The measured columns of all files of a folder, of which only the first lines are read.

    Raises:
        ValueError: see `collections`.
    """
    names = [name for _, file in _files(folder) for name in _read(file, (), rows=0).columns]
    return [column for column in map(column_of, names) if column is not None]


def collections(
    folder: Path, lowerings: Sequence[str] = LOWERINGS, wanted: str = ""
) -> list[Collection]:
    """All collections of a folder, their networks traced.

    Args:
        folder: that holds the files.
        lowerings: in which the networks are wanted.
        wanted: ``accel`` or ``nb201``; ``""``: both.

    Raises:
        ValueError: one line when it holds none, or one cannot be read.
    """
    found = [(read, file) for read, file in _files(folder) if file.name.startswith(wanted)]
    return [read(file, lowerings) for read, file in found]


def _files(folder: Path) -> list[tuple[Callable[[Path, Sequence[str]], Collection], Path]]:
    if not folder.is_dir():
        raise ValueError(f"--data must be a folder, but {folder} is none")
    kinds = (("accel", _accel), ("nb201", _cells))
    found = [(read, file) for name, read in kinds for file in sorted(folder.glob(f"{name}_*.csv*"))]
    if not found:
        raise ValueError(
            f"{folder} must hold accel_*.csv.gz (columns e, k, l, se) or nb201_*.csv.gz "
            "(column ops), but holds neither"
        )
    return found


def _read(file: Path, texts: Sequence[str], rows: int | None = None) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, dtype=dict.fromkeys(texts, str), nrows=rows)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
    for name in texts:
        if name not in table:
            raise ValueError(f"{file} must have a column {name!r}, but has {', '.join(table)}")
        if table[name].isna().any():
            raise ValueError(f"{file} must have text in column {name!r}, but some is missing")
    return table


def _accel(file: Path, lowerings: Sequence[str]) -> Collection:
    rows = _read(file, ("e", "k", "l", "se"))
    strings = list(zip(*(rows[name] for name in ("e", "k", "l", "se")), strict=True))
    task = Task("imagenet", "classification", (3, 224, 224), 1000, "accuracy", "none")
    genotypes = [mnasnet.genotype_of(*each) for each in strings]
    tables, macs = _traced(search_spaces.create("mnasnet"), genotypes, task, lowerings)
    digits = np.array([[int(digit) for digit in "".join(each)] for each in strings])
    identity = np.array(["/".join(each) for each in strings])
    baselines = {"lookup": _stage_lookup(digits)}
    return Collection("accel", rows, identity, macs, baselines, tables)


def _cells(file: Path, lowerings: Sequence[str]) -> Collection:
    rows = _read(file, ("ops",))
    if "connected" in rows:
        rows = rows[rows["connected"].astype(bool)].reset_index(drop=True)
    genotypes = [cell.genotype_of(ops) for ops in rows["ops"]]
    task = Task("cifar10", "classification", (3, 32, 32), 10, "accuracy", "none")
    tables, macs = _traced(search_spaces.create("cell"), genotypes, task, lowerings)
    digits = np.array([[int(digit) for digit in ops] for ops in rows["ops"]])
    each_edge = (digits[:, :, None] == np.arange(1, 5)).astype(float)
    counts = (digits[:, :, None] == np.arange(5)).sum(axis=1).astype(float)
    baselines = {"lookup": each_edge.reshape(len(rows), -1), "op_count": counts[:, 1:]}
    groups = rows["uid" if "uid" in rows else "ops"].to_numpy()
    return Collection("nb201", rows, groups, macs, baselines, tables)


def _stage_lookup(digits: NDArray[np.int64]) -> Array:
    """(networks, features): the layers of each stage by expansion, kernel and SE, first or not."""
    expansion, kernel, layers, se = np.split(digits, 4, axis=1)
    kind = np.unique(expansion, return_inverse=True)[1].reshape(expansion.shape) * 4
    kind = kind + 2 * (kernel == kernel.max()) + se
    features = np.zeros((len(digits), 7, int(kind.max()) + 1, 2))
    row, stage = np.indices(kind.shape)
    features[row, stage, kind, 0] = 1
    features[row, stage, kind, 1] = layers - 1
    flat = features.reshape(len(digits), -1)
    return flat[:, flat.any(axis=0)]


def _traced(
    space: search_spaces.Space,
    genotypes: Sequence[Mapping[str, Any]],
    task: Task,
    lowerings: Sequence[str],
) -> tuple[dict[str, KernelTable], Array]:
    """The kernels of networks by lowering, and the multiply-accumulates of the fullest one."""
    if space.blocks is None:
        raise ValueError("the space must describe its networks by blocks")
    caches = BlockCaches(lowerings)
    workloads = [caches.workloads(space.blocks(genotype, task)) for genotype in genotypes]
    tables = {name: tabulate([each[name] for each in workloads]) for name in caches.lowerings}
    macs = [max(workload.macs for workload in each.values()) for each in workloads]
    return tables, np.array(macs, dtype=float)
