"""This machine, calibrated: networks are chosen, packed and timed here."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import hw_profiles
from evaluators import runtimes
from evaluators.devices import Device
from evaluators.measured import check_measurable
from experiments.calibrating import Sample, Setting
from experiments.calibrating_networks import Network, Networks, Plan, choose_networks, pack
from experiments.calibrating_timing import Seen, time_all
from hw_profiles import HardwareProfile, host
from nas.keys import digest

Progress = Callable[[str, int, int], None]
"""Is told what is done, how far it is, and how much there is of it."""


def profile_here(name: str) -> HardwareProfile:
    """The figures of a profile of this machine, without what an earlier calibration learned.

    Raises:
        ValueError: for an unknown profile.
    """
    return host.detect() if name in ("", host.NAME) else hw_profiles.load(name)


def measure_here(
    plan: Plan,
    runtime: str,
    threads: int,
    file: Path,
    progress: Progress = lambda what, done, count: None,
) -> tuple[list[Sample], Setting]:
    """Measure the networks of a plan on this machine.

    What is measured is kept at once, so that another start with the same plan goes on where this
    one was stopped.

    Args:
        plan: what to measure.
        runtime: that runs the networks.
        threads: of the runtime.
        file: that keeps what is measured.
        progress: is told how far it is.

    Raises:
        ValueError: for a device that is not here, or a plan that cannot be carried out.
        CandidateError: a network cannot be exported or quantized.
    """
    name, profile = plan.profile.name, plan.profile
    device = Device(name, profile, "measured", runtime, "", plan.batch, threads)
    check_measurable(device)
    progress("choosing networks", 0, 1)
    chosen = choose_networks(Networks(plan.profile.lowering), plan)
    jobs = {f"{n.key}.{dtype}": (n, dtype) for n in chosen for dtype in plan.dtypes}
    version = runtimes.version(runtime)
    identity = digest([sorted(jobs), version, threads, plan.batch, plan.profile.fingerprint()])
    known = _known(file, identity)
    with tempfile.TemporaryDirectory() as folder:
        files = {
            name: functools.partial(_packed, Path(folder) / f"{name}.onnx", *job)
            for name, job in jobs.items()
        }
        for done, count in time_all(files, device, known):
            _keep(file, identity, known)
            progress("measuring", done, count)
    samples = [
        Sample(network, dtype, known[name]["latency_ms"]) for name, (network, dtype) in jobs.items()
    ]
    return samples, Setting(version, plan.batch, threads, machine=plan.profile.title)


def _packed(path: Path, network: Network, dtype: str) -> Path:
    """The file of a network, written when it is needed first."""
    if not path.is_file():
        pack(network, path, dtype)
    return path


def _known(file: Path, identity: str) -> dict[str, Seen]:
    """What an earlier start has measured of the same plan."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return dict(record["seen"]) if record["identity"] == identity else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # it is only a shortcut


def _keep(file: Path, identity: str, known: Mapping[str, Seen]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_text(json.dumps({"identity": identity, "seen": known}), encoding="utf-8")
    os.replace(partial, file)
