"""The benchmarks of the TPU methods at toy size; the compiler is a stand-in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import tpu, tpu_distill, tpu_mapping
from benchmarks.tpu import Summary, as_timed_ms
from evaluators.modeled import predict
from evaluators.tpu import process
from hw_profiles import load
from tests.benchmarks.test_latency_models import strings
from tests.evaluators.tpu.compilers import Answers


@pytest.fixture(name="answers")
def _answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What answers instead of the compiler's process."""
    answers = Answers()
    monkeypatch.setattr(process, "installed", process.VERSIONS.__getitem__)
    monkeypatch.setattr("evaluators.tpu.xla.CompilerProcess", lambda limit_s: answers)
    return answers


@pytest.fixture(name="data")
def _data(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    rows = pd.DataFrame([strings(draw) for _ in range(30)], columns=["e", "k", "l", "se"])
    rows["throughput_tpuv2"] = draw.uniform(300, 1000, len(rows))
    rows.to_csv(tmp_path / "accel_x.csv.gz", index=False)
    return tmp_path


def test_compiled_and_analytic_figures_are_printed_and_written(
    answers: Answers, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(data), "--networks", "2", "--cache", str(data / "cache")]
    more = ["--shots", "10", "--seeds", "1", "--json", str(data / "found.json")]
    assert tpu.main([*arguments, *more]) == 0
    said = capsys.readouterr().out
    assert "as timed" in said
    assert "changes of layout" in said
    found = json.loads((data / "found.json").read_text(encoding="utf-8"))
    assert len(found["compiler"]) == 2
    assert [each["shots"] for each in found["analytic"]] == [10]
    layouts = [request["graph"]["layout"] for request in answers.asked]
    assert layouts == ["torch_xla", ""] * 2
    assert all(row["measured_ms"] > 80 for row in found["compiler"])


def test_without_measurements_it_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tpu.main(["--data", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_program_that_was_timed_takes_longer(data: Path) -> None:
    profile, table = load("tpu-v2"), tpu._accel(data).tables["xla"]
    clean = predict(table, profile, tpu.BATCH).latency_ms
    assert (as_timed_ms(table, profile) > 1.05 * clean).all()


def test_a_summary_knows_level_and_order() -> None:
    measured = np.array([1.0, 2.0, 3.0, 4.0])
    found = Summary.of(0.8 * measured, measured)
    assert (found.spearman, found.w10) == (1.0, 100.0)
    assert found.level == pytest.approx(0.8)
    assert found.spread == pytest.approx(0)
    assert Summary.of(measured[::-1], measured).spearman == -1.0


def test_distilling_prints_each_draw(
    answers: Answers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small: dict[str, Any] = {"networks": 6, "tests": 4, "draws": 1, "input": "1x8x8"}
    arguments = [text for name, value in small.items() for text in (f"--{name}", str(value))]
    assert tpu_distill.main([*arguments, "--cache", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "zero-shot" in said
    assert "draw 0" in said
    assert tpu_distill.main(["--profile", "nobody"]) == 2


@pytest.mark.tpu
def test_members_are_run_in_torch_and_in_jax(
    answers: Answers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jax = pytest.importorskip("jax", reason="the extra tpu is not installed")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    jax.config.update("jax_platforms", "cpu")
    arguments = ["--members", "1", "--spaces", "transformer", "--compile", "1"]
    assert tpu_mapping.main(arguments) == 0
    said = capsys.readouterr().out
    assert "again: 1 of 1" in said
    assert "allowed 1e-05" in said
