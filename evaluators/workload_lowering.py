"""From the operations of a network to the kernels that a runtime executes for them.

What folds into what:

- ``onnxruntime``: as the optimized graphs of ONNX Runtime 1.32 on an x86 CPU show: batch norm, the
  activations that its convolutions know, numbers that are added and multiplied, and the sum of a
  residual connection disappear into the convolution before them, the sum only where both of its
  inputs are in the layout of convolutions; equal operations on equal inputs run once, additions of
  0 not at all, multiplications by 0 do; transposes and slices are carried out; linear layers of
  tokens leave their bias to a sum, but not in front of GELU; numbers that products of data are
  scaled by become a part of them; and an image that a kernel wants in another layout than the
  kernel before it writes is reordered, which the number of channels decides, too: convolutions
  read multiples of 4, poolings and concatenations multiples of a block, which has 16 channels where
  there is AVX-512.
- ``onnxruntime-nchwc8``: the same in blocks of 8 channels, on x86 CPUs without AVX-512.
- ``onnxruntime-int8``: the same of a statically quantized network: what ONNX Runtime has integer
  kernels for runs on integers, which fold only batch norm and what clips; sums are kernels of
  their own, and all other functions are computed in float, between conversions; the hard swish is
  a hard sigmoid and a product.
- ``tflite``: batch norm, and the clipping activations, also behind an addition; what is multiplied
  by 0 is a constant and is not added; what does not reach the output is dropped, but convolutions
  that nothing reads are not (seen in the latencies of NAS-Bench-201 on phones and boards).
- ``dpu`` (a fixed convolution engine): batch norm and piecewise linear activations, the hard
  sigmoid included, in convolutions and linear layers; ReLU in additions; zeros as in ``tflite``.
- ``xla``: batch norm, sums, and any elementwise function behind whatever computes its input.
- ``dataflow``: batch norm and any activation become thresholds behind the unit that computes
  their input (FINN); sums are units of their own.
- ``eager``: nothing; every operation is a kernel, but transposes and slices are only views.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from evaluators.workload_paths import paths_of
from evaluators.workload_recorder import INPUT, Node, Recording
from evaluators.workload_rules import ALL, BARE, CLIPS, CLOSED, RULES, SUMMED, Rules
from evaluators.workload_simplify import (
    CONVOLUTIONS,
    conversion,
    dead_ends,
    on_integers,
    reaching,
    with_clips,
    with_hard_swish,
    with_products_scaled,
    with_separate_biases,
    with_silu,
    with_whole_linears,
    without_repeats,
    without_zeros,
)
from evaluators.workload_values import ITEM_BYTES, Workload, kernel_of, merged

_TAKEN_OVER = ("activation", "clip", "batch_norm", "add", "mul", "concat", "global_pool")
"""With what `_RESIZED` names, in the layout of convolutions if what they read is."""
_NEVER_BLOCKED = CLIPS - {"relu"} | {
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "softplus",
    "mish",
    "_prelu_kernel",
    "reducemean",
}
_RESIZED = ("upsample_nearest2d", "upsample_bilinear2d", "resize")
_ALIGNMENT = 4
"""Channels that are not a multiple of it are not read in the layout of convolutions."""
_CONSTANT = -2
"""In the place of the kernel that makes a tensor: none does."""


class Tail(NamedTuple):
    """The kernel that made a tensor, as far as it matters to what reads the tensor.

    Attributes:
        op: of the kernel.
        stage: what has been folded into it.
        alone: whoever reads the tensor may become a part of the kernel.
        biased: a batch norm would not make it larger.
        blocked: the tensor is in the layout of convolutions.
        dtype: of the tensor.
        made: there is such a kernel; otherwise the tensor is the input of the network.
        shape: in which the kernel wrote it.
    """

    op: str = ""
    stage: int = CLOSED
    alone: bool = False
    biased: bool = True
    blocked: bool = False
    dtype: str = "float32"
    made: bool = False
    shape: tuple[int, ...] = ()


START = Tail()
"""Nothing is known of what made the tensor."""


class Lowered(NamedTuple):
    """What a runtime makes of a network, or of a part of one.

    Attributes:
        kernels: in order of execution, with what was folded into them.
        peak_bytes: of the tensors that must be kept at the same time.
        tail: what made its output.
        looks_back: it matters to the kernels what made its input.
        apart: no other part matters, and it matters to no other one whether this one is there.
    """

    kernels: tuple[Node, ...]
    peak_bytes: int
    tail: Tail
    looks_back: bool
    apart: bool


def lower(recording: Recording, rules: Rules, entry: Tail = START) -> Lowered:
    """The nodes that remain as kernels.

    Args:
        recording: of a network, or of a part of one.
        rules: of the runtime.
        entry: what made the input of a part.
    """
    lowering, recording, live = _lowered(recording, rules, entry)
    roles = {recording.nodes[n].role for n in live if INPUT in recording.nodes[n].inputs}
    return Lowered(
        kernels=lowering.in_order(),
        peak_bytes=lowering.peak_bytes(recording),
        tail=lowering.tail(recording.outputs),
        looks_back=lowering.is_read_once and roles != {"mac"},
        apart=lowering.reads_input
        and not lowering.changes_entry
        and not (rules.bias_of_tokens and _needs_its_linear(recording, entry)),
    )


def _needs_its_linear(recording: Recording, entry: Tail) -> bool:
    """A part begins with a function that a linear layer of tokens before it may take in."""
    if not entry.made or entry.op not in ("linear", "add") or len(recording.input_shape) < 3:
        return False
    functions = ("gelu", "hardswish")
    return any(INPUT in n.inputs and n.name in functions for n in recording.nodes)


def ordered(recording: Recording, rules: Rules) -> list[tuple[Node, tuple[int, ...]]]:
    """The nodes that remain as kernels in order, each with the places of those that it reads.

    Args:
        recording: of a whole network.
        rules: of the runtime.

    Returns:
        With `INPUT` for the network's input. What reads a constant does not name it. Conversions
        and reorders are no nodes of the network, and are left out.
    """
    return _lowered(recording, rules, START)[0].edges()


def _lowered(
    recording: Recording, rules: Rules, entry: Tail
) -> tuple[_Lowering, Recording, set[int]]:
    """The kernels, what is left of the recording, and the nodes in it that count."""
    if rules.drops_dead:  # all but eager, which carries out what torch does
        recording = with_whole_linears(recording)
    if rules.bias_of_tokens:
        recording = with_separate_biases(with_clips(with_silu(recording)))
        if not rules.integers:
            recording = with_hard_swish(with_products_scaled(recording))
    if rules.integers:
        recording = on_integers(recording)
    if not rules.repeats:
        recording = without_repeats(recording)
    if not rules.zeros and any(node.role == "zero" for node in recording.nodes):
        recording = without_zeros(recording)
    nodes = recording.nodes
    live = reaching(recording, recording.outputs)
    reads_input = INPUT in recording.outputs or any(INPUT in nodes[n].inputs for n in live)
    if rules.dead_ends:
        live |= reaching(recording, dead_ends(recording, live))
    if not rules.drops_dead:
        live = set(range(len(nodes)))
    readers = Counter(source for n in live for source in nodes[n].inputs)
    readers.update(recording.outputs)
    lowering = _Lowering(rules, readers, entry, recording.input_shape, reads_input)
    for n in sorted(live):
        lowering.add(n, nodes[n])
    return lowering, recording, live


def workload_of(recording: Recording, params: int, lowering: str) -> Workload:
    """The kernels of a network as a value.

    Args:
        recording: of the whole network.
        params: its trainable numbers.
        lowering: one of `RULES`.
    """
    lowered = lower(recording, RULES[lowering])
    kernels = [kernel_of(node) for node in lowered.kernels]
    macs = sum([kernel.macs for kernel in kernels])
    paths = paths_of(recording)
    return Workload(merged(kernels), macs, params, lowering, lowered.peak_bytes, paths)


def is_cut_off(recording: Recording) -> bool:
    """Whether multiplications by 0 are all that leads from the input to the outputs."""
    return _reads_input(recording) and not _reads_input(without_zeros(recording))


def _reads_input(recording: Recording) -> bool:
    live = reaching(recording, recording.outputs)
    return INPUT in recording.outputs or any(INPUT in recording.nodes[n].inputs for n in live)


class _Lowering:
    """Kernels so far, and which of them computes what each node puts out."""

    def __init__(
        self,
        rules: Rules,
        readers: Mapping[int, int],
        entry: Tail,
        input_shape: tuple[int, ...],
        reads_input: bool,
    ) -> None:
        self.changes_entry, self.reads_input = False, reads_input
        self._input_shape = input_shape
        self.is_read_once = readers.get(INPUT, 0) == 1
        self._rules, self._readers, self._entry = rules, readers, entry
        self._kernels: dict[int, Node] = {}
        self._made_by = {INPUT: INPUT}
        self._alone = {INPUT: entry.alone}  # whoever reads the node is all that reads its kernel
        self._op = {INPUT: entry.op}
        self._stage = {INPUT: entry.stage}
        self._blocked = {INPUT: entry.blocked}
        self._reads: dict[int, set[int]] = {}
        self._sources: dict[int, list[int]] = {}
        self._runs_at: dict[int, int] = {}

    def add(self, n: int, node: Node) -> None:
        """Take the next node: it is free, folds into a kernel, or becomes one."""
        if node.role == "constant":
            self._made_by[n], self._alone[n] = _CONSTANT, False
            return
        sources = [self._made_by[source] for source in node.inputs]
        host = self._host(node, sources)
        if host is None:
            self._new_kernel(n, node, sources)
        else:
            self._fold(n, node, host, sources)
        self._made_by[n] = n if host is None else host
        self._alone[n] = node.role not in self._rules.free or self._only(node.inputs[0])

    def in_order(self) -> tuple[Node, ...]:
        """The kernels."""
        order = sorted(self._kernels, key=lambda host: self._runs_at[host])
        found: list[Node] = []
        done: set[tuple[int, str]] = set()
        for host in order:
            for source in self._sources[host]:
                for node in self._conversions(host, source):
                    if (source, node.op) not in done:
                        found.append(node)
                        done.add((source, node.op))
            found.append(self._kernels[host])
        return tuple(found)

    def _conversions(self, host: int, source: int) -> list[Node]:
        """What a tensor must go through before a kernel can read it."""
        if source == _CONSTANT:
            return []
        kernel = self._kernels[host]
        made, shape = self._kernels.get(source), self._shape(source)
        if self._rules.integers:
            dtype = made.dtype if made else self._entry.dtype
            if kernel.dtype == "int8" and dtype == "float32":
                return [conversion("quantize", shape)]
            return [conversion("dequantize", shape)] if dtype == "int8" != kernel.dtype else []
        images = len(shape) == 4 and kernel.dtype != "int8" and (made or self._entry.made)
        if not self._rules.plain_below or not images:
            return []
        few = kernel.op == "conv" and kernel.in_shape[1] < self._rules.plain_below
        blocked = self._blocked[host] and not few
        return [conversion("reorder", shape)] if blocked != self._blocked[source] else []

    def edges(self) -> list[tuple[Node, tuple[int, ...]]]:
        """The kernels, each with the places of those that it reads."""
        order = sorted(self._kernels, key=lambda host: self._runs_at[host])
        place = {host: at for at, host in enumerate(order)} | {INPUT: INPUT}
        found = []
        for host in order:
            sources = [source for source in self._sources[host] if source != _CONSTANT]
            found.append((self._kernels[host], tuple([place[source] for source in sources])))
        return found

    def tail(self, outputs: tuple[int, ...]) -> Tail:
        """What made the output."""
        if len(outputs) != 1 or self._made_by[outputs[0]] == _CONSTANT:
            return START
        host = self._made_by[outputs[0]]
        if host == INPUT:
            stage, alone = self._stage[INPUT], self._only(outputs[0])
            return self._entry._replace(stage=stage, alone=alone)
        kernel = self._kernels[host]
        biased = kernel.bias or kernel.role != "mac"
        alone, blocked = self._only(outputs[0]), self._blocked[host]
        made = (kernel.dtype, True, kernel.out_shape)
        return Tail(kernel.op, self._stage[host], alone, biased, blocked, *made)

    def peak_bytes(self, recording: Recording) -> int:
        """Of all tensors that are written already and still to be read, at the worst moment."""
        order = sorted(self._kernels, key=lambda host: self._runs_at[host])
        last_read = {source: host for host in order for source in self._reads[host]}
        last_read.update(dict.fromkeys((self._made_by[n] for n in recording.outputs), INPUT))
        kept = {INPUT: math.prod(recording.input_shape) * ITEM_BYTES[self._entry.dtype]}
        now = peak = kept[INPUT]
        for host in order:
            kernel = self._kernels[host]
            kept[host] = kernel.output_elements * ITEM_BYTES[kernel.dtype]
            now += kept[host]
            peak = max(peak, now)
            done = {source for source in self._reads[host] if last_read[source] == host}
            if host not in last_read:
                done.add(host)
            now -= sum([kept[source] for source in done])
        return peak

    def _new_kernel(self, n: int, node: Node, sources: list[int]) -> None:
        blocked = not self._rules.blocked or self._is_blocked(node, sources)
        self._kernels[n], self._op[n], self._blocked[n] = node, node.op, blocked
        self._stage[n] = CLOSED if node.op == "batch_norm" and not blocked else BARE
        self._reads[n], self._runs_at[n] = {s for s in sources if s != _CONSTANT}, n
        self._sources[n] = sources

    def _fold(self, n: int, node: Node, host: int, sources: list[int]) -> None:
        if node.role in ("norm", "scale", "zero"):
            self._add_bias(host)
        elif node.role == "activation":
            self._stage[host] = CLOSED
            self._apply(host, node.name)
        elif node.role == "transpose" and node.role not in self._rules.free:
            self._turn(host, node.out_shape)
        elif node.op == "add" and node.role == "other":
            self._kernels[host] = _with_sum(self._kernels[host], node)
            self._stage[host] = SUMMED
            self._reads[host].update(source for source in sources if source != host)
            self._sources[host] += [source for source in sources if source != host]
            self._runs_at[host] = n

    def _add_bias(self, host: int) -> None:
        if host == INPUT:
            self.changes_entry |= not self._entry.biased
        else:
            self._kernels[host] = _with_bias(self._kernels[host])

    def _apply(self, host: int, function: str) -> None:
        if function in CLIPS:
            return
        if host == INPUT:
            self.changes_entry = True
        else:
            self._kernels[host] = self._kernels[host]._replace(fused=function)

    def _turn(self, host: int, shape: tuple[int, ...]) -> None:
        """Two transposes one after the other are one."""
        if host == INPUT:
            self.changes_entry = True
        else:
            self._kernels[host] = self._kernels[host]._replace(out_shape=shape)

    def _host(self, node: Node, sources: list[int]) -> int | None:
        """The kernel that computes the node as well; None for one of its own."""
        if not sources:
            return None
        if node.role in self._rules.free:
            return sources[0]
        if node.op == "add" and node.role == "other":
            return self._summing(node)
        if not self._only(node.inputs[0]):
            return None
        host = sources[0]
        return host if self._rules.folds(node, self._op[host], self._stage[host]) else None

    def _summing(self, node: Node) -> int | None:
        """The later one of the convolutions to which the sum can be left."""
        rules = self._rules
        if not rules.sums or node.input_elements != 2 * node.output_elements:
            return None
        if rules.blocked and node.dtype == "int8":  # integers are added by a kernel of their own
            return None
        made_by = [self._made_by[source] for source in node.inputs]
        if rules.blocked and not all(self._blocked[host] for host in made_by):
            return None
        hosts = [self._made_by[source] for source in node.inputs if self._only(source)]
        free = [
            host
            for host in hosts
            if self._op[host] in CONVOLUTIONS
            and (self._stage[host] == BARE or ALL in rules.activations)
        ]
        return max(free, default=None)

    def _is_blocked(self, node: Node, sources: list[int]) -> bool:
        """What the kernel writes is in the layout of convolutions."""
        if node.op in (*CONVOLUTIONS, "pool"):
            return len(node.out_shape) == 4 and self._is_aligned(node)
        if node.op not in (*_TAKEN_OVER, *_RESIZED) or node.role == "scale":
            return False
        if node.name in _NEVER_BLOCKED or (node.op == "batch_norm" and node.role == "other"):
            return False
        if not all(self._blocked[source] for source in sources):
            return False
        if node.op == "concat":
            return all(self._fills_blocks(self._shape(source)) for source in sources)
        if node.op == "mul":
            return node.input_elements == 2 * node.output_elements
        return node.op not in _RESIZED or self._fills_blocks(node.out_shape)

    def _is_aligned(self, node: Node) -> bool:
        """Its channels are so many that it works in the layout of convolutions."""
        if not self._rules.plain_below:
            return True
        if node.op == "pool":
            return self._fills_blocks(node.in_shape)
        if node.op == "conv" and node.in_shape[1] < self._rules.plain_below:
            return True
        return node.in_shape[1] % _ALIGNMENT == 0

    def _fills_blocks(self, shape: tuple[int, ...]) -> bool:
        """Its channels are as many as stand side by side in that layout, or a multiple."""
        return shape[1] % max(1, self._rules.plain_below) == 0

    def _shape(self, source: int) -> tuple[int, ...]:
        """In which a tensor was written."""
        made = self._kernels.get(source)
        return made.out_shape if made else self._entry.shape or self._input_shape

    def _only(self, source: int) -> bool:
        return self._alone[source] and self._readers[source] == 1


def _with_bias(host: Node) -> Node:
    """The kernel that batch norm was folded into: it has a bias now."""
    if host.bias or host.role != "mac":
        return host
    channels = host.out_shape[-1] if host.op == "linear" else host.out_shape[1]
    return host._replace(bias=True, weight_elements=host.weight_elements + channels)


def _with_sum(host: Node, add: Node) -> Node:
    """The convolution that adds another tensor to its result: it reads that one, too."""
    other = add.input_elements - host.output_elements
    return host._replace(input_elements=host.input_elements + other)
