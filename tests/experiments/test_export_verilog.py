"""A network of few bits from the genotype to a checked circuit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import experiments
import experiments.export_verilog as export_verilog
from evaluators.rtl.simulation import Simulated
from evaluators.rtl.synthesis import Synthesized
from evaluators.rtl.tools import ToolError
from experiments.cli import main
from experiments.config import ConfigError, load_config
from experiments.export import export
from experiments.pipeline import CandidatePipeline, Parts
from experiments.runs import Run
from experiments.stages import RunFiles, network_key
from experiments.verification import VerificationError
from nas.protocols import Ask
from nas.trials import Trial
from tests.evaluators.rtl.test_circuit import needs_da4ml
from tests.evaluators.rtl.test_simulation import needs_verilator, needs_yosys
from tests.experiments.builders import make_run
from tests.experiments.packed_run import packed_run, work_out

pytestmark = needs_da4ml

CONFIG = """
name: tiny-circuit
task: {kind: digits, size: 8}
space: {kind: mlp, layers: 2, widths: [8, 16]}
compression:
  prune: [none, unstructured]
  quantize: [qat]
  weight_bits: [2, 4]
  activation_bits: [2, 3]
  input_bits: [3]
strategy: {kind: random}
objectives: [{maximize: accuracy}, {minimize: lut.fpga}]
constraints: ["lut.fpga <= 40000", "fits.fpga >= 1"]
devices:
  fpga: {profile: pynq-z2, method: fpga_rtl}
training: {epochs: 2, fine_tune_epochs: 1}
budget: {trials: 2}
tracking: {enabled: false}
"""
GENOTYPE = {
    "depth": 2,
    "layer1.width": 16,
    "layer2.width": 8,
    "prune.method": "magnitude",
    "prune.sparsity": 0.75,
    "quantize.scheme": "qat",
    "quantize.input_bits": 3,
    "quantize.weight_bits": 4,
    "quantize.weight_bits.layer1": 2,
    "quantize.weight_bits.layer2": 4,
    "quantize.activation_bits": 3,
    "quantize.activation_bits.layer1": 2,
    "quantize.activation_bits.layer2": 3,
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = make_run(tmp_path_factory.mktemp("circuit") / "home", text=CONFIG)
    RunFiles(run.path).prepare()
    pipeline = CandidatePipeline(Parts.of(run.config), run.path, 60.0)
    candidate = pipeline.candidate(GENOTYPE)
    with run.ledger(write=True) as ledger:
        ledger.asked(Ask(0, GENOTYPE, candidate.training_key, candidate.candidate_key))
        ledger.done(work_out(pipeline, candidate, 0), 1.0)
    return run


@pytest.fixture
def run(original: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(original.path, tmp_path / original.path.name)))


def trial_of(run: Run) -> Trial:
    with run.ledger() as ledger:
        return ledger.trials()[0]


@pytest.fixture
def tools(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Verilator and yosys that say what a test wants."""
    cycles = int(trial_of(run).metrics["cycles.fpga"])

    def say(**seen: int) -> None:
        simulated = Simulated(**{"vectors": 720, "mismatches": 0, "cycles": cycles, **seen})
        monkeypatch.setattr(export_verilog, "check_tools", lambda: None)
        monkeypatch.setattr(export_verilog, "simulate", lambda *_: simulated)
        cells = Synthesized({"LUT6": 1000, "FDRE": 10})
        monkeypatch.setattr(export_verilog, "synthesize", lambda *_: cells)

    say()
    return say


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_candidate_has_the_metrics_of_a_circuit(run: Run) -> None:
    trial = trial_of(run)

    assert trial.metrics["fits.fpga"] == 1
    assert trial.metrics["lut.fpga"] > 50
    assert trial.metrics["latency_ms.fpga"] == pytest.approx(1e-5 * trial.metrics["cycles.fpga"])
    assert trial.provenance["lut.fpga"].source == "modeled"
    assert trial.artifact is not None
    assert trial.artifact.dtype == trial.provenance["accuracy"].dtype == "fixed"
    assert trial.metrics["params"] == 64 * 16 + 16 + 16 * 8 + 8 + 8 * 10 + 10


def test_nothing_is_known_of_a_circuit_before_training(run: Run) -> None:
    known = CandidatePipeline(Parts.of(run.config), run.path, 60.0).known(GENOTYPE)

    assert {"macs", "params"} <= set(known)
    assert not [name for name in known if name.endswith(".fpga")]


