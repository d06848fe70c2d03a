"""Writes one network of a run to a folder: the file that was scored, checked, and its papers."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import loading
from experiments.confirming import confirmed_of, record
from experiments.fronts import bounds
from experiments.fronts import pick as pick_trial
from experiments.model_card import model_card
from experiments.runs import Run
from experiments.stages import RunFiles, network_key
from experiments.verification import (
    Verification,
    VerificationError,
    check_network,
    measure_again,
    passed,
    verify,
)
from experiments.wiring import build_devices, build_task
from nas.registry import unknown
from nas.repeats import Confirmed, own
from nas.trials import Trial

if TYPE_CHECKING:
    from evaluators.devices import Device
    from evaluators.tasks import TaskData

MODEL, VERIFICATION = "model.onnx", "verification.json"
FORMATS = ("verilog",)
_SCRATCH = ".export-"


@dataclass(frozen=True)
class ExportReport:
    """What was exported.

    Args:
        folder: where it lies.
        trial: which one.
        verification: what was checked, and the warnings.
    """

    folder: Path
    trial: Trial
    verification: Verification


def export(
    run: Run,
    out: str | Path | None = None,
    pick: str | int = "knee",
    minimum: Mapping[str, float] | None = None,
    maximum: Mapping[str, float] | None = None,
    force: bool = False,
    formats: Sequence[str] = (),
) -> ExportReport:
    """Write the picked network. Nothing changes in the folder before all of it has been checked.

    Args:
        run: a search, finished or not.
        out: the folder; None: ``export`` in that of the run. An earlier export is replaced.
        pick: ``knee``, ``fastest``, ``most-accurate`` or the number of a trial.
        minimum: metrics that must be at least a value, for example ``{"accuracy": 0.97}``.
        maximum: metrics that must be at most a value.
        force: write into a folder that holds other things; files of the same names are replaced.
        formats: what to write beside the ONNX file; `FORMATS` are known.

    Raises:
        ValueError: for a pick, a metric or a format that does not exist, or a folder with other
            things.
        ToolError: when a tool that a format needs is not here or fails.
        NothingFound: when no trial passes.
        VerificationError: when something does not come out as recorded.
    """
    circuits = _checked_formats(run, formats)
    folder = (Path(out) if out is not None else run.path / "export").resolve()
    filters = bounds(minimum or {}, maximum or {})
    objectives, constraints = run.config.objectives_parsed(), run.config.constraints_parsed()
    with run.ledger() as ledger:
        trials = ledger.trials()
    trial = own(pick_trial(trials, objectives, str(pick), filters, constraints))
    together = confirmed_of(trial, trials, objectives, constraints)
    _check_target(folder, force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Within a folder that is there: it may be another file system than its parent.
    beside = folder if folder.exists() else folder.parent
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=beside) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        verification = _write(new, run, trial, circuits, together)
        _install(new, folder)
    return ExportReport(folder, trial, verification)


def _checked_formats(run: Run, formats: Sequence[str]) -> Device | None:
    """The device to write Verilog for, None where that is not asked for."""
    for name in formats:
        if name not in FORMATS:
            raise ValueError(unknown("format", name, FORMATS))
    if "verilog" not in formats:
        return None
    from experiments.export_verilog import circuit_device

    return circuit_device(build_devices(run.config))


def _check_target(folder: Path, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, but an export is a folder")
    strange = sorted(_strangers(folder))
    if strange and not force:
        raise ValueError(
            f"{folder} holds other things than an export ({', '.join(strange[:3])}); "
            "choose another folder, or force it"
        )


def _strangers(folder: Path) -> set[str]:
    """What lies in a folder and belongs to no export, nor to one that was killed."""
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    return {name for name in names - _listed(folder) if not name.startswith(_SCRATCH)}


def _listed(folder: Path) -> set[str]:
    """The files of the export that lies in a folder."""
    try:
        record = json.loads((folder / VERIFICATION).read_text(encoding="utf-8"))
        return {str(name) for name in record["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _write(
    folder: Path, run: Run, trial: Trial, circuits: Device | None, together: Confirmed | None
) -> Verification:
    data, (artifact, outputs, weights) = build_task(run.config), _sources(run, trial)
    _check_data(run, data)
    model, validation = folder / MODEL, data.validation
    shutil.copyfile(artifact, model)
    twin = artifact.with_suffix(".pt2")
    if twin.is_file():
        shutil.copyfile(twin, model.with_suffix(".pt2"))
    verification = verify(model, trial, run, data, outputs)
    np.savez_compressed(
        folder / "validation.npz", inputs=validation.inputs, labels=validation.labels
    )
    description = loading.describe(run.config, data.task, data.preprocessing, trial.genotype)
    loading.write(folder, description, weights)
    more = passed(trial, check_network(folder, trial, data, outputs))
    if circuits is not None and trial.artifact is not None:
        from experiments.export_verilog import write_verilog

        exported = replace(trial.artifact, path=str(model))
        more += write_verilog(folder, trial, exported, circuits, data)
    latencies, warnings = measure_again(model, trial, build_devices(run.config))
    verification = replace(
        verification,
        checks=(*verification.checks, *more),
        latencies=latencies,
        warnings=warnings,
    )
    card = model_card(run, trial, data, verification, together)
    (folder / "model_card.md").write_text(card, encoding="utf-8")
    _write_records(folder, run, trial, verification, together)
    return verification


def _check_data(run: Run, data: TaskData) -> None:
    with run.ledger() as ledger:
        recorded, found = ledger.data_hash, data.task.data_hash
    if recorded and recorded != found:
        raise VerificationError(
            f"the data changed since this search: recorded {recorded[:12]}, found {found[:12]}"
        )


def _sources(run: Run, trial: Trial) -> tuple[Path, Path, Path]:
    """The artifact, its outputs at scoring, and the float weights that it was made from."""
    if trial.artifact is None:
        raise VerificationError(f"trial {trial.number} has no artifact")
    files, sha256 = RunFiles(run.path), trial.artifact.sha256
    sources = files.artifact(sha256), files.outputs(sha256), files.compressed(network_key(trial))
    for source in sources:
        if not source.is_file():
            raise VerificationError(f"trial {trial.number}: {source} is not there any more")
    return sources


def _write_records(
    folder: Path, run: Run, trial: Trial, verification: Verification, together: Confirmed | None
) -> None:
    _write_json(folder / "genotype.json", dict(trial.genotype))
    confirmed = {} if together is None else {"confirmed": record(together)}
    metrics = {**_metrics(run, trial, verification), **confirmed}
    _write_json(folder / "metrics.json", metrics)
    names = sorted([VERIFICATION, *(path.name for path in folder.iterdir())])
    _write_json(folder / VERIFICATION, {**verification.to_json(), "files": names})


def _metrics(run: Run, trial: Trial, verification: Verification) -> dict[str, Any]:
    scored = trial.provenance.get("accuracy")
    return {
        "run": run.id,
        "trial": trial.number,
        "artifact_sha256": trial.artifact.sha256 if trial.artifact else None,
        "runtime": scored.runtime if scored else "",
        "dtype": scored.dtype if scored else "",
        "metrics": dict(trial.metrics),
        "provenance": {name: p.to_json() for name, p in trial.provenance.items()},
        "test_accuracy": verification.test_accuracy,
    }


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _install(new: Path, folder: Path) -> None:
    """Put the finished files in place of an earlier export, beside anything else that is there.

    A folder that is there stays the same one: it may be a mount, or somebody may be working in it.
    """
    if not folder.exists():
        os.replace(new, folder)
        return
    names = {path.name for path in new.iterdir()}
    stale = _listed(folder) - names
    for path in list(folder.iterdir()):
        # An earlier folder goes before its successor comes: none is put over another.
        if path.name in stale or (path.is_dir() and path.name in names):
            _remove(path)
    # The list of files last: until then it is that of the earlier export.
    for name in sorted(names, key=lambda name: name == VERIFICATION):
        os.replace(new / name, folder / name)
