"""Whether an exported file still is what was scored, and does what was recorded then."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hw_profiles
from evaluators import runtimes
from evaluators.packaging import sha256_of
from evaluators.scoring import accuracy_of, predict
from experiments.deployments import Deployment, deployed, serving
from experiments.loading import load
from experiments.wiring import build_devices
from nas.trials import CandidateError, Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from evaluators.devices import Device
    from evaluators.tasks import TaskData
    from experiments.runs import Run

FLOAT_TOLERANCE = 1e-4
"""Largest difference of a float32 output on another CPU, relative to the largest output."""

SAME_CLASS = 0.995
"""Share of examples that an int8 network must give the same class on another CPU."""

LATENCY_TOLERANCE = 0.1
"""A latency that differs by more, relative to the recorded one, is a warning."""


class VerificationError(Exception):
    """An artifact does not come out as it was recorded; the message is one line."""


@dataclass(frozen=True)
class Check:
    """One thing that was compared.

    Args:
        name: what.
        recorded: at scoring.
        found: now.
        passed: whether they are equal enough.
        rule: what equal enough means.
    """

    name: str
    recorded: Any
    found: Any
    passed: bool
    rule: str


@dataclass(frozen=True)
class LatencyAgain:
    """A measured latency beside the recorded one, in milliseconds."""

    metric: str
    recorded_ms: float
    found_ms: float
    low_ms: float
    high_ms: float
    noisy: bool

    @property
    def difference(self) -> float:
        """Relative to the recorded one, with its sign."""
        return self.found_ms / self.recorded_ms - 1


@dataclass(frozen=True)
class Verification:
    """All that was checked; every check passed, or there would be none of this.

    Args:
        same_machine: whether CPU and runtime are those of the scoring.
        checks: the comparisons.
        latencies: measured once more.
        test_accuracy: on the test split, None for a task without one.
        warnings: one line each.
    """

    same_machine: bool
    checks: tuple[Check, ...]
    latencies: tuple[LatencyAgain, ...] = ()
    test_accuracy: float | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON-able record."""
        record = asdict(self)
        for entry, latency in zip(record["latencies"], self.latencies, strict=True):
            entry["difference"] = latency.difference
        return record


def verify(model: Path, trial: Trial, run: Run, data: TaskData, logits: Path) -> Verification:
    """Check a file against what was recorded when it was scored.

    Args:
        model: the file to check.
        trial: the record.
        run: that the trial is of; its ledger keeps the test accuracy, which is computed once.
        data: the task with its test split.
        logits: an npz file, ``logits`` (n, outputs): the outputs on validation at scoring.

    Raises:
        VerificationError: naming the first thing that does not come out as recorded.
    """
    served = serving(build_devices(run.config), trial.genotype)
    same = same_machine(run, trial, served)
    checks: list[Check] = []
    looks: tuple[Callable[[], list[Check]], ...] = (
        lambda: check_hash(model, trial),
        lambda: check_format(model),
        lambda: check_outputs(model, trial, data, logits, same, served),
    )
    for look in looks:
        checks += passed(trial, look())
    tested = accuracy_on_test(model, trial, run, data, served)
    return Verification(same, tuple(checks), test_accuracy=tested)


def passed(trial: Trial, checks: list[Check]) -> list[Check]:
    """The checks, all of them passed.

    Raises:
        VerificationError: naming the first one that did not.
    """
    for check in checks:
        if not check.passed:
            raise VerificationError(
                f"trial {trial.number}: {check.name} does not come out as recorded "
                f"({check.rule}): recorded {check.recorded}, found {check.found}"
            )
    return checks


def same_machine(run: Run, trial: Trial, served: Deployment) -> bool:
    """Whether this process runs on the CPU model and the runtime version of the scoring."""
    host = hw_profiles.load("host-cpu").fingerprint() == run.environment.get("fingerprint")
    scored = trial.provenance.get("accuracy")
    return host and (scored is None or scored.runtime in ("", runtimes.version(served.runtime)))


def check_hash(model: Path, trial: Trial) -> list[Check]:
    """The bytes are those that were scored."""
    recorded, found = trial.artifact.sha256 if trial.artifact else "", sha256_of(model)
    return [Check("sha256", recorded, found, recorded == found, "equal")]


def check_format(model: Path) -> list[Check]:
    """The ONNX checker accepts the file."""
    import onnx

    try:
        onnx.checker.check_model(str(model), full_check=True)
        verdict = "valid"
    except Exception as error:
        # Whatever the checker raises is its verdict: it has no error class of its own for all.
        verdict = " ".join(str(error).split())[:200]
    return [Check("onnx.checker", "valid", verdict, verdict == "valid", "valid")]


