"""The network that every measurement is compared with: small, fixed, made without torch."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def reference_model() -> bytes:
    """An ONNX model, always the same: (batch, 1, 16, 16) -> (batch, 10).

    Three strided convolutions with 8, 16 and 32 channels, global average, a linear layer: the
    kinds of kernels that the candidates have, so that what slows them down slows it down alike.
    """
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    tensor, channels = "input", 1
    for index, (width, kernel) in enumerate([(8, 5), (16, 3), (32, 3)]):
        weights.append(_wave(f"weight{index}", (width, channels, kernel, kernel)))
        weights.append(_wave(f"bias{index}", (width,)))
        inputs = [tensor, f"weight{index}", f"bias{index}"]
        pads = [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", inputs, [f"conv{index}"], strides=[2, 2], pads=pads))
        nodes.append(helper.make_node("Relu", [f"conv{index}"], [f"relu{index}"]))
        tensor, channels = f"relu{index}", width
    weights.append(_wave("weight", (channels, 10)))
    nodes.append(helper.make_node("GlobalAveragePool", [tensor], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "weight"], ["output"]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "reference",
        [value("input", TensorProto.FLOAT, ["batch", 1, 16, 16])],
        [value("output", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="hwnas")
    return bytes(model.SerializeToString(deterministic=True))


def _wave(name: str, shape: tuple[int, ...]) -> onnx.TensorProto:
    """Weights without a random generator: sines, scaled so that values neither grow nor vanish."""
    fan_in = math.prod(shape[1:]) or 1
    values = np.sin(np.arange(1, math.prod(shape) + 1)) * math.sqrt(2 / fan_in)
    return numpy_helper.from_array(values.reshape(shape).astype(np.float32), name)