def test_stored_weights_give_the_same_file_again(run: Run) -> None:
    trial, files = trial_of(run), RunFiles(run.path)
    assert trial.artifact is not None
    files.artifact(trial.artifact.sha256).unlink()
    shutil.rmtree(run.path / "cache" / "score")
    assert files.compressed(network_key(trial)).is_file()
    pipeline = CandidatePipeline(Parts.of(run.config), run.path, 60.0)

    again = work_out(pipeline, pipeline.candidate(GENOTYPE), 0)
    assert again.artifact is not None
    assert again.artifact.sha256 == trial.artifact.sha256


def test_the_network_behind_an_export_answers_bit_by_bit(run: Run) -> None:
    folder = export(run).folder
    examples = np.load(folder / "validation.npz")["inputs"]
    trial = trial_of(run)
    assert trial.artifact is not None
    recorded = np.load(RunFiles(run.path).outputs(trial.artifact.sha256))["logits"]

    with torch.no_grad():
        found = experiments.load(folder)(torch.from_numpy(examples)).numpy()
    assert np.array_equal(found, recorded)


def test_a_circuit_and_its_report_are_written(run: Run, tools: Callable[..., None]) -> None:
    report = export(run, formats=["verilog"])
    found, trial = read(report.folder / "report.json"), trial_of(run)

    assert found["bit_exact"] is True
    assert found["vectors"] == 720
    assert found["cycles"] == trial.metrics["cycles.fpga"]
    assert found["lut_estimate"] == trial.metrics["lut.fpga"]
    assert (found["lut_yosys"], found["ff_yosys"]) == (1000, 10)
    assert found["clock_source"].startswith("assumption")
    assert (report.folder / "rtl" / "top_wrapper.v").is_file()
    lines = (report.folder / "testbench" / "inputs.hex").read_text().splitlines()
    assert len(lines) == 720
    listed = read(report.folder / "verification.json")["files"]
    assert {"rtl", "testbench", "report.json", "model.onnx"} <= set(listed)


def test_a_later_export_takes_the_place_of_an_earlier_one(
    run: Run, tools: Callable[..., None]
) -> None:
    folder = export(run, formats=["verilog"]).folder
    (folder / "rtl" / "top.v").write_text("old")

    export(run, formats=["verilog"])
    assert "module top" in (folder / "rtl" / "top.v").read_text()
    export(run)
    assert not {"rtl", "testbench", "report.json"} & {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("seen", "line"),
    [
        ({"mismatches": 3}, "mismatches does not .*none in 720 simulated vectors.*found 3"),
        ({"cycles": 99}, "cycles does not come out as recorded .* found 99"),
    ],
)
def test_a_circuit_that_differs_is_not_exported(
    run: Run, tools: Callable[..., None], seen: dict[str, int], line: str
) -> None:
    tools(**seen)

    with pytest.raises(VerificationError, match=line):
        export(run, formats=["verilog"])
    assert not (run.path / "export").exists()


@pytest.mark.parametrize("missing", ["verilator", "yosys"])
def test_without_a_tool_the_export_fails_in_one_line_and_nothing_is_lost(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, capsys: Any
) -> None:
    folder = export(run).folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = {"verilator": "yosys", "yosys": "verilator"}[missing]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / other).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    with pytest.raises(ToolError, match=f"^{missing} is not installed"):
        export(run, formats=["verilog"])
    assert main(["export", str(run.path), "--format", "verilog"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"nas: {missing} is not installed (apt-get install ")
    assert said.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_cannot_be_written_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown format 'vhdl' .*verilog"):
        export(run, formats=["vhdl"])


@pytest.mark.slow
def test_a_run_without_circuits_has_no_verilog(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a run with a device of the method fpga_rtl"):
        export(packed_run(tmp_path / "home"), formats=["verilog"])


def test_a_profile_that_is_no_fpga_is_refused_before_the_search(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(CONFIG.replace("pynq-z2", "nvidia-a100"), encoding="utf-8")

    with pytest.raises(ConfigError, match=r"devices\.fpga: method fpga_rtl needs .* nvidia-a100"):
        Parts.of(load_config(path))


@pytest.mark.slow
@pytest.mark.fpga
@needs_verilator
@needs_yosys
def test_the_circuit_is_bit_exact_with_the_real_tools(run: Run) -> None:
    found = read(export(run, formats=["verilog"]).folder / "report.json")

    assert found["bit_exact"] is True
    assert found["lut_estimate"] == pytest.approx(found["lut_yosys"], rel=0.15)
