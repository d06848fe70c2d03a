"""Which operations of a file with QuantizeLinear and DequantizeLinear run on integers.

As ONNX Runtime does: an operation between a dequantization of all that it reads and a quantization
of what it writes is one integer kernel, and the conversions around it disappear.
"""

from __future__ import annotations

from collections.abc import Sequence

from evaluators.workload_recorder import INPUT, Node
from evaluators.workload_simplify import INTEGER_NAMES, INTEGER_OPS


def with_integers(
    nodes: Sequence[Node], outputs: Sequence[int], quantized: set[int]
) -> tuple[tuple[Node, ...], tuple[int, ...]]:
    """The nodes, those that run on integers with the dtype int8 and connected to one another.

    Args:
        nodes: in order.
        outputs: those that make the output of the network.
        quantized: those whose weights, if any, are integers.
    """
    readers: dict[int, list[int]] = {}
    for n, node in enumerate(nodes):
        for source in node.inputs:
            readers.setdefault(source, []).append(n)

    def only_quantized(n: int, is_behind: bool = False) -> bool:
        """All that reads it quantizes it; an activation may come between."""
        found = readers.get(n, [])
        return (
            bool(found)
            and n not in outputs
            and all(
                nodes[r].op == "quantize"
                or (not is_behind and nodes[r].role == "activation" and only_quantized(r, True))
                for r in found
            )
        )

    def is_dequantized(source: int) -> bool:
        return source != INPUT and (nodes[source].op == "dequantize" or source in integer)

    integer: set[int] = set()
    for n, node in enumerate(nodes):
        ready = all(map(is_dequantized, node.inputs)) and n in quantized
        behind = node.role == "activation" and set(node.inputs) <= integer
        known = node.op in INTEGER_OPS or node.name in INTEGER_NAMES
        if known and ready and only_quantized(n, behind):
            integer.add(n)
    return _connected(nodes, outputs, integer)


def _connected(
    nodes: Sequence[Node], outputs: Sequence[int], integer: set[int]
) -> tuple[tuple[Node, ...], tuple[int, ...]]:
    """Integer operations read one another past the conversions between them."""
    joined: list[Node] = []
    for n, node in enumerate(nodes):
        inputs = node.inputs
        if n in integer:
            inputs = tuple([_integers_of(nodes, source, integer) for source in inputs])
            node = node._replace(dtype="int8")
        elif node.op == "dequantize":
            inputs = tuple([_past(nodes, source, integer) for source in inputs])
        joined.append(node._replace(inputs=inputs))
    return tuple(joined), tuple(outputs)


def _integers_of(nodes: Sequence[Node], source: int, integer: set[int]) -> int:
    """What makes the integers that a dequantization reads."""
    if nodes[source].op != "dequantize":
        return source
    return _past(nodes, nodes[source].inputs[0], integer)


def _past(nodes: Sequence[Node], source: int, integer: set[int]) -> int:
    """What makes these integers, past a quantization of what is one already."""
    if source != INPUT and nodes[source].op == "quantize" and nodes[source].inputs[0] in integer:
        return nodes[source].inputs[0]
    return source
