from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import onnx
import pytest

import evaluators
import hw_profiles
from evaluators import measured, runtimes
from evaluators.devices import Device
from evaluators.latency import Latency
from evaluators.measured import MeasuredLatency, measure, remeasure, ties
from evaluators.timing import Rules
from nas.trials import Artifact, Candidate, CandidateError, Readings
from tests.evaluators import onnx_nets
from tests.evaluators.simulated import Cost, Machine, by_block, steady

MS = 1_000_000
US = 1_000
CPU = Device("cpu", hw_profiles.load("host-cpu"), "measured")
Simulate = Callable[..., Machine]


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Simulate:
    """Makes a machine whose artifacts cost what the keywords say; the reference is known to it."""

    def make(**costs: Cost) -> Machine:
        idle = {"reference": steady(10 * US), "idle": steady(10 * US)}
        machine = Machine(costs=idle | costs)
        monkeypatch.setattr(runtimes, "load", machine.load)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
        measure("idle", CPU, clock=machine)
        machine.log.clear()
        machine.loaded.clear()
        machine.closed.clear()
        return machine

    return make


def test_p25_of_cpu_time(simulate: Simulate) -> None:
    factors = [1 + 0.01 * ((7 * k) % 25) for k in range(25)]
    machine = simulate(net=by_block(2 * MS, factors))
    latency = measure("net", CPU, clock=machine)
    assert latency.latency_ms == pytest.approx(2 * np.quantile(factors, 0.25), rel=1e-6)
    assert latency.iqr_ms == pytest.approx(0.01 * 2 * 12, rel=1e-6)
    # 95 % interval of p25 of 25 values: ranks 2 and 12 (binomial)
    assert latency.low == pytest.approx(2 * (1 + 0.01 * 1), rel=1e-6)
    assert latency.high == pytest.approx(2 * (1 + 0.01 * 11), rel=1e-6)
    assert latency.reference_ratio == pytest.approx(200 * np.median(factors), rel=1e-6)
    assert latency.source == "measured"
    assert not latency.noisy
    assert latency.method == (
        "p25 of thread CPU time, 25 blocks, x1.00 to the reference network's usual speed"
    )


def test_every_call_belongs_to_the_net_or_to_the_reference(simulate: Simulate) -> None:
    machine = simulate(net=steady(2 * MS))
    measure("net", CPU, clock=machine, rules=Rules(min_blocks=2, max_blocks=2))
    finding_out = ["reference"] * 5 + ["net"]
    block = ["reference"] * (2 + 150 + 40) + ["net"] * 3
    assert machine.log == finding_out + block * 2


@pytest.mark.parametrize("cost", [8 * US, 300 * US, 5 * MS])
def test_a_slow_phase_is_corrected(simulate: Simulate, cost: float) -> None:
    """A neighbour on the other hardware thread slows all that runs, in CPU time too."""
    machine = simulate(net=steady(cost))
    quiet = measure("net", CPU, clock=machine)
    machine.slowdown = 1.6
    slow = measure("net", CPU, clock=machine)
    assert quiet.latency_ms == pytest.approx(cost / 1e6)
    assert slow.latency_ms == pytest.approx(quiet.latency_ms, rel=1e-3)
    assert slow.reference_ratio == pytest.approx(quiet.reference_ratio, rel=1e-3)
    assert "x0.62 to the reference" in slow.method
    assert slow.wall_p50_ms == pytest.approx(1.6 * cost / 1e6, rel=1e-3)  # as it was on the wall


def test_the_usual_speed_is_the_fastest_seen(simulate: Simulate) -> None:
    machine = simulate(net=steady(100 * US))
    machine.slowdown = 0.8  # it was slow all the time before
    fast = measure("net", CPU, clock=machine)
    machine.slowdown = 1.0
    assert fast.latency_ms == pytest.approx(0.08)
    assert measure("net", CPU, clock=machine).latency_ms == pytest.approx(0.08)


@pytest.mark.parametrize(("waiting", "noisy"), [(1.0, False), (1.15, False), (1.25, True)])
def test_noisy_when_it_waits_for_the_core(simulate: Simulate, waiting: float, noisy: bool) -> None:
    machine = simulate(net=steady(100 * US))
    machine.waiting = waiting
    latency = measure("net", CPU, clock=machine)
    assert latency.noisy is noisy
    assert ("noisy: wall/CPU 1.25" in latency.method) is noisy
    assert latency.latency_ms == pytest.approx(0.1)
    assert latency.wall_p50_ms == pytest.approx(0.1 * waiting)


