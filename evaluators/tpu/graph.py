"""A network as plain values: the operations of its `torch.export` graph, without weights.

The process that compiles it needs no torch, and what compiles alike hashes alike.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

REF, DTYPE = "ref", "dtype"
"""Keys of the mappings that stand for a tensor and for a dtype among the arguments of a node."""
LAYOUTS = ("", "torch_xla")


class Spec(NamedTuple):
    """The shape of a tensor, batch first, and its dtype, for example ``float32``."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


class Node(NamedTuple):
    """One operation.

    Attributes:
        name: of its result.
        op: of torch, without namespace, for example ``conv2d.default``.
        args: numbers, texts, lists of them; ``{"ref": name}`` is a tensor, ``{"dtype": name}`` a
            dtype.
        kwargs: the same by name.
    """

    name: str
    op: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """A network in inference mode.

    Args:
        inputs: by name, batch first.
        weights: parameters, buffers and constants by name.
        nodes: in order of execution.
        outputs: names of the tensors that it gives back.
        layout: of the outputs in memory: ``""``: as the compiler likes best, or ``torch_xla``.

    Raises:
        ValueError: for another layout.
    """

    inputs: Mapping[str, Spec]
    weights: Mapping[str, Spec]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    layout: str = ""

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {LAYOUTS}, but got {self.layout!r}")

    def to_json(self) -> dict[str, Any]:
        """A record for `from_json`."""
        return {
            "inputs": {name: list(spec) for name, spec in self.inputs.items()},
            "weights": {name: list(spec) for name, spec in self.weights.items()},
            "nodes": [list(node) for node in self.nodes],
            "outputs": list(self.outputs),
            "layout": self.layout,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Graph:
        """The graph behind a record of `to_json`."""
        return cls(
            inputs=_specs(record["inputs"]),
            weights=_specs(record["weights"]),
            nodes=tuple(Node(n, op, tuple(args), kw) for n, op, args, kw in record["nodes"]),
            outputs=tuple(record["outputs"]),
            layout=record["layout"],
        )

    @cached_property
    def fingerprint(self) -> str:
        """64 hexadecimal digits."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def readers(self) -> dict[str, int]:
        """How often each tensor is read, by nodes or as an output."""
        counts: dict[str, int] = {}
        for name in (*(n for node in self.nodes for n in references(node)), *self.outputs):
            counts[name] = counts.get(name, 0) + 1
        return counts


def references(node: Node) -> list[str]:
    """The names of the tensors that a node reads, in order."""
    return [*_refs(node.args), *_refs(list(node.kwargs.values()))]


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Arguments of a node that read other tensors."""
    if isinstance(value, dict):
        return {REF: names.get(value[REF], value[REF])} if REF in value else value
    if isinstance(value, list | tuple):
        return type(value)(renamed(each, names) for each in value)
    return value


def ref_of(value: Any) -> str:
    """The name of the tensor that an argument is; ``""`` for anything else."""
    return str(value[REF]) if isinstance(value, Mapping) and REF in value else ""


def _refs(values: Sequence[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _refs(value)
        elif name := ref_of(value):
            yield name


def _specs(record: Mapping[str, Any]) -> dict[str, Spec]:
    return {name: Spec(tuple(shape), dtype) for name, (shape, dtype) in record.items()}
