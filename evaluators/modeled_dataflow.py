"""The time of a streaming dataflow circuit: every layer is a unit of its own on the FPGA.

Cycles of a layer as in FINN (Blott et al., FINN-R, 2018; BSD-3): a matrix unit of PE x SIMD
multipliers needs ``(MH / PE) (MW / SIMD)`` cycles for an output pixel, where PE divides the output
channels MH and SIMD the weights MW of one of them; depthwise alike; everything else streams one
pixel a clock. The circuit puts out a frame whenever its slowest layer has finished one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from evaluators.devices import FIXED_POINT
from evaluators.latency import KernelLatency
from evaluators.workload import ITEM_BYTES, Kernel, converted
from hw_profiles import HardwareProfile

METHOD = "streaming dataflow, slowest folded layer"
_POINTWISE = ("add", "mul", "activation", "batch_norm", "concat")
_WINDOWS = ("conv", "depthwise", "grouped_conv", "transposed_conv", "pool")
_BRAM18_BYTES = 18 * 1024 / 8


@dataclass(frozen=True)
class Layer:
    """What a layer of the circuit can be.

    Args:
        parallel: the numbers of multipliers that it can have, ascending; (0,) without any.
        cycles: a frame, with each of them.
        share: of a frame that must have arrived before the first output.
    """

    parallel: tuple[int, ...]
    cycles: tuple[float, ...]
    share: float

    def folded(self, slowest: float) -> float:
        """The cycles of the smallest folding that keeps up with the slowest layer."""
        fits = bisect_left(self.cycles, -slowest, key=lambda cycles: -cycles)
        return self.cycles[min(fits, len(self.cycles) - 1)]


def layer_of(kernel: Kernel, multipliers: int) -> Layer:
    """The foldings of a layer that need at most so many multipliers."""
    if not kernel.macs:
        pixels = max(_pixels(kernel.in_shape), _pixels(kernel.out_shape))
        return Layer((0,), (float(pixels),), _share(kernel, 1.0))
    outputs = kernel.out_shape[1] if kernel.op in _WINDOWS else kernel.out_shape[-1]
    weights = max(1, round(kernel.macs / math.prod(kernel.out_shape)))
    parallel = _products(outputs, weights, max(1, multipliers))
    floor = float(_pixels(kernel.in_shape)) if kernel.op in _WINDOWS else 1.0
    cycles = tuple(max(kernel.macs / p, floor) for p in parallel)
    inputs = kernel.in_shape[1] if kernel.op == "conv" else 1
    return Layer(parallel, cycles, _share(kernel, math.sqrt(max(1.0, weights / inputs))))


def slowest_layer(layers: Sequence[tuple[Layer, int]], multipliers: int) -> float:
    """The cycles of the slowest layer in the best folding under a budget of multipliers.

    Going below a number of cycles has a price for each layer: the multipliers up to its next
    folding. These prices are paid from the slowest layer on for as long as the budget lasts.

    Args:
        layers: each with the number of times it occurs.
        multipliers: for all layers together.
    """
    needed = sum(layer.parallel[0] * count for layer, count in layers)
    if needed > multipliers:  # more layers than multipliers: layers take turns on them
        return sum(layer.cycles[0] * layer.parallel[0] * n for layer, n in layers) / multipliers
    cycles = np.concatenate([layer.cycles for layer, _ in layers])
    prices = np.concatenate([_prices(layer.parallel) * count for layer, count in layers])
    order = np.argsort(-cycles, kind="stable")
    spent = needed + np.cumsum(prices[order])
    return float(cycles[order][int(np.argmax(spent > multipliers))])


def first_frame(
    period: float, cycles: Sequence[float], layers: Sequence[tuple[Layer, int]]
) -> float:
    """Cycles until the first frame is out.

    One period of the slowest layer, and the time in which each layer computes what its first
    window needs. This needs no order of the layers; it is 6 to 11 % below the first-frame latency
    of the published CNV designs (BNN-PYNQ; MLPerf Tiny v0.7).

    Args:
        period: of the slowest layer.
        cycles: of each layer for a frame.
        layers: each with the number of times it occurs.
    """
    fills = zip(cycles, layers, strict=True)
    return period + sum(own * layer.share * count for own, (layer, count) in fills)


class Dataflow:
    """Times of networks as streaming circuits on one device.

    Args:
        profile: of an fpga.
        batch: how often the workload's own batch streams through in one call.
        dtype: fixed point, of what comes as floating point.

    Raises:
        ValueError: for a dtype that is no fixed point, or an FPGA without multipliers.
    """

    method = METHOD

    def __init__(self, profile: HardwareProfile, batch: int, dtype: str) -> None:
        self._profile, self._batch, self._dtype = profile, batch, dtype
        self._known: dict[Kernel, tuple[Kernel, Layer]] = {}
        if dtype not in FIXED_POINT:
            known = ", ".join(FIXED_POINT)
            raise ValueError(f"{profile.name} computes in {known}, but got {dtype!r}")
        bits = 8 * ITEM_BYTES[dtype]
        # FINN's estimate of DSP blocks a multiply-accumulate: ceil((weight + data bits) / 48)
        blocks = math.ceil(2 * bits / 48)
        self._multipliers = int(profile.part("dsp") * profile.part("usable_dsp")) // blocks
        if self._multipliers < 1:
            raise ValueError(f"{profile.name} has no multiplier left to compute with")
        usable = profile.part("bram18") * profile.part("usable_bram")
        self._weight_bytes = usable * _BRAM18_BYTES

    def times(
        self, kernels: Sequence[Kernel]
    ) -> tuple[float, float, float, tuple[KernelLatency, ...], str]:
        """Milliseconds of one call with both ends of its bar, those of each layer, what binds.

        Weights that do not fit on the chip stream in from memory for every frame.
        """
        known = [self._known.get(kernel) or self._learn(kernel) for kernel in kernels]
        layers = [(layer, kernel.count) for kernel, layer in known]
        clock = self._profile.clock_hz.value
        compute = slowest_layer(layers, self._multipliers)
        weights = sum(kernel.weight_bytes * kernel.count for kernel, _ in known)
        outside = max(0.0, weights - self._weight_bytes)
        memory = outside / self._profile.bandwidth_bytes_s["memory"].value * clock
        period = max(compute, memory)
        folded = [layer.folded(compute) for layer, _ in layers]
        first = first_frame(period, folded, layers) + period * (self._batch - 1)
        total_ms = self._profile.overhead_s["call"].value * 1e3 + first / clock * 1e3
        binds = "memory" if memory > compute else "compute"
        parts = tuple(
            KernelLatency(
                op=kernel.op,
                in_shape=kernel.in_shape,
                out_shape=kernel.out_shape,
                count=kernel.count,
                latency_ms=cycles / clock * 1e3,
                binds="compute" if kernel.macs else "memory",
            )
            for (kernel, _), cycles in zip(known, folded, strict=True)
        )
        bar = self._profile.uncertainty.value
        return total_ms, total_ms / bar, total_ms * bar, parts, binds

    def _learn(self, kernel: Kernel) -> tuple[Kernel, Layer]:
        known = converted(kernel, self._dtype), layer_of(kernel, self._multipliers)
        self._known[kernel] = known
        return known


@lru_cache(maxsize=1 << 14)
def _products(outputs: int, weights: int, limit: int) -> tuple[int, ...]:
    """PE x SIMD for every divisor PE of the outputs and SIMD of the weights, up to a limit."""
    elements = [pe for pe in range(1, min(outputs, limit) + 1) if outputs % pe == 0]
    lanes = [simd for simd in range(1, min(weights, limit) + 1) if weights % simd == 0]
    return tuple(sorted({pe * simd for pe in elements for simd in lanes if pe * simd <= limit}))


@lru_cache(maxsize=1 << 14)
def _prices(parallel: tuple[int, ...]) -> np.ndarray:
    """Multipliers up to the next folding; there is none after the last one."""
    return np.append(np.diff(np.array(parallel, dtype=float)), np.inf)


def _pixels(shape: tuple[int, ...]) -> int:
    return math.prod(shape[2:])


def _share(kernel: Kernel, window: float) -> float:
    """The part of a frame that must be there before the first output."""
    height, *rest = kernel.in_shape[2:] or (1,)
    width = math.prod(rest)
    if kernel.op in _POINTWISE:
        return 1 / (height * width)
    if kernel.op not in _WINDOWS:
        return 1.0
    if kernel.op == "pool":
        window = max(1.0, height / max(1, kernel.out_shape[2]))
    return min(1.0, ((window - 1) * width + window) / (height * width))
