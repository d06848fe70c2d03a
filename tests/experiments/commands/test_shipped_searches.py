"""The shipped searches for devices that are not here: from the command to an export, small.

Nothing is a stand-in: the compiler, the simulator and the synthesis are the real ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluators.tpu.process import VERSIONS, installed
from evaluators.tpu.xla import compiler_version
from tests.evaluators.rtl.test_circuit import needs_da4ml
from tests.evaluators.rtl.test_simulation import needs_verilator, needs_yosys
from tests.experiments.commands.conftest import Nas

LITTLE = ("training.epochs=2", "budget.minutes=20", "tracking.enabled=false")
CIRCUIT = (
    "space={kind: mlp, layers: 2, widths: [8, 16]}",
    "compression.weight_bits=[2, 3]",
    "compression.activation_bits=[2, 3]",
    "compression.input_bits=[2, 3]",
    "training.fine_tune_epochs=1",
    "constraints=['lut.fpga <= 12000', 'fits.fpga >= 1']",
)
needs_compiler = pytest.mark.skipif(
    {name: installed(name) for name in VERSIONS} != VERSIONS,
    reason=f"the extra tpu is not installed: {VERSIONS}",
)


def searched(nas: Nas, name: str, trials: int, *overrides: str) -> list[dict[str, Any]]:
    """The front of a shipped search with a few trials."""
    settings = (*LITTLE, f"budget.trials={trials}", *overrides)
    typed = nas("search", name, *(part for each in settings for part in ("--set", each)))
    assert typed.code == 0, typed.err
    front: list[dict[str, Any]] = json.loads(nas("front", "latest", "--json").out)["front"]
    assert 1 <= len(front) <= trials
    return front


def exported(nas: Nas, home: Path, *arguments: str) -> Path:
    """The folder of the exported winner."""
    typed = nas("export", "latest", *arguments)
    assert typed.code == 0, typed.err
    (found,) = home.glob("*/export/**/verification.json")
    return found.parent


@pytest.mark.slow
@pytest.mark.tpu
@needs_compiler
def test_latencies_of_digits_tpu_are_those_of_the_compiler(
    nas: Nas, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home.parent / "cache"))
    for point in searched(nas, "digits-tpu", 2):
        origin = point["provenance"]["latency_ms.tpu"]
        assert origin["source"] == "modeled"
        assert origin["method"].startswith("tpu_xla, estimated cycles at 1503 MHz")
        assert (origin["runtime"], origin["batch"]) == (compiler_version(), 32)
        assert 0.005 < point["metrics"]["latency_ms.tpu"] < 1
    kept = list((home.parent / "cache" / "hwnas" / "xla").glob("*.json"))
    assert {json.loads(path.read_text())["about"]["chip"] for path in kept} == {"v5e"}
    assert (exported(nas, home) / "model.onnx").is_file()


@pytest.mark.slow
@pytest.mark.fpga
@needs_da4ml
@needs_verilator
@needs_yosys
def test_the_winner_of_digits_fpga_is_a_circuit_that_answers_alike(nas: Nas, home: Path) -> None:
    front = searched(nas, "digits-fpga", 2, *CIRCUIT)
    folder = exported(nas, home, "--format", "verilog")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["bit_exact"] is True
    examples = np.load(folder / "validation.npz")["inputs"]
    assert report["vectors"] == 2 * len(examples) == 720  # validation and test
    seen = [(each["metrics"]["cycles.fpga"], each["metrics"]["lut.fpga"]) for each in front]
    assert (report["cycles"], report["lut_estimate"]) in seen
    assert report["lut_estimate"] == pytest.approx(report["lut_yosys"], rel=0.25)
    assert (folder / "rtl" / "top_wrapper.v").is_file()
