"""The time of kernels on processors: a roofline for each engine, and an overhead a kernel.

A kernel takes ``overhead + max(operations / peak, bytes / bandwidth)`` (Williams et al., Roofline,
2009). Dense convolutions and products run on the matrix engine, whose tiles are filled up with
zeros; depthwise and everything else runs on the vector engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evaluators.latency import KernelLatency
from evaluators.workload import Kernel, converted
from hw_profiles import Figure, HardwareProfile

METHOD = "roofline, datasheet"
_CONVOLUTIONS = ("conv", "transposed_conv")
_MATRIX = (*_CONVOLUTIONS, "grouped_conv", "linear", "matmul", "attention")
_FUNCTIONS = ("activation", "softmax", "layer_norm", "group_norm")
_FUNCTION_OPERATIONS = 8
"""Operations an element of a function that is no maximum or minimum: a polynomial, a quotient."""


class Roofline:
    """Times of kernels on one device; each kernel is worked out once.

    Args:
        profile: of a cpu, gpu or tpu.
        batch: how often the workload's own batch goes into one call.
        dtype: in which floating-point kernels are computed.
    """

    method = METHOD

    def __init__(self, profile: HardwareProfile, batch: int, dtype: str) -> None:
        self._profile, self._batch, self._dtype = profile, batch, dtype
        self._known: dict[Kernel, KernelLatency] = {}
        efficiency = profile.efficiency["memory"].value
        self._memory_bytes_s = profile.bandwidth_bytes_s["memory"].value * efficiency
        self._cache_bytes, self._cache_bytes_s = 0.0, self._memory_bytes_s
        if "cache" in profile.memory_bytes and "cache" in profile.bandwidth_bytes_s:
            self._cache_bytes = profile.memory_bytes["cache"].value
            self._cache_bytes_s = profile.bandwidth_bytes_s["cache"].value * efficiency

    def times(self, kernels: Sequence[Kernel]) -> tuple[float, tuple[KernelLatency, ...], str]:
        """Milliseconds of one call, those of each kernel, and what binds most of them."""
        parts = tuple([self._known.get(kernel) or self._learn(kernel) for kernel in kernels])
        dtype = converted(kernels[0], self._dtype).dtype
        call_ms = _figure(self._profile.overhead_s, "call", dtype) * 1e3
        spent = {"overhead": call_ms, "compute": 0.0, "memory": 0.0}
        for part in parts:
            spent[part.binds] += part.latency_ms
        return sum(spent.values()), parts, max(spent, key=lambda name: spent[name])

    def _learn(self, kernel: Kernel) -> KernelLatency:
        one = converted(kernel, self._dtype)
        overhead = _figure(self._profile.overhead_s, "op", one.dtype)
        compute, memory = self._compute_s(one), self._memory_s(one)
        busy = max(compute, memory)
        bound = "compute" if compute >= memory else "memory"
        part = KernelLatency(
            op=kernel.op,
            in_shape=kernel.in_shape,
            out_shape=kernel.out_shape,
            count=kernel.count,
            latency_ms=(overhead + busy) * kernel.count * 1e3,
            binds="overhead" if overhead > busy else bound,
        )
        self._known[kernel] = part
        return part

    def _compute_s(self, kernel: Kernel) -> float:
        engine = "matrix" if kernel.op in _MATRIX else "vector"
        if kernel.macs:
            operations = 2 * self._padded_macs(kernel)
        else:
            each = _FUNCTION_OPERATIONS if kernel.op in _FUNCTIONS else 1
            operations = math.prod(kernel.out_shape) * each
        efficiency = _figure(self._profile.efficiency, engine, kernel.dtype)
        return operations * self._batch / (self._profile.peak(engine, kernel.dtype) * efficiency)

    def _memory_s(self, kernel: Kernel) -> float:
        moved = (kernel.input_bytes + kernel.output_bytes) * self._batch + kernel.weight_bytes
        return moved / (self._cache_bytes_s if moved <= self._cache_bytes else self._memory_bytes_s)

    def _padded_macs(self, kernel: Kernel) -> float:
        """Multiply-accumulates with the zeros that fill up the tiles of the engine."""
        profile = self._profile
        inputs, outputs = _channels(kernel)
        if "systolic_rows" in profile.parts and kernel.op in _MATRIX:
            reduction = max(1, round(kernel.macs / math.prod(kernel.out_shape)))
            rows = _up(reduction, profile.part("systolic_rows")) / reduction
            return kernel.macs * rows * _up(outputs, profile.part("systolic_columns")) / outputs
        tile = profile.part("tile_channels", 1)
        if kernel.op in _CONVOLUTIONS or kernel.op == "linear":
            # Fewer input channels than a tile are taken as they are: the first layer.
            fill = _up(inputs, tile) / inputs if inputs >= tile else 1.0
            return kernel.macs * fill * _up(outputs, tile) / outputs
        return kernel.macs * _up(outputs, tile) / outputs


def _figure(table: Mapping[str, Figure], name: str, dtype: str) -> float:
    """The figure of this dtype where there is one."""
    return table.get(f"{name}_{dtype}", table[name]).value


def _channels(kernel: Kernel) -> tuple[int, int]:
    """Input and output channels of a convolution, inner and outer size of a product."""
    axis = 1 if kernel.op.endswith(("conv", "depthwise")) else -1
    return kernel.in_shape[axis], kernel.out_shape[axis]


def _up(size: int, tile: float) -> float:
    return math.ceil(size / tile) * tile
