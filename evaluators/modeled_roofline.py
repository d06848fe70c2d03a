"""The zero-shot time of kernels that run one after the other: a roofline for each engine.

A kernel takes ``overhead + max(operations / peak, bytes / bandwidth)`` (Williams et al., Roofline,
2009), on the engines of `evaluators.components`.
"""

from __future__ import annotations

from collections.abc import Sequence

from evaluators.components import engine_of
from evaluators.latency import KernelLatency
from evaluators.workload import Kernel
from hw_profiles import HardwareProfile

METHOD = "roofline, datasheet"


class Roofline:
    """Times of kernels on one device; each kernel is worked out once.

    Args:
        profile: of a cpu, gpu, tpu or convolution engine.
        batch: how often the workload's own batch goes into one call.
        dtype: in which floating-point kernels are computed.
    """

    method = METHOD

    def __init__(self, profile: HardwareProfile, batch: int, dtype: str) -> None:
        self._engine = engine_of(profile, batch, dtype)
        self._known: dict[Kernel, tuple[KernelLatency, tuple[float, float]]] = {}
        self._bar = profile.uncertainty.value

    def times(
        self, kernels: Sequence[Kernel]
    ) -> tuple[float, float, float, tuple[KernelLatency, ...], str]:
        """Milliseconds of one call with both ends of its bar, those of each kernel, what binds."""
        known = [self._known.get(kernel) or self._learn(kernel) for kernel in kernels]
        parts = tuple([part for part, _ in known])
        weights_s = sum([one for _, (one, _) in known])
        evicted_s = self._engine.evicted_s(weights_s, sum([again for _, (_, again) in known]))
        spent = {
            "overhead": self._engine.call_s(kernels[0]) * 1e3,
            "compute": 0.0,
            "memory": evicted_s * 1e3,
        }
        for part in parts:
            spent[part.binds] += part.latency_ms
        total = sum(spent.values())
        binds = max(spent, key=lambda name: spent[name])
        return total, total / self._bar, total * self._bar, parts, binds

    def _learn(self, kernel: Kernel) -> tuple[KernelLatency, tuple[float, float]]:
        """A kernel's latency, and the seconds to fetch its weights: from the cache, and more."""
        demand = self._engine.demand(kernel)
        part = KernelLatency(
            op=kernel.op,
            in_shape=kernel.in_shape,
            out_shape=kernel.out_shape,
            count=kernel.count,
            latency_ms=(demand.overhead_s + demand.busy_s) * kernel.count * 1e3,
            binds=demand.binds,
        )
        found = self._known[kernel] = (
            part,
            (
                demand.weights_s * kernel.count,
                demand.refetched_s * kernel.count,
            ),
        )
        return found
