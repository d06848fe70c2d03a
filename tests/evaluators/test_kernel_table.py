"""Workloads as numbers."""

import numpy as np
import pytest

from evaluators.components import engine_of
from evaluators.kernel_table import (
    KernelTable,
    anchors_of,
    components_of,
    tabulate,
    zero_shot_ms,
)
from evaluators.modeled import estimate
from evaluators.workload import Workload, counted
from tests.evaluators.synthetic import convolution, dense, moved, networks
from tests.hw_profiles.profiles import processor

A, B, C = convolution(16, 16, 3, 8), moved("add", 16, 8, 2), dense(16, 10)
PROFILE = processor()
ENGINE = engine_of(PROFILE, 1, "float32")


def workload(*kernels: object) -> Workload:
    return Workload(kernels, 0, 0, "onnxruntime")  # type: ignore[arg-type]


TABLE = tabulate([workload(counted(A, 3), B), workload(C, counted(A, 2)), workload(B)])


def test_kernels_are_columns_and_their_counts_the_entries() -> None:
    assert TABLE.kernels == (A, B, C)
    assert TABLE.counts.toarray().tolist() == [[3, 1, 0], [2, 0, 1], [0, 1, 0]]
    assert TABLE.first.tolist() == [0, 2, 1]
    assert len(TABLE) == 3


@pytest.mark.parametrize("rows", [[2, 0], np.array([2, 0]), slice(2, None, -2)])
def test_rows_are_workloads(rows: object) -> None:
    part = TABLE[rows]
    assert part.counts.toarray().tolist() == [[0, 1, 0], [3, 1, 0]]
    assert (part.kernels, part.first.tolist()) == (TABLE.kernels, [1, 0])


def test_compact_leaves_out_what_nothing_runs() -> None:
    part = TABLE[[1]].compact()
    assert part.kernels == (A, C)
    assert part.counts.toarray().tolist() == [[2, 1]]
    assert part.first.tolist() == [1]


class TestComponents:
    def test_they_are_those_of_the_demands_in_milliseconds(self) -> None:
        parts = components_of(TABLE, ENGINE)
        for row, kernel in enumerate(TABLE.kernels):
            expected = ENGINE.demand(kernel).components()
            for name, value in zip(parts.names, parts.each[row], strict=True):
                assert value == pytest.approx(1e3 * expected.get(name, 0))
        assert parts.call_ms == pytest.approx([0.01] * 3)

    def test_names_that_are_told_come_first(self) -> None:
        parts = components_of(TABLE, ENGINE, ["overhead", "matmul.compute"])
        assert parts.names[:2] == ("overhead", "matmul.compute")
        assert not parts.each[:, 1].any()
        assert set(components_of(TABLE, ENGINE).names) < set(parts.names)

    def test_some_are_zero_in_the_roofline(self) -> None:
        assert anchors_of(["conv.compute", "dense.spill", "add.relayout", "call"]).tolist() == [
            1, 0, 0, 1,
        ]  # fmt: skip


def test_zero_shot_is_the_estimate_of_the_profile() -> None:
    workloads = networks(10)
    table: KernelTable = tabulate(workloads)
    expected = [estimate(each, PROFILE).latency_ms for each in workloads]
    assert zero_shot_ms(table, components_of(table, ENGINE)) == pytest.approx(expected)