def test_wall_percentiles_are_of_single_calls(simulate: Simulate) -> None:
    """One call in thirty takes five times as long: p99 shows it, p50 and p25 do not."""
    machine = simulate(net=lambda i: 500 * US if i % 30 == 0 else 100 * US)
    latency = measure("net", CPU, clock=machine)
    assert latency.wall_p50_ms == pytest.approx(0.1)
    assert latency.wall_p99_ms == pytest.approx(0.5)


def test_more_threads_are_timed_on_the_wall(simulate: Simulate) -> None:
    """The clock of the calling thread sees a quarter of the work."""
    factors = [1 + 0.001 * ((7 * k) % 25) for k in range(25)]
    machine = simulate(net=by_block(4 * MS, factors))
    machine.hidden = 0.75
    device = replace(CPU, threads=2)
    latency = measure("net", device, clock=machine)
    seen = factors[:15]
    assert latency.latency_ms == pytest.approx(4 * np.quantile(seen, 0.25), rel=1e-6)
    assert latency.method == "p25 of wall time, 15 blocks"
    assert latency.reference_ratio == pytest.approx(400 * np.median(seen), rel=1e-6)
    assert not latency.noisy
    assert machine.loaded == [("net", "onnxruntime", 2)]


def test_wall_times_that_scatter_are_noisy(simulate: Simulate) -> None:
    machine = simulate(net=by_block(4 * MS, [1.0, 1.5, 1.2, 1.4, 1.1]))
    latency = measure("net", replace(CPU, threads=2), clock=machine)
    assert latency.noisy
    assert "noisy: IQR/median 0.25" in latency.method


@pytest.mark.parametrize(
    ("device_batch", "batch", "expected"), [(1, None, 1), (8, None, 8), (8, 2, 2)]
)
def test_batch(simulate: Simulate, device_batch: int, batch: int | None, expected: int) -> None:
    machine = simulate(net=steady(MS))
    measure("net", replace(CPU, batch=device_batch), batch, clock=machine)
    assert machine.shapes["net"] == (expected, 1, 4, 4)
    assert machine.shapes["reference"] == (1, 1, 4, 4)


def test_remeasured_in_turns(simulate: Simulate) -> None:
    costs = {"a": 300 * US, "b": 100 * US, "c": 200 * US}
    machine = simulate(**{name: steady(cost) for name, cost in costs.items()})
    files: list[measured.File] = [Artifact("a", "0" * 64), "b", Path("c")]
    latencies = remeasure(files, CPU, clock=machine)
    assert [latency.latency_ms for latency in latencies] == pytest.approx([0.3, 0.1, 0.2])
    assert all(", 40 blocks" in latency.method for latency in latencies)
    blocks = [a for a, b in zip(machine.log, [*machine.log[1:], ""], strict=True) if a != b]
    assert blocks == ["reference", "a", "b", "c"] * 41  # finding out, then 40 rounds
    assert sorted(machine.closed) == ["a", "b", "c"]


def test_remeasuring_nothing(simulate: Simulate) -> None:
    assert remeasure([], CPU, clock=simulate()) == []


def test_the_cap_is_for_each_artifact(simulate: Simulate) -> None:
    machine = simulate(a=steady(200 * MS), b=steady(200 * MS))
    latencies = remeasure(["a", "b"], CPU, clock=machine)
    assert ["4 blocks" in latency.method for latency in latencies] == [True, True]


def latency_of(latency_ms: float) -> Latency:
    return Latency(latency_ms, low=latency_ms, high=latency_ms, source="measured")


def test_ties() -> None:
    latencies = [latency_of(ms) for ms in (1.0, 1.5, 1.02, 1.045)]
    assert ties(latencies) == [(0, 2), (2, 3)]
    assert ties(latencies, tolerance=0.05) == [(0, 2), (0, 3), (2, 3)]
    assert ties(latencies[:1]) == []


