"""What a runtime leaves out of a graph before it looks for kernels.

Equal operations on equal inputs become one; what is multiplied by 0 becomes a constant, and what
adds such a constant disappears; and what does not reach the output is not executed.
"""

from __future__ import annotations

from collections.abc import Iterable

from evaluators.workload_recorder import INPUT, Node, Recording

CONVOLUTIONS = ("conv", "depthwise", "grouped_conv")
_MOVES = frozenset({"view", "copy", "transpose", "slice", "noop"})
_NOT_AT_ZERO = frozenset({"sigmoid", "hardsigmoid", "softplus", "log_sigmoid", "clamp"})
"""Activations that do not turn 0 into 0, or need not."""

INTEGER_OPS = frozenset(
    {"conv", "depthwise", "grouped_conv", "linear", "matmul", "add", "mul", "pool", "softmax"}
    | {"concat", "view", "copy", "transpose", "slice"}
)
"""What ONNX Runtime has integer kernels for, or what only moves integers."""
INTEGER_NAMES = frozenset({"relu", "hardtanh", "leaky_relu", "sigmoid", "globalaveragepool"})


def on_integers(recording: Recording) -> Recording:
    """The same network, statically quantized: all products, and what else is done to images."""
    nodes = [node._replace(dtype="int8") if _quantized(node) else node for node in recording.nodes]
    return recording._replace(nodes=tuple(nodes))


def _quantized(node: Node) -> bool:
    known = node.op in (*INTEGER_OPS, "global_pool") or node.name in INTEGER_NAMES
    return known and node.dtype == "float32" and (node.macs > 0 or len(node.in_shape) == 4)


def without_repeats(recording: Recording) -> Recording:
    """Whoever reads an operation that has been carried out before reads that one instead."""
    first: dict[object, int] = {}
    stands_for: dict[int, int] = {INPUT: INPUT}
    nodes = []
    for n, node in enumerate(recording.nodes):
        inputs = tuple([stands_for[source] for source in node.inputs])
        known = n
        if node.role == "noop":
            known = inputs[0]
        elif node.same is not None:
            known = first.setdefault((node.same, inputs), n)
        stands_for[n] = known
        nodes.append(node if inputs == node.inputs else node._replace(inputs=inputs))
    outputs = tuple([stands_for[n] for n in recording.outputs])
    return recording._replace(nodes=tuple(nodes), outputs=outputs)


def without_zeros(recording: Recording) -> Recording:
    """The same network, in which multiplications by 0 are constants.

    A convolution or a pooling of a constant stays: converters do not carry those out in advance.
    """
    zeros: set[int] = set()
    nodes = []
    for n, node in enumerate(recording.nodes):
        if _is_zero(node, zeros):
            zeros.add(n)
            nodes.append(node._replace(role="constant", inputs=()))
        elif zeros.isdisjoint(node.inputs):
            nodes.append(node)
        else:
            nodes.append(_beside_zeros(node, zeros))
    return recording._replace(nodes=tuple(nodes))


def _is_zero(node: Node, zeros: set[int]) -> bool:
    if node.role == "zero":
        return True
    constant = [source in zeros for source in node.inputs]
    if node.op == "mul" and node.name == "mul":
        return any(constant)
    if not all(constant):
        return False
    if node.role == "activation":
        return node.name not in _NOT_AT_ZERO
    return node.role in _MOVES or (node.op in ("add", "concat") and not node.weight_elements)


def _beside_zeros(node: Node, zeros: set[int]) -> Node:
    """A node that reads a constant: it does not need what that was computed from."""
    inputs = tuple([source for source in node.inputs if source not in zeros])
    is_sum = node.op == "add" and len(inputs) == 1 and not node.weight_elements
    whole = node.input_elements == 2 * node.output_elements  # nothing is broadcast
    return node._replace(inputs=inputs, role="noop" if is_sum and whole else node.role)


def reaching(recording: Recording, roots: Iterable[int]) -> set[int]:
    """The nodes that these depend on, themselves included."""
    found: set[int] = set()
    waiting = [n for n in roots if n != INPUT]
    while waiting:
        n = waiting.pop()
        if n not in found:
            found.add(n)
            waiting += [source for source in recording.nodes[n].inputs if source != INPUT]
    return found


def dead_ends(recording: Recording, live: set[int]) -> list[int]:
    """Convolutions, each with its batch norm, whose result is read by nothing.

    Args:
        recording: without zeros.
        live: what reaches the output.
    """
    readers: dict[int, list[int]] = {}
    for n, node in enumerate(recording.nodes):
        for source in node.inputs:
            readers.setdefault(source, []).append(n)
    found: list[int] = []
    for n, node in enumerate(recording.nodes):
        if n not in live and node.op in CONVOLUTIONS:
            found += _dead_end(recording, readers, n)
    return found


def _dead_end(recording: Recording, readers: dict[int, list[int]], n: int) -> list[int]:
    """The convolution and what passes its result on; empty when something computes with it."""
    chain, waiting = [n], readers.get(n, [])[:]
    while waiting:
        reader = waiting.pop()
        if recording.nodes[reader].role not in ("norm", "view", "copy", "noop"):
            return []
        chain.append(reader)
        waiting += readers.get(reader, [])
    return chain
