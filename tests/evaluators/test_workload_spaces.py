"""Workloads of random networks of every space, against independent counts and from blocks."""

import random
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import search_spaces
from evaluators.compression import PruneConfig, compression_choices, split
from evaluators.compression.structured import reshape
from evaluators.workload import (
    ITEM_BYTES,
    LOWERINGS,
    BlockCache,
    BlockCaches,
    trace,
    traces,
    with_dtype,
)
from nas.choices import sample
from tests.evaluators.workload_spaces import SPACES, TASK, drawn

SHAPE = (1, *TASK.input_shape)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("seed", range(3))
def test_macs_and_params_are_those_of_independent_counters(name: str, seed: int) -> None:
    space, genotype = drawn(name, seed)
    net = space.build(genotype, TASK)
    workloads = traces(net, (2, *TASK.input_shape), LOWERINGS)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.to("meta").eval()(torch.zeros(2, *TASK.input_shape, device="meta"))
    assert 2 * workloads["eager"].macs == counter.get_total_flops()
    params = sum(parameter.numel() for parameter in net.parameters())
    assert {workload.params for workload in workloads.values()} == {params}
    if name != "cell":  # whose dead convolutions differ, see test_workload_cells
        assert len({workload.macs for workload in workloads.values()}) == 1


@pytest.mark.parametrize("name", SPACES)
def test_from_blocks_they_are_those_of_the_whole_network(name: str) -> None:
    caches = BlockCaches(LOWERINGS)
    for seed in range(8):
        space, genotype = drawn(name, seed)
        batch = 1 + seed % 2
        whole = traces(space.build(genotype, TASK), (batch, *TASK.input_shape), LOWERINGS)
        blocks = caches.workloads(space.blocks(genotype, TASK), batch)
        assert blocks == whole
        assert memory(blocks) == memory(whole)


@pytest.mark.parametrize("name", [n for n in SPACES if search_spaces.create(n).stages])
def test_so_they_are_when_it_is_pruned(name: str) -> None:
    cache = BlockCache()
    for seed in range(3):
        space = search_spaces.create(name)
        choices = [*space.choices, *compression_choices(["structured"], ["none"], space.stages)]
        architecture, compression = split(sample(choices, random.Random(seed)))
        config = PruneConfig.from_genotype(compression)
        pruned = reshape(space.build(architecture, TASK), config, TASK)
        assert cache.workload(space.blocks(architecture, TASK, config.keep)) == trace(pruned, SHAPE)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("dtype", ["int8", "float16", "bfloat16"])
def test_another_dtype_moves_fewer_bytes(name: str, dtype: str) -> None:
    space, genotype = drawn(name, 0)
    workload = trace(space.build(genotype, TASK), SHAPE)
    other = with_dtype(workload, dtype)
    ratio = ITEM_BYTES[dtype] / 4
    for before, after in zip(workload.kernels, other.kernels, strict=True):
        assert after.dtype == dtype
        assert (after.op, after.macs, after.count) == (before.op, before.macs, before.count)
        for moved in ("input_bytes", "output_bytes", "weight_bytes"):
            assert getattr(after, moved) == ratio * getattr(before, moved)
    assert other.peak_memory_bytes == ratio * workload.peak_memory_bytes


def memory(workloads: dict[str, Any]) -> dict[str, int]:
    return {name: workload.peak_memory_bytes for name, workload in workloads.items()}