def test_refuses_what_is_not_here(simulate: Simulate) -> None:
    machine = simulate(net=steady(MS))
    elsewhere = replace(CPU.profile, name="their-cpu", identity="another machine")
    gpu = hw_profiles.load("nvidia-a100")
    for device, message in [
        (replace(CPU, method="modeled"), "device cpu is modeled, it cannot be measured here"),
        (replace(CPU, profile=elsewhere), r"device cpu \(their-cpu: .* cannot be measured here"),
        (Device("gpu", gpu, "measured"), r"device gpu \(nvidia-a100: .* cannot be measured here"),
        (replace(CPU, runtime="tflite"), "unknown runtime 'tflite'"),
        (replace(CPU, threads=3), "threads of device cpu must be at most 2, .*, but got 3"),
    ]:
        for refuse in (
            lambda d: measure("net", d, clock=machine),
            lambda d: remeasure(["net"], d, clock=machine),
            lambda d: MeasuredLatency(device=d),
        ):
            with pytest.raises(ValueError, match=message) as error:
                refuse(device)
            assert "\n" not in str(error.value)
    assert machine.loaded == []


def test_a_calibrated_profile_of_this_machine_is_here() -> None:
    measured.check_measurable(
        replace(CPU, profile=replace(CPU.profile, name="mine", calibration={"a": 1}))
    )


def candidate(path: Path | str | None, dtype: str = "float32") -> Candidate:
    artifact = None if path is None else Artifact(str(path), "0" * 64, dtype)
    return Candidate({}, "training", "candidate", artifact=artifact)


def test_evaluator(simulate: Simulate) -> None:
    machine = simulate(net=steady(100 * US))
    machine.waiting = 2.0
    device = replace(CPU, alias="box", batch=4)
    evaluator = evaluators.create("measured_latency", device=device, clock=machine)
    assert evaluator.stage == "measure"
    assert evaluator.needs == "host-cpu"
    assert list(evaluator.provides) == ["latency_ms.box", "wall_ms.box.p50", "wall_ms.box.p99"]
    readings = evaluator.evaluate(candidate("net", "int8"))
    assert isinstance(readings, Readings)
    assert readings == pytest.approx(
        {"latency_ms.box": 0.1, "wall_ms.box.p50": 0.2, "wall_ms.box.p99": 0.2}
    )
    latency = readings.provenance["latency_ms.box"]
    assert latency.to_json() == {
        "source": "measured",
        "device": "host-cpu",
        "runtime": runtimes.version("onnxruntime"),
        "dtype": "int8",
        "batch": 4,
        "threads": 1,
        "method": "p25 of thread CPU time, 15 blocks, x1.00 to the reference network's usual "
        "speed, noisy: wall/CPU 2.00",
        "low": pytest.approx(0.1),
        "high": pytest.approx(0.1),
    }
    for name in ("wall_ms.box.p50", "wall_ms.box.p99"):
        assert readings.provenance[name] == replace(
            latency, method="wall time of single calls", low=None, high=None
        )


def test_evaluator_travels_to_the_measuring_process() -> None:
    evaluator = MeasuredLatency(device=CPU)
    assert pickle.loads(pickle.dumps(evaluator)) == evaluator


def test_what_a_candidate_is_to_blame_for(tmp_path: Path) -> None:
    evaluator = MeasuredLatency(device=CPU)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    for path, message in [
        (None, "there is no artifact to measure"),
        (tmp_path / "bad.onnx", r"bad\.onnx is no model that can be run"),
        (tmp_path / "missing.onnx", "cannot read the model"),
    ]:
        with pytest.raises(CandidateError, match=message) as error:
            evaluator.evaluate(candidate(path))
        assert "\n" not in str(error.value)


@pytest.fixture
def chains(tmp_path: Path) -> dict[int, Path]:
    paths = {length: tmp_path / f"chain{length}.onnx" for length in (4, 40)}
    for length, path in paths.items():
        onnx.save(onnx_nets.chain(length), path)
    return paths


def test_this_machine_measures_alike_again(chains: dict[int, Path]) -> None:
    latencies = [measure(chains[4], CPU) for _ in range(4)]
    middle = median(latency.latency_ms for latency in latencies)
    assert 1e-4 < middle < 1.0  # 16 thousand multiply-accumulates
    for latency in latencies:
        assert latency.latency_ms == pytest.approx(middle, rel=0.5)
        assert latency.wall_p99_ms >= latency.wall_p50_ms > 0  # type: ignore[operator]


def test_this_machine_takes_longer_for_more(
    chains: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = remeasure([chains[4], chains[40]], CPU)
    assert long.latency_ms > 2 * short.latency_ms
    one, many = measure(chains[40], CPU), measure(chains[40], CPU, batch=64)
    assert many.latency_ms > 2 * one.latency_ms
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})  # a small machine will do
    on_two = measure(chains[40], replace(CPU, threads=2))
    assert "wall time" in on_two.method
