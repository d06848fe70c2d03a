"""What ONNX's operators mean, in the terms in which torch's operations are recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluators.workload_ops import is_a_channel_each, scaling

Shape = tuple[int, ...]

_ACTIVATIONS = {
    "Relu": "relu",
    "LeakyRelu": "leaky_relu",
    "Clip": "hardtanh",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardSigmoid": "hardsigmoid",
    "HardSwish": "hardswish",
    "Silu": "silu",
    "Gelu": "gelu",
    "Elu": "elu",
    "Selu": "selu",
    "Celu": "celu",
    "Mish": "mish",
    "Softplus": "softplus",
    "PRelu": "_prelu_kernel",
}
_MOVES = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand"), "view"),
    **dict.fromkeys(("Identity", "Dropout"), "view"),
    "Cast": "copy",
    "Transpose": "transpose",
    **dict.fromkeys(("Slice", "Gather", "Split"), "slice"),
}
_ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
_OPS = {
    "Add": "add",
    "Sub": "add",
    "Mul": "mul",
    "Div": "mul",
    "Concat": "concat",
    "Softmax": "softmax",
    "LogSoftmax": "softmax",
    "LayerNormalization": "layer_norm",
    "GroupNormalization": "group_norm",
    "InstanceNormalization": "batch_norm",
    "MaxPool": "pool",
    "AveragePool": "pool",
    "GlobalAveragePool": "global_pool",
    "GlobalMaxPool": "pool",
    "QuantizeLinear": "quantize",
    "DynamicQuantizeLinear": "quantize",
    "DequantizeLinear": "dequantize",
    "ReduceMean": "mean",
    "ReduceSum": "sum",
    "Pad": "constant_pad_nd",
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph.

    Args:
        shape: with batch.
        dtype: numpy's name.
        made_by: the node that makes it, None for a constant.
        value: of a small constant.
        stored: how many numbers of the file a constant is made of.
        quantized: a constant that stands for integers.
    """

    shape: Shape
    dtype: str
    made_by: int | None = None
    value: Any = None
    stored: int = 0
    quantized: bool = False

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Operator:
    """A node of a graph, or several that are one operation elsewhere.

    Args:
        kind: of ONNX, or ``Silu``, ``Gelu`` or ``Linear``.
        inputs: names of tensors, ``""`` for one that is not there.
        outputs: names of tensors.
        attributes: by name.
        node: of the graph; of several, the last one.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    node: Any = None


def named(operator: Operator) -> str:
    """Torch's name for it."""
    kind = operator.kind
    return _ACTIVATIONS.get(kind) or _ARITHMETIC.get(kind) or kind.lower()


def role_and_op(operator: Operator, inputs: Sequence[Tensor], made: Tensor) -> tuple[str, str]:
    """See `evaluators.workload_recorder.Node`; of whatever multiplies no matrices."""
    kind = operator.kind
    if kind in _ACTIVATIONS:
        return "activation", "activation"
    if kind == "BatchNormalization":
        return "norm", "batch_norm"
    if kind in _MOVES:
        return _MOVES[kind], _MOVES[kind]
    op = _OPS.get(kind, kind.lower())
    if op == "mean" and len(inputs[0].shape) > 2:
        op = "global_pool"
    if kind in _ARITHMETIC:
        return _arithmetic(_ARITHMETIC[kind], inputs, made), op
    return "other", op


def _arithmetic(name: str, inputs: Sequence[Tensor], made: Tensor) -> str:
    data, other = inputs[0], inputs[1]
    if name in ("add", "mul") and data.made_by is None:
        data, other = other, data
    if data.made_by is None or other.made_by is not None or data.shape != made.shape:
        return "other"
    if other.elements == 1:
        return "scale" if other.value is None else scaling(name, float(np.ravel(other.value)[0]))
    return "scale" if is_a_channel_each(other.shape, made.shape) else "other"


def multiplies(
    operator: Operator, inputs: Sequence[Tensor], made: Tensor
) -> tuple[int, str, Shape, Shape]:
    """Multiply-accumulates, op and the shapes in and out; (0, "", ...) of everything else.

    Products of more than two axes have the shapes that torch gives them: (rows, columns) of a
    linear layer, (products, rows, columns) of data times data.
    """
    kind, data = operator.kind, inputs[0].shape
    if kind in ("Conv", "ConvInteger"):
        macs = made.elements * math.prod(inputs[1].shape[1:])
        return macs, _convolution(operator, data), data, made.shape
    if kind == "ConvTranspose":
        macs = math.prod(data) * math.prod(inputs[1].shape[1:])
        return macs, "transposed_conv", data, made.shape
    if kind == "Gemm":
        rows, inner = reversed(data) if operator.attributes.get("transA") else data
        return made.elements * inner, "linear", (rows, inner), made.shape
    if kind in ("MatMul", "MatMulInteger", "Linear"):
        macs = made.elements * data[-1]
        if inputs[1].made_by is None or len(data) < 3:
            op = "linear" if inputs[1].made_by is None else "matmul"
            return macs, op, _flat(data, 1), _flat(made.shape, 1)
        return macs, "matmul", _flat(data, 2), _flat(made.shape, 2)
    return 0, "", data, made.shape


def _convolution(operator: Operator, data: Shape) -> str:
    groups = operator.attributes.get("group", 1)
    if groups == 1:
        return "conv"
    return "depthwise" if groups == data[1] else "grouped_conv"


def _flat(shape: Shape, kept: int) -> Shape:
    """The leading axes as one."""
    return (math.prod(shape[:-kept]), *shape[-kept:])
