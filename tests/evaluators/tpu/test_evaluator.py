"""The evaluator ``tpu_xla``; the compiler is a stand-in."""

from dataclasses import replace
from pathlib import Path

import pytest

import hw_profiles
from evaluators.devices import Device
from evaluators.tasks import create
from evaluators.tpu import process
from evaluators.tpu.evaluator import TpuXla, shared_compiler
from evaluators.tpu.twins import read_twin, twin_of, write_twin
from nas.trials import Artifact, Candidate, CandidateError
from tests.evaluators.tpu.compilers import Answers, compiler

DEVICE = Device("tpu", hw_profiles.load("tpu-v5e"), "tpu_xla", batch=4)


def candidate(folder: Path, dtype: str = "float32") -> Candidate:
    artifact = Artifact(str(folder / "network.onnx"), "0" * 64, dtype)
    return Candidate({}, "training", "candidate", artifact=artifact)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """With the graph of a network beside its artifact."""
    from torch import nn

    data = create("digits", size=8)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    write_twin(net, data, tmp_path / "network.onnx", 4)
    return tmp_path


class TestTwins:
    def test_the_graph_has_the_batch_and_the_normalization(self, folder: Path) -> None:
        graph = read_twin(folder / "network.onnx", 4)
        assert [spec.shape for spec in graph.inputs.values()] == [(4, 1, 8, 8)]
        assert [node.op.partition(".")[0] for node in graph.nodes][:3] == [
            "reshape",
            "sub",
            "reshape",
        ]
        assert [path.name for path in folder.iterdir()] == ["network.batch4.graph.json"]

    def test_a_graph_that_is_not_there_or_damaged_is_one_line(self, folder: Path) -> None:
        with pytest.raises(CandidateError, match="no graph for batch 8 beside the artifact"):
            read_twin(folder / "network.onnx", 8)
        twin_of(folder / "network.onnx", 4).write_text("[]", encoding="utf-8")
        with pytest.raises(CandidateError, match=r"network\.batch4\.graph\.json cannot be read"):
            read_twin(folder / "network.onnx", 4)


class TestTpuXla:
    def test_it_gives_the_compilers_latency(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path
    ) -> None:
        answers = Answers()
        evaluator = TpuXla(DEVICE, compiler(monkeypatch, folder / "cache", answers))
        found = evaluator.evaluate(candidate(folder))
        assert tuple(found) == evaluator.provides == ("latency_ms.tpu",)
        origin = found.provenance["latency_ms.tpu"]
        assert (origin.source, origin.device, origin.dtype) == ("modeled", "tpu-v5e", "bfloat16")
        assert (origin.batch, origin.threads) == (4, None)
        assert origin.runtime == "libtpu 0.0.42, jax 0.10.2"
        (asked,) = answers.asked
        assert (asked["chip"], asked["dtype"]) == ("v5e", "bfloat16")

    def test_bfloat16_stands_in_for_int8_and_says_so(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path
    ) -> None:
        evaluator = TpuXla(DEVICE, compiler(monkeypatch, folder / "cache", Answers()))
        origin = evaluator.evaluate(candidate(folder, "int8")).provenance["latency_ms.tpu"]
        assert origin.dtype == "bfloat16"
        assert "stands in for int8" in origin.method

    def test_without_an_artifact_the_candidate_fails(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path
    ) -> None:
        evaluator = TpuXla(DEVICE, compiler(monkeypatch, folder / "cache", Answers()))
        with pytest.raises(CandidateError, match="no artifact to compile"):
            evaluator.evaluate(replace(candidate(folder), artifact=None))

    def test_what_cannot_be_compiled_for_is_refused_at_once(self) -> None:
        with pytest.raises(ValueError, match="chip that the XLA:TPU compiler knows"):
            TpuXla(replace(DEVICE, profile=hw_profiles.load("generic-tpu")))
        with pytest.raises(ValueError, match=r"dtype of device tpu must be one of .* got 'int8'"):
            TpuXla(replace(DEVICE, dtype="int8"))

    def test_without_the_extra_it_is_refused_in_one_line(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process, "installed", lambda name: "")
        shared_compiler.cache_clear()
        with pytest.raises(ValueError, match=r"needs jax .* here is jax absent and libtpu absent"):
            TpuXla(DEVICE)