def check_outputs(
    model: Path, trial: Trial, data: TaskData, logits: Path, same: bool, served: Deployment
) -> list[Check]:
    """The outputs on validation, and the accuracy, are those of the scoring."""
    recorded = _recorded_outputs(logits)
    with runtimes.load(model, served.runtime, dtype=served.dtype) as session:
        found = predict(session, data.validation.inputs)
    if recorded.shape != found.shape:
        return [Check("validation outputs", recorded.shape, found.shape, False, "same shape")]
    accuracy = trial.metrics["accuracy"]
    again = accuracy_of(found, data.validation.labels)
    slack = 0.0 if same else 1 - SAME_CLASS
    return [
        _compare_outputs(recorded, found, is_exact(trial), same),
        Check(
            "validation accuracy",
            accuracy,
            again,
            abs(again - accuracy) <= slack,
            "equal" if same else f"within {slack:.1%}, on another CPU or runtime",
        ),
    ]


def _recorded_outputs(path: Path) -> NDArray[np.float32]:
    damage = (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile, zlib.error)
    try:
        with path.open("rb") as file:  # numpy leaves a broken one open
            outputs: NDArray[np.float32] = np.load(file, allow_pickle=False)["logits"]
    except damage as error:
        why = " ".join(str(error).split())[:200]
        raise VerificationError(f"{path}: the recorded outputs cannot be read: {why}") from None
    return outputs


def is_exact(trial: Trial) -> bool:
    """Whether a trial was scored in float32, which comes out the same elsewhere up to rounding."""
    scored, artifact = trial.provenance.get("accuracy"), trial.artifact
    computed_in = scored.dtype if scored else ""
    return (computed_in or (artifact.dtype if artifact else "float32")) == "float32"


def _compare_outputs(
    recorded: NDArray[np.float32], found: NDArray[np.float32], exact: bool, same: bool
) -> Check:
    name = "validation outputs"
    if same:
        largest = float(np.abs(recorded - found).max())
        return Check(
            name, 0.0, largest, largest == 0.0, "largest difference, none allowed on the same CPU"
        )
    if not exact:
        share = float(np.mean(recorded.argmax(axis=1) == found.argmax(axis=1)))
        rule = f"share of the same class, at least {SAME_CLASS} on another CPU"
        return Check(name, 1.0, share, share >= SAME_CLASS, rule)
    return _compare_floats(name, recorded, found, "on another CPU")


def _compare_floats(
    name: str, recorded: NDArray[np.float32], found: NDArray[np.float32], where: str
) -> Check:
    scale = max(1.0, float(np.abs(recorded).max()))
    difference = float(np.abs(recorded - found).max()) / scale
    rule = f"largest difference, relative, at most {FLOAT_TOLERANCE} {where}"
    return Check(name, 0.0, difference, difference <= FLOAT_TOLERANCE, rule)


def check_network(folder: Path, trial: Trial, data: TaskData, logits: Path) -> list[Check]:
    """The float network of an export can be loaded, and is the one behind the file.

    It runs in another library than the file, so that even a float32 file is met up to rounding
    only; where the file was computed in fewer bits, the share of the same classes is noted.
    """
    import torch

    name, recorded = "float network", _recorded_outputs(logits)
    try:
        module = load(folder)
        with torch.no_grad():
            found = module(torch.from_numpy(np.array(data.validation.inputs))).numpy()
    except (ValueError, RuntimeError, CandidateError) as error:
        return [Check(name, "loads", " ".join(str(error).split())[:200], False, "loads")]
    if is_exact(trial):
        return [_compare_floats(name, recorded, found, "in torch")]
    share = float(np.mean(recorded.argmax(axis=1) == found.argmax(axis=1)))
    return [Check(name, "loads", share, True, "share of the file's classes, for information")]


def accuracy_on_test(
    model: Path, trial: Trial, run: Run, data: TaskData, served: Deployment
) -> float | None:
    """The accuracy on the test split: computed once an artifact, then read from the ledger."""
    if trial.artifact is None or data.held_out is None:
        return None
    with run.ledger() as ledger:
        known = ledger.test_accuracy(trial.artifact.sha256)
        if known is not None:
            return known
        with runtimes.load(model, served.runtime, dtype=served.dtype) as session:
            logits = predict(session, data.held_out.inputs)
        accuracy = accuracy_of(logits, data.held_out.labels)
        ledger.record_test_accuracy(trial.artifact.sha256, accuracy)
        return accuracy


def measure_again(
    model: Path, trial: Trial, devices: Sequence[Device]
) -> tuple[tuple[LatencyAgain, ...], tuple[str, ...]]:
    """Time a file on its measured devices; a warning for each that differs by over 10 %."""
    from evaluators.measured import measure

    again, warnings = [], []
    for device in (deployed(device, trial.genotype) for device in devices):
        recorded = trial.metrics.get(device.metric)
        if device.method != "measured" or recorded is None:
            continue
        try:
            found = measure(model, device)
        except ValueError as error:
            warnings.append(f"{device.metric} was not measured again: {error}")
            continue
        entry = LatencyAgain(
            device.metric, recorded, found.latency_ms, found.low, found.high, found.noisy
        )
        again.append(entry)
        if not math.isclose(entry.difference, 0.0, abs_tol=LATENCY_TOLERANCE):
            warnings.append(
                f"{device.metric} was recorded as {recorded:.4g} and is {found.latency_ms:.4g} now "
                f"({entry.difference:+.0%})" + (", on a busy machine" if found.noisy else "")
            )
    return tuple(again), tuple(warnings)
