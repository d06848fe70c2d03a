"""Latency measured on this machine: artifacts timed in turns with a fixed reference network.

On a shared machine the CPU time of the same call varies by half from one second to the next: a
neighbour on the other hardware thread slows the core down without taking it away. The reference
network, timed in every round, is slowed down alike, so each round is corrected by what it shows.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from evaluators import runtimes, timing
from evaluators.devices import Device
from evaluators.latency import Latency
from evaluators.reference_net import reference_model
from evaluators.timing import Call, Clock, Rules, Samples, SystemClock
from hw_profiles import host
from nas.trials import Artifact, Candidate, CandidateError, Readings

File = Artifact | str | os.PathLike[str]
FRONT_RULES = Rules(min_blocks=40, max_blocks=100)
"""For a handful of artifacts at the end: longer, because small differences are to be told apart."""
_NOISY = 1.2
_SETTLING_WINDOWS = 8


def measure(
    artifact: File,
    device: Device,
    batch: int | None = None,
    *,
    clock: Clock | None = None,
    rules: Rules | None = None,
) -> Latency:
    """Measure the latency of one call of an artifact.

    Args:
        artifact: a packed file, or its path.
        device: this machine's CPU, with runtime and threads.
        batch: examples a call; those of the device by default.
        clock: what tells the time.
        rules: when to end.

    Returns:
        With one thread: p25 of the calling thread's CPU time, at the usual speed of the reference
        network; with more: p25 of wall time. The bar [low, high] is the 95 % interval of that
        quantile over the blocks.

    Raises:
        ValueError: for a device that is not here, and a file that cannot be run.
    """
    device = device if batch is None else replace(device, batch=batch)
    return remeasure([artifact], device, clock=clock, rules=rules or Rules())[0]


def remeasure(
    artifacts: Sequence[File],
    device: Device,
    *,
    clock: Clock | None = None,
    rules: Rules | None = None,
) -> list[Latency]:
    """Measure several artifacts in turns, so that they share the machine's good and bad moments.

    Args:
        artifacts: packed files, or their paths.
        device: as in `measure`.
        clock: what tells the time.
        rules: when to end, `FRONT_RULES` by default; the cap holds for each artifact.

    Raises:
        ValueError: as `measure`.
    """
    check_measurable(device)
    clock, rules = clock or SystemClock(), rules or FRONT_RULES
    by_cpu = device.threads == 1
    reference = _reference(clock)
    with ExitStack() as stack:
        calls = [reference.call]
        for artifact in artifacts:
            path = artifact.path if isinstance(artifact, Artifact) else artifact
            session = stack.enter_context(runtimes.load(path, device.runtime, device.threads))
            calls.append(session.bind(_inputs(session.input_shape, device.batch)))
        cap = replace(rules, cap_s=rules.cap_s * len(artifacts))
        base, *samples = timing.interleave(calls, clock, by_cpu, cap)
    if not by_cpu:
        return [_wall_latency(seen, base) for seen in samples]
    usual_ns = reference.learn(base)
    return [_cpu_latency(seen, base, usual_ns) for seen in samples]


def ties(latencies: Sequence[Latency], tolerance: float = 0.03) -> list[tuple[int, int]]:
    """The pairs that cannot be told apart, of latencies measured in turns.

    Args:
        latencies: of `remeasure`.
        tolerance: the largest difference that is a tie, as a share of the faster one.

    Returns:
        Pairs of indexes, the smaller one first.
    """
    times = [latency.latency_ms for latency in latencies]
    return [
        (i, j)
        for i, j in itertools.combinations(range(len(times)), 2)
        if abs(times[i] - times[j]) < tolerance * min(times[i], times[j])
    ]


def check_measurable(device: Device) -> None:
    """Check that latencies of this device can be measured by this process.

    Raises:
        ValueError: one line that says what is there instead.
    """
    if device.method != "measured":
        raise ValueError(f"device {device.alias} is {device.method}, it cannot be measured here")
    here = host.detect()
    if device.profile.fingerprint() != here.fingerprint():
        raise ValueError(
            f"device {device.alias} ({device.name}: {device.profile.title}) cannot be measured "
            f"here: this is {here.name}: {here.title}"
        )
    cores = len(os.sched_getaffinity(0))
    if device.threads > cores:
        raise ValueError(
            f"threads of device {device.alias} must be at most {cores}, the cores that there are "
            f"here, but got {device.threads}"
        )
    if device.runtime not in runtimes.names():
        runtimes.version(device.runtime)  # says which ones are known


@dataclass(frozen=True)
class MeasuredLatency:
    """The evaluator ``measured_latency``: the latency of the artifact on this machine.

    Args:
        device: this machine's CPU.
        clock: what tells the time.

    Raises:
        ValueError: for a device that is not here.
    """

    device: Device
    clock: Clock = SystemClock()

    stage = "measure"

    def __post_init__(self) -> None:
        check_measurable(self.device)

    @property
    def provides(self) -> tuple[str, ...]:
        """Latency and wall times by the device's alias."""
        alias = self.device.alias
        return (self.device.metric, f"wall_ms.{alias}.p50", f"wall_ms.{alias}.p99")

    @property
    def needs(self) -> str:
        """The device, for itself alone."""
        return self.device.name

    def evaluate(self, candidate: Candidate) -> Readings:
        """Measure the candidate's artifact.

        Raises:
            CandidateError: when there is none, or the runtime cannot run it.
        """
        if candidate.artifact is None:
            raise CandidateError("there is no artifact to measure")
        try:
            latency = measure(candidate.artifact, self.device, clock=self.clock)
        except ValueError as error:
            raise CandidateError(str(error)) from None
        version = runtimes.version(self.device.runtime)
        ours = latency.provenance(self.device, version, candidate.artifact.dtype)
        wall = replace(ours, method="wall time of single calls", low=None, high=None)
        values = (latency.latency_ms, latency.wall_p50_ms or 0.0, latency.wall_p99_ms or 0.0)
        return Readings(
            dict(zip(self.provides, values, strict=True)),
            dict(zip(self.provides, (ours, wall, wall), strict=True)),
        )


