"""The program that runs when nobody says that no gradients are wanted.

PyTorch then keeps what a backward pass would read. Under XLA every tensor that is kept becomes an
output of the compiled program and is written to memory, in the layout of outputs, and nothing is
fused across it. The published throughputs of Accel-NASBench on TPUs were timed that way (its
script evaluates without ``no_grad``).
"""

from __future__ import annotations

from evaluators.tpu.graph import Graph, Node, references

_INPUTS = frozenset(
    {"conv1d", "conv2d", "convolution", "linear", "batch_norm", "layer_norm", "mul", "matmul"}
    | {"hardsigmoid", "hardswish", "silu", "gelu", "hardtanh", "relu6", "max_pool2d"}
)
"""Operations whose derivative reads what they read."""
_RESULT = frozenset({"relu", "sigmoid", "tanh", "softmax"})
"""Operations whose derivative reads what they give."""


def keeping(graph: Graph) -> Graph:
    """The same network, whose outputs are also all tensors that a backward pass would read.

    Args:
        graph: exported without folding batch norm, since its statistics have gradients too.
    """
    outputs = dict.fromkeys(graph.outputs)
    made = {node.name for node in graph.nodes}
    for node in graph.nodes:
        outputs.update(dict.fromkeys(name for name in _kept(node) if name in made))
    return Graph(graph.inputs, graph.weights, graph.nodes, tuple(outputs))


def _kept(node: Node) -> list[str]:
    name = node.op.partition(".")[0]
    kept = references(node) if name in _INPUTS else []
    return [*kept, node.name] if name in _RESULT else kept
