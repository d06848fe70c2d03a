"""Workloads put together from blocks equal the trace of the whole network."""

import pytest
import torch
from torch import nn

from evaluators.workload import LOWERINGS, BlockCache, BlockCaches, trace, traces
from nas.blocks import Block
from nas.trials import CandidateError
from tests.evaluators.workload_nets import Residual, blocks_of, conv, head
from tests.support.work import calls

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


class TestSeveralLowerings:
    def test_a_block_is_built_once_for_all_of_them(self) -> None:
        built = []

        def build() -> nn.Module:
            built.append(1)
            return conv(8, 8)

        caches = BlockCaches(LOWERINGS)
        found = caches.workloads([Block("conv 8", (8, 4, 4), (8, 4, 4), build)])
        assert len(built) == 1
        assert found == traces(conv(8, 8), (1, 8, 4, 4), LOWERINGS)

    def test_only_those_that_are_asked_for_are_lowered(self) -> None:
        caches, blocks = BlockCaches(LOWERINGS), blocks_of([conv(8, 8)], (8, 4, 4))
        assert list(caches.workloads(blocks, lowerings=["xla", "dpu", "xla"])) == ["xla", "dpu"]
        assert caches.workloads(blocks, lowerings=[]) == {}
        assert list(caches.workloads(blocks)) == list(LOWERINGS)

    def test_others_than_those_of_the_caches_are_refused(self) -> None:
        blocks = blocks_of([conv(8, 8)], (8, 4, 4))
        with pytest.raises(ValueError, match="lowerings must be of xla, dpu, but got 'tflite'"):
            BlockCaches(["xla", "dpu"]).workloads(blocks, lowerings=["xla", "tflite"])

    def test_a_network_that_is_traced_as_a_whole_is_lowered_once_for_each(self) -> None:
        built = []

        def build() -> nn.Module:
            built.append(1)
            return conv(8, 8)

        blocks = [
            Block("conv", (8, 4, 4), (8, 4, 4), build),
            Block("cut", (8, 4, 4), (8, 4, 4), Cut),
        ]
        caches, net = BlockCaches(LOWERINGS), nn.Sequential(conv(8, 8), Cut())
        for names in (["tflite"], ["dpu", "tflite"], ["tflite", "dpu"]):
            found = caches.workloads(blocks, lowerings=names)
            assert found == traces(net, (1, 8, 4, 4), names)
        assert len(built) == 3  # the block, the network for one, the network for the other

    @pytest.mark.parametrize("channels", [8, 64])
    def test_random_numbers_are_left_alone(self, channels: int) -> None:
        states = []

        def build() -> nn.Module:
            net = conv(channels, 8)
            states.append(torch.get_rng_state())
            return net

        before = torch.get_rng_state()
        block = Block("a", (channels, 4, 4), (8, 4, 4), build)
        found = BlockCache().workload([block])
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(states[0], before) == (channels == 64)  # many weights are not drawn
        assert found == trace(conv(channels, 8), (1, channels, 4, 4))

    def test_no_blocks_are_no_kernels(self) -> None:
        empty = BlockCache("xla").workload([])
        assert (empty.kernels, empty.macs, empty.peak_memory_bytes) == ((), 0, 0)


class Parallel(nn.Module):
    """Reads its input twice, once through a pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.body = conv(16, 16, act=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x) + nn.functional.avg_pool2d(x, 3, 1, 1)
        return result


class Split(nn.Module):
    """Puts out what it also reads itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(16, 16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x)
        return result + 0 * result.mean()


class Twice(nn.Module):
    """A broadcast product, whose result has no layout of convolutions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.mean((2, 3), keepdim=True)


class Cut(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mul(0.0)


class Turn(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(2, 3)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize(
    "parts",
    [
        [nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 16)],
        [nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16)],
        [conv(16, 16, act=None), nn.Sequential(nn.BatchNorm2d(16), nn.ReLU()), conv(16, 16)],
        [conv(16, 16, act=None), nn.Identity(), nn.ReLU(), nn.Sigmoid()],
        [Residual(conv(16, 16, act=None)), nn.Sequential(nn.ReLU(), nn.Conv2d(16, 16, 3))],
        [conv(16, 16, act=None), Parallel(), nn.ReLU()],
        [nn.MaxPool2d(2), nn.Sequential(nn.BatchNorm2d(16), nn.ReLU())],
        [Split(), nn.ReLU()],
        [conv(16, 16), Twice(), Residual(conv(16, 16, act=None)), nn.BatchNorm2d(16), nn.ReLU()],
        [conv(16, 16), Cut(), conv(16, 16), Residual(conv(16, 16))],
        [conv(16, 16), Turn(), Turn(), conv(16, 16)],
        [conv(16, 16), nn.Flatten(), nn.Linear(16 * 16, 8), nn.ReLU(), nn.BatchNorm1d(8)],
    ],
)
def test_what_folds_across_blocks_folds(parts: list[nn.Module], lowering: str) -> None:
    shape = (16, 4, 4)
    whole = trace(nn.Sequential(*parts), (2, *shape), lowering)
    cache = BlockCache(lowering)
    for _ in range(2):
        found = cache.workload(blocks_of(parts, shape), 2)
        assert found == whole
        assert found.peak_memory_bytes == whole.peak_memory_bytes


def test_a_block_is_known_behind_each_of_its_neighbours() -> None:
    """The same ReLU folds into a convolution, and does not into a product."""
    cache = BlockCache()
    for _ in range(2):
        for first in ([conv(16, 16, act=None)], [Twice()]):
            parts = [*first, nn.ReLU()]
            shape = (16, 4, 4)
            signatures = [type(part).__name__ for part in parts]
            blocks = [
                Block(name, shape, shape, lambda part=part: part)
                for name, part in zip(signatures, parts, strict=True)
            ]
            assert cache.workload(blocks) == trace(nn.Sequential(*parts), (1, *shape))


def test_warm_it_is_next_to_no_work() -> None:
    parts = [conv(3, 16), *[Residual(conv(16, 16, act=None), nn.ReLU()) for _ in range(58)]]
    blocks = blocks_of([*parts, head(16, 10)], (3, 8, 8))
    cache = BlockCache()
    cache.workload(blocks)
    assert calls(lambda: cache.workload(blocks)) < 500
