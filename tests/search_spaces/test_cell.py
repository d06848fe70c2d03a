"""The space `cell`: the networks of NAS-Bench-201."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import search_spaces
from evaluators.workload import BlockCache, trace
from nas.choices import count
from nas.task import Task
from search_spaces.cell import CellSpace, genotype_of

CIFAR = Task("images", "classification", (3, 32, 32), 10, "accuracy", "data")
SPACE = CellSpace()


@pytest.mark.parametrize(
    ("digits", "macs", "params"),
    [("433444", 78_561_920, 559_386), ("410001", 7_783_040, 73_306)],
)  # of NAS-Bench-201, CIFAR-10
def test_operations_and_parameters_are_the_published_ones(digits, macs, params):
    workload = BlockCache().workload(SPACE.blocks(genotype_of(digits), CIFAR))

    assert (workload.macs, workload.params) == (macs, params)


def test_an_eager_cell_executes_every_operation_and_every_addition():
    cell = SPACE.blocks(genotype_of("012340"), CIFAR)[1]
    workload = trace(cell.build(), (1, *cell.input_shape), "eager")
    counts: Counter[str] = Counter()
    for kernel in workload.kernels:
        counts[kernel.op] += kernel.count

    # Two are none, each a multiplication; a skip is nothing; each node adds to 0 first.
    assert counts == {
        **{"mul": 2, "add": 6, "pool": 1, "conv": 2, "batch_norm": 2, "activation": 2}
    }


def test_a_node_is_the_sum_over_its_edges():
    def cell(digits):
        return SPACE.blocks(genotype_of(digits), CIFAR)[1].build().eval()

    inputs = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))

    assert torch.equal(cell("000100")(inputs), inputs)
    assert torch.equal(cell("100010")(inputs), inputs)
    assert torch.equal(cell("111111")(inputs), 4 * inputs)
    assert not cell("111000")(inputs).any()


def test_the_border_is_averaged_over_what_is_there():
    pooled = SPACE.blocks(genotype_of("000400"), CIFAR)[1].build()

    assert torch.allclose(pooled(torch.ones(1, 16, 4, 4)), torch.ones(1, 16, 4, 4))


def test_widths_and_resolutions_are_the_published_ones():
    shapes = [block.output_shape for block in SPACE.blocks(genotype_of("123412"), CIFAR)]

    widths = [(16, 32, 32)] * 6 + [(32, 16, 16)] * 6 + [(64, 8, 8)] * 6
    assert shapes == [*widths, (10,)]


def test_the_cells_of_a_stage_are_one_block_that_is_known():
    blocks = SPACE.blocks(genotype_of("123412"), CIFAR)

    assert len({(block.signature, block.input_shape) for block in blocks}) == 3 + 3 + 1


def test_the_options_scale_the_network():
    space = search_spaces.create("cell", channels=8, cells=1)

    blocks = space.blocks(genotype_of("123412"), CIFAR)

    shapes = [(8, 32, 32), (8, 32, 32), (16, 16, 16), (16, 16, 16), *[(32, 8, 8)] * 2, (10,)]
    assert [block.output_shape for block in blocks] == shapes


def test_the_size_is_the_published_one():
    assert count(SPACE.choices) == 5**6


@pytest.mark.parametrize("digits", ["12341", "1234123", "123415", "12341x"])
def test_digits_of_another_space_are_refused(digits):
    with pytest.raises(ValueError, match=f"must be 6 digits out of 01234, but got '{digits}'"):
        genotype_of(digits)


def test_an_image_that_cannot_be_halved_twice_is_refused():
    task = Task("odd", "classification", (3, 30, 32), 10, "accuracy", "data")

    with pytest.raises(ValueError, match=r"multiples of 4, but .* 'odd' is \(3, 30, 32\)"):
        SPACE.build(genotype_of("123412"), task)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 0}, "cells of cell must be an integer from 1 to 20, but got 0"),
        ({"channels": 16.0}, "channels of cell must be an integer from 1 to 1024, but got 16.0"),
        ({"cells": True}, "must be an integer from 1 to 20, but got True"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        search_spaces.create("cell", **options)
