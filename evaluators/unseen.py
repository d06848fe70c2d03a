"""How far a calibrated model is asked beyond what was measured for it, and the bar it has there.

The error of a calibration holds for networks like those that were measured. What none of them had
(a kind of kernel, a dtype, a size) is as unknown as before: the data sheet's figures, scaled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.workload import Kernel, converted
from hw_profiles import HardwareProfile

Array = NDArray[np.float64]
Number = Array | float

_NEAR, _FAR = 3.0, 30.0
"""So many times slower than the slowest measured network, or faster than the fastest, is still well
predicted (of other people's devices the dearest quarter is, by models of the cheaper half); and
nothing is known any more."""
_WORTH_SAYING = 0.05
OUTSIDE = "outside its calibration"
"""How a method begins to say that it is."""


@dataclass(frozen=True)
class Known:
    """What was measured for a calibration.

    Args:
        fastest_ms: the fastest network; 0 where it is not known.
        slowest_ms: the slowest one; infinite where it is not known.
        dtypes: that its kernels were computed in.
        factor: of the data sheet's error bar.
    """

    fastest_ms: float
    slowest_ms: float
    dtypes: frozenset[str]
    factor: float

    @classmethod
    def of(cls, profile: HardwareProfile, kernels: Iterable[Kernel]) -> Known:
        """What the calibration of a profile says.

        Args:
            profile: calibrated.
            kernels: of the measured networks.
        """
        record: Mapping[str, Any] = profile.calibration or {}
        named = [name for name in str(record.get("dtype", "")).split(",") if name]
        floats = next((name for name in named if name != "int8"), profile.dtype)
        dtypes = frozenset(converted(kernel, floats).dtype for kernel in kernels)
        fastest, slowest = record.get("range_ms") or (0.0, np.inf)
        return cls(float(fastest), float(slowest), dtypes, profile.uncertainty.value)

    def has(self, kernel: Kernel, dtype: str) -> bool:
        """Whether kernels were measured in the dtype that this one is computed in.

        Args:
            kernel: one.
            dtype: in which floating-point kernels are computed.
        """
        return not self.dtypes or converted(kernel, dtype).dtype in self.dtypes

    def unknown(self, latency_ms: Number, unseen: Number) -> Array:
        """How little is known of latencies: 0 where all was measured, 1 where nothing was.

        Args:
            latency_ms: (workloads,).
            unseen: (workloads,), the share in kernels and dtypes that no measured network had.
        """
        beyond = np.maximum(latency_ms / self.slowest_ms, self.fastest_ms / latency_ms)
        away = np.log(np.maximum(beyond, _NEAR) / _NEAR) / np.log(_FAR / _NEAR)
        share: Array = np.maximum(unseen, np.minimum(away, 1.0))
        return share

    def bar(self, latency_ms: Number, reach: Number, unknown: Array) -> tuple[Array, Array]:
        """Both ends of the bar: the calibration's, and for what is unknown the data sheet's.

        Args:
            latency_ms: (workloads,).
            reach: (workloads,), the calibration's bar as a share of the latency.
            unknown: (workloads,), see `unknown`.
        """
        above = reach + unknown * (self.factor - 1)
        below = (1 - reach) * (1 - unknown * (1 - 1 / self.factor))
        return latency_ms * below, latency_ms * (1 + above)

    def said(self, latency_ms: float, unseen: float) -> str:
        """What is to be said of a latency, ``""`` where it is within what was measured.

        Args:
            latency_ms: of one workload.
            unseen: see `unknown`.
        """
        parts = []
        if unseen >= _WORTH_SAYING:
            kinds = "kinds of kernels or dtypes that were not measured"
            parts.append(f"{unseen:.0%} of it in {kinds}")
        if latency_ms > _NEAR * self.slowest_ms:
            parts.append(f"{latency_ms / self.slowest_ms:.3g} times its slowest network")
        elif latency_ms * _NEAR < self.fastest_ms:
            faster = self.fastest_ms / latency_ms
            parts.append(f"{faster:.3g} times faster than its fastest network")
        return f"{OUTSIDE} ({'; '.join(parts)})" if parts else ""
