"""What each runtime does to a graph, as `evaluators.workload_lowering` tells in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from evaluators.workload_recorder import Node
from evaluators.workload_simplify import CONVOLUTIONS, PIECEWISE

BARE, SUMMED, CLOSED = range(3)
"""What a kernel has taken in: nothing but batch norms and numbers, a sum, an activation."""
ALL = "everything"
CLIPS = frozenset({"relu", "hardtanh", "clamp", "clamp_min", "clamp_max"})
_SMOOTH = frozenset({"sigmoid", "tanh", "hardsigmoid"})
_VIEWS = frozenset({"view", "copy", "noop"})
_LAYOUT = _VIEWS | {"transpose"}


@dataclass(frozen=True)
class Rules:
    """What a runtime does to a graph.

    Args:
        norm: kernels into which the batch norm behind them disappears.
        activations: that become a part of a kernel, by the kernel's op, or ``sum`` for a
            convolution that has a sum already, or ``everything`` for all kernels and functions.
        sums: a sum becomes a part of the convolution that computes one of its inputs.
        scales: so does a number that is added or multiplied, or one for each channel.
        blocked: convolutions have a layout of their own; only in it are sums folded, and batch
            norms take activations in.
        free: roles that cost nothing.
        repeats: equal operations on equal inputs are carried out again.
        zeros: a multiplication by 0 is carried out.
        drops_dead: what does not reach the output is not executed.
        dead_ends: but convolutions that nothing reads are.
        integers: what can be is computed on integers; what is not needs conversions.
        plain_below: convolutions with fewer input channels read images in the layout of everything
            else, although they write them in their own.
        bias_of_tokens: linear layers of tokens leave their bias to a sum behind them.
    """

    norm: tuple[str, ...] = ()
    activations: Mapping[str, frozenset[str]] = field(default_factory=dict)
    sums: bool = False
    scales: bool = False
    blocked: bool = False
    free: frozenset[str] = _VIEWS
    repeats: bool = True
    zeros: bool = True
    drops_dead: bool = True
    dead_ends: bool = False
    integers: bool = False
    plain_below: int = 0
    bias_of_tokens: bool = False

    def folds(self, node: Node, op: str, stage: int) -> bool:
        """The node becomes a part of the kernel that computes its input.

        Args:
            node: that follows.
            op: of the kernel before it.
            stage: what has been folded into that kernel already.
        """
        if node.role == "norm":
            return ALL in self.activations or (stage == BARE and op in self.norm)
        if node.role in ("scale", "zero"):
            foldable = node.name == "mul" or (node.name == "add" and node.weight_elements > 0)
            fits = self.scales and foldable and node.dtype != "int8"
            return fits and stage == BARE and op in CONVOLUTIONS
        if node.role == "transpose":
            return op == "transpose"
        if node.role != "activation":
            return False
        if ALL in self.activations:
            return True
        known = self.activations.get("sum" if stage == SUMMED else op, frozenset())
        return stage != CLOSED and node.name in known


_LAYERS = (*CONVOLUTIONS, "linear")
_FUSED = {
    **dict.fromkeys((*CONVOLUTIONS, "batch_norm"), CLIPS | _SMOOTH | {"leaky_relu", "hardswish"}),
    "sum": _SMOOTH | {"relu", "hardswish"},
    "linear": _SMOOTH | {"relu", "leaky_relu", "elu", "selu", "softplus"},
}
_BLOCKS_OF_16 = Rules(
    (*CONVOLUTIONS, "transposed_conv"),
    _FUSED,
    sums=True,
    scales=True,
    blocked=True,
    repeats=False,
    plain_below=16,
    bias_of_tokens=True,
)
RULES = {
    "onnxruntime": _BLOCKS_OF_16,
    "onnxruntime-nchwc8": replace(_BLOCKS_OF_16, plain_below=8),
    "onnxruntime-int8": Rules(
        _LAYERS,
        dict.fromkeys((*_LAYERS, "add"), CLIPS),
        repeats=False,
        integers=True,
        bias_of_tokens=True,
    ),
    "tflite": Rules(_LAYERS, dict.fromkeys((*_LAYERS, "add"), CLIPS), zeros=False, dead_ends=True),
    "xla": Rules(activations={ALL: frozenset()}, sums=True, free=_LAYOUT, repeats=False),
    "dataflow": Rules(activations={ALL: frozenset()}, free=_LAYOUT),
    "eager": Rules(free=frozenset({"view", "transpose", "slice"}), drops_dead=False),
    "dpu": Rules(
        _LAYERS, dict.fromkeys(_LAYERS, PIECEWISE) | {"add": CLIPS}, zeros=False, free=_LAYOUT
    ),
}
