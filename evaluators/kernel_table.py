"""Many workloads as numbers: which kernels, how often, and what they demand of a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from evaluators.calibration_fit import Array
from evaluators.components import ConvolutionEngine, Processor
from evaluators.workload import Kernel, Workload, counted

CALL = "call"
"""The component of what a call costs once."""
_UNANCHORED = ("spill", "relayout")


@dataclass(frozen=True)
class KernelTable:
    """Workloads as counts of kernels.

    Args:
        kernels: each once, with count 1.
        counts: (workloads, kernels), how often they run.
        first: (workloads,), the index of the kernel that a workload begins with.
    """

    kernels: tuple[Kernel, ...]
    counts: sparse.csr_matrix
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, rows: Any) -> KernelTable:
        """Some of the workloads; with the kernels of all of them."""
        return KernelTable(self.kernels, self.counts[rows], self.first[rows])

    def compact(self) -> KernelTable:
        """Without the kernels that none of the workloads has."""
        used = np.flatnonzero(self.counts.getnnz(axis=0))
        place = np.full(len(self.kernels), -1)
        place[used] = np.arange(len(used))
        kernels = tuple(self.kernels[column] for column in used)
        return KernelTable(kernels, self.counts[:, used].tocsr(), place[self.first])


@dataclass(frozen=True)
class Components:
    """What kernels demand, by component, in milliseconds at the profile's figures.

    Args:
        names: of the components, without that of the call.
        each: (kernels, components).
        zero_shot: (kernels,), the time of each under the roofline.
        call_ms: (workloads,), what a call costs beside its kernels.
    """

    names: tuple[str, ...]
    each: Array
    zero_shot: Array
    call_ms: Array


def tabulate(workloads: Sequence[Workload]) -> KernelTable:
    """Count the kernels of workloads."""
    index: dict[Kernel, int] = {}
    columns, counts, starts = [], [], [0]
    for workload in workloads:
        for kernel in workload.kernels:
            columns.append(index.setdefault(counted(kernel, 1), len(index)))
            counts.append(kernel.count)
        starts.append(len(columns))
    shape = (len(workloads), len(index))
    matrix = sparse.csr_matrix((np.array(counts, float), columns, starts), shape=shape)
    return KernelTable(tuple(index), matrix, np.array(columns)[starts[:-1]])


def components_of(
    table: KernelTable, engine: Processor | ConvolutionEngine, names: Sequence[str] = ()
) -> Components:
    """The components of the kernels of a table.

    Args:
        table: of `tabulate`.
        engine: that runs the kernels.
        names: components that come first, in this order, also those that no kernel has.
    """
    demands = [engine.demand(kernel) for kernel in table.kernels]
    parts = [demand.components() for demand in demands]
    columns = {name: column for column, name in enumerate(names)}
    for part in parts:
        for name in part:
            columns.setdefault(name, len(columns))
    each = np.zeros((len(parts), len(columns)))
    for row, part in enumerate(parts):
        for name, seconds in part.items():
            each[row, columns[name]] += 1e3 * seconds
    fetched = np.array([(demand.weights_s, demand.refetched_s) for demand in demands])
    calls = {index: engine.call_s(table.kernels[index]) for index in set(table.first)}
    call_s = [calls[index] for index in table.first]
    return Components(
        names=tuple(columns),
        each=each,
        zero_shot=np.array([1e3 * (demand.busy_s + demand.overhead_s) for demand in demands]),
        call_ms=1e3 * (np.array(call_s) + [engine.evicted_s(*s) for s in table.counts @ fetched]),
    )


def zero_shot_ms(table: KernelTable, components: Components) -> Array:
    """(workloads,): the latency at the profile's own figures, nothing fitted."""
    total: Array = table.counts @ components.zero_shot + components.call_ms
    return total


def anchors_of(names: Sequence[str]) -> Array:
    """The zero-shot coefficients of components: 1, or 0 of those that the roofline leaves out."""
    return np.array([0.0 if name.rpartition(".")[2] in _UNANCHORED else 1.0 for name in names])
