"""From measured networks to a profile of one's own device, wherever they were measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import hw_profiles
from experiments.calibrating_networks import LEAST, Network, Networks
from hw_profiles import HardwareProfile
from hw_profiles.home import profiles_folder

if TYPE_CHECKING:
    from evaluators.latency import Latency
    from evaluators.workload import Workload

_FOLDS = 10


@dataclass(frozen=True)
class Sample:
    """A measured network.

    Args:
        network: which.
        dtype: in which it was computed.
        latency_ms: of one call.
    """

    network: Network
    dtype: str
    latency_ms: float


@dataclass(frozen=True)
class Setting:
    """In which all samples of a calibration were measured.

    Args:
        runtime: with its version.
        batch: examples a call.
        threads: of the runtime; None where it is not known.
        date: of the measurement.
        machine: in words.
    """

    runtime: str
    batch: int = 1
    threads: int | None = 1
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))
    machine: str = ""


@dataclass(frozen=True)
class Point:
    """A measured network beside what a model predicts that was calibrated without it."""

    dtype: str
    measured_ms: float
    predicted: Latency


@dataclass(frozen=True)
class Calibrated:
    """A profile that was calibrated, and how well that went.

    Args:
        profile: with the calibration.
        points: the networks, each predicted without having been seen.
    """

    profile: HardwareProfile
    points: tuple[Point, ...]

    def errors(self) -> dict[str, tuple[float, float]]:
        """By dtype: the mean absolute error, and the share within 10 %, both in percent."""
        found = {}
        for dtype in dict.fromkeys(point.dtype for point in self.points):
            error = _error([point for point in self.points if point.dtype == dtype])
            found[dtype] = error["mape"], error["w10"]
        return found


def calibrate_profile(
    profile: HardwareProfile,
    samples: Sequence[Sample],
    setting: Setting,
    method: str = "physical",
    name: str = "",
) -> Calibrated:
    """Calibrate a profile on measured networks.

    Args:
        profile: what is known of the device.
        samples: of one input shape.
        setting: in which they were measured.
        method: see `evaluators.calibration.calibrate`.
        name: of the new profile; by default the old one's.

    Raises:
        ValueError: for too few networks, or latencies that cannot be.
    """
    if len(samples) < LEAST:
        raise ValueError(f"a calibration needs {LEAST} measured networks, but got {len(samples)}")
    networks = Networks(profile.lowering)
    workloads = [networks.workload(each.network, dtype=each.dtype) for each in samples]
    fitting = _Fitting(profile, workloads, samples, setting.batch, method)
    fitted = fitting.fit(range(len(samples)))
    points = fitting.left_out()
    about = {
        "date": setting.date,
        "runtime": setting.runtime,
        "machine": setting.machine,
        "dtype": ",".join(dict.fromkeys(each.dtype for each in samples)),
        "batch": setting.batch,
        "threads": setting.threads,
        "space": ",".join(dict.fromkeys(each.network.space for each in samples)),
        "input_shape": list(samples[0].network.input_shape),
    }
    # The fit's own error is that of networks which had a say in its settings: too good.
    calibration = {**(fitted.calibration or {}), **about, "error": _error(points)}
    named = replace(fitted, name=name or profile.name, calibration=calibration)
    return Calibrated(named, points)


def _error(points: Sequence[Point]) -> dict[str, float]:
    off = np.abs([point.predicted.latency_ms / point.measured_ms - 1 for point in points])
    return {"mape": 100 * float(off.mean()), "w10": 100 * float((off <= 0.1).mean())}


def save_calibrated(calibrated: Calibrated) -> tuple[Path, Path]:
    """Write the profile where `hw_profiles.load` finds it first, and a picture beside it.

    Returns:
        The paths of both.

    Raises:
        ValueError: when the profile cannot be written.
    """
    from experiments.calibrating_picture import save_picture

    path = profiles_folder() / f"{calibrated.profile.name}.yaml"
    hw_profiles.save(calibrated.profile, path)
    picture = path.with_suffix(".png")
    save_picture(calibrated, picture)
    return path, picture


@dataclass(frozen=True)
class _Fitting:
    """The same calibration on any part of the networks."""

    profile: HardwareProfile
    workloads: Sequence[Workload]
    samples: Sequence[Sample]
    batch: int
    method: str

    def fit(self, rows: Sequence[int], check_unit: bool = True) -> HardwareProfile:
        """The profile, calibrated on some of the networks."""
        from evaluators.calibration import calibrate

        return calibrate(
            self.profile,
            [self.workloads[row] for row in rows],
            [self.samples[row].latency_ms for row in rows],
            self.method,
            batch=self.batch,
            dtype=self._float_dtype(),
            check_unit=check_unit,
        )

    def left_out(self) -> tuple[Point, ...]:
        """Each network, predicted by a model that was calibrated without it, in ten parts.

        A network that was measured in two dtypes is left out in both.
        """
        from evaluators.modeled import estimate

        keys = list(dict.fromkeys(sample.network.key for sample in self.samples))
        parts: Mapping[str, int] = {key: n % _FOLDS for n, key in enumerate(keys)}
        labels = [parts[sample.network.key] for sample in self.samples]
        found: dict[int, Point] = {}
        for part in range(min(_FOLDS, len(keys))):
            fitted = self.fit([r for r, label in enumerate(labels) if label != part], False)
            for row in (r for r, label in enumerate(labels) if label == part):
                sample, workload = self.samples[row], self.workloads[row]
                latency = estimate(workload, fitted, self.batch, self._float_dtype())
                found[row] = Point(sample.dtype, sample.latency_ms, latency)
        return tuple(found[row] for row in range(len(self.samples)))

    def _float_dtype(self) -> str:
        """In which the networks that are not quantized were computed."""
        from evaluators.workload import QUANTIZED

        pairs = zip(self.samples, self.workloads, strict=True)
        dtypes = [each.dtype for each, work in pairs if work.lowering not in QUANTIZED.values()]
        known = (dtype for dtype in dtypes if dtype != "int8")
        return next(known, dtypes[0] if dtypes else self.profile.dtype)
