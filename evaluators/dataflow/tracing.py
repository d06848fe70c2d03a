"""From a torch module to the circuit that streams it.

The module is traced without running its weights. What is computed for each number alone (batch
norm, activations, the fake quantization of networks trained for few bits) becomes part of the
thresholds behind the unit before it, or of what the host does to the input; flattening and the like
are only wires.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from evaluators.dataflow.units import INPUT, INPUT_BITS, MATRIX, MAX_BITS, Circuit, Map, Unit
from nas.trials import CandidateError

if TYPE_CHECKING:
    import torch

    from evaluators.workload_recorder import Node

WHOLE = "all"
"""The bits of all submodules that have none of their own."""
_JOINS = ("add", "mul", "concat")
_GROUPED = ("conv", "grouped_conv")
_POINTWISE_ROLES = ("activation", "norm", "scale", "noop", "copy", "view")
_POINTWISE = frozenset({"add", "sub", "rsub", "mul", "div", "abs", "neg", "sign", "where"}) | {
    *("round", "floor", "ceil", "trunc", "clamp", "minimum", "maximum"),
    *("gt", "ge", "lt", "le", "eq"),
}
"""What few bits are made with."""


@dataclass(frozen=True)
class Bits:
    """The bit-widths of a network, 1 to 8.

    Args:
        weights: of the weights of a layer, by the submodule that holds it: the longest name
            counts, `WHOLE` where there is none, 8 where that is missing.
        activations: of what a layer reads, alike.
        inputs: of what the network reads.

    Raises:
        ValueError: for other bits.
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    activations: Mapping[str, int] = field(default_factory=dict)
    inputs: int = INPUT_BITS

    def __post_init__(self) -> None:
        known = [*self.weights.values(), *self.activations.values(), self.inputs]
        for bits in known:
            if isinstance(bits, bool) or bits not in range(1, MAX_BITS + 1):
                raise ValueError(f"bits of a circuit must be 1 to {MAX_BITS}, but got {bits!r}")

    def of(self, scope: str) -> tuple[int, int]:
        """(weights, activations) of the layer that such a submodule runs."""
        return _longest(self.weights, scope), _longest(self.activations, scope)

    def __str__(self) -> str:
        """For a label, for example ``w2a4`` or ``w2-8a4``; ``int8`` where all are 8."""
        weights = set(self.weights.values()) or {MAX_BITS}
        activations = set(self.activations.values()) or {MAX_BITS}
        if weights == activations == {MAX_BITS}:
            return "int8"
        return f"w{_range(weights)}a{_range(activations)}"


def circuit_of(
    module: torch.nn.Module, input_shape: tuple[int, ...], bits: Bits | None = None
) -> Circuit:
    """The circuit of a network, not folded yet.

    Args:
        module: left as it is.
        input_shape: without batch: (channels, height, width), (channels, length) or (features,).
        bits: None: 8 everywhere.

    Returns:
        Its last unit has no thresholds: it puts out sums.

    Raises:
        CandidateError: the module cannot be traced, or does what no unit of a circuit can.
    """
    from evaluators.workload_lowering import ordered  # here, because torch takes seconds
    from evaluators.workload_recorder import record
    from evaluators.workload_rules import RULES

    kernels = ordered(record(module, (1, *input_shape), scopes=True), RULES["dataflow"])
    builder = _Builder(as_map((1, *input_shape)), bits or Bits())
    for place, (node, sources) in enumerate(kernels):
        builder.add(place, node, sources)
    return builder.circuit()


def as_map(shape: tuple[int, ...]) -> Map:
    """(channels, height, width) of a shape with batch; the length of a signal is its height.

    Raises:
        CandidateError: for shapes of more axes than an image has.
    """
    if len(shape) == 2:
        return shape[1], shape[0], 1
    if len(shape) == 3:
        return shape[1], shape[2], 1
    if len(shape) == 4:
        _, channels, height, width = shape
        return (channels, width, 1) if height == 1 else (channels, height, width)
    raise CandidateError(
        f"a streaming circuit takes vectors, signals and images, but got {tuple(shape[1:])}"
    )


