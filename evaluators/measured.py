"""Latency measured on this machine: artifacts timed in turns, whatever runtime runs them.

On a CPU with one thread, what counts is CPU time in those moments in which the machine is as fast
as usual, see `evaluators.pace`: under load they are fewer, but they are the same moments. With
more threads it is time on the wall, on a GPU the time of its own events.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from evaluators import runtimes, timing
from evaluators.devices import Device, computed_in
from evaluators.latency import Latency
from evaluators.measured_subject import File, Subject
from evaluators.pace import pace
from evaluators.runtimes import gpu as gpus
from evaluators.timing import Clock, Rules, SystemClock
from hw_profiles import host
from nas.trials import Candidate, CandidateError, Readings

FRONT_RULES = Rules(min_blocks=100, max_blocks=250, patience_s=12.0)
"""For a handful of artifacts at the end: longer, because small differences are to be told apart."""
PACE = "reference_ms."
"""Before the alias of a measured CPU: the time of the reference network meanwhile. Latencies that
were measured at other times are at the machine's pace of those times."""
GPU_RULES = Rules(warmups=2, block_ms=10.0, min_blocks=20, max_blocks=60)
"""Longer blocks: many calls are asked for while the first ones run, as in a loaded server."""
_BRANDS = re.compile(
    r"nvidia|geforce|jetson|nano|tesla|graphics|gpu|sxm\d*|pcie|nvl|\d+gb|hbm\d\w*|ada|generation",
    re.I,
)
"""Words in the name of a GPU that do not tell models apart."""


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
        device: of this machine, with runtime, dtype and threads.
        batch: examples a call; those of the device by default.
        clock: what tells the time.
        rules: when to end.

    Returns:
        On a CPU with one thread: p25 of CPU time where the machine is as fast as usual; with more:
        p25 of wall time; on a GPU: p25 of the time of its events. The bar [low, high] is the 95 %
        interval of that quantile over the blocks; on a CPU, widened by what another measurement of
        the same file may find here: see `evaluators.pace_memory`.

    Raises:
        ValueError: for a device that is not here, and a file that cannot be run.
    """
    device = device if batch is None else replace(device, batch=batch)
    usual = GPU_RULES if runtimes.accelerator(device.runtime) == "gpu" else Rules()
    return measure_in_turns([(artifact, device)], clock=clock, rules=rules or usual)[0]


def remeasure(
    artifacts: Sequence[File],
    device: Device,
    *,
    clock: Clock | None = None,
    rules: Rules | None = None,
) -> list[Latency]:
    """Measure several artifacts on one device in turns; see `measure_in_turns`."""
    check_measurable(device)
    entries = [(artifact, device) for artifact in artifacts]
    return measure_in_turns(entries, clock=clock, rules=rules)


def measure_in_turns(
    entries: Sequence[tuple[File, Device]],
    *,
    clock: Clock | None = None,
    rules: Rules | None = None,
) -> list[Latency]:
    """Measure several artifacts in turns, so that they share the machine's good and bad moments.

    Args:
        entries: packed files, or their paths, each with the device that it is measured on: runtime,
            dtype, threads and batch may differ, the machine is this one.
        clock: what tells the time.
        rules: when to end, `FRONT_RULES` by default; the seconds hold for each entry.

    Raises:
        ValueError: as `measure`.
    """
    for device in dict.fromkeys(device for _, device in entries):
        check_measurable(device)
    clock, rules = clock or SystemClock(), rules or FRONT_RULES
    with ExitStack() as stack:
        subjects = [Subject.load(file, device, clock, stack) for file, device in entries]
        reference = pace(clock) if any(s.on_cpu for s in subjects) else None
        # What was waited for in vain just now is not waited for again.
        gave_up = reference is not None and reference.gave_up
        wait_s = rules.cap_s if gave_up else rules.patience_s
        rules = replace(rules, cap_s=rules.cap_s * len(entries), patience_s=wait_s * len(entries))
        before = reference.glance() if reference else 0.0
        samples = timing.interleave([s.timed for s in subjects], reference, rules)
    standing = None
    if reference is not None:
        glances = before, reference.glance()
        reference.learn([look for seen in samples for look in seen.looks_ns])
        reference.gave_up = any(seen.is_disturbed for seen in samples)
        standing = reference.standing(glances, reference.gave_up)
    pairs = zip(subjects, samples, strict=True)
    return [subject.latency(seen, reference, standing) for subject, seen in pairs]


def ties(latencies: Sequence[Latency], tolerance: float = 0.03) -> list[tuple[int, int]]:
    """The pairs that cannot be told apart, of latencies measured in turns.

    Args:
        latencies: of `measure_in_turns` or `remeasure`.
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
    who = f"device {device.alias} ({device.name}: {device.profile.title})"
    if device.alias == device.name:
        who = f"{device.name} ({device.profile.title})"
    what = f"{who} cannot be measured here"
    kind = device.profile.kind
    if kind == "gpu":
        here = gpus.gpu_name()
        if model_of(here) != model_of(device.profile.title):
            raise ValueError(f"{what}: {f'the GPU here is {here}' if here else 'there is no GPU'}")
    elif device.profile.fingerprint() != host.detect().fingerprint():
        found = host.detect()
        raise ValueError(f"{what}: this is {found.name}: {found.title}")
    runs_on = runtimes.accelerator(device.runtime)
    if runs_on != kind:
        fitting = [name for name in runtimes.names() if runtimes.accelerator(name) == kind]
        raise ValueError(
            f"runtime of device {device.alias} must be one that runs on a {kind} "
            f"({', '.join(fitting)}), but got {device.runtime!r}"
        )
    cores = len(os.sched_getaffinity(0))
    if device.threads > cores:
        raise ValueError(
            f"threads of device {device.alias} must be at most {cores}, the cores that there are "
            f"here, but got {device.threads}"
        )
    runtimes.check(device.runtime, device.threads, device.dtype)


def model_of(gpu: str) -> frozenset[str]:
    """The words in a GPU's name that tell its model: ``NVIDIA A100-SXM4-40GB`` is an ``a100``."""
    words = re.split(r"[\s\-_()/]+", gpu.partition(",")[0].casefold())
    return frozenset(word for word in words if word and not _BRANDS.fullmatch(word))


@dataclass(frozen=True)
class MeasuredLatency:
    """The evaluator ``measured_latency``: the latency of the artifact on this machine.

    Args:
        device: of this machine.
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
        """Latency and wall times by the device's alias; of a CPU, its pace meanwhile."""
        alias = self.device.alias
        names = (self.device.metric, f"wall_ms.{alias}.p50", f"wall_ms.{alias}.p99")
        return (*names, f"{PACE}{alias}") if self.device.profile.kind == "cpu" else names

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
        dtype = computed_in(candidate.artifact.dtype, self.device.dtype)
        ours = latency.provenance(self.device, version, dtype)
        wall = replace(ours, method="wall time of single calls", low=None, high=None)
        pace_of = replace(wall, method="CPU time of the reference network beside it")
        values = [latency.latency_ms, latency.wall_p50_ms or 0.0, latency.wall_p99_ms or 0.0]
        if latency.reference_ms is not None:
            values.append(latency.reference_ms)
        return Readings(
            dict(zip(self.provides, values, strict=True)),
            dict(zip(self.provides, (ours, wall, wall, pace_of), strict=False)),
        )
