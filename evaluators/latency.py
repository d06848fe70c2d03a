"""A latency, measured or modeled, with its spread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nas.trials import Provenance

if TYPE_CHECKING:
    from evaluators.devices import Device

BINDS = ("", "compute", "memory", "overhead")


@dataclass(frozen=True)
class KernelLatency:
    """The share of one kind of kernel in a modeled latency.

    Args:
        op: for example ``conv``, see `evaluators.workload.Kernel`.
        in_shape: with batch.
        out_shape: with batch.
        count: how many of them run.
        latency_ms: of all of them together.
        binds: what their time goes into: ``compute``, ``memory`` or ``overhead``.
    """

    op: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    count: int
    latency_ms: float
    binds: str = ""


@dataclass(frozen=True)
class Latency:
    """The time of one call.

    Args:
        latency_ms: of one call with the whole batch.
        low: lower end of the spread (measured) or of the error bar (modeled), in milliseconds.
        high: its upper end.
        source: ``measured`` or ``modeled``.
        kernels: where a modeled latency goes.
        binds: what most of a modeled latency goes into: ``compute``, ``memory``, ``overhead``.
        method: in a few words, for example ``roofline, datasheet``.
        wall_p50_ms: median of the wall-clock time, of a measured latency.
        wall_p99_ms: its 99th percentile.
        reference_ratio: to the reference network, timed alternately on the same device.
        reference_ms: the reference network's own time meanwhile: the pace of the machine.
        iqr_ms: interquartile range.
        noisy: the machine did other work meanwhile.
        energy_mj: millijoule a call, where known.
        memory_kb: peak of working memory, where known.

    Raises:
        ValueError: for a latency that is not positive, or outside of its own bar.
    """

    latency_ms: float
    low: float
    high: float
    source: Literal["measured", "modeled"]
    kernels: tuple[KernelLatency, ...] = ()
    binds: str = ""
    method: str = ""
    wall_p50_ms: float | None = None
    wall_p99_ms: float | None = None
    reference_ratio: float | None = None
    iqr_ms: float | None = None
    noisy: bool = False
    energy_mj: float | None = None
    memory_kb: float | None = None
    reference_ms: float | None = None

    def __post_init__(self) -> None:
        if self.source not in ("measured", "modeled"):
            raise ValueError(f"source must be 'measured' or 'modeled', but got {self.source!r}")
        if self.binds not in BINDS:
            raise ValueError(f"binds must be one of {BINDS}, but got {self.binds!r}")
        if not (math.isfinite(self.high) and 0 < self.low <= self.latency_ms <= self.high):
            raise ValueError(
                f"0 < low <= latency_ms <= high must hold, but got (low={self.low}, "
                f"latency_ms={self.latency_ms}, high={self.high})"
            )

    def provenance(self, device: Device, runtime_version: str, dtype: str) -> Provenance:
        """Where this number comes from, for the record of a trial.

        Args:
            device: that it is of.
            runtime_version: for example ``onnxruntime 1.32.0``; of a modeled latency, the runtime
                that is assumed, without a version.
            dtype: that ran, or was assumed.
        """
        return Provenance(
            source=self.source,
            device=device.name,
            runtime=runtime_version,
            dtype=dtype,
            batch=device.batch,
            threads=device.threads,
            method=self.method,
            low=self.low,
            high=self.high,
        )
