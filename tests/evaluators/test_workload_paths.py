"""The paths through networks, counted by hand."""

import pytest
import torch
from torch import nn

import search_spaces
from evaluators.workload import BlockCaches, Paths, trace, traces
from nas.task import Task
from search_spaces import cell

IMAGES = Task("images", "classification", (3, 32, 32), 10, "accuracy", "none")


class Branches(nn.Module):
    """Two layers beside one beside none, and a layer behind."""

    def __init__(self, *, dead: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(8, 8) for _ in range(4))
        self.dead = dead

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        two, one = self.b(torch.relu(self.a(x))), self.c(x)
        return self.d((0 * one if self.dead else one) + two + x)


def test_branches():
    paths = trace(Branches(), (1, 8), "onnxruntime").paths
    assert paths == Paths(longest=3, shortest=1, layers=3 + 2 + 1, number=3)
    assert paths.mean == 2.0


def test_what_is_multiplied_by_zero_is_on_no_path():
    assert trace(Branches(dead=True), (1, 8)).paths == Paths(3, 1, 3 + 1, 2)


def test_a_tensor_that_is_added_twice_has_two_ways():
    class Doubled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x

    assert trace(Doubled(), (1, 8)).paths == Paths(0, 0, 0, 2)


def test_in_sequence():
    one, two = Paths(3, 1, 6, 3, 4), Paths(2, 1, 3, 2, 1)
    assert Paths.in_sequence([one, two]) == Paths(5, 2, 6 * 2 + 3 * 3, 6, 4 * 2 + 1 * 3)
    assert Paths.in_sequence([]) == Paths(0, 0, 0, 1)
    assert Paths.in_sequence([one, Paths(0, 0, 0, 0), two]) == Paths(0, 0, 0, 0)
    assert (Paths(0, 0, 0, 0).mean, Paths(0, 0, 0, 0).mean_pools) == (0.0, 0.0)


def test_hundreds_of_branches_are_counted_exactly():
    deep = Paths.in_sequence([Paths(1, 0, 1, 2)] * 2000)
    assert deep.number == 2**2000
    assert deep.mean == pytest.approx(1000)


@pytest.mark.parametrize("lowering", ["onnxruntime", "eager", "dataflow"])
def test_of_blocks_as_of_the_whole_whatever_the_lowering(lowering: str):
    space, caches = search_spaces.create("cell"), BlockCaches([lowering])
    assert space.blocks is not None
    for digits in ("012340", "333123", "102023", "300000", "000000"):
        genotype = cell.genotype_of(digits)
        module = space.build(genotype, IMAGES)
        whole = traces(module, (1, 3, 32, 32), [lowering])[lowering].paths
        assert caches.workloads(space.blocks(genotype, IMAGES))[lowering].paths == whole


def test_a_cell_of_nas_bench_201():
    """Its edges: 0>1 a convolution, 0>2 a skip, 1>2 none, 0>3 a pooling, 1>3 one, 2>3 one."""
    paths = trace(
        search_spaces.create("cell").build(cell.genotype_of("310422"), IMAGES), (1, 3, 32, 32)
    ).paths
    # Stem, pooling and classifier; two residual blocks between stages: two layers, or one behind
    # a pooling.
    ends, between = Paths(2, 2, 2, 1, pools=1), Paths(2, 1, 3, 2, pools=1)
    one = Paths(longest=2, shortest=0, layers=2 + 1 + 0, number=3, pools=1)
    assert paths == Paths.in_sequence([ends, *[between] * 2, *[one] * 15])
    assert paths is not None
    assert paths.mean_pools == pytest.approx(1 + 2 * 1 / 2 + 15 * 1 / 3)
