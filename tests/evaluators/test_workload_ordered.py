"""Kernels in order with the edges that workloads merge away, and where in the network they run."""

from torch import nn

from evaluators.workload import trace
from evaluators.workload_lowering import ordered
from evaluators.workload_recorder import INPUT, record
from evaluators.workload_rules import RULES
from evaluators.workload_values import kernel_of, merged
from tests.evaluators.workload_nets import Residual, SqueezeExcite, conv, head, mobile

NET = nn.Sequential(conv(3, 16), Residual(conv(16, 16, act=None), nn.ReLU()), head(16, 10))


def test_equal_kernels_stay_apart_and_know_what_they_read() -> None:
    kernels = ordered(record(NET, (1, 3, 8, 8)), RULES["dataflow"])
    assert [(node.op, sources) for node, sources in kernels] == [
        ("conv", (INPUT,)),
        ("conv", (0,)),
        ("add", (0, 1)),
        ("global_pool", (2,)),
        ("linear", (3,)),
    ]


def test_a_sum_that_is_folded_gives_its_other_edge() -> None:
    kernels = ordered(record(NET, (1, 3, 8, 8)), RULES["onnxruntime"])
    assert [(node.op, sources) for node, sources in kernels][:2] == [
        ("conv", (INPUT,)),
        ("conv", (0, 0)),
    ]


def test_they_are_the_kernels_of_the_workload() -> None:
    net = nn.Sequential(mobile(16), nn.Linear(10, 4))
    for lowering in ("dataflow", "onnxruntime", "xla", "dpu", "tflite"):
        nodes = [node for node, _ in ordered(record(net, (1, 3, 16, 16)), RULES[lowering])]
        whole = trace(net, (1, 3, 16, 16), lowering).kernels
        computing = tuple(kernel for kernel in whole if kernel.op != "reorder")
        assert merged(map(kernel_of, nodes)) == computing


def test_gates_read_the_map_and_the_factors() -> None:
    net = nn.Sequential(conv(3, 16), SqueezeExcite())
    *_, (product, sources) = ordered(record(net, (1, 3, 8, 8)), RULES["dataflow"])
    assert (product.op, sources) == ("mul", (0, 3))


def test_scopes_are_noted_where_they_are_asked_for() -> None:
    asked = [node.scope for node in record(NET, (1, 3, 8, 8), scopes=True).nodes if node.macs]
    assert asked == ["0.0", "1.body.0", "2.2"]
    assert {node.scope for node in record(NET, (1, 3, 8, 8)).nodes} == {""}


def test_windows_are_noted() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, (3, 5), (1, 2), (1, 0)), nn.MaxPool2d(2), nn.AvgPool2d(2))
    found = [node.geometry for node in record(net, (1, 3, 16, 31)).nodes]
    assert found == [
        ((3, 5), (1, 2), (1, 0)),
        ((2, 2), (2, 2), (0, 0)),
        ((2, 2), (2, 2), (0, 0)),
    ]
