"""From the operations of a network to the kernels that a runtime executes for them.

What folds into what:

- ``onnxruntime``: as the optimized graphs of ONNX Runtime 1.32 on a CPU show: batch norm, the
  activations that its convolutions know, and the sum of a residual connection disappear into the
  convolution before them; transposes and slices are carried out.
- ``tflite``: batch norm, and the clipping activations, also behind an addition.
- ``xla``: batch norm, sums, and any elementwise function behind whatever computes its input.
- ``dataflow``: batch norm and any activation become thresholds behind the unit that computes
  their input (FINN); sums are units of their own.
- ``eager``: nothing; every operation is a kernel, but transposes and slices are only views.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from evaluators.workload_recorder import INPUT, Node, Recording

_BARE, _SUMMED, _CLOSED = range(3)
_CONVOLUTIONS = ("conv", "depthwise", "grouped_conv")
_ALL = "everything"
_CLIPS = frozenset({"relu", "hardtanh", "clamp", "clamp_min", "clamp_max"})
_SMOOTH = frozenset({"sigmoid", "tanh", "hardsigmoid"})
_VIEWS = frozenset({"view", "copy"})
_LAYOUT = frozenset({"view", "copy", "transpose"})


@dataclass(frozen=True)
class Rules:
    """What a runtime does to a graph.

    Args:
        norm: kernels into which the batch norm behind them disappears.
        activations: that become a part of a kernel, by the kernel's op, or ``sum`` for a
            convolution that has a sum already, or ``everything`` for all kernels and functions.
        sums: a sum becomes a part of the convolution that computes one of its inputs.
        free: roles that cost nothing.
        drops_dead: what does not reach the output is not executed.
    """

    norm: tuple[str, ...] = ()
    activations: Mapping[str, frozenset[str]] = field(default_factory=dict)
    sums: bool = False
    free: frozenset[str] = _VIEWS
    drops_dead: bool = True

    def folds(self, node: Node, host: Node, stage: int) -> bool:
        """The node becomes a part of the kernel that computes its input.

        Args:
            node: that follows, a batch norm or an activation.
            host: the kernel before it.
            stage: what has been folded into that kernel already.
        """
        if node.role == "norm":
            return _ALL in self.activations or (stage == _BARE and host.op in self.norm)
        if node.role != "activation":
            return False
        if _ALL in self.activations:
            return True
        known = self.activations.get("sum" if stage == _SUMMED else host.op, frozenset())
        return stage != _CLOSED and node.name in known


_ONNXRUNTIME = {
    **dict.fromkeys(_CONVOLUTIONS, _CLIPS | _SMOOTH | {"leaky_relu", "hardswish"}),
    "sum": _SMOOTH | {"relu", "hardswish"},
    "linear": _SMOOTH | {"relu", "leaky_relu"},
}
RULES = {
    "onnxruntime": Rules(_CONVOLUTIONS, _ONNXRUNTIME, sums=True),
    "tflite": Rules(
        (*_CONVOLUTIONS, "linear"), dict.fromkeys((*_CONVOLUTIONS, "linear", "add"), _CLIPS)
    ),
    "xla": Rules(activations={_ALL: frozenset()}, sums=True, free=_LAYOUT),
    "dataflow": Rules(activations={_ALL: frozenset()}, free=_LAYOUT),
    "eager": Rules(free=frozenset({"view", "transpose", "slice"}), drops_dead=False),
}


def lower(recording: Recording, rules: Rules) -> list[Node]:
    """The nodes that remain as kernels, in order, with what was folded into them."""
    nodes = recording.nodes
    live = _live(recording) if rules.drops_dead else set(range(len(nodes)))
    readers = Counter(source for n in live for source in nodes[n].inputs)
    readers.update(recording.outputs)
    lowering = _Lowering(rules, readers)
    for n in sorted(live):
        lowering.add(n, nodes[n])
    return list(lowering.kernels.values())


class _Lowering:
    """Kernels so far, and which of them computes what each node puts out."""

    def __init__(self, rules: Rules, readers: Mapping[int, int]) -> None:
        self.kernels: dict[int, Node] = {}
        self._rules, self._readers = rules, readers
        self._made_by = {INPUT: INPUT}
        self._alone = {INPUT: False}  # whoever reads the node is the only reader of its kernel
        self._stage: dict[int, int] = {}

    def add(self, n: int, node: Node) -> None:
        """Take the next node: it is free, folds into a kernel, or becomes one."""
        host = self._host(node)
        if host is None:
            self.kernels[n], self._stage[n] = node, _BARE
        elif node.role == "norm":
            self.kernels[host] = _with_bias(self.kernels[host])
        elif node.role == "activation":
            self._stage[host] = _CLOSED
        elif node.op == "add":
            self.kernels[host] = _with_sum(self.kernels[host], node)
            self._stage[host] = _SUMMED
        self._made_by[n] = n if host is None else host
        first = node.inputs[0]
        self._alone[n] = node.role not in self._rules.free or self._only(first)

    def _host(self, node: Node) -> int | None:
        """The kernel that computes the node as well; None for one of its own."""
        if node.role in self._rules.free:
            return self._made_by[node.inputs[0]]
        if node.op == "add" and node.role == "other":
            return self._summing(node)
        host = self._made_by[node.inputs[0]]
        if not self._only(node.inputs[0]):
            return None
        return host if self._rules.folds(node, self.kernels[host], self._stage[host]) else None

    def _summing(self, node: Node) -> int | None:
        """The later one of the convolutions to which the sum can be left."""
        if not self._rules.sums or node.input_elements != 2 * node.output_elements:
            return None
        hosts = [self._made_by[source] for source in node.inputs if self._only(source)]
        free = [
            host
            for host in hosts
            if self.kernels[host].op in _CONVOLUTIONS
            and (self._stage[host] == _BARE or _ALL in self._rules.activations)
        ]
        return max(free, default=None)

    def _only(self, source: int) -> bool:
        return self._alone[source] and self._readers[source] == 1


def _live(recording: Recording) -> set[int]:
    """The nodes that the output depends on."""
    live: set[int] = set()
    waiting = [n for n in recording.outputs if n != INPUT]
    while waiting:
        n = waiting.pop()
        if n not in live:
            live.add(n)
            waiting += [source for source in recording.nodes[n].inputs if source != INPUT]
    return live


def _with_bias(host: Node) -> Node:
    """The kernel that batch norm was folded into: it has a bias now."""
    if host.bias or host.role != "mac":
        return host
    channels = host.out_shape[-1] if host.op == "linear" else host.out_shape[1]
    return replace(host, bias=True, weight_elements=host.weight_elements + channels)


def _with_sum(host: Node, add: Node) -> Node:
    """The convolution that adds another tensor to its result: it reads that one, too."""
    other = add.input_elements - host.output_elements
    return replace(host, input_elements=host.input_elements + other)
