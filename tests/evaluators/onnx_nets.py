"""Small ONNX files made by hand, without torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def linear(
    weights: np.ndarray, batch: int | str = "batch", dtype: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """The net y = x @ weights, (batch, rows) -> (batch, columns)."""
    rows, columns = weights.shape
    return _model(
        [helper.make_node("MatMul", ["input", "weights"], ["logits"])],
        [helper.make_tensor_value_info("input", dtype, [batch, rows])],
        [helper.make_tensor_value_info("logits", dtype, [batch, columns])],
        [numpy_helper.from_array(weights, "weights")],
    )


def sum_of_two() -> onnx.ModelProto:
    """A net with two inputs."""
    value = helper.make_tensor_value_info
    names = ("input", "other")
    return _model(
        [helper.make_node("Add", list(names), ["logits"])],
        [value(name, TensorProto.FLOAT, ["batch", 3]) for name in names],
        [value("logits", TensorProto.FLOAT, ["batch", 3])],
        [],
    )


def chain(length: int, width: int = 64) -> onnx.ModelProto:
    """A net of ``length`` matrix products, to be slow on purpose: (batch, width) both ends."""
    weights = np.full((width, width), 1.0 / width, np.float32)
    tensors = ["input", *(f"hidden{i}" for i in range(length - 1)), "logits"]
    return _model(
        [helper.make_node("MatMul", [a, "weights"], [b]) for a, b in _pairs(tensors)],
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", width])],
        [numpy_helper.from_array(weights, "weights")],
    )


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(names[:-1], names[1:], strict=True))


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "net", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
