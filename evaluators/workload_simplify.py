"""What a runtime leaves out of a graph before it looks for kernels.

Equal operations on equal inputs become one; what is multiplied by 0 becomes a constant, and what
adds such a constant disappears; and what does not reach the output is not executed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

from evaluators.workload_recorder import INPUT, Node, Recording

CONVOLUTIONS = ("conv", "depthwise", "grouped_conv")
CLIP = "clip"
"""The op of a function that computes next to nothing."""
PIECEWISE = frozenset(
    {"relu", "hardtanh", "clamp", "clamp_min", "clamp_max", "leaky_relu", "hardsigmoid"}
    | {"hardswish"}
)
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
    return _expanded(recording._replace(nodes=tuple(nodes)), _hard_swish)


def conversion(op: str, shape: tuple[int, ...]) -> Node:
    """A kernel that changes only how a tensor is stored.

    Args:
        op: ``quantize`` (float32 to int8), ``dequantize`` or ``reorder`` (another layout).
        shape: of the tensor.
    """
    elements = math.prod(shape)
    # Counted in what it writes: four integers take the place of a number.
    read = {"quantize": 4 * elements, "dequantize": elements // 4}.get(op, elements)
    dtype = "int8" if op == "quantize" else "float32"
    return Node(op, "other", op, (), shape, shape, dtype, 0, read, elements, 0, False)


def with_clips(recording: Recording) -> Recording:
    """The same network, its piecewise linear functions told from those that must be computed."""
    nodes = [n._replace(op=CLIP) if n.name in PIECEWISE else n for n in recording.nodes]
    return recording._replace(nodes=tuple(nodes))


def with_separate_biases(recording: Recording) -> Recording:
    """Linear layers of tokens without bias, each with a sum behind it, but not before GELU."""
    nodes = recording.nodes
    readers: dict[int, list[Node]] = {}
    for node in nodes:
        for source in node.inputs:
            readers.setdefault(source, []).append(node)
            # Torch flattens tokens before such a layer, and gives them their shape again behind it.
            while source != INPUT and nodes[source].role in ("view", "noop"):
                source = nodes[source].inputs[0]
                readers.setdefault(source, []).append(node)

    def parts(n: int, node: Node) -> list[Node]:
        if node.op != "linear" or not node.bias:
            return []
        before = nodes[node.inputs[0]] if node.inputs[0] != INPUT else node
        flattened = before.role == "view" and len(before.in_shape) > 2
        tokens = flattened and before.in_shape[-1] == node.in_shape[-1]
        if not (tokens or node.name == "linear"):
            return []
        if any(reader.name == "gelu" for reader in readers.get(n, [])):
            return []
        return _product_and_sum(node)

    return _expanded(recording, parts)


def with_whole_linears(recording: Recording) -> Recording:
    """Linear layers in one piece that torch carries out as a product and a sum.

    It does where tokens are not in one piece in memory, as behind a transpose.
    """
    nodes = list(recording.nodes)
    reads = Counter(source for node in nodes for source in node.inputs)
    reads.update(recording.outputs)
    for n, node in enumerate(nodes):
        if node.name != "add" or len(node.inputs) != 1 or node.role != "other":
            continue
        if len(node.out_shape) < 3:
            continue
        source = node.inputs[0]
        while source != INPUT and nodes[source].role == "view" and reads[source] == 1:
            source = nodes[source].inputs[0]
        before = nodes[source]
        is_linear = source != INPUT and before.op == "linear" and before.name in ("mm", "bmm")
        if is_linear and reads[source] == 1 and node.weight_elements == before.out_shape[-1]:
            nodes[source] = _whole_linear(before)
            nodes[n] = node._replace(role="noop")
    return recording._replace(nodes=tuple(nodes))


def _whole_linear(product: Node) -> Node:
    (*rows, inner), width = product.in_shape, product.out_shape[-1]
    return product._replace(
        name="linear",
        in_shape=(math.prod(rows), inner),
        out_shape=(math.prod(rows), width),
        weight_elements=(inner + 1) * width,
        bias=True,
    )


def with_products_scaled(recording: Recording) -> Recording:
    """Numbers that products of data are multiplied by, or what they read is, cost nothing."""
    nodes = list(recording.nodes)
    readers: dict[int, list[int]] = {}
    for n, node in enumerate(nodes):
        for source in node.inputs:
            readers.setdefault(source, []).append(n)

    def reads_it_alone(n: int) -> int | None:
        """What reads it past views."""
        found = readers.get(n, [])
        if len(found) != 1 or n in recording.outputs:
            return None
        reader = found[0]
        return reads_it_alone(reader) if nodes[reader].role in ("view", "copy") else reader

    for n, node in enumerate(nodes):
        if _is_product(node):
            reader = reads_it_alone(n)
            if reader is not None and _is_factor(nodes[reader]):
                nodes[reader] = nodes[reader]._replace(role="noop")
        elif _is_factor(node):
            reader = reads_it_alone(n)
            if reader is not None and _is_product(nodes[reader]):
                nodes[n] = node._replace(role="noop")
    return recording._replace(nodes=tuple(nodes))


def _is_product(node: Node) -> bool:
    return node.op == "matmul" and node.dtype == "float32"


def _is_factor(node: Node) -> bool:
    return node.role == "scale" and node.op == "mul" and not node.weight_elements


def with_silu(recording: Recording) -> Recording:
    """The product x * sigmoid(x) as the one function that it is."""
    nodes = list(recording.nodes)
    reads = Counter(source for node in nodes for source in node.inputs)
    reads.update(recording.outputs)
    for n, node in enumerate(nodes):
        if node.name != "mul" or len(node.inputs) != 2:
            continue
        for data, gate in (node.inputs, node.inputs[::-1]):
            if gate == INPUT or nodes[gate].name != "sigmoid" or reads[gate] > 1:
                continue
            if nodes[gate].inputs == (data,) and nodes[gate].dtype == "float32":
                whole = nodes[gate]._replace(name="silu", inputs=(data,), same=None)
                nodes[gate] = whole._replace(role="noop")
                nodes[n] = whole
                break
    return recording._replace(nodes=tuple(nodes))


def _product_and_sum(node: Node) -> list[Node]:
    width = node.out_shape[-1]
    product = node._replace(bias=False, weight_elements=node.weight_elements - width)
    total = Node(
        name="add",
        role="other",
        op="add",
        inputs=(),
        in_shape=node.out_shape,
        out_shape=node.out_shape,
        dtype=node.dtype,
        macs=0,
        input_elements=node.output_elements,
        output_elements=node.output_elements,
        weight_elements=width,
        bias=True,
        scope=node.scope,
    )
    return [product, total]


def with_hard_swish(recording: Recording) -> Recording:
    """Behind linear layers, which do not know it, the hard swish is two operations."""
    nodes = recording.nodes

    def parts(n: int, node: Node) -> list[Node]:
        source = node.inputs[0] if node.inputs else INPUT
        while source != INPUT and nodes[source].role in ("view", "noop", "norm"):
            source = nodes[source].inputs[0]
        if source == INPUT:
            return []
        before = nodes[source]
        layer = before.op == "linear" or (before.op == "add" and before.bias)
        return _hard_swish(n, node) if layer else []

    return _expanded(recording, parts)


def _hard_swish(n: int, node: Node) -> list[Node]:
    if node.name != "hardswish" or node.dtype != "float32":
        return []
    gate = node._replace(name="hardsigmoid", op=CLIP)
    product = node._replace(
        name="mul", role="other", op="mul", input_elements=2 * node.input_elements, same=None
    )
    return [gate, product]


def _expanded(recording: Recording, parts: Callable[[int, Node], list[Node]]) -> Recording:
    """Each node as the chain of nodes that it consists of; where that is empty, itself.

    The first of a chain reads what the node did, the others what is before them, and those that
    read more than they write both.
    """
    chains = [parts(n, node) for n, node in enumerate(recording.nodes)]
    if not any(chains):
        return recording
    place: dict[int, int] = {INPUT: INPUT}
    nodes: list[Node] = []
    for n, node in enumerate(recording.nodes):
        inputs = tuple([place[source] for source in node.inputs])
        for index, part in enumerate(chains[n] or [node]):
            behind = (len(nodes) - 1,) if index else ()
            also = inputs if not index or part.input_elements > part.output_elements else ()
            nodes.append(part._replace(inputs=(*behind, *also)))
        place[n] = len(nodes) - 1
    outputs = tuple([place[n] for n in recording.outputs])
    return recording._replace(nodes=tuple(nodes), outputs=outputs)


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
