"""A TPU's model, distilled from a compiler; the compiler is a stand-in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import hw_profiles
from evaluators.modeled import estimate
from experiments.calibrating import calibrate_profile
from experiments.calibrating_networks import Networks, Plan
from experiments.calibrating_tpu import compile_all, compiled_ms
from tests.evaluators.tpu.compilers import Answers, compiler

V5E = hw_profiles.load("tpu-v5e")
PLAN = Plan(V5E, "convnet", (1, 8, 8), 8, batch=32)


class ByNodes(Answers):
    """A convolution takes 3000 cycles, everything else 200."""

    def compile(self, request: Mapping[str, Any]) -> dict[str, Any]:
        answer = super().compile(request)
        nodes = [node[1] for node in request["graph"]["nodes"]]
        cycles = sum(3000 if op.startswith("conv") else 200 for op in nodes)
        first = {**answer["instructions"][0], "cycles": cycles}
        return {**answer, "instructions": [first]}


def test_the_model_learns_what_the_compiler_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers, told = ByNodes(), list[tuple[str, int, int]]()
    ours = compiler(monkeypatch, tmp_path, answers)
    samples, setting = compile_all(
        PLAN, "", ours, lambda what, done, count: told.append((what, done, count))
    )
    assert [sample.dtype for sample in samples] == ["bfloat16"] * 8
    assert (setting.runtime, setting.batch) == ("libtpu 0.0.42, jax 0.10.2", 32)
    assert told[-1] == ("compiling", 8, 8)
    fitted = calibrate_profile(V5E, samples, setting).profile
    networks = Networks("xla")
    for sample in samples:
        workload = networks.workload(sample.network, dtype="bfloat16")
        found = estimate(workload, fitted, 32).latency_ms
        assert found == pytest.approx(sample.latency_ms, rel=0.3)


def test_another_start_compiles_nothing_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = ByNodes()
    ours = compiler(monkeypatch, tmp_path, answers)
    first, _ = compile_all(PLAN, "", ours)
    asked = len(answers.asked)
    again, _ = compile_all(PLAN, "", ours)
    assert len(answers.asked) == asked
    assert [sample.latency_ms for sample in again] == [sample.latency_ms for sample in first]


def test_a_latency_has_the_batch_and_the_dtype(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = ByNodes()
    ours = compiler(monkeypatch, tmp_path, answers)
    (network,) = Networks("xla").draw(1, "convnet", (1, 8, 8), 0)
    assert compiled_ms(network, V5E, 16, "float32", ours) > 0
    (asked,) = answers.asked
    assert asked["dtype"] == "float32"
    ((shape, _),) = asked["graph"]["inputs"].values()
    assert shape == (16, 1, 8, 8)


def test_a_device_that_the_compiler_does_not_know_is_refused() -> None:
    plan = Plan(hw_profiles.load("generic-tpu"), "convnet", (1, 8, 8), 8)
    with pytest.raises(ValueError, match="chip that the XLA:TPU compiler knows"):
        compile_all(plan)
