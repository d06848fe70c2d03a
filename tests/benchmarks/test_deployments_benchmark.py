from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import deployments
from benchmarks.baselines import mobilenet_v2, resnet20
from benchmarks.deployments import (
    PRUNED,
    SERVED,
    STANDARD,
    TINY,
    Row,
    Scored,
    Variant,
    compare,
    computed_in,
    tiny_verdict,
    verdict,
)
from benchmarks.deployments_tiny import build
from evaluators import runtimes
from evaluators.latency import Latency
from evaluators.training import TrainingConfig
from evaluators.workload import trace
from experiments.config import load_config
from experiments.deployments import deployment_choices
from experiments.wiring import all_choices, build_space
from nas.choices import count
from nas.task import Task
from nas.trials import Provenance, Trial

BFLOAT16 = Variant(0.0, "openvino", "bfloat16")
INT8 = Variant(0.0, "onnxruntime", "int8")
HALF = Variant(0.5, "openvino", "bfloat16")


def task(*shape: int, outputs: int = 10) -> Task:
    return Task("t", "classification", shape, outputs, "accuracy", "hash")


def test_mobilenet_v2_is_the_published_one() -> None:
    """3,504,872 parameters and 300.8 million multiply-accumulates in torchvision."""
    module = mobilenet_v2(task(3, 224, 224, outputs=1000))
    assert sum(p.numel() for p in module.parameters()) == 3_504_872
    assert trace(module, (1, 3, 224, 224)).macs == pytest.approx(300.8e6, rel=1e-3)


def test_resnet20_is_the_published_one() -> None:
    """0.27 million parameters in the paper (table 6) and 41 million multiply-accumulates."""
    module = resnet20(task(3, 32, 32))
    assert sum(p.numel() for p in module.parameters()) == pytest.approx(0.27e6, rel=0.02)
    assert trace(module, (1, 3, 32, 32)).macs == pytest.approx(41e6, rel=0.02)
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def results(**test: float) -> list[Mapping[Variant, Scored]]:
    """Two seeds: bfloat16 is as good, int8 a little worse, half the width much worse."""
    validation = {STANDARD: 0.99, BFLOAT16: 0.99, INT8: 0.988, HALF: 0.985}
    return [
        {v: Scored("", share + spread, test.get(v.dtype, 0.98)) for v, share in validation.items()}
        for spread in (-0.002, 0.002)
    ]


def times() -> dict[Variant, Latency]:
    fast = {STANDARD: 1.0, BFLOAT16: 0.5, INT8: 0.4, HALF: 0.2}
    return {v: Latency(ms, ms * 0.99, ms * 1.01, "measured") for v, ms in fast.items()}


def picked(rows: list[Row]) -> Row:
    (row,) = [row for row in rows if row.picked]
    return row


def test_the_fastest_that_validates_as_well_is_picked() -> None:
    rows = compare("resnet20", 1, results(), times())
    row = picked(rows)
    assert (row.runtime, row.dtype, row.pruned) == ("onnxruntime", "int8", 0.0)
    assert row.speedup == pytest.approx(2.5)
    assert row.validation_difference == pytest.approx(-0.2)
    assert verdict(rows).endswith("reached")
    assert "NOT" not in verdict(rows)


def test_the_test_split_has_the_last_word() -> None:
    rows = compare("resnet20", 1, results(int8=0.97), times())
    assert picked(rows).test_difference == pytest.approx(-1.0)
    assert "NOT reached" in verdict(rows)


def test_a_gain_below_the_goal_is_said() -> None:
    slower = {**times(), INT8: times()[STANDARD], BFLOAT16: times()[STANDARD]}
    rows = compare("mobilenet_v2", 32, results(), slower)
    assert "is 1.00 times faster" in verdict(rows)
    assert "NOT reached" in verdict(rows)


def test_a_quantized_file_is_run_as_it_is() -> None:
    assert computed_in(INT8) == ""
    assert computed_in(BFLOAT16) == "bfloat16"


def trial(scheme: str, latency_ms: float) -> Trial:
    origin = Provenance("measured", runtime="onnxruntime 1", dtype="float32")
    genotype = {"quantize.scheme": scheme}
    metrics = {"latency_ms.cpu": latency_ms}
    return Trial(0, genotype, "t", "c", "done", metrics, {"latency_ms.cpu": origin})


@pytest.mark.parametrize(("int8_ms", "goal"), [(0.015, "goal float is faster: reached"),
                                               (0.005, "NOT reached")])  # fmt: skip
def test_the_small_network_is_faster_in_float(int8_ms: float, goal: str) -> None:
    trials = sorted(
        [trial("none", 0.01), trial("none", 0.02), trial("static", int8_ms)],
        key=lambda one: one.metrics["latency_ms.cpu"],
    )
    assert goal in tiny_verdict(trials)
    assert f"{int8_ms / 0.01:.2f} times as long" in tiny_verdict(trials)


def test_the_search_of_the_small_network_has_all_deployments() -> None:
    config = load_config(TINY)
    assert len(deployment_choices(config)) == 2
    assert count(all_choices(config, build_space(config))) == config.budget.trials == 6
    assert build({"width": 8}, task(1, 16, 16))(torch.zeros(2, 1, 16, 16)).shape == (2, 10)


def _toy(task: Task) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(task.input_shape[0], 32, 5, stride=4, padding=2),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, task.outputs),
    )


@pytest.mark.slow
def test_every_variant_is_scored_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtimes.version("openvino")  # without its telemetry
    monkeypatch.setitem(deployments.NETWORKS, "toy", _toy)
    config = TrainingConfig(epochs=2, fine_tune_epochs=1, device="cpu")
    found = deployments.scored("toy", 0, config, tmp_path)
    assert set(found) <= {Variant(ratio, *how) for ratio in PRUNED for how in SERVED}
    assert {STANDARD, INT8, Variant(0.5, "openvino", "float32")} <= set(found)
    alike = [found[Variant(0.0, runtime, "float32")] for runtime in ("onnxruntime", "openvino")]
    assert alike[0].path == alike[1].path
    assert alike[0].test == pytest.approx(alike[1].test, abs=0.01)
    pruned = Variant(0.5, "onnxruntime", "float32")
    measured = deployments.latencies({v: found[v] for v in (STANDARD, pruned)}, 1)
    assert measured[pruned].latency_ms < measured[STANDARD].latency_ms
