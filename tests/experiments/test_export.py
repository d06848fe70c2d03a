from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

import evaluators.measured
import experiments
import experiments.verification
from evaluators.latency import Latency
from experiments.experiment import Result
from experiments.export import ExportReport, export
from experiments.fronts import NothingFound
from experiments.runs import Run
from experiments.stages import RunFiles
from experiments.verification import VerificationError
from experiments.wiring import build_task
from nas.search import Outcome, Progress
from nas.trials import Trial
from tests.experiments.packed_run import packed_run

FILES = {
    "genotype.json",
    "metrics.json",
    "model.onnx",
    "model.safetensors",
    "model_card.md",
    "network.json",
    "validation.npz",
    "verification.json",
}
FLOAT, INT8 = 0, 1


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return packed_run(tmp_path_factory.mktemp("packed") / "runs")


@pytest.fixture
def run(original: Run, tmp_path: Path) -> Run:
    """A copy that a test may spoil; it also shows that a run may be moved."""
    return Run(Path(shutil.copytree(original.path, tmp_path / original.id)))


@pytest.fixture(autouse=True)
def slower(original: Run, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How much slower everything is when it is measured again; the first entry counts."""
    factor = [1.02]
    recorded = {
        trial.artifact.sha256: trial.metrics["latency_ms.cpu"]
        for trial in original.ledger().trials()
        if trial.artifact
    }

    def measure(model: Path, device: Any) -> Latency:
        found = factor[0] * recorded[hashlib.sha256(Path(model).read_bytes()).hexdigest()]
        return Latency(found, found * 0.99, found * 1.01, "measured")

    monkeypatch.setattr(evaluators.measured, "measure", measure)
    return factor


def trial_of(run: Run, number: int) -> Trial:
    with run.ledger() as ledger:
        return ledger.trials()[number]


def files_of(run: Run, number: int) -> tuple[Path, Path, Path]:
    """The artifact, its recorded outputs, and the float weights."""
    files, trial = RunFiles(run.path), trial_of(run, number)
    assert trial.artifact is not None
    sha256 = trial.artifact.sha256
    return files.artifact(sha256), files.outputs(sha256), files.compressed(trial.candidate_key)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("number", [FLOAT, INT8])
def test_an_export_is_the_scored_file_and_its_papers(run: Run, number: int) -> None:
    report = export(run, pick=number)
    trial, folder = trial_of(run, number), report.folder
    assert trial.artifact is not None
    assert folder == run.path / "export"
    assert {path.name for path in folder.iterdir()} == FILES
    found = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert found == trial.artifact.sha256
    assert read(folder / "genotype.json") == trial.genotype
    metrics = read(folder / "metrics.json")
    assert metrics["metrics"] == trial.metrics
    assert metrics["artifact_sha256"] == found
    assert metrics["provenance"]["latency_ms.cpu"]["source"] == "measured"
    assert metrics["provenance"]["latency_ms.fpga"]["source"] == "modeled"
    assert set(read(folder / "verification.json")["files"]) == FILES


@pytest.mark.parametrize("number", [FLOAT, INT8])
def test_accuracy_comes_out_again_with_onnxruntime_and_numpy_alone(run: Run, number: int) -> None:
    folder = export(run, pick=number).folder
    examples = np.load(folder / "validation.npz")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    logits = session.run(None, {"input": examples["inputs"]})[0]
    accuracy = (logits.argmax(axis=1) == examples["labels"]).mean()
    assert accuracy == trial_of(run, number).metrics["accuracy"]


@pytest.mark.parametrize("number", [FLOAT, INT8])
def test_the_float_network_comes_back(run: Run, number: int) -> None:
    folder = export(run, pick=number).folder
    before = torch.random.get_rng_state()
    module = experiments.load(folder)
    assert torch.equal(torch.random.get_rng_state(), before)
    examples = np.load(folder / "validation.npz")
    with torch.no_grad():
        logits = module(torch.from_numpy(examples["inputs"])).numpy()
    recorded = np.load(files_of(run, number)[1])["logits"]
    if number == FLOAT:
        np.testing.assert_allclose(logits, recorded, atol=1e-4)
    same_class = (logits.argmax(axis=1) == recorded.argmax(axis=1)).mean()
    assert same_class > 0.8
    assert not module.training


def test_no_file_of_an_export_is_a_pickle(run: Run) -> None:
    folder = export(run, pick=INT8).folder
    np.load(folder / "validation.npz", allow_pickle=False)["inputs"]
    for path in folder.iterdir():
        assert not path.read_bytes().startswith(b"\x80"), path.name


def test_a_folder_that_is_no_export_cannot_be_loaded(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no export of `nas export`: network\.json"):
        experiments.load(tmp_path)
    folder = export(run, pick=FLOAT).folder
    record = read(folder / "network.json")
    (folder / "network.json").write_text(json.dumps({**record, "format": 2}))
    with pytest.raises(ValueError, match="has format 2, but this version reads 1"):
        experiments.load(folder)


def test_the_pick_and_the_bounds_decide_what_is_exported(run: Run) -> None:
    fastest = min((trial_of(run, n) for n in (FLOAT, INT8)), key=lambda t: t.metrics[CPU])
    assert export(run, pick="fastest").trial.number == fastest.number
    bound = {"size_kb": min(trial_of(run, n).metrics["size_kb"] for n in (FLOAT, INT8))}
    small = export(run, maximum=bound).trial
    assert small.metrics["size_kb"] == bound["size_kb"]
    with pytest.raises(NothingFound, match="size_kb <= 0.001"):
        export(run, maximum={"size_kb": 0.001})


CPU = "latency_ms.cpu"


def test_a_result_exports_the_same(run: Run, tmp_path: Path) -> None:
    result = Result(run, Outcome("trials", Progress()))
    report = result.export(tmp_path / "out", pick="fastest")
    assert report.folder == tmp_path / "out"
    assert read(tmp_path / "out" / "metrics.json")["trial"] == report.trial.number


def test_a_second_export_replaces_the_first(run: Run) -> None:
    first = export(run, pick=FLOAT).folder
    record = read(first / "verification.json")
    (first / "extra.json").write_text("{}")
    record["files"].append("extra.json")  # what an earlier version may have written
    (first / "verification.json").write_text(json.dumps(record))
    second = export(run, pick=INT8).folder
    assert first == second
    assert {path.name for path in second.iterdir()} == FILES
    assert read(second / "metrics.json")["trial"] == INT8


def test_a_folder_with_other_things_is_left_alone_unless_forced(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    (folder / "model.onnx").write_text("also mine")
    with pytest.raises(ValueError, match=r"holds other things than an export \(model\.onnx, thes"):
        export(run, folder, pick=FLOAT)
    assert {path.name for path in folder.iterdir()} == {"thesis.txt", "model.onnx"}
    export(run, folder, pick=FLOAT, force=True)
    assert {path.name for path in folder.iterdir()} == FILES | {"thesis.txt"}
    assert (folder / "thesis.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="is a file, but an export is a folder"):
        export(run, folder / "thesis.txt", pick=FLOAT, force=True)


def test_a_folder_that_is_there_stays_the_same_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / ".export-killed").mkdir()  # what a killed export leaves
    monkeypatch.chdir(folder)
    inode = folder.stat().st_ino
    for number in (FLOAT, INT8):
        assert export(run, ".", pick=number).folder == folder
        assert Path.cwd() == folder
        assert folder.stat().st_ino == inode
        assert {path.name for path in Path().iterdir()} == {*FILES, ".export-killed"}
        assert read(Path("metrics.json"))["trial"] == number


def test_an_export_follows_the_umask_and_leaves_nothing_beside_it(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    export(run, folder, pick=FLOAT)
    assert list(folder.parent.iterdir()) == [folder]
    mask = os.umask(0)
    os.umask(mask)
    assert folder.stat().st_mode & 0o777 == 0o777 & ~mask


def test_the_test_accuracy_is_computed_once_and_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = export(run, pick=FLOAT)
    test = build_task(run.config).test
    session = onnxruntime.InferenceSession(report.folder / "model.onnx")
    logits = session.run(None, {"input": np.asarray(test.inputs)})[0]
    expected = (logits.argmax(axis=1) == test.labels).mean()
    assert report.verification.test_accuracy == expected
    artifact = trial_of(run, FLOAT).artifact
    assert artifact is not None
    with run.ledger() as ledger:
        assert ledger.test_accuracy(artifact.sha256) == expected
    assert read(report.folder / "metrics.json")["test_accuracy"] == expected
    seen: list[int] = []
    predict = experiments.verification.predict

    def counted(session: Any, inputs: Any) -> Any:
        seen.append(len(inputs))
        return predict(session, inputs)

    monkeypatch.setattr(experiments.verification, "predict", counted)
    again = export(run, pick=FLOAT)
    assert again.verification.test_accuracy == expected
    assert seen == [len(build_task(run.config).validation)]


def test_latency_measured_again_stands_beside_the_recorded_one(
    run: Run, slower: list[float]
) -> None:
    report = export(run, pick=FLOAT)
    (again,) = report.verification.latencies
    assert again.metric == CPU
    assert again.recorded_ms == trial_of(run, FLOAT).metrics[CPU]
    assert again.difference == pytest.approx(0.02)
    assert report.verification.warnings == ()
    slower[0] = 1.25
    (warning,) = export(run, pick=FLOAT).verification.warnings
    assert warning.startswith(f"{CPU} was recorded as ")
    assert warning.endswith("(+25%)")
    slower[0] = 0.85
    assert len(export(run, pick=FLOAT).verification.warnings) == 1
    (entry,) = read(run.path / "export" / "verification.json")["latencies"]
    assert entry["difference"] == pytest.approx(-0.15)


def test_a_device_that_is_elsewhere_is_a_warning(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(model: Path, device: Any) -> Latency:
        raise ValueError("device cpu cannot be measured here")

    monkeypatch.setattr(evaluators.measured, "measure", measure)
    (warning,) = export(run, pick=FLOAT).verification.warnings
    assert warning == f"{CPU} was not measured again: device cpu cannot be measured here"


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def change_logits(run: Run, number: int, change: Callable[[Any], Any]) -> None:
    path = files_of(run, number)[1]
    logits = np.load(path)["logits"]
    np.savez_compressed(path, logits=change(logits))


def refused(run: Run, match: str, number: int = FLOAT) -> None:
    """The export of this trial fails and leaves an earlier one as it was."""
    folder = run.path / "export"
    folder.mkdir(exist_ok=True)
    before = sorted(folder.iterdir())
    with pytest.raises(VerificationError, match=match):
        export(run, pick=number)
    assert sorted(folder.iterdir()) == before
    assert not list(run.path.glob(".export-*"))


def test_another_byte_in_the_file_is_an_error(run: Run) -> None:
    export(run, pick=INT8)
    flip(files_of(run, FLOAT)[0])
    refused(run, "trial 0: sha256 does not come out as recorded")


def test_outputs_that_differ_in_the_last_bit_are_an_error_on_the_same_cpu(run: Run) -> None:
    change_logits(run, FLOAT, lambda logits: np.nextafter(logits, np.float32(np.inf)))
    refused(run, "validation outputs does not come out as recorded.*same CPU")


def test_outputs_of_other_data_are_an_error(run: Run) -> None:
    change_logits(run, FLOAT, lambda logits: logits[:-1])
    refused(run, "validation outputs .*same shape")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"text", "flip", "name"])
def test_recorded_outputs_that_are_damaged_are_named(run: Run, content: bytes | str) -> None:
    path = files_of(run, FLOAT)[1]
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "flip":
        flip(path)
    else:
        np.savez_compressed(path, other=np.zeros(3))
    refused(run, f"^{path}: the recorded outputs cannot be read: ")


def test_float_weights_that_are_damaged_are_named(run: Run) -> None:
    files_of(run, FLOAT)[2].write_bytes(b"text")
    refused(run, r"float network does not come out.*model\.safetensors")


def test_data_that_changed_since_the_search_are_named(run: Run) -> None:
    with run.ledger(write=True) as ledger:
        ledger.set_meta("identity", {"data": "0" * 32})
    refused(run, "^the data changed since this search: recorded 000000000000, found ")
    with run.ledger(write=True) as ledger:
        ledger.set_meta("identity", {"data": build_task(run.config).task.data_hash})
    assert export(run, pick=FLOAT).trial.number == FLOAT


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_file_that_is_gone_is_an_error(run: Run, which: int) -> None:
    files_of(run, FLOAT)[which].unlink()
    refused(run, "is not there any more")


def test_float_weights_of_another_network_are_an_error(run: Run) -> None:
    weights = files_of(run, FLOAT)[2]
    shutil.copyfile(files_of(run, INT8)[2], weights)
    refused(run, "float network does not come out as recorded")
    tensors = load_file(files_of(run, FLOAT)[2])
    save_file({name: tensor * 1.01 for name, tensor in tensors.items()}, weights)
    refused(run, "float network does not come out as recorded")


def test_an_accuracy_that_differs_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = trial_of(run, FLOAT)
    lucky = replace(trial, metrics={**trial.metrics, "accuracy": trial.metrics["accuracy"] + 1e-9})
    monkeypatch.setattr("experiments.ledger.SqliteLedger.trials", lambda _: [lucky])
    refused(run, "validation accuracy does not come out as recorded")


@pytest.fixture
def elsewhere(run: Run) -> Run:
    """The run as if another CPU had scored it."""
    path = run.path / "environment.json"
    path.write_text(json.dumps({**read(path), "fingerprint": "another"}))
    return Run(run.path)


def test_another_cpu_may_round_differently(elsewhere: Run) -> None:
    change_logits(elsewhere, FLOAT, lambda logits: logits + 5e-5)
    report = export(elsewhere, pick=FLOAT)
    assert not report.verification.same_machine
    assert "another CPU or runtime" in (report.folder / "model_card.md").read_text()
    change_logits(elsewhere, FLOAT, lambda logits: logits + 1e-2 * np.abs(logits).max())
    refused(elsewhere, "relative, at most 0.0001 on another CPU")


def test_another_cpu_must_give_an_int8_network_the_same_classes(elsewhere: Run) -> None:
    change_logits(elsewhere, INT8, lambda logits: logits * 1.5)
    assert export(elsewhere, pick=INT8).trial.number == INT8

    def swapped(logits: Any) -> Any:
        wrong = logits.copy()
        wrong[:5] = -wrong[:5]  # 5 of 359 are more than 0.5 %
        return wrong

    change_logits(elsewhere, INT8, swapped)
    refused(elsewhere, "share of the same class, at least 0.995", INT8)


def test_the_model_card_says_what_matters(run: Run) -> None:
    report: ExportReport = export(run, pick=INT8)
    card, trial = (report.folder / "model_card.md").read_text(), trial_of(run, INT8)
    assert trial.artifact is not None
    assert trial.artifact.sha256 in card
    assert f"{report.verification.test_accuracy:.4f} on the test split" in card
    for name in trial.metrics:
        assert f"| {name} |" in card
    row = next(line for line in card.splitlines() if line.startswith("| latency_ms.fpga |"))
    assert "| modeled |" in row
    assert "pynq-z2" in row
    for name, value in trial.genotype.items():
        assert f"| {name} | {value} |" in card
    assert "Never run on the device: " in card


def test_the_snippet_of_the_model_card_runs(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = export(run, pick=FLOAT).folder
    card = (folder / "model_card.md").read_text()
    snippet = card.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(folder)
    exec(snippet, {})
    assert float(capsys.readouterr().out) == trial_of(run, FLOAT).metrics["accuracy"]
