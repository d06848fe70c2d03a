"""Kernels and workloads as values, and the same in another dtype."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
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
QUANTIZED = {"onnxruntime": "onnxruntime-int8", "onnxruntime-nchwc8": "onnxruntime-int8"}
"""The lowerings of runtimes that have another one for statically quantized networks: which."""
LOWERINGS = (
    "onnxruntime",
    "onnxruntime-nchwc8",
    "onnxruntime-int8",
    "tflite",
    "xla",
    "dataflow",
    "eager",
    "dpu",
)


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
        fused: the function, as torch calls it, that it applies to what it writes; those that only
            clip cost nothing and are not named.

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
    fused: str = ""

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
        shapes = (self.in_shape, self.out_shape, self.count, self.fused)
        return hash((self.op, self.dtype, shapes, self.macs, self.input_bytes, self.weight_bytes))

    def __hash__(self) -> int:
        return self._hash  # kernels are looked up thousands of times an ask

    def __getstate__(self) -> dict[str, Any]:
        """Without the hash, which another process would not share."""
        return {name: value for name, value in vars(self).items() if name != "_hash"}


class Paths(NamedTuple):
    """All paths from the input of a network to its outputs, by the layers on them.

    Attributes:
        longest: layers with weights on the longest path.
        shortest: the same on the shortest path.
        layers: with weights on all paths, one that is on several counted for each.
        number: of paths; 0 where none leads from the input to an output. It may have hundreds of
            digits.
        pools: poolings on all paths, counted alike.
    """

    longest: int = 0
    shortest: int = 0
    layers: int = 0
    number: int = 1
    pools: int = 0

    @property
    def mean(self) -> float:
        """Layers with weights on a path, mean over all of them."""
        return self.layers / max(1, self.number)

    @property
    def mean_pools(self) -> float:
        """Poolings on a path, mean over all of them."""
        return self.pools / max(1, self.number)

    @classmethod
    def in_sequence(cls, parts: Iterable[Paths]) -> Paths:
        """Of parts each of which reads what the one before it makes."""
        longest, shortest, layers, number, pools = cls()
        for part in parts:
            longest, shortest = longest + part.longest, shortest + part.shortest
            layers = layers * part.number + part.layers * number
            pools = pools * part.number + part.pools * number
            number *= part.number
        return cls(longest, shortest, layers, number, pools) if number else cls(number=0)


@dataclass(frozen=True, eq=False)
class Workload:
    """What one call of a network makes a runtime do.

    Two workloads are equal when they execute the same kernels equally often, in any order.

    Args:
        kernels: in order of first execution; equal ones are one entry with a count.
        macs: multiply-accumulates of all kernels.
        params: trainable numbers of the network, those of batch norm included.
        lowering: whose kernels these are.
        peak_memory_bytes: of the input and all results that must be kept at the same time, weights
            apart; 0 where it is not known. It depends on the order, so it is not compared.
        paths: through the network, as it was before lowering; None where they are not known. Not
            compared.

    Raises:
        ValueError: for an unknown lowering, or less memory than none.
    """

    kernels: tuple[Kernel, ...]
    macs: int
    params: int
    lowering: str
    peak_memory_bytes: int = 0
    paths: Paths | None = None

    def __post_init__(self) -> None:
        checked_lowering(self.lowering)
        if self.peak_memory_bytes < 0:
            raise ValueError(
                f"peak_memory_bytes must not be negative, but got {self.peak_memory_bytes}"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Workload):
            return NotImplemented
        return self._comparable() == other._comparable()

    def __hash__(self) -> int:
        return hash(self._comparable())

    def _comparable(self) -> tuple[Any, ...]:
        return frozenset(self.kernels), self.macs, self.params, self.lowering


def with_dtype(workload: Workload, dtype: str) -> Workload:
    """The same network computed in another dtype: its floating-point kernels are converted.

    Raises:
        ValueError: for an unknown dtype.
    """
    kernels = tuple([converted(kernel, dtype) for kernel in workload.kernels])
    return replace(workload, kernels=kernels, peak_memory_bytes=peak_bytes(workload, dtype))


def peak_bytes(workload: Workload, dtype: str) -> int:
    """The peak of activations if the floating-point kernels are computed in another dtype.

    Where only some kernels are converted, it shrinks as all that is written does.

    Raises:
        ValueError: for an unknown dtype.
    """
    before = sum([kernel.output_bytes * kernel.count for kernel in workload.kernels])
    other = [converted(kernel, dtype) for kernel in workload.kernels]
    after = sum([kernel.output_bytes * kernel.count for kernel in other])
    return workload.peak_memory_bytes * after // max(1, before)


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


def checked_lowering(lowering: str) -> str:
    """The same.

    Raises:
        ValueError: it is none of `LOWERINGS`.
    """
    if lowering not in LOWERINGS:
        raise ValueError(f"lowering must be one of {', '.join(LOWERINGS)}, but got {lowering!r}")
    return lowering


def kernel_of(node: Node) -> Kernel:
    """The kernel that a recorded operation is."""
    return _kernel(
        node.op,
        node.in_shape,
        node.out_shape,
        node.dtype,
        node.macs,
        node.input_elements,
        node.output_elements,
        node.weight_elements,
        node.fused,
    )


@lru_cache(maxsize=1 << 16)
def _kernel(
    op: str,
    in_shape: tuple[int, ...],
    out_shape: tuple[int, ...],
    dtype: str,
    macs: int,
    read: int,
    written: int,
    weights: int,
    fused: str,
) -> Kernel:
    size = ITEM_BYTES[dtype]
    moved = read * size, written * size, weights * size
    return Kernel(op, in_shape, out_shape, dtype, macs, *moved, fused=fused)


def merged(kernels: Iterable[Kernel]) -> tuple[Kernel, ...]:
    """Equal kernels as one with their count, in order of first execution.

    Args:
        kernels: each once.
    """
    return tuple([counted(kernel, count) for kernel, count in Counter(kernels).items()])


@lru_cache(maxsize=1 << 16)
def counted(kernel: Kernel, count: int) -> Kernel:
    """The kernel with another count."""
    return kernel if kernel.count == count else replace(kernel, count=count)
