"""Constants in the place of the arithmetic by which an exported network finds its shapes.

A traced module asks for the shape of a tensor wherever it reshapes one, and computes with what it
is told: about thirty small operators for each attention. Only the batch is not known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from evaluators.workload_onnx import tensors_of
from evaluators.workload_onnx_ops import Tensor
from nas.trials import CandidateError

_BATCHES = (2, 3)
"""What differs between these depends on the batch."""
_SIZES = "batch_size"


def with_constant_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network without the arithmetic of shapes; itself where it has none.

    Args:
        model: with one input whose first axis is symbolic. What cannot be worked out stays.
    """
    if not any(node.op_type == "Shape" for node in model.graph.node):
        return model
    try:
        known = [tensors_of(model, batch) for batch in _BATCHES]
    except CandidateError:  # for example control flow: nothing is known of its shapes
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _Folding(result.graph, *known).run()
    return result


class _Folding:
    """Replaces what the operators of a graph read.

    Args:
        graph: to be changed.
        one: its tensors at the first of `_BATCHES`.
        other: and at the second.
    """

    def __init__(
        self, graph: onnx.GraphProto, one: Mapping[str, Tensor], other: Mapping[str, Tensor]
    ) -> None:
        self._graph, self._one, self._other = graph, one, other
        self._constants = {tensor.name for tensor in graph.initializer}
        self._same_as: dict[str, str] = {}
        self._made: dict[tuple[int, ...], str] = {}
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        """Change the graph."""
        outputs = [value.name for value in self._graph.output]
        for node in self._graph.node:
            node.input[:] = [self._same_as.get(name, name) for name in node.input]
            if node.output[0] not in outputs and self._is_constant(node):
                continue
            if node.op_type == "Reshape":
                self._reshape(node)
            elif node.op_type == "Expand":
                self._expand(node)
            self._nodes.append(node)
        nodes = _needed(self._nodes, outputs)
        read = {name for node in nodes for name in node.input}
        weights = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(nodes)
        self._graph.initializer.extend(weights)

    def _is_constant(self, node: onnx.NodeProto) -> bool:
        """What it makes is known, and has become a constant of the graph."""
        if node.op_type == "Identity" and node.input[0] in self._constants:
            self._same_as[node.output[0]] = node.input[0]
            return True
        values = [self._value(name) for name in node.output]
        found = [value for value in values if value is not None]
        if len(found) < len(values):
            return False
        for name, value in zip(node.output, found, strict=True):
            self._add(name, value)
        return True

    def _value(self, name: str) -> NDArray[np.generic] | None:
        """Of a constant that does not depend on the batch."""
        one, other = self._one[name].value, self._other[name].value
        if one is None or other is None or not np.array_equal(one, other):
            return None
        return np.asarray(one)

    def _reshape(self, node: onnx.NodeProto) -> None:
        """-1 stands for what is left when all other sizes are known.

        0, the size that the axis had before, would let ONNX Runtime 1.32 see that two summands have
        the same batch, and compute their sum in its kernel for sum and layer norm, which takes
        five times as long as the two.
        """
        sizes = self._sizes(node)
        if sizes is not None and node.input[1] not in self._constants and all(sizes):
            node.input[1] = self._constant(sizes)

    def _expand(self, node: onnx.NodeProto) -> None:
        """The batch is that of the network's input; the other sizes are known."""
        sizes = self._sizes(node)
        if sizes is None or node.input[1] in self._constants or sizes[0] != -1:
            return
        if self._one[node.output[0]].shape[0] != _BATCHES[0]:
            return
        if _SIZES not in self._made.values():
            source = self._graph.input[0].name
            self._nodes.append(helper.make_node("Shape", [source], [_SIZES], start=0, end=1))
            self._made[()] = _SIZES
        rest = tuple(sizes[1:])
        whole = f"{_SIZES}_{'_'.join(map(str, rest))}"
        if all(whole not in made.output for made in self._nodes):
            parts = [_SIZES, self._constant(rest)]
            self._nodes.append(helper.make_node("Concat", parts, [whole], axis=0))
        node.input[1] = whole

    def _sizes(self, node: onnx.NodeProto) -> list[int] | None:
        """Of what it makes, -1 for the one that depends on the batch; None if several do."""
        name = node.output[0]
        shape = self._one[name].shape
        varies = [self._varies(name, axis) for axis in range(len(shape))]
        if sum(varies) > 1:
            return None
        return [-1 if varied else size for varied, size in zip(varies, shape, strict=True)]

    def _varies(self, name: str, axis: int) -> bool:
        return self._one[name].shape[axis] != self._other[name].shape[axis]

    def _constant(self, sizes: Sequence[int]) -> str:
        name = self._made.setdefault(tuple(sizes), f"sizes_{len(self._made)}")
        self._add(name, np.array(sizes, np.int64))
        return name

    def _add(self, name: str, value: NDArray[np.generic]) -> None:
        if name not in self._constants:
            self._constants.add(name)
            self._graph.initializer.append(numpy_helper.from_array(value, name))


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """Those that the outputs depend on, in order; copies, since lists own their messages."""
    needed, found = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            found.append(onnx.NodeProto.FromString(node.SerializeToString()))
    return found[::-1]
