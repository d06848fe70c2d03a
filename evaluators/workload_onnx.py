"""Reads the operations of an ONNX file as the recorder sees those of the module behind it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from evaluators.workload_onnx_int8 import with_integers
from evaluators.workload_onnx_ops import Operator, Tensor, multiplies, named, role_and_op
from evaluators.workload_recorder import INPUT, Node, Recording
from nas.trials import CandidateError

PARAMS = "params"
"""The key of the metadata under which a file says how many parameters its network has."""
_SMALL = 1 << 12
"""Elements up to which constants are worked out: shapes and scales, but not weights."""
_SHAPES = ("int64", "bool")
_WHOLE = ("Silu", "Gelu", "Linear")
_INTEGER_PRODUCTS = ("MatMulInteger", "ConvInteger")


def read(path_or_bytes: str | os.PathLike[str] | bytes, batch: int) -> tuple[Recording, int]:
    """What a file does, and how many parameters it has.

    Args:
        path_or_bytes: the file or its contents.
        batch: in place of a symbolic first axis of the input.

    Raises:
        CandidateError: see `evaluators.workload.from_onnx`.
    """
    model = _loaded(path_or_bytes)
    reader = _through(model, _fused(model.graph), batch)
    known = {entry.key: entry.value for entry in model.metadata_props}
    params = int(known[PARAMS]) if known.get(PARAMS, "").isdigit() else reader.weights()
    return reader.recording([value.name for value in model.graph.output]), params


def tensors_of(model: onnx.ModelProto, batch: int) -> dict[str, Tensor]:
    """The tensors of a model by name: their shapes, and the values of what is no data.

    Args:
        model: with one input.
        batch: in place of a symbolic first axis of the input.

    Raises:
        CandidateError: see `evaluators.workload.from_onnx`.
    """
    return _through(model, [_operator(node) for node in model.graph.node], batch).tensors


def _through(model: onnx.ModelProto, operators: Iterable[Operator], batch: int) -> _Reader:
    """A reader that has read all of them."""
    reader = _Reader(model, batch)
    for operator in operators:
        try:
            reader.add(operator)
        except CandidateError:
            raise
        except Exception as error:  # onnx raises a class of its own for each of its parts
            why = " ".join(str(error).split())[:120]
            place = operator.outputs[0] if operator.outputs else ""
            raise CandidateError(f"cannot be read at {place}: {operator.kind}: {why}") from error
    return reader


def _loaded(path_or_bytes: str | os.PathLike[str] | bytes) -> onnx.ModelProto:
    try:
        if isinstance(path_or_bytes, bytes):
            model = onnx.load_from_string(path_or_bytes)
        else:
            model = onnx.load(Path(path_or_bytes))
        onnx.checker.check_model(model)
    except FileNotFoundError:
        raise CandidateError(f"there is no file {path_or_bytes!s}") from None
    except Exception as error:  # of protobuf or onnx
        raise CandidateError(f"no ONNX file: {' '.join(str(error).split())[:120]}") from error
    return model


class _Reader:
    """Tensors and nodes of a graph so far.

    Args:
        model: whose graph.
        batch: see `read`.
    """

    def __init__(self, model: onnx.ModelProto, batch: int) -> None:
        self._nodes: list[Node] = []
        self._quantized: set[int] = set()
        self._sums: set[str] = set()  # results of integer products that are not scaled yet
        self._read: dict[str, int] = {}
        self._known: dict[tuple[Hashable, ...], tuple[np.ndarray, ...]] = {}
        self._opsets = list(model.opset_import)
        self.tensors = {
            t.name: _constant(numpy_helper.to_array(t)) for t in model.graph.initializer
        }
        inputs = [v for v in model.graph.input if v.name not in self.tensors]
        if len(inputs) != 1:
            raise CandidateError(f"a network must have one input, but got {len(inputs)}")
        self._shape = _input_shape(inputs[0], batch)
        self.tensors[inputs[0].name] = Tensor(self._shape, "float32", INPUT)

    def weights(self) -> int:
        """The numbers of all weights that are read."""
        return sum(self._read.values())

    def recording(self, outputs: Sequence[str]) -> Recording:
        """All of it."""
        made_by = [self.tensors[name].made_by for name in outputs]
        ends = tuple([n for n in made_by if n is not None])
        nodes, ends = with_integers(self._nodes, ends, self._quantized)
        return Recording(nodes, ends, self._shape)

    def add(self, operator: Operator) -> None:
        """Take the next operator: it makes a constant, or a node."""
        inputs = [self.tensors[name] for name in operator.inputs if name]
        if operator.kind == "Shape":
            first, last = (operator.attributes.get(key) for key in ("start", "end"))
            sizes = np.array(inputs[0].shape[first:last], np.int64)
            self.tensors[operator.outputs[0]] = _constant(sizes)
        elif operator.kind == "Constant" and "value" in operator.attributes:
            value = numpy_helper.to_array(operator.attributes["value"])
            self.tensors[operator.outputs[0]] = _constant(value)
        elif operator.kind == "DequantizeLinear" and inputs[0].made_by is None:
            stored = inputs[0].stored
            weights = Tensor(inputs[0].shape, "float32", stored=stored, quantized=True)
            self.tensors[operator.outputs[0]] = weights
        elif all(tensor.made_by is None for tensor in inputs):
            self._work_out(operator, inputs)
        else:
            self._note(operator, inputs)

    def _work_out(self, operator: Operator, inputs: Sequence[Tensor]) -> None:
        names = [name for name in operator.inputs if name]
        stored = max([tensor.stored for tensor in inputs], default=0)
        if all(tensor.value is not None for tensor in inputs):
            values = {name: t.value for name, t in zip(names, inputs, strict=True)}
            made_of_them = self._results(operator, values)
            for name, value in zip(operator.outputs, made_of_them, strict=True):
                made = _constant(value)
                self.tensors[name] = replace(made, stored=stored or made.stored)
            return
        for name, tensor in self._inferred(operator, inputs).items():
            self.tensors[name] = replace(tensor, stored=stored)

    def _results(
        self, operator: Operator, values: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        """What it makes of these; every layer works its shapes out in the same way."""
        attributes = [a.SerializeToString() for a in operator.node.attribute]
        numbers = [(v.dtype.str, v.shape, v.tobytes()) for v in values.values()]
        places = [list(values).index(name) if name else None for name in operator.inputs]
        key = operator.kind, *attributes, *places, *numbers
        if key not in self._known:
            evaluator = ReferenceEvaluator(_alone(operator.node, self._opsets, values))
            self._known[key] = tuple([np.asarray(v) for v in evaluator.run(None, dict(values))])
        return self._known[key]

    def _note(self, operator: Operator, inputs: Sequence[Tensor]) -> None:
        found = self._inferred(operator, inputs)
        node = self._node(operator, inputs, found[operator.outputs[0]])
        n = len(self._nodes)
        self._nodes.append(node)
        if all(tensor.quantized for tensor in inputs[:2] if _is_weights(tensor)):
            self._quantized.add(n)  # a bias, which is the third, may be of either kind
        if node.role != "scale":
            self._count(operator)
        for number, (name, tensor) in enumerate(found.items()):
            # The scale that a dynamic quantization finds is no tensor to speak of.
            is_number = operator.kind == "DynamicQuantizeLinear" and number > 0
            self.tensors[name] = Tensor(tensor.shape, tensor.dtype, None if is_number else n)

    def _node(self, operator: Operator, inputs: Sequence[Tensor], made: Tensor) -> Node:
        data = [tensor for tensor in inputs if tensor.made_by is not None]
        constants = [tensor for tensor in inputs if _is_weights(tensor)]
        macs, op, in_shape, out_shape = multiplies(operator, inputs, made)
        role = "mac" if constants else "other"
        if not macs:
            role, op = role_and_op(operator, inputs, made)
            in_shape = data[0].shape
        if operator.kind in ("Cast", "Mul", "Add") and self._sums.intersection(operator.inputs):
            # Scale and bias of an integer product become a part of it.
            role, constants = "noop" if len(data) == 1 else role, []
            self._sums.add(operator.outputs[0])
        if operator.kind in _INTEGER_PRODUCTS:
            self._sums.add(operator.outputs[0])
        return Node(
            name=named(operator),
            role=role,
            op=op,
            inputs=tuple([tensor.made_by for tensor in data if tensor.made_by is not None]),
            in_shape=in_shape,
            out_shape=out_shape,
            dtype="int8" if operator.kind in _INTEGER_PRODUCTS else made.dtype,
            macs=macs,
            input_elements=sum([tensor.elements for tensor in data]),
            output_elements=made.elements,
            weight_elements=sum([t.elements for t in constants if macs or t.elements > 1]),
            bias=len(constants) > 1,
            same=None if constants else _same(operator, inputs),
        )

    def _count(self, operator: Operator) -> None:
        """The weights that an operator reads, by name: shared ones are the same ones."""
        learned = operator.inputs[:3] if operator.kind == "BatchNormalization" else operator.inputs
        for name in learned:
            if name and _is_weights(self.tensors[name]):
                self._read[name] = self.tensors[name].stored

    def _inferred(self, operator: Operator, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """The shapes and dtypes of what an operator makes."""
        if operator.kind in _WHOLE:
            last = inputs[1].shape[-1:] if operator.kind == "Linear" else inputs[0].shape[-1:]
            shape = (*inputs[0].shape[:-1], *last)
            return {operator.outputs[0]: Tensor(shape, inputs[0].dtype, 0)}
        node = operator.node
        version = next(o.version for o in self._opsets if o.domain == node.domain)
        names = [name for name in operator.inputs if name]
        types = {n: _type(t) for n, t in zip(names, inputs, strict=True)}
        values = {
            n: numpy_helper.from_array(t.value, n)
            for n, t in zip(names, inputs, strict=True)
            if t.value is not None
        }
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        found = shape_inference.infer_node_outputs(
            schema, node, types, values, opset_imports=self._opsets
        )
        return {name: _tensor(found[name], operator) for name in operator.outputs if name}


def _constant(value: np.ndarray) -> Tensor:
    kept = value if value.size <= _SMALL else None
    return Tensor(tuple(value.shape), value.dtype.name, value=kept, stored=value.size)


def _is_weights(tensor: Tensor) -> bool:
    """A constant that is computed with, and not the shape of something."""
    return tensor.made_by is None and tensor.dtype not in _SHAPES


def _same(operator: Operator, inputs: Sequence[Tensor]) -> tuple[str, str] | None:
    """What operators have in common that make the same of the same."""
    numbers = [tensor.value for tensor in inputs if tensor.made_by is None]
    if any(number is None for number in numbers):
        return None
    return operator.kind, repr((sorted(operator.attributes.items()), numbers))


def _alone(node: Any, opsets: Sequence[Any], values: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """A model of one node."""
    inputs = [helper.make_value_info(n, _type(_constant(v))) for n, v in values.items()]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = helper.make_graph([node], "alone", inputs, outputs)
    return helper.make_model(graph, opset_imports=opsets)


def _type(tensor: Tensor) -> onnx.TypeProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_type_proto(kind, tensor.shape)


def _tensor(found: onnx.TypeProto, operator: Operator) -> Tensor:
    dims = found.tensor_type.shape.dim
    if not found.tensor_type.HasField("shape") or not all(d.HasField("dim_value") for d in dims):
        raise CandidateError(
            f"cannot be read at {operator.outputs[0]}: {operator.kind}: its shape depends on data"
        )
    dtype = helper.tensor_dtype_to_np_dtype(found.tensor_type.elem_type).name
    return Tensor(tuple([d.dim_value for d in dims]), dtype)


def _input_shape(value: Any, batch: int) -> tuple[int, ...]:
    dims = value.type.tensor_type.shape.dim
    sizes = [d.dim_value if d.HasField("dim_value") else 0 for d in dims]
    if sizes and not sizes[0]:
        sizes[0] = batch
    elif sizes and batch not in (1, sizes[0]):
        raise CandidateError(f"the batch of the file is {sizes[0]}, but {batch} is asked for")
    if not sizes or min(sizes) < 1:
        raise CandidateError("only the first axis of the input may be symbolic")
    return tuple(sizes)


def _fused(graph: onnx.GraphProto) -> list[Operator]:
    """The operators, those that are one operation of torch put together again.

    x * sigmoid(x) is SiLU, x * (erf(x / sqrt(2)) + 1) / 2 is GELU, and a product with weights and
    the sum with a vector behind it are a linear layer.
    """
    operators = [_operator(node) for node in graph.node]
    made = {name: operator for operator in operators for name in operator.outputs}
    reads = Counter(name for operator in operators for name in operator.inputs)
    reads.update(value.name for value in graph.output)
    constants = _constant_names(graph, operators)
    gone: set[str] = set()
    result = []
    for operator in operators:
        whole = _silu(operator, made) or _gelu(operator, made) or _linear(operator, made, constants)
        if whole and all(reads[name] == 1 for name in whole[1]):
            gone.update(whole[1])
            operator = whole[0]
        result.append(operator)
    return [operator for operator in result if not gone.intersection(operator.outputs)]


def _operator(node: Any) -> Operator:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return Operator(node.op_type, tuple(node.input), tuple(node.output), attributes, node)


def _constant_names(graph: onnx.GraphProto, operators: Iterable[Operator]) -> set[str]:
    names = {tensor.name for tensor in graph.initializer}
    for operator in operators:
        if names.issuperset(name for name in operator.inputs if name):
            names.update(operator.outputs)
    return names


def _silu(operator: Operator, made: Mapping[str, Operator]) -> tuple[Operator, list[str]] | None:
    for data, gate in (operator.inputs, operator.inputs[::-1]) if operator.kind == "Mul" else ():
        before = made.get(gate)
        if before is not None and before.kind == "Sigmoid" and before.inputs == (data,):
            return Operator("Silu", (data,), operator.outputs, node=operator.node), [gate]
    return None


def _gelu(operator: Operator, made: Mapping[str, Operator]) -> tuple[Operator, list[str]] | None:
    """Half of x * (1 + erf(x / sqrt(2))), as torch's exporter writes it."""
    chain, name = [operator], operator.inputs[0] if operator.inputs else ""
    for kind, place in (("Mul", 1), ("Add", 0), ("Erf", 0), ("Div", 0)):
        before = made.get(name)
        if chain[0].kind != "Mul" or before is None or before.kind != kind:
            return None
        chain.append(before)
        name = before.inputs[place]
    if chain[1].inputs[0] != chain[4].inputs[0]:
        return None
    inner = [outer.outputs[0] for outer in chain[1:]]
    return Operator("Gelu", (name,), operator.outputs, node=operator.node), inner


def _linear(
    operator: Operator, made: Mapping[str, Operator], constants: set[str]
) -> tuple[Operator, list[str]] | None:
    if operator.kind != "Add":
        return None
    for product, bias in (operator.inputs, operator.inputs[::-1]):
        before = made.get(product)
        if before is not None and before.kind == "MatMul" and bias in constants:
            data, weights = before.inputs
            if weights in constants and data not in constants:
                whole = Operator(
                    "Linear", (data, weights, bias), operator.outputs, node=operator.node
                )
                return whole, [product]
    return None
