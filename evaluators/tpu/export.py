"""From a torch module to a `Graph`, with batch norm folded into what is before it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.tpu.graph import DTYPE, REF, Graph, Node, Spec, ref_of, renamed
from nas.trials import CandidateError

_FOLDS = ("conv1d.default", "conv2d.default", "linear.default")
_BATCH_NORM = "batch_norm.default"


def export(
    module: nn.Module, input_shape: Sequence[int], *, fold: bool = True
) -> tuple[Graph, dict[str, Tensor]]:
    """The graph of a network in inference mode.

    Args:
        module: stays as it is.
        input_shape: with the batch that it is for.
        fold: batch norm becomes a part of the convolution or linear layer before it.

    Returns:
        The graph, and its weights by name.

    Raises:
        CandidateError: for a module that cannot be exported.
        ValueError: for sizes below 1.
    """
    if not input_shape or min(input_shape) < 1:
        raise ValueError(f"input_shape must be sizes of at least 1, but got {tuple(input_shape)}")
    graph, weights = _read(_exported(module, input_shape))
    return folded(graph, weights) if fold else (graph, weights)


def folded(graph: Graph, weights: Mapping[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """The graph with each batch norm folded whose input nothing else reads."""
    readers, values = graph.readers(), dict(weights)
    found: dict[str, Node] = {}
    names: dict[str, str] = {}
    for node in graph.nodes:
        node = node._replace(args=renamed(node.args, names))
        before = found.get(ref_of(node.args[0])) if node.args else None
        if before and _folds(before, node, readers):
            found[before.name] = _with_norm(before, node, values)
            names[node.name] = before.name
        else:
            found[node.name] = node
    nodes = tuple(node._replace(kwargs=renamed(node.kwargs, names)) for node in found.values())
    outputs = tuple(names.get(name, name) for name in graph.outputs)
    result = Graph(graph.inputs, graph.weights, nodes, outputs)
    kept = {name: values[name] for name in values if name in result.readers()}
    specs = {name: _spec(value) for name, value in kept.items()}
    return Graph(graph.inputs, specs, nodes, outputs), kept


def _exported(module: nn.Module, input_shape: Sequence[int]) -> torch.export.ExportedProgram:
    network = copy.deepcopy(module).cpu().eval().requires_grad_(False)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # nobody else has its fused layers
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(network, (torch.zeros(*input_shape),), strict=False)
            if any(_op(node).partition(".")[0].endswith("_") for node in _calls(program)):
                program = program.run_decompositions({})  # without operations in place
            return program
    except Exception as error:  # those of the exporter have no class in common
        why = " ".join(str(error).split())[:200]
        raise CandidateError(f"cannot be exported for XLA: {why}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _calls(program: torch.export.ExportedProgram) -> list[torch.fx.Node]:
    return [node for node in program.graph.nodes if node.op == "call_function"]


def _op(node: torch.fx.Node) -> str:
    """Without ``aten.``; what is not of torch by its own name, such as ``getitem``."""
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target).removeprefix("aten.")
    return str(getattr(node.target, "__name__", node.target))


def _read(program: torch.export.ExportedProgram) -> tuple[Graph, dict[str, Tensor]]:
    known: dict[str, Any] = {**program.state_dict, **program.constants}
    inputs: dict[str, Spec] = {}
    weights: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    for spec in program.graph_signature.input_specs:
        name = spec.arg.name
        if spec.target is None:
            value = next(n for n in program.graph.nodes if n.name == name).meta["val"]
            inputs[name] = _spec(value)
        else:
            names[name], weights[spec.target] = spec.target, known[spec.target]
    nodes = tuple(
        Node(
            node.name,
            _op(node),
            renamed(tuple(_plain(each) for each in node.args), names),
            renamed({key: _plain(value) for key, value in node.kwargs.items()}, names),
        )
        for node in _calls(program)
    )
    returned = [spec.arg.name for spec in program.graph_signature.output_specs]
    outputs = tuple(names.get(name, name) for name in returned)
    return Graph(inputs, {n: _spec(w) for n, w in weights.items()}, nodes, outputs), weights


def _spec(value: Tensor) -> Spec:
    return Spec(tuple(int(size) for size in value.shape), _name(value.dtype))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _plain(value: Any) -> Any:
    """An argument as a plain value; what says where a tensor lies is left out."""
    if isinstance(value, torch.fx.Node):
        return {REF: value.name}
    if isinstance(value, torch.dtype):
        return {DTYPE: _name(value)}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, torch.device | torch.layout | torch.memory_format):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CandidateError(f"cannot be exported for XLA: an argument is {value!r}")


def _folds(before: Node, node: Node, readers: Mapping[str, int]) -> bool:
    if node.op != _BATCH_NORM or before.op not in _FOLDS or readers.get(before.name) != 1:
        return False
    is_inference, positional = node.args[5] is False, not (before.kwargs or node.kwargs)
    return is_inference and positional and len(before.args) > 1 and bool(ref_of(before.args[1]))


def _with_norm(layer: Node, norm: Node, values: dict[str, Tensor]) -> Node:
    """The layer whose weights (out, ...) hold what the batch norm behind it does."""
    weight = values[ref_of(layer.args[1])].double()
    bias = _value(layer.args[2] if len(layer.args) > 2 else None, values)
    scale, shift, mean, variance = (_value(each, values) for each in norm.args[1:5])
    if mean is None or variance is None:
        raise CandidateError("a batch norm without statistics depends on the other examples")
    factor = torch.rsqrt(variance + norm.args[7])
    factor = factor if scale is None else factor * scale
    moved = (-mean if bias is None else bias - mean) * factor
    moved = moved if shift is None else moved + shift
    scaled = weight * factor.reshape(-1, *[1] * (weight.dim() - 1))
    names = (f"{norm.name}.weight", f"{norm.name}.bias")
    values.update(zip(names, (scaled.float(), moved.float()), strict=True))
    refs = tuple({REF: name} for name in names)
    return layer._replace(args=(layer.args[0], *refs, *layer.args[3:]))


def _value(argument: Any, values: Mapping[str, Tensor]) -> Tensor | None:
    name = ref_of(argument)
    return values[name].double() if name else None
