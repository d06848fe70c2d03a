"""What is kept for a backward pass."""

import pytest
from torch import nn

from evaluators.tpu.autograd import keeping, torch_xla_order
from evaluators.tpu.export import export
from tests.evaluators.tpu.nets import SHAPE, convolutional


def test_results_of_convolutions_and_activations_become_outputs() -> None:
    graph, _ = export(convolutional(), SHAPE, fold=False)
    kept = keeping(graph)
    made = {node.name: node.op.partition(".")[0] for node in graph.nodes}
    assert kept.outputs[0] == graph.outputs[0]
    assert sorted(made[name] for name in kept.outputs) == [
        "conv2d",
        "conv2d",
        "flatten",
        "linear",
        "relu",
        "relu",
    ]
    assert kept.layout == "torch_xla"
    assert (kept.nodes, kept.weights) == (graph.nodes, graph.weights)


def test_the_input_of_the_network_is_not_written_again() -> None:
    graph, _ = export(nn.Conv2d(3, 4, 1), SHAPE, fold=False)
    assert keeping(graph).outputs == graph.outputs


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((64, 96, 112, 112), (0, 1, 2, 3)),  # 128 / 112 is little enough
        ((64, 144, 56, 56), (2, 3, 0, 1)),  # channels are the most, then the batch
        ((64, 24, 56, 56), (1, 2, 3, 0)),
        ((64, 1000), (0, 1)),
        ((1000, 64), (1, 0)),
        ((7,), (0,)),
        ((), ()),
    ],
)
def test_tensors_lie_as_pytorch_xla_puts_them(
    shape: tuple[int, ...], order: tuple[int, ...]
) -> None:
    assert torch_xla_order(shape) == order