@dataclass
class _Reference:
    """The reference network, and the fastest it has been in this process."""

    call: Call
    usual_ns: float = math.inf

    def learn(self, seen: Samples) -> float:
        """Its usual time a call, now that it was seen once more."""
        self.usual_ns = min(self.usual_ns, timing.quantile(seen.cpu_ns, 0.25))
        return self.usual_ns


@functools.lru_cache(maxsize=4)
def _reference(clock: Clock) -> _Reference:
    """The reference network, loaded once a process and watched for a moment."""
    session = runtimes.load(reference_model())
    reference = _Reference(session.bind(_inputs(session.input_shape, 1)))
    for _ in range(_SETTLING_WINDOWS):
        reference.learn(*timing.interleave([reference.call], clock))
    return reference


def _inputs(shape: tuple[int, ...], batch: int) -> runtimes.FloatArray:
    return np.random.default_rng(0).random((batch, *shape), dtype=np.float32)


def _cpu_latency(seen: Samples, base: Samples, usual_ns: float) -> Latency:
    relative = timing.ratios(seen.cpu_ns, base.cpu_ns)
    correction = usual_ns * timing.quantile(relative, 0.25) / timing.quantile(seen.cpu_ns, 0.25)
    waiting = sum(seen.wall_ns) / max(sum(seen.cpu_ns), 1)
    noisy = waiting > _NOISY
    method = (
        f"p25 of thread CPU time, {len(relative)} blocks, "
        f"x{correction:.2f} to the reference network's usual speed"
    )
    return _latency(
        [usual_ns * ratio for ratio in relative],
        seen,
        reference_ratio=timing.quantile(relative, 0.5),
        noisy=noisy,
        method=method + (f", noisy: wall/CPU {waiting:.2f}" if noisy else ""),
    )


def _wall_latency(seen: Samples, base: Samples) -> Latency:
    values = seen.wall_ns
    low, median, high = (timing.quantile(values, share) for share in (0.25, 0.5, 0.75))
    noisy = high - low > (_NOISY - 1) * median
    method = f"p25 of wall time, {len(values)} blocks"
    return _latency(
        values,
        seen,
        reference_ratio=timing.quantile(timing.ratios(values, base.wall_ns), 0.5),
        noisy=noisy,
        method=method + (f", noisy: IQR/median {(high - low) / median:.2f}" if noisy else ""),
    )


def _latency(
    values: Sequence[float], seen: Samples, reference_ratio: float, noisy: bool, method: str
) -> Latency:
    p25, p75 = timing.quantile(values, 0.25), timing.quantile(values, 0.75)
    low, high = timing.order_interval(values, 0.25)
    return Latency(
        latency_ms=p25 / 1e6,
        low=low / 1e6,
        high=high / 1e6,
        source="measured",
        method=method,
        wall_p50_ms=timing.quantile(seen.single_ns, 0.5) / 1e6,
        wall_p99_ms=timing.quantile(seen.single_ns, 0.99) / 1e6,
        reference_ratio=reference_ratio,
        iqr_ms=(p75 - p25) / 1e6,
        noisy=noisy,
    )
