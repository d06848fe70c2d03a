"""A `Graph` carried out in JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from evaluators.tpu.graph import DTYPE, REF, Graph
from evaluators.tpu.ops import OPS
from nas.trials import CandidateError

Array = Any
_NARROW = {"int64": "int32", "float64": "float32", "uint64": "uint32"}
"""JAX has only 32 bits unless it is told otherwise."""


def check_ops(graph: Graph) -> None:
    """Check that JAX has all operations of a graph.

    Raises:
        CandidateError: naming those that it has not.
    """
    missing = sorted({node.op for node in graph.nodes} - OPS.keys())
    if missing:
        raise CandidateError(f"no mapping to XLA for: {', '.join(missing)}")


def dtype_of(name: str, dtype: str = "float32") -> Any:
    """The JAX dtype of a dtype of torch, where float32 is computed in ``dtype``."""
    return jnp.dtype(dtype if name == "float32" else _NARROW.get(name, name))


def run(
    graph: Graph, weights: Mapping[str, Array], inputs: Mapping[str, Array], dtype: str = "float32"
) -> tuple[Array, ...]:
    """The outputs of a network.

    Args:
        graph: of it.
        weights: by name, in their dtypes.
        inputs: by name, batch first.
        dtype: that stands for the float32 that the graph asks for.

    Raises:
        CandidateError: for operations without a mapping.
    """
    check_ops(graph)
    known: dict[str, Array] = {**weights, **inputs}

    def taken(value: Any) -> Any:
        if isinstance(value, dict):
            return known[value[REF]] if REF in value else dtype_of(value[DTYPE], dtype)
        return [taken(each) for each in value] if isinstance(value, list | tuple) else value

    for node in graph.nodes:
        named = {key: taken(value) for key, value in node.kwargs.items() if value is not None}
        known[node.name] = OPS[node.op](*[taken(each) for each in node.args], **named)
    return tuple(known[name] for name in graph.outputs)
