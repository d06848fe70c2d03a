"""Workloads put together from blocks equal the trace of the whole network."""

import pytest
from torch import nn

from evaluators.workload import LOWERINGS, BlockCache, trace
from nas.blocks import Block
from nas.trials import CandidateError
from tests.evaluators.workload_nets import Residual, blocks_of, conv, head

PARTS = [
    conv(1, 16),
    Residual(conv(16, 16, act=None), nn.ReLU()),
    Residual(conv(16, 16, act=None), nn.ReLU()),
    nn.Sequential(conv(16, 64, 1), conv(64, 64, 5, 2, 64), conv(64, 24, 1, act=None)),
    Residual(conv(24, 24, act=nn.SiLU)),
    head(24, 10),
]


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("batch", [1, 4])
def test_the_sum_of_the_blocks_is_the_whole(lowering: str, batch: int) -> None:
    blocks = blocks_of(PARTS, (1, 16, 16))
    whole = trace(nn.Sequential(*PARTS), (batch, 1, 16, 16), lowering)
    assert BlockCache(lowering).workload(blocks, batch) == whole


def test_a_block_is_built_once_for_each_input_shape_and_batch() -> None:
    built = []

    def build() -> nn.Module:
        built.append(1)
        return conv(8, 8)

    def block(size: int) -> Block:
        return Block("conv 8", (8, size, size), (8, size, size), build)

    cache = BlockCache()
    first = cache.workload([block(8), block(8)])
    assert len(built) == 1
    assert cache.workload([block(8), block(8)]) == first
    assert first.kernels[0].count == 2
    assert len(built) == 1
    cache.workload([block(4)])
    cache.workload([block(8)], batch=2)
    assert len(built) == 3


def test_blocks_are_told_apart_by_their_signature() -> None:
    cache = BlockCache()
    one = cache.workload([Block("a", (8, 4, 4), (8, 4, 4), lambda: conv(8, 8))])
    two = cache.workload([Block("b", (8, 4, 4), (16, 4, 4), lambda: conv(8, 16))])
    assert one.macs * 2 == two.macs


def test_a_block_that_does_not_fit_is_the_fault_of_the_candidate() -> None:
    cache = BlockCache()
    with pytest.raises(CandidateError, match="cannot be traced"):
        cache.workload([Block("a", (9, 4, 4), (8, 4, 4), lambda: conv(8, 8))])
    assert cache.workload([Block("a", (8, 4, 4), (8, 4, 4), lambda: conv(8, 8))]).macs > 0


def test_an_unknown_lowering_is_refused() -> None:
    with pytest.raises(ValueError, match="lowering must be one of .*, but got 'tvm'"):
        BlockCache("tvm")
