from __future__ import annotations

import argparse
import subprocess
import sys

import pytest
import torch

import hw_profiles
from benchmarks import gpu_latency
from benchmarks.gpu_latency import MODES, Timing, compare, draw, evaluate, launch_us, profile_of
from evaluators.modeled import estimate
from evaluators.timing import Rules
from nas.task import Task
from tests.evaluators.simulated import SimulatedGpu

MODULES = ["pydantic", "optuna", "deap", "moocore", "rich", "click", "mlflow", "sklearn"]


def test_shares_and_ranks() -> None:
    found = compare([1.0, 2.15, 3.0, 4.1], [1.0, 2.0, 3.2, 4.0])
    assert found["w10"] == 1.0
    assert found["mape"] == pytest.approx((0 + 0.075 + 0.0625 + 0.025) / 4)
    assert found["kendall"] == 1.0
    assert compare([1.0, 2.3], [2.0, 2.0])["w10"] == 0.0


@pytest.mark.parametrize(
    ("gpu", "profile"),
    [("NVIDIA H200", "nvidia-h200"), ("Tesla T4", "nvidia-t4"), ("NVIDIA X", "generic-gpu")],
)
def test_profile_by_the_name_of_the_gpu(gpu: str, profile: str) -> None:
    assert profile_of(gpu).name == profile


def test_the_model_is_found_again_from_what_it_made() -> None:
    """Timings that are the data sheet's own, eager 1.5 times as long."""
    profile = hw_profiles.load("nvidia-a100")
    networks = draw(16, 0, profile.lowering)
    timings = [
        Timing(name, 64, 1.5 * ms, ms, 50)
        for name, _, workload in networks
        for ms in [estimate(workload, profile, 64, "float16").latency_ms]
    ]
    rows = evaluate(timings, {name: w for name, _, w in networks}, profile, 10)
    assert [row["mode"] for row in rows] == list(MODES)
    for row in rows:
        assert row["graph_over_eager"] == pytest.approx(1 / 1.5)
        assert row["w10"] >= 0.8
        assert row["kendall"] > 0.9
    eager, graph = rows
    assert (eager["datasheet_w10"], graph["datasheet_w10"]) == (0.0, 1.0)


def test_launches_are_what_eager_takes_longer() -> None:
    assert Timing("net", 1, 2.0, 1.5, 100).launch_us == pytest.approx(5.0)


def test_a_tiny_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch_us(SimulatedGpu()) == 0.0  # whose clock stands still


def test_the_path_of_the_gpu_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        gpu_latency, "TASK", Task("tiny", "classification", (3, 32, 32), 2, "accuracy", "noise")
    )
    monkeypatch.setattr(gpu_latency, "DTYPE", "bfloat16")
    monkeypatch.setattr(gpu_latency, "GPU_RULES", Rules(min_blocks=2, max_blocks=2))
    monkeypatch.setattr(gpu_latency, "gpu_name", lambda: "NVIDIA A100")
    seen: dict[str, object] = {}

    def keep(timings: object, *_: object) -> list[object]:
        seen["timings"] = timings
        return []

    class Ticking(SimulatedGpu):
        """Each mark comes a millisecond after the one before."""

        def event(self) -> object:  # type: ignore[override]
            self.machine._process += 1e6
            return super().event()

    monkeypatch.setattr(gpu_latency, "evaluate", keep)
    options = argparse.Namespace(networks=2, seed=0, batches=[1, 2], shots=1)
    state = torch.random.get_rng_state()
    record = gpu_latency.run(options, Ticking())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert record["profile"] == "nvidia-a100"
    assert [(t["network"], t["batch"]) for t in record["timings"]] == [
        *(("mobile-0", 1), ("mobile-0", 2)),
        *(("convnet-1", 1), ("convnet-1", 2)),
    ]
    assert all(t["eager_ms"] > 0 and t["kernels"] > 3 for t in record["timings"])


def test_a_full_gpu_leaves_a_network_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_latency, "evaluate", lambda *_: [])
    monkeypatch.setattr(gpu_latency, "launch_us", lambda _: 0.0)
    lines: list[str] = []
    options = argparse.Namespace(networks=1, seed=0, batches=[1], shots=1)
    gpu_latency.run(options, SimulatedGpu(is_full=True), lines.append)
    assert lines == [
        "mobile-0 at batch 1 is left out: the GPU is out of memory: tried to allocate 2 GiB"
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_without_a_gpu_it_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_latency.main([]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "there is no CUDA GPU here that torch can use: nothing is measured\n"


def test_needs_little_to_be_imported() -> None:
    script = (
        f"import sys\nfor name in {MODULES}: sys.modules[name] = None\n"
        "import benchmarks.gpu_latency"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_on_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_latency.main(["--networks", "16", "--shots", "10", "--batches", "1"]) == 0
    assert "Kendall" in capsys.readouterr().out