class _Builder:
    """Units so far, and which of them puts out what each kernel would."""

    def __init__(self, input_shape: Map, bits: Bits) -> None:
        self._shape, self._bits = input_shape, bits
        self._units: list[Unit] = []
        self._made_by = {INPUT: INPUT}

    def add(self, place: int, node: Node, sources: tuple[int, ...]) -> None:
        """Take the next kernel: it becomes a unit, or part of the one before it."""
        inputs = tuple([self._made_by[source] for source in sources])
        if _is_pointwise(node, inputs):
            self._made_by[place] = inputs[0]
            return
        try:
            self._units.append(self._unit(node, inputs))
        except ValueError as error:
            raise CandidateError(f"{error}{f' (in {node.scope})' if node.scope else ''}") from None
        self._made_by[place] = len(self._units) - 1

    def circuit(self) -> Circuit:
        """All of them, each putting out as many bits as its readers take."""
        if not self._units:
            raise CandidateError("a streaming circuit needs units, but the network has none")
        wanted = [0] * len(self._units)
        inputs = 1
        for place in reversed(range(len(self._units))):
            unit = self._units[place]
            last = place == len(self._units) - 1
            made = wanted[place] or (0 if last else MAX_BITS)
            taken = unit.in_bits if unit.op in MATRIX else made or MAX_BITS
            self._units[place] = replace(unit, out_bits=made, in_bits=taken)
            for source in unit.inputs:
                if source == INPUT:
                    inputs = max(inputs, taken)
                else:
                    wanted[source] = max(wanted[source], taken)
        return Circuit(tuple(self._units), self._shape, inputs)

    def _unit(self, node: Node, inputs: tuple[int, ...]) -> Unit:
        if not inputs:
            raise ValueError(f"a streaming circuit has no unit for a {node.op} of constants")
        op = _op_of(node)
        shapes = [self._shape if at == INPUT else self._units[at].out_shape for at in inputs]
        source = max(shapes, key=lambda shape: shape[1] * shape[2])
        window, stride, padding = _geometry(op, node, source)
        weight_bits, read_bits = self._bits.of(node.scope)
        unit = Unit(
            op=op,
            inputs=inputs,
            in_shape=source,
            out_shape=_made(op, node, source),
            window=window,
            stride=stride,
            padding=padding,
            groups=_groups(op, node, source, window),
            weight_bits=weight_bits,
            in_bits=self._bits.inputs if INPUT in inputs else read_bits,
            name=node.scope or node.op,
        )
        if op in MATRIX and unit.weights * unit.out_pixels != node.macs:
            raise ValueError(f"a streaming circuit has no unit for such a {node.op}")
        return unit


def _longest(bits: Mapping[str, int], scope: str) -> int:
    names = [name for name in bits if f"{scope}.".startswith(f"{name}.")]
    return bits.get(max(names, key=len, default=WHOLE), MAX_BITS)


def _range(bits: set[int]) -> str:
    return "-".join(str(each) for each in sorted({min(bits), max(bits)}))


def _is_pointwise(node: Node, inputs: tuple[int, ...]) -> bool:
    """Thresholds can do it: it looks at each number of one stream by itself."""
    same = math.prod(node.in_shape) == math.prod(node.out_shape)
    known = node.role in _POINTWISE_ROLES or node.name in _POINTWISE
    return len(set(inputs)) == 1 and same and known and not node.macs


def _op_of(node: Node) -> str:
    if node.op in _GROUPED:
        return "conv"
    if node.op == "pool" and math.prod(node.out_shape[2:]) == 1:
        return "global_pool"
    return node.op  # which may be one that no unit has


def _made(op: str, node: Node, source: Map) -> Map:
    if op == "linear":
        return node.out_shape[-1], math.prod(node.out_shape[:-1]), 1
    if op == "global_pool":
        return source[0], 1, 1
    return source if op in ("add", "mul") else as_map(node.out_shape)


def _geometry(
    op: str, node: Node, source: Map
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """(window, stride, padding), each as (height, width)."""
    if op not in ("conv", "depthwise", "pool"):
        return (1, 1), (1, 1), (0, 0)
    turned = len(node.in_shape) == 4 and node.in_shape[2] == 1
    if len(node.geometry) == 3:
        window, stride, padding = node.geometry
        return _two(window, 1, turned), _two(stride, 1, turned), _two(padding, 0, turned)
    _, height, width = as_map(node.out_shape)
    stride = (max(1, source[1] // height), max(1, source[2] // width))
    if op == "pool":
        return stride, stride, (0, 0)
    seen = node.macs // math.prod(node.out_shape)
    side = max(1, round(math.sqrt(seen if op == "depthwise" else seen / source[0])))
    return (side, side), stride, ((side - 1) // 2, (side - 1) // 2)


def _two(numbers: tuple[int, ...], other: int, turned: bool) -> tuple[int, int]:
    """Of both axes; those of a signal lie along its height."""
    if len(numbers) == 1:
        return numbers[0], other
    return (numbers[1], numbers[0]) if turned else (numbers[0], numbers[1])


def _groups(op: str, node: Node, source: Map, window: tuple[int, int]) -> int:
    """From the multiply-accumulates of an output."""
    seen = node.macs // math.prod(node.out_shape)
    return max(1, source[0] * math.prod(window) // max(1, seen)) if op == "conv" else 1
