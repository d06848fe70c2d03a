"""The program that runs when nobody says that no gradients are wanted.

PyTorch then keeps what a backward pass would read. Under XLA every tensor that is kept becomes an
output of the compiled program and is written to memory, in the layout that PyTorch/XLA gives to
tensors: large images are laid out anew. The published throughputs of Accel-NASBench on TPUs were
timed that way (its script evaluates without ``no_grad``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evaluators.tpu.graph import Graph, Node, references

_INPUTS = frozenset(
    {"conv1d", "conv2d", "convolution", "linear", "batch_norm", "layer_norm", "mul", "matmul"}
    | {"hardsigmoid", "hardswish", "silu", "gelu", "hardtanh", "relu6", "max_pool2d"}
)
"""Operations whose derivative reads what they read."""
_RESULT = frozenset({"relu", "sigmoid", "tanh", "softmax"})
"""Operations whose derivative reads what they give."""
_LANES, _SUBLANES, _MOST_PADDING = 128, 8, 1.25


def keeping(graph: Graph) -> Graph:
    """The same network, whose outputs are also all tensors that a backward pass would read.

    Args:
        graph: exported without folding batch norm, since its statistics have gradients too.
    """
    outputs = dict.fromkeys(graph.outputs)
    made = {node.name for node in graph.nodes}
    for node in graph.nodes:
        outputs.update(dict.fromkeys(name for name in _kept(node) if name in made))
    return replace(graph, outputs=tuple(outputs), layout="torch_xla")


def _kept(node: Node) -> list[str]:
    name = node.op.partition(".")[0]
    kept = references(node) if name in _INPUTS else []
    return [*kept, node.name] if name in _RESULT else kept


def torch_xla_order(shape: Sequence[int]) -> tuple[int, ...]:
    """The axes of a tensor from major to minor, as PyTorch/XLA lays it out on a TPU.

    In their own order where the last two fill tiles of 8 x 128 with at most a quarter too much
    (``XLA_MAX_PADDING_FACTOR``); else by size, the largest last.
    """
    axes = range(len(shape))
    if len(shape) < 2 or _padding(shape[-1], _LANES) * _padding(shape[-2], _SUBLANES) < (
        _MOST_PADDING
    ):
        return tuple(axes)
    return tuple(sorted(axes, key=lambda axis: (shape[axis], axis)))


def _padding(size: int, tile: int) -> float:
    return -(-size // tile) * tile / size
