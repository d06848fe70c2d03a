"""The kernels that a runtime executes for a network, without running its weights.

`trace` runs a module on tensors without data and lowers what it saw as the runtime would;
`BlockCache` puts the same together from the blocks of a network, each traced once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from nas.blocks import Block
from nas.trials import Candidate, CandidateError

if TYPE_CHECKING:
    import torch

    from evaluators.workload_recorder import Node

ITEM_BYTES = {
    "complex64": 8,
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
LOWERINGS = ("onnxruntime", "tflite", "xla", "dataflow", "eager")


@dataclass(frozen=True)
class Kernel:
    """One kernel as the runtime executes it.

    Args:
        op: ``conv``, ``depthwise`` (a group a channel), ``grouped_conv``, ``transposed_conv``,
            ``linear`` (weights times data), ``matmul``, ``attention`` (data times data), ``pool``,
            ``global_pool``, ``add``, ``mul``, ``batch_norm``, ``activation``, or torch's name of
            anything else that reads and writes data.
        in_shape: of the first data input, with batch.
        out_shape: with batch.
        dtype: of data and weights.
        macs: multiply-accumulates.
        input_bytes: read, of all data inputs.
        output_bytes: written.
        weight_bytes: read, of weights, biases and other constants.
        count: how many of them run; macs and bytes are those of one.

    Raises:
        ValueError: for an unknown dtype, a negative number, or a count below 1.
    """

    op: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    dtype: str
    macs: int
    input_bytes: int
    output_bytes: int
    weight_bytes: int
    count: int = 1

    def __post_init__(self) -> None:
        if self.dtype not in ITEM_BYTES:
            known = ", ".join(ITEM_BYTES)
            raise ValueError(f"dtype must be one of {known}, but got {self.dtype!r}")
        if min(self.macs, self.input_bytes, self.output_bytes, self.weight_bytes) < 0:
            raise ValueError(f"macs and bytes must not be negative, but got {self}")
        if self.count < 1:
            raise ValueError(f"count must be at least 1, but got {self.count}")

    @cached_property
    def _hash(self) -> int:
        shapes = (self.in_shape, self.out_shape, self.count)
        return hash((self.op, self.dtype, shapes, self.macs, self.input_bytes, self.weight_bytes))

    def __hash__(self) -> int:
        return self._hash  # kernels are looked up thousands of times an ask

    def __getstate__(self) -> dict[str, Any]:
        """Without the hash, which another process would not share."""
        return {name: value for name, value in vars(self).items() if name != "_hash"}


@dataclass(frozen=True, eq=False)
class Workload:
    """What one call of a network makes a runtime do.

    Two workloads are equal when they execute the same kernels equally often, in any order.

    Args:
        kernels: in order of first execution; equal ones are one entry with a count.
        macs: multiply-accumulates of all kernels.
        params: trainable numbers of the network, those of batch norm included.
        lowering: whose kernels these are.

    Raises:
        ValueError: for an unknown lowering.
    """

    kernels: tuple[Kernel, ...]
    macs: int
    params: int
    lowering: str

    def __post_init__(self) -> None:
        _checked_lowering(self.lowering)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Workload):
            return NotImplemented
        return self._comparable() == other._comparable()

    def __hash__(self) -> int:
        return hash(self._comparable())

    def _comparable(self) -> tuple[Any, ...]:
        return frozenset(self.kernels), self.macs, self.params, self.lowering


def trace(
    module: torch.nn.Module, input_shape: Sequence[int], lowering: str = "onnxruntime"
) -> Workload:
    """The kernels that a runtime executes for a network in inference mode.

    Args:
        module: left as it is; its weights are neither read nor copied.
        input_shape: with batch, for example (1, 3, 32, 32); float32.
        lowering: ``onnxruntime``, ``tflite``, ``xla``, ``dataflow`` or ``eager``.

    Raises:
        CandidateError: the shapes do not fit together, or the control flow depends on data.
        ValueError: for an unknown lowering, or sizes below 1.
    """
    return traces(module, input_shape, (lowering,))[lowering]


def traces(
    module: torch.nn.Module, input_shape: Sequence[int], lowerings: Iterable[str]
) -> dict[str, Workload]:
    """The same as `trace` for several lowerings at once: the module is run only once.

    Args:
        module: see `trace`.
        input_shape: with batch.
        lowerings: which.

    Raises:
        CandidateError: see `trace`.
        ValueError: see `trace`.
    """
    from evaluators.workload_lowering import RULES, lower  # here, because torch takes seconds
    from evaluators.workload_recorder import record

    wanted = [_checked_lowering(lowering) for lowering in lowerings]
    if not input_shape or min(input_shape) < 1:
        raise ValueError(f"input_shape must be sizes of at least 1, but got {tuple(input_shape)}")
    recording = record(module, input_shape)
    params = sum(parameter.numel() for parameter in module.parameters())
    workloads = {}
    for lowering in wanted:
        kernels = [_kernel(node) for node in lower(recording, RULES[lowering])]
        macs = sum(kernel.macs for kernel in kernels)
        workloads[lowering] = Workload(_merged(kernels), macs, params, lowering)
    return workloads


class BlockCache:
    """Workloads of networks made of blocks; a block is built and traced once, then known.

    The result equals the trace of the whole network as long as no block ends in an operation that
    the runtime folds together with the beginning of the next one.

    Args:
        lowering: see `trace`.
    """

    def __init__(self, lowering: str = "onnxruntime") -> None:
        self.lowering = _checked_lowering(lowering)
        self._known: dict[tuple[str, tuple[int, ...], int], Workload] = {}

    def workload(self, blocks: Sequence[Block], batch: int = 1) -> Workload:
        """The workload of a network.

        Args:
            blocks: in sequence.
            batch: examples a call.

        Raises:
            CandidateError: a block cannot be built or traced.
        """
        parts = [self._part(block, batch) for block in blocks]
        return Workload(
            kernels=_merged(kernel for part in parts for kernel in part.kernels),
            macs=sum(part.macs for part in parts),
            params=sum(part.params for part in parts),
            lowering=self.lowering,
        )

    def _part(self, block: Block, batch: int) -> Workload:
        key = (block.signature, block.input_shape, batch)
        part = self._known.get(key)
        if part is None:
            from torch.random import fork_rng

            with fork_rng(devices=[]):  # new weights are drawn, and thrown away
                module = block.build()
            part = trace(module, (batch, *block.input_shape), self.lowering)
            self._known[key] = part
        return part


def with_dtype(workload: Workload, dtype: str) -> Workload:
    """The same network computed in another dtype: its floating-point kernels are converted.

    Raises:
        ValueError: for an unknown dtype.
    """
    kernels = tuple(converted(kernel, dtype) for kernel in workload.kernels)
    return replace(workload, kernels=kernels)


def workload_of(candidate: Candidate, lowering: str = "") -> Workload:
    """The workload that a candidate carries for a lowering.

    Args:
        candidate: whose ``workload`` is a mapping from lowering to `Workload`, or one of them.
        lowering: ``""`` for any of them.

    Raises:
        CandidateError: it carries none for this lowering.
    """
    carried = candidate.workload
    if isinstance(carried, Workload):
        carried = {carried.lowering: carried}
    known = carried or {}
    for name in [lowering] if lowering else known:
        if name in known:
            workload: Workload = known[name]
            return workload
    wanted = f" lowered for {lowering!r}" if lowering else ""
    raise CandidateError(f"the candidate carries no workload{wanted}")


@lru_cache(maxsize=1 << 16)
def converted(kernel: Kernel, dtype: str) -> Kernel:
    """A floating-point kernel in another dtype; any other kernel as it is.

    Raises:
        ValueError: for an unknown dtype.
    """
    if not kernel.dtype.startswith(("float", "bfloat")) or kernel.dtype == dtype:
        return kernel
    if dtype not in ITEM_BYTES:
        raise ValueError(f"dtype must be one of {', '.join(ITEM_BYTES)}, but got {dtype!r}")
    old, new = ITEM_BYTES[kernel.dtype], ITEM_BYTES[dtype]
    return replace(
        kernel,
        dtype=dtype,
        input_bytes=kernel.input_bytes // old * new,
        output_bytes=kernel.output_bytes // old * new,
        weight_bytes=kernel.weight_bytes // old * new,
    )


def _checked_lowering(lowering: str) -> str:
    if lowering not in LOWERINGS:
        raise ValueError(f"lowering must be one of {', '.join(LOWERINGS)}, but got {lowering!r}")
    return lowering


def _kernel(node: Node) -> Kernel:
    size = ITEM_BYTES[node.dtype]
    return Kernel(
        op=node.op,
        in_shape=node.in_shape,
        out_shape=node.out_shape,
        dtype=node.dtype,
        macs=node.macs,
        input_bytes=node.input_elements * size,
        output_bytes=node.output_elements * size,
        weight_bytes=node.weight_elements * size,
    )


def _merged(kernels: Iterable[Kernel]) -> tuple[Kernel, ...]:
    """Equal kernels as one with their count, in order of first execution."""
    counts: Counter[Kernel] = Counter()
    for kernel in kernels:
        counts[_counted(kernel, 1)] += kernel.count
    return tuple(_counted(kernel, count) for kernel, count in counts.items())


@lru_cache(maxsize=1 << 16)
def _counted(kernel: Kernel, count: int) -> Kernel:
    return kernel if kernel.count == count else replace(kernel, count=count)
