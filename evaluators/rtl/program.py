"""What an artifact of quantized layers computes on integers, read from its ONNX file.

The file is cut at the first quantizer: what comes before it (the normalization) is done outside of
the circuit, and its integers are the circuit's inputs. The rest is a list of steps on fixed-point
numbers that runs on whatever has numpy's arithmetic: on arrays of numbers, and on the symbols that
da4ml makes logic of.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from evaluators import runtimes
from evaluators.packaging import BATCH
from evaluators.rtl.operations import operation
from evaluators.scoring import predict
from evaluators.tasks.data import Floats
from nas.trials import CandidateError

_OUTSIDE = ("Sub", "Mul", "Flatten", "Reshape", "Identity", "Floor", "Clip")
"""What may come up to the end of the first quantizer."""
_WEIGHTED = ("Conv", "Gemm", "MatMul")

Constants = Mapping[str, NDArray[Any]]


class Arithmetic(Protocol):
    """The operations that numpy has not for the symbols of a circuit."""

    def quantize(self, values: Any, low: int, high: int) -> Any:
        """``clip(floor(values), low, high)``."""
        ...

    def relu(self, values: Any) -> Any:
        """``max(values, 0)``."""
        ...


class Numbers:
    """The arithmetic of plain numbers."""

    def quantize(self, values: Any, low: int, high: int) -> Any:
        """See `Arithmetic`."""
        return np.clip(np.floor(values), low, high)

    def relu(self, values: Any) -> Any:
        """See `Arithmetic`."""
        return np.maximum(values, 0)


@dataclass(frozen=True)
class Program:
    """An artifact, cut in two.

    Args:
        outside: ONNX bytes, raw inputs -> the circuit's inputs, integers as float32.
        steps: the nodes of the rest, in order; at least one.
        constants: tensors by name.
        inputs: the name of the circuit's inputs.
        shape: of those, without the batch.
        low: the least of those integers.
        high: the largest.
    """

    outside: bytes
    steps: tuple[onnx.NodeProto, ...]
    constants: Constants
    inputs: str
    shape: tuple[int, ...]
    low: int
    high: int

    def integers(self, inputs: Floats) -> Floats:
        """The circuit's inputs (n, *shape) for raw inputs (n, *input_shape), by ONNX Runtime."""
        with runtimes.load(self.outside) as session:
            return predict(session, inputs)

    def run(self, values: Any, arithmetic: Arithmetic) -> Any:
        """The outputs (n, outputs) for the circuit's inputs (n, *shape).

        Args:
            values: an array, or da4ml's symbols with n = 1.
            arithmetic: of those.

        Raises:
            CandidateError: for an operation that is no logic of shifts and additions.
        """
        return [result for _, result in self._results(values, arithmetic)][-1]

    def macs(self) -> int:
        """Multiply-accumulates of an example whose weight is not zero: all become logic."""
        found = 0
        for node, result in self._results(np.zeros((1, *self.shape)), Numbers()):
            if node.op_type in _WEIGHTED:
                pixels = math.prod(result.shape[2:])
                found += int(np.count_nonzero(self.constants[node.input[1]])) * pixels
        return found

    def _results(self, values: Any, arithmetic: Arithmetic) -> Iterator[tuple[onnx.NodeProto, Any]]:
        known: dict[str, Any] = {self.inputs: values}
        for node in self.steps:
            arguments: list[Any] = [
                known[name] if name in known else self.constants.get(name) for name in node.input
            ]
            if node.op_type == "Clip":
                low, high = int(arguments[1]), int(arguments[2])
                result = arithmetic.quantize(arguments[0], low, high)
            elif node.op_type == "Relu":
                result = arithmetic.relu(arguments[0])
            elif node.op_type == "Floor":
                result = arguments[0]  # by the Clip that reads it, see `_check_quantizers`
            else:
                result = operation(node)(node, *arguments)
            known[node.output[0]] = result
            yield node, result


def load_program(path: str | os.PathLike[str]) -> Program:
    """Read an artifact.

    Raises:
        CandidateError: when its inputs are not quantized, or its quantizers are others than those
            of ``qat``.
    """
    model = onnx.load(os.fspath(path))
    nodes, constants = _folded(model.graph)
    cut, clip = _first_quantizer(model.graph, nodes, constants)
    rest = tuple(node for node in nodes[cut:])
    if not rest:
        raise CandidateError("no circuit: nothing comes after the quantizer of the inputs")
    _check_quantizers(rest)
    outside, shape = _outside(model, clip.output[0])
    low, high = (int(constants[name]) for name in clip.input[1:3])
    return Program(outside, rest, constants, clip.output[0], shape, low, high)


def _folded(graph: onnx.GraphProto) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """The nodes that compute something of the input, and all constants, those of weights too."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        values = [constants.get(name) for name in node.input]
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif any(value is None for value, name in zip(values, node.input, strict=True) if name):
            nodes.append(node)
        elif node.op_type in ("Cast", "Mul", "Identity"):
            # Weights are stored as integers, which are cast and multiplied by their scale.
            known = np.broadcast_arrays(*(np.asarray(value, np.float64) for value in values))
            constants[node.output[0]] = np.asarray(np.prod(known, axis=0))
        else:
            nodes.append(node)
    return nodes, constants


def _first_quantizer(
    graph: onnx.GraphProto, nodes: list[onnx.NodeProto], constants: Constants
) -> tuple[int, onnx.NodeProto]:
    """How many nodes lie outside, and the Clip that ends there."""
    reached, before = graph.input[0].name, ""
    for index, node in enumerate(nodes):
        readers = [other for other in nodes if reached in other.input]
        if len(readers) != 1 or readers[0] is not node or node.op_type not in _OUTSIDE:
            break
        if node.op_type == "Clip" and before == "Floor":
            return index + 1, node
        reached, before = node.output[0], node.op_type
    raise CandidateError(
        "no circuit: the inputs are not quantized (it takes networks of the scheme qat)"
    )


def _check_quantizers(nodes: tuple[onnx.NodeProto, ...]) -> None:
    """Each Floor is read by one Clip, and each Clip reads a Floor."""
    floors = {node.output[0] for node in nodes if node.op_type == "Floor"}
    clipped = [node.input[0] for node in nodes if node.op_type == "Clip"]
    others = {n for node in nodes if node.op_type != "Clip" for n in node.input if n in floors}
    if others or set(clipped) != floors or len(clipped) != len(floors):
        raise CandidateError(
            "no circuit: a Floor or a Clip that is no part of a quantizer (ReLU6? take ReLU)"
        )


def _outside(model: onnx.ModelProto, output: str) -> tuple[bytes, tuple[int, ...]]:
    """The part of a model up to a tensor, and that tensor's shape without the batch."""
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    found = next(value for value in known if value.name == output)
    shape = tuple(size.dim_value for size in found.type.tensor_type.shape.dim)[1:]
    graph, kept = model.graph, []
    for node in graph.node:
        kept.append(node)
        if output in node.output:
            break
    needed = {name for node in kept for name in node.input}
    result = helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, [BATCH, *shape])
    part = helper.make_graph(
        kept, "outside", graph.input, [result], [t for t in graph.initializer if t.name in needed]
    )
    cut = helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    return cut.SerializeToString(), shape
