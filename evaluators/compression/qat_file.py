"""The file of a network from quantization-aware training: its weights stored as integers.

Every quantizer in it is plain: activations pass Mul, Floor, Clip and Mul, weights are int8 numbers
that are cast and multiplied by a power of two. ONNX Runtime computes it in float32, exactly, since
all sums are small integers times a power of two.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from evaluators.compression.choices import QuantizeConfig
from evaluators.packaging import PRODUCER, read_metadata, save, tidy, write_metadata
from nas.trials import CandidateError

DTYPE = "fixed"
"""What such a file computes in: fixed-point numbers."""

_WEIGHTED = ("Conv", "Gemm", "MatMul")
_LARGEST = 127


def quantize(onnx_path: Path, config: QuantizeConfig, calibration: Any, out_path: Path) -> Path:
    """Store the weights of a packed network as integers.

    Args:
        onnx_path: the packed network, whose weights are integers times a power of two already.
        config: goes into the metadata.
        calibration: not needed.
        out_path: where to write.

    Returns:
        ``out_path``.

    Raises:
        CandidateError: when a weight is no such number.
    """
    model = onnx.load(onnx_path)
    metadata = read_metadata(model)
    graph = model.graph
    _simplify(graph)
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    stored: set[str] = set()
    for node in graph.node:
        if node.op_type in _WEIGHTED and node.input[1] in tensors:
            name = node.input[1]
            if name not in stored:
                integers, scale = as_integers(numpy_helper.to_array(tensors[name]))
                tensors[name].CopyFrom(numpy_helper.from_array(integers, name))
                nodes += _restored(name, scale)
                graph.initializer.append(
                    numpy_helper.from_array(np.array(scale, np.float32), f"{name}.scale")
                )
                stored.add(name)
            node.input[1] = f"{name}.values"
        nodes.append(node)
    if not stored:
        raise CandidateError("nothing to quantize (qat): no layer with weights in the file")
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    tidy(model)
    model.producer_name = PRODUCER
    write_metadata(model, {**metadata, "dtype": DTYPE, "quantization": config.to_json()})
    save(model, out_path)
    return Path(out_path)


def _simplify(graph: onnx.GraphProto) -> None:
    """Put constants among the tensors, and let everyone read the original of a copy."""
    originals: dict[str, str] = {}
    outputs = {value.name for value in graph.output}
    for node in list(graph.node):
        node.input[:] = [originals.get(name, name) for name in node.input]
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
        elif node.op_type == "Identity" and node.output[0] not in outputs:
            originals[node.output[0]] = node.input[0]
        else:
            continue
        graph.node.remove(node)


def _restored(name: str, scale: float) -> list[onnx.NodeProto]:
    cast, values = f"{name}.cast", f"{name}.values"
    return [
        helper.make_node("Cast", [name], [cast], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [cast, f"{name}.scale"], [values]),
    ]


def as_integers(weights: NDArray[Any]) -> tuple[NDArray[np.int8], float]:
    """Weights as int8 numbers and the largest power of two that they are multiples of.

    Raises:
        CandidateError: when they are no integers of up to 127 times a power of two.
    """
    magnitudes = np.unique(np.abs(weights[weights != 0]).astype(np.float64))
    if not len(magnitudes):
        return np.zeros(weights.shape, np.int8), 1.0
    # The lowest set bit of each: its mantissa's, since a float is an integer of 53 bits times 2^e.
    mantissas, exponents = np.frexp(magnitudes)
    whole = (mantissas * 2.0**53).astype(np.int64)
    lowest = np.log2((whole & -whole).astype(np.float64)) + exponents - 53
    scale = float(2.0 ** lowest.min())
    if magnitudes[-1] / scale > _LARGEST:
        raise CandidateError(
            f"weights must be integers of up to {_LARGEST} times a power of two, but reach "
            f"{magnitudes[-1] / scale:.4g}"
        )
    return np.round(weights / scale).astype(np.int8), scale


def is_power_of_two(value: float) -> bool:
    """Whether multiplying by it only moves the binary point."""
    return value > 0 and math.frexp(value)[0] == 0.5
