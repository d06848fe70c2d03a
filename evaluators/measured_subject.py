"""One artifact while it is measured: loaded, timed by the clocks that see it, and summed up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from evaluators import runtimes, timing
from evaluators.devices import Device
from evaluators.latency import Latency
from evaluators.pace import Pace
from evaluators.pace_memory import Standing
from evaluators.runtimes.gpu import GpuSession, GpuWatch, gpu_clocks
from evaluators.timing import Clock, Samples, Timed
from nas.trials import Artifact

File = Artifact | str | os.PathLike[str]

_NOISY = 1.2
_BESIDE = 1.05
_CORRECTED_TO = 1.15
"""Networks are slowed down by factors that differ by so much; seen on 20 of them."""
_AGAIN = 1.03
"""Medians of the same file, taken minutes apart, differ by so much on a calm machine."""
_STEEPER = 1.25
"""Where the reference gets slower by a factor, networks get slower by up to this power of it."""
_MUCH_SLOWER = 1.1
_CLOCKS = {
    "thread": "thread CPU time",
    "process": "process CPU time",
    "wall": "wall time",
    "gpu": "CUDA event time",
}


@dataclass(frozen=True)
class Subject:
    """A loaded artifact, ready to be timed.

    Args:
        timed: its call, with the clocks that see its work.
        counts: which clock counts, see `evaluators.runtimes.session.Counts`.
        on_cpu: whether it is the CPU that works.
        memory_kb: the most that it takes of a GPU's memory.
    """

    timed: Timed
    counts: str
    on_cpu: bool = True
    memory_kb: float | None = None

    @classmethod
    def load(cls, file: File, device: Device, clock: Clock, stack: ExitStack) -> Subject:
        """Load a file through the runtime of a device, to be closed with the stack.

        Raises:
            ValueError: when it cannot be run there.
        """
        path = file.path if isinstance(file, Artifact) else file
        if device.runtime.startswith("torch") and getattr(file, "dtype", "") == "int8":
            raise ValueError(f"{device.runtime} has no counterpart of an int8 file")
        session = stack.enter_context(
            runtimes.load(path, device.runtime, device.threads, device.dtype)
        )
        shape = (device.batch, *session.input_shape)
        call = session.bind(np.random.default_rng(0).random(shape, dtype=np.float32))
        if isinstance(session, GpuSession):
            watch = GpuWatch(session.gpu, clock.wall_ns)
            memory_kb = session.peak_memory_bytes() / 1024
            timed = Timed(call, watch.busy_ns, watch.wall_ns, paced=False)
            return cls(timed, "gpu", False, memory_kb)
        counts = session.one_thread if device.threads == 1 else "wall"
        now = {"thread": clock.cpu_ns, "process": clock.process_ns, "wall": clock.wall_ns}[counts]
        timed = Timed(call, now, clock.wall_ns, paced=counts != "wall")
        return cls(timed, counts, session.accelerator == "cpu")

    def latency(
        self, seen: Samples, reference: Pace | None, standing: Standing | None = None
    ) -> Latency:
        """What the samples say.

        Args:
            seen: the samples.
            reference: how fast the machine was in the last minutes.
            standing: how fast it was meanwhile, beside all that is remembered of it.
        """
        values, noisy = list(seen.counted), ""
        about = f"{len(values)} blocks"
        if self.timed.paced and reference is not None:
            about = f"{len(values)} of {len(seen.busy_ns)} blocks at the machine's usual speed"
            if seen.is_disturbed:
                values = _corrected(seen, reference.usual_ns)
                slower = timing.level(seen.looks_ns) / reference.usual_ns
                about = f"{len(values)} blocks, corrected for the machine's speed"
                noisy = f"disturbed all the time, at best {slower:.2f} times slower than usual"
            waiting = sum(seen.wall_ns) / max(sum(seen.busy_ns), 1)
            about += f", wall/CPU {waiting:.2f}" if waiting > _NOISY else ""
        else:
            low, median, high = (timing.quantile(values, share) for share in (0.25, 0.5, 0.75))
            if high - low > (_NOISY - 1) * median:
                noisy = f"IQR/median {(high - low) / median:.2f}"
        clocks = gpu_clocks() if self.counts == "gpu" else ""
        said = (f"p25 of {_CLOCKS[self.counts]}", about, clocks, noisy and f"noisy: {noisy}")
        method = ", ".join(filter(None, said))
        ratio = None
        if self.on_cpu and reference is not None:
            ratio = timing.quantile(timing.ratios(seen.busy_ns, seen.looks_ns), 0.5)
        latency = _latency(values, seen, ratio, bool(noisy), self.memory_kb, method)
        if seen.is_disturbed:
            latency = _wider(latency, _CORRECTED_TO, _CORRECTED_TO)
        if self.on_cpu and standing is not None:
            latency = _paced(latency, standing)
        return latency


def _wider(latency: Latency, below: float, above: float) -> Latency:
    return replace(latency, low=latency.low / below, high=latency.high * above)


def _paced(latency: Latency, standing: Standing) -> Latency:
    """With a bar for the same file measured here at another time.

    It is then as much faster or slower as the machine is known to be, and never just the same.
    """
    slower, faster = standing.slower**_STEEPER, standing.faster**_STEEPER
    again = _wider(latency, _AGAIN * slower, _AGAIN * faster)
    method = latency.method
    if standing.slower > _MUCH_SLOWER:
        method += f", the machine was {standing.slower:.2f} times faster at other times"
    return replace(again, method=method, reference_ms=standing.now_ns / 1e6)


def _corrected(seen: Samples, usual_ns: float) -> list[float]:
    """The blocks as if the machine had been as fast as usual, were all networks slowed down alike.

    Beside other networks the reference is a little slower than alone.
    """
    factor = min(1.0, _BESIDE * usual_ns / timing.level(seen.looks_ns))
    return [busy * factor for busy in seen.busy_ns]


def _latency(
    values: Sequence[float],
    seen: Samples,
    ratio: float | None,
    noisy: bool,
    memory_kb: float | None,
    method: str,
) -> Latency:
    p25, p75 = timing.quantile(values, 0.25), timing.quantile(values, 0.75)
    low, high = timing.order_interval(values, 0.25)
    return Latency(
        latency_ms=p25 / 1e6,
        low=min(low, p25) / 1e6,
        high=max(high, p25) / 1e6,
        source="measured",
        method=method,
        wall_p50_ms=timing.quantile(seen.single_ns, 0.5) / 1e6,
        wall_p99_ms=timing.quantile(seen.single_ns, 0.99) / 1e6,
        reference_ratio=ratio,
        iqr_ms=(p75 - p25) / 1e6,
        noisy=noisy,
        memory_kb=memory_kb,
    )
