"""What runtimes make of NAS-Bench-201's cells, with their zeros, identities and dead ends."""

import random
from collections import Counter
from pathlib import Path

import pytest
from torch import nn

from evaluators.workload import BlockCaches, is_connected, trace, traces
from evaluators.workload_lowering import lower
from evaluators.workload_recorder import record
from evaluators.workload_rules import RULES
from search_spaces.cell import CellSpace, genotype_of
from search_spaces.cell_modules import EDGES, OPERATIONS, Cell, head, stem
from tests.evaluators.test_workload_lowering import optimized, traced
from tests.evaluators.workload_nets import counts
from tests.evaluators.workload_spaces import TASK

WIDTH = 16
NONE, SKIP, CONVOLUTIONS, POOL = "0", "1", "23", "4"


def cell(digits: str) -> Cell:
    return Cell([OPERATIONS[int(digit)] for digit in digits], WIDTH)


def some_cells(count: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choice("01234") for _ in EDGES) for _ in range(count)]


def kept_by_tflite(digits: str) -> Counter[str]:
    """Convolutions and poolings that a TFLite file executes, by a rule about edges.

    An edge counts when it is not none, and no identity of a node without any. Executed is what
    leads to the last node; and a node that nothing reads whose only edge, past identities, is a
    convolution, with everything that leads to it. The latencies of NAS-Bench-201 on a Pixel 3
    (BRP-NAS, Dudziak et al. 2020) follow this rule: 021000 takes 1.9 ms, 000000 takes 0.004 ms.
    """
    edges = dict(zip(EDGES, digits, strict=True))
    for node in (1, 2):
        if all(edges[before, node] == NONE for before in range(node)):
            for after in range(node + 1, 4):
                if edges[node, after] == SKIP:
                    edges[node, after] = NONE
    used = {edge: operation for edge, operation in edges.items() if operation != NONE}

    def leading_to(nodes: set[int]) -> set[int]:
        return nodes.union(*(leading_to({a}) for a, b in used if b in nodes)) if nodes else nodes

    needed = leading_to({3})
    for node in (2, 1):
        end = node
        if node in needed or any(a == node for a, _ in used):
            continue
        while end and [used[e] for e in used if e[1] == end] == [SKIP]:
            end = next(a for a, b in used if b == end)
        into = [used[edge] for edge in used if edge[1] == end]
        if len(into) == 1 and into[0] in CONVOLUTIONS:
            needed |= leading_to({node})
    return Counter(used[edge] for edge in used if edge[1] in needed and used[edge] in "234")


def test_tflite_keeps_the_output_and_dead_convolutions() -> None:
    for digits in some_cells(300):
        found: Counter[str] = Counter()
        for node in lower(record(cell(digits), (1, WIDTH, 8, 8)), RULES["tflite"]).kernels:
            if node.op == "conv":
                found["2" if node.weight_elements == WIDTH * (WIDTH + 1) else "3"] += 1
            found[POOL] += node.op == "pool"
        assert +found == kept_by_tflite(digits), digits


def test_eager_carries_every_operation_out() -> None:
    """Three sums of three, two and one operations, each of which begins with 0."""
    for digits in some_cells(50):
        convolutions = sum(digit in CONVOLUTIONS for digit in digits)
        expected = Counter(
            add=6,
            mul=digits.count(NONE),
            pool=digits.count(POOL),
            conv=convolutions,
            batch_norm=convolutions,
            activation=convolutions,
        )
        assert counts(trace(cell(digits), (1, WIDTH, 8, 8), "eager")) == +expected


@pytest.mark.parametrize("digits", ["301103", "000300", "312001", "103344", "021130", "444302"])
def test_onnx_runtime_executes_the_kernels_that_are_traced(digits: str, tmp_path: Path) -> None:
    """Zeros run, equal operations run once, sums fold only in the layout of convolutions."""
    net = nn.Sequential(stem(3, WIDTH), cell(digits), cell(digits), head(WIDTH, 10))
    assert joined(traced(net, (1, 3, 8, 8))) == joined(optimized(net, (1, 3, 8, 8), tmp_path))


@pytest.mark.slow
def test_and_in_many_more_cells(tmp_path: Path) -> None:
    for digits in some_cells(80):
        net = nn.Sequential(stem(3, WIDTH), cell(digits), head(WIDTH, 10))
        expected = joined(optimized(net, (1, 3, 8, 8), tmp_path))
        assert joined(traced(net, (1, 3, 8, 8))) == expected, digits


def joined(found: Counter[str]) -> Counter[str]:
    """A batch norm in the layout of convolutions is a depthwise one."""
    result = Counter(found)
    result["convolution"] += result.pop("batch_norm", 0)
    return result


@pytest.mark.parametrize("digits", ["000000", "300000", "030030", "021000", "000030"])
def test_a_cell_that_lets_nothing_through_cuts_off_what_is_before_it(digits: str) -> None:
    """Then blocks do not add up, and the whole network is traced."""
    import search_spaces

    space, lowerings = search_spaces.create("cell", cells=2), ("tflite", "dpu", "onnxruntime")
    genotype = genotype_of(digits)
    whole = traces(space.build(genotype, TASK), (1, *TASK.input_shape), lowerings)
    caches = BlockCaches(lowerings)
    for _ in range(2):
        assert caches.workloads(space.blocks(genotype, TASK)) == whole


def test_what_is_multiplied_by_zero_is_not_computed() -> None:
    found = counts(trace(cell("320002"), (1, WIDTH, 8, 8), "dpu"))
    assert found == {"conv": 2, "activation": 1}  # edges 0>2 and 2>3; 0>1 is read by nothing


def leads_through(digits: str) -> bool:
    """Whether operations other than none lead from the first node of a cell to the last."""
    used = [edge for edge, digit in zip(EDGES, digits, strict=True) if digit != NONE]
    reached = {0}
    for before, after in sorted(used, key=lambda edge: edge[0]):
        reached |= {after} if before in reached else set()
    return 3 in reached


@pytest.mark.parametrize("digits", ["000000", "111111", "302000", "000103", *some_cells(40)])
def test_what_only_zeros_lead_to_the_output_of_ignores_its_input(digits: str) -> None:
    assert is_connected(cell(digits), (1, WIDTH, 8, 8)) == leads_through(digits)
    network = nn.Sequential(stem(3, WIDTH), cell(digits), head(WIDTH, 10))
    assert is_connected(network, (1, 3, 8, 8)) == leads_through(digits)


def test_a_network_of_blocks_is_as_connected_as_each_of_them() -> None:
    space, caches = CellSpace(cells=1), BlockCaches(["onnxruntime", "tflite"])
    for digits in ["000000", "111111", *some_cells(20)]:
        blocks = space.blocks(genotype_of(digits), TASK)
        caches.workloads(blocks)
        assert caches.is_connected(blocks) == leads_through(digits)
