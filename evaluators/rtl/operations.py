"""The operations of ONNX that are shifts, additions and comparisons once weights are constants.

Each works on arrays (n, ...) of numbers, and of da4ml's symbols with n = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from evaluators.compression.qat_file import is_power_of_two
from nas.trials import CandidateError

Operation = Callable[..., Any]
"""``(node, *arguments) -> values``."""


def operation(node: NodeProto) -> Operation:
    """What computes a node.

    Raises:
        CandidateError: when it is no logic of shifts and additions.
    """
    if node.op_type not in _OPERATIONS:
        known = ", ".join(sorted([*_OPERATIONS, "Relu", "quantizers"]))
        raise CandidateError(f"no circuit: the network has a {node.op_type} (possible: {known})")
    return _OPERATIONS[node.op_type]


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _is_constant(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype != object


def _is_number(values: Any) -> bool:
    return _is_constant(values) and bool(values.size == 1)


def _mul(node: NodeProto, one: Any, other: Any) -> Any:
    values, factor = (other, one) if _is_number(one) else (one, other)
    if not _is_number(factor) or not is_power_of_two(float(factor.reshape(()))):
        raise CandidateError("no circuit: it multiplies by something else than a power of two")
    return values * float(factor.reshape(()))


def _add(node: NodeProto, one: Any, other: Any) -> Any:
    return one + other


def _gemm(node: NodeProto, values: Any, weights: NDArray[Any], bias: Any = None) -> Any:
    options = _attributes(node)
    if options.get("transA") or options.get("alpha", 1.0) != 1 or options.get("beta", 1.0) != 1:
        raise CandidateError("no circuit: a Gemm that transposes or scales what it reads")
    return _matmul(node, values, weights.T if options.get("transB") else weights, bias)


def _matmul(node: NodeProto, values: Any, weights: Any, bias: Any = None) -> Any:
    if not _is_constant(weights):
        raise CandidateError("no circuit: it multiplies values with one another")
    products = values @ weights.astype(np.float64)
    return products if bias is None else products + bias


def _flatten(node: NodeProto, values: Any) -> Any:
    if _attributes(node).get("axis", 1) != 1:
        raise CandidateError("no circuit: a Flatten of the batch")
    return values.reshape((values.shape[0], -1))


def _reshape(node: NodeProto, values: Any, shape: NDArray[Any]) -> Any:
    sizes = [values.shape[i] if size == 0 else int(size) for i, size in enumerate(shape)]
    return values.reshape((values.shape[0], *sizes[1:]))


def _identity(node: NodeProto, values: Any) -> Any:
    return values


def _windows(node: NodeProto, values: Any, kernel: Sequence[int]) -> Any:
    """(n, channels, height, width) -> (n, channels, rows, columns, kernel elements)."""
    options = _attributes(node)
    if set(options.get("dilations", [1])) != {1} or options.get("ceil_mode"):
        raise CandidateError(f"no circuit: a {node.op_type} with dilation or rounded-up sizes")
    if options.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise CandidateError(f"no circuit: a {node.op_type} that pads by itself")
    top, left, bottom, right = options.get("pads", [0, 0, 0, 0])
    if top or left or bottom or right:
        values = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    strides = options.get("strides", [1, 1])
    rows, columns = (
        (size - edge) // stride + 1
        for size, edge, stride in zip(values.shape[2:], kernel, strides, strict=True)
    )
    down = np.arange(rows)[:, None] * strides[0] + np.repeat(np.arange(kernel[0]), kernel[1])
    along = np.arange(columns)[:, None] * strides[1] + np.tile(np.arange(kernel[1]), kernel[0])
    return values[:, :, down[:, None, :], along[None, :, :]]


def _conv(node: NodeProto, values: Any, weights: NDArray[Any], bias: Any = None) -> Any:
    if weights.ndim != 4:
        raise CandidateError("no circuit: a convolution that is not over images")
    groups = _attributes(node).get("group", 1)
    outputs, own = len(weights) // groups, weights.shape[1]
    seen, parts = _windows(node, values, weights.shape[2:]), []
    for group in range(groups):
        mine = seen[:, group * own : (group + 1) * own].transpose((0, 2, 3, 1, 4))
        matrix = weights[group * outputs : (group + 1) * outputs].reshape(outputs, -1).T
        n, rows, columns = mine.shape[:3]
        products = mine.reshape((n * rows * columns, -1)) @ matrix.astype(np.float64)
        parts.append(products.reshape((n, rows, columns, outputs)))
    joined = np.concatenate(parts, axis=-1) if groups > 1 else parts[0]
    joined = joined if bias is None else joined + bias
    return joined.transpose((0, 3, 1, 2))


def _max_pool(node: NodeProto, values: Any) -> Any:
    options = _attributes(node)
    if any(options.get("pads", [])):
        raise CandidateError("no circuit: a MaxPool with padding")
    return np.max(_windows(node, values, options["kernel_shape"]), axis=-1)


def _average(values: Any, count: int) -> Any:
    if not is_power_of_two(count):
        raise CandidateError(f"no circuit: it averages {count} values, which is no power of two")
    return np.sum(values, axis=-1) * (1 / count)


def _average_pool(node: NodeProto, values: Any) -> Any:
    options = _attributes(node)
    if any(options.get("pads", [])):
        raise CandidateError("no circuit: an AveragePool with padding")
    kernel = options["kernel_shape"]
    return _average(_windows(node, values, kernel), kernel[0] * kernel[1])


def _global_pool(node: NodeProto, values: Any) -> Any:
    n, channels, height, width = values.shape
    averaged = _average(values.reshape((n, channels, height * width)), height * width)
    return averaged.reshape((n, channels, 1, 1))


_OPERATIONS: dict[str, Operation] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "Conv": _conv,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "Identity": _identity,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Mul": _mul,
    "Reshape": _reshape,
}
