from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import onnx
import pytest

import evaluators
import hw_profiles
from evaluators import measured, measured_subject, runtimes
from evaluators.devices import Device
from evaluators.latency import Latency
from evaluators.measured import MeasuredLatency, measure, measure_in_turns, remeasure, ties
from evaluators.pace import pace
from evaluators.runtimes import gpu as gpus
from evaluators.timing import Rules, order_interval
from nas.trials import Artifact, Candidate, CandidateError, Readings
from tests.evaluators import onnx_nets
from tests.evaluators.simulated import (
    Cost,
    Machine,
    SimulatedGpu,
    SimulatedGpuSession,
    SimulatedSession,
    by_block,
    steady,
)

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


def disturb(machine: Machine, quiet_share: float, name: str, cost: float, slower: float) -> None:
    """A neighbour that slows this net down by a factor of its own, but for a share of each 20 ms.

    The reference network gets 1.3 times slower meanwhile.
    """

    def factor(slower: float) -> float:
        passed = machine.cpu_ns() / (20 * MS) % 1
        return 1.0 if passed < quiet_share else slower

    machine.costs["reference"] = lambda _: 10 * US * factor(1.3)
    machine.costs[name] = lambda _: cost * factor(slower)


def test_p25_of_cpu_time(simulate: Simulate) -> None:
    factors = [1 + 0.01 * ((7 * k) % 25) for k in range(150)]
    machine = simulate(net=by_block(2 * MS, factors))
    latency = measure("net", CPU, clock=machine)
    assert latency.latency_ms == pytest.approx(2 * np.quantile(factors, 0.25), rel=1e-6)
    assert latency.iqr_ms == pytest.approx(0.01 * 2 * 12, rel=1e-6)
    low, high = order_interval(sorted(factors), 0.25)
    # Within 3 % there is no telling two measurements apart.
    assert (latency.low, latency.high) == pytest.approx((2 * low / 1.03, 2 * high * 1.03))
    assert latency.reference_ratio == pytest.approx(200 * np.median(factors), rel=1e-6)
    assert latency.source == "measured"
    assert not latency.noisy
    assert latency.method == (
        "p25 of thread CPU time, 150 of 150 blocks at the machine's usual speed"
    )


def test_every_call_belongs_to_the_net_or_to_the_reference(simulate: Simulate) -> None:
    machine = simulate(net=steady(2 * MS))
    measure("net", CPU, clock=machine, rules=Rules(min_blocks=2, max_blocks=2))
    look = ["reference"] * 8
    glance = look * 40
    assert machine.log == [*glance, "net", *look, *(["net"] * 2 + look) * 2, *glance]


@pytest.mark.parametrize("cost", [8 * US, 300 * US, 2 * MS])
@pytest.mark.parametrize("slower", [1.1, 1.7])
def test_slow_moments_do_not_count(simulate: Simulate, cost: float, slower: float) -> None:
    """A neighbour on the other hardware thread slows each network by a factor of its own."""
    machine = simulate(net=steady(cost))
    quiet = measure("net", CPU, clock=machine)
    disturb(machine, 0.4, "net", cost, slower)
    slow = measure("net", CPU, clock=machine)
    assert quiet.latency_ms == pytest.approx(cost / 1e6)
    assert slow.latency_ms == pytest.approx(quiet.latency_ms, rel=5e-3)
    counted, seen = (int(n) for n in re.findall(r"(\d+) of (\d+) blocks", slow.method)[0])
    assert counted < 0.7 * seen
    assert slow.wall_p99_ms == pytest.approx(slower * cost / 1e6)  # as it was on the wall


def test_a_machine_that_is_slow_all_the_time_is_corrected_and_says_so(simulate: Simulate) -> None:
    machine = simulate(net=steady(5 * MS))
    machine.slowdown = 1.6
    slow = measure("net", CPU, clock=machine)
    assert slow.latency_ms == pytest.approx(1.05 * 5.0, rel=1e-3)
    reach = 1.15 * 1.03
    assert (slow.low, slow.high) == pytest.approx((5.25 / reach, 5.25 * reach), rel=1e-3)
    assert slow.noisy
    assert "corrected for the machine's speed" in slow.method
    assert "noisy: disturbed all the time, at best 1.60 times slower than usual" in slow.method


def test_the_bar_holds_what_the_same_file_shows_at_another_pace(simulate: Simulate) -> None:
    """The usual speed changes for minutes, by 1.4 for the reference and by 1.5 for the network."""
    machine = simulate(net=steady(300 * US))

    def measured_at(slower: float, minute: int) -> Latency:
        machine._wall = max(machine._wall, minute * 60e9)
        machine.costs["reference"] = steady(10 * US * slower**0.8)
        machine.costs["net"] = steady(300 * US * slower)
        in_another_process = pace(machine)
        in_another_process._levels.clear()
        in_another_process.watch()
        return measure("net", CPU, clock=machine)

    alone = measured_at(1.0, 10)
    assert (alone.low, alone.high) == pytest.approx((0.3 / 1.03, 0.3 * 1.03))
    slow = measured_at(1.5, 20)
    assert not slow.noisy  # by itself it cannot tell
    assert slow.low < alone.latency_ms < slow.latency_ms
    assert slow.high == pytest.approx(0.45 * 1.03)
    assert slow.method.endswith(", the machine was 1.38 times faster at other times")
    assert slow.reference_ms == pytest.approx(0.01 * 1.5**0.8, rel=1e-3)
    fast = measured_at(1.0, 30)
    assert fast.low == pytest.approx(0.3 / 1.03, rel=1e-3)
    assert fast.latency_ms < slow.latency_ms < fast.high
    assert "faster at other times" not in fast.method


def test_what_was_waited_for_in_vain_is_not_waited_for_again(simulate: Simulate) -> None:
    machine = simulate(net=steady(5 * MS))

    def seconds() -> float:
        begin_ns = machine.wall_ns()
        measure("net", CPU, clock=machine)
        return (machine.wall_ns() - begin_ns) / 1e9

    machine.slowdown = 1.6
    assert [seconds() for _ in range(2)] == pytest.approx([5.0, 2.5], rel=0.1)
    machine.slowdown = 1.0
    assert seconds() < 1.0
    machine.slowdown = 1.6
    assert seconds() == pytest.approx(5.0, rel=0.1)


def test_the_usual_speed_is_what_proves_to_be_usual(simulate: Simulate) -> None:
    machine = simulate(net=steady(100 * US))
    machine.slowdown = 0.7  # it was slow all the time before
    fast = [measure("net", CPU, clock=machine) for _ in range(9)]
    machine.slowdown = 1.0
    again = measure("net", CPU, clock=machine)
    assert [latency.latency_ms for latency in fast] == pytest.approx([0.07] * 9)
    assert again.latency_ms == pytest.approx(1.05 * 0.07)
    assert again.noisy


@pytest.mark.parametrize(
    ("share", "said"), [(0.0, ""), (0.1, ""), (0.5, "wall/CPU 1."), (1, "2.60")]
)
def test_waiting_for_the_core_does_not_count(simulate: Simulate, share: float, said: str) -> None:
    """In a share of the blocks it waits 1.6 times as long as it works."""
    machine = simulate(net=steady(100 * US))
    working = machine.costs["net"]

    def cost(i: int) -> float:
        machine.waiting = 2.6 if i % 100 >= 100 * (1 - share) else 1.0
        return working(i)

    machine.costs["net"] = cost
    latency = measure("net", CPU, clock=machine)
    assert latency.latency_ms == pytest.approx(0.1)
    assert latency.noisy is (share == 1)
    assert said in latency.method
    assert ("wall/CPU" in latency.method) is bool(said)


def test_a_machine_that_proves_faster_while_measuring(simulate: Simulate) -> None:
    """What looked usual at first was not: it is judged anew, and does not count."""
    machine = simulate(net=steady(2 * MS))
    begin_ns = machine.cpu_ns()
    factor = lambda: 0.7 if machine.cpu_ns() > begin_ns + 100 * MS else 1.0  # noqa: E731
    machine.costs["net"] = lambda _: 2 * MS * factor()
    machine.costs["reference"] = lambda _: 10 * US * factor()
    latency = measure("net", CPU, clock=machine, rules=Rules(min_blocks=150))
    assert latency.latency_ms == pytest.approx(1.4)
    assert latency.iqr_ms == pytest.approx(0.0, abs=1e-9)


def test_wall_percentiles_are_of_single_calls(simulate: Simulate) -> None:
    """One call in thirty-one takes five times as long: p99 shows it, p50 and p25 do not."""
    machine = simulate(net=lambda i: 500 * US if i % 31 == 0 else 100 * US)
    latency = measure("net", CPU, clock=machine, rules=Rules(min_blocks=150))
    assert latency.wall_p50_ms == pytest.approx(0.1)
    assert latency.wall_p99_ms == pytest.approx(0.5)


def test_more_threads_are_timed_on_the_wall(simulate: Simulate) -> None:
    """The clock of the calling thread sees a quarter of the work."""
    factors = [1 + 0.001 * ((7 * k) % 25) for k in range(40)]
    machine = simulate(net=by_block(4 * MS, factors))
    machine.hidden = 0.75
    device = replace(CPU, threads=2)
    latency = measure("net", device, clock=machine)
    assert latency.latency_ms == pytest.approx(4 * np.quantile(factors, 0.25), rel=1e-6)
    assert latency.method == "p25 of wall time, 40 blocks"
    assert not latency.noisy
    assert machine.loaded == [("net", "onnxruntime", 2, "")]


def test_wall_times_that_scatter_are_noisy(simulate: Simulate) -> None:
    machine = simulate(net=by_block(4 * MS, [1.0, 1.5, 1.2, 1.4, 1.1]))
    latency = measure("net", replace(CPU, threads=2), clock=machine)
    assert latency.noisy
    assert "noisy: IQR/median 0.25" in latency.method


def test_a_runtime_with_threads_of_its_own_is_timed_by_the_process(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = simulate(net=steady(MS))
    monkeypatch.setattr(SimulatedSession, "one_thread", "process")
    machine.hidden = 0.9
    machine.costs["reference"] = steady(100 * US)  # of which its own thread sees a tenth
    latency = measure("net", replace(CPU, dtype="float32"), clock=machine)
    assert latency.latency_ms == pytest.approx(1.0)
    assert latency.method.startswith("p25 of process CPU time, ")
    assert machine.loaded == [("net", "onnxruntime", 1, "float32")]


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
    assert all(", 100 of 100 blocks" in latency.method for latency in latencies)
    blocks = [a for a, b in zip(machine.log, [*machine.log[1:], ""], strict=True) if a != b]
    turn = ["reference", "a", "reference", "b", "reference", "c"]
    assert blocks == ["reference", "a", "b", "c", *turn * 100, "reference"]
    assert sorted(machine.closed) == ["a", "b", "c"]


def test_several_settings_in_turns(simulate: Simulate) -> None:
    machine = simulate(net=steady(100 * US))
    settings = [CPU, replace(CPU, batch=8), replace(CPU, threads=2)]
    rules = Rules(min_blocks=3, max_blocks=3)
    latencies = measure_in_turns([("net", d) for d in settings], clock=machine, rules=rules)
    assert [latency.method.split(",")[0] for latency in latencies] == [
        "p25 of thread CPU time",
        "p25 of thread CPU time",
        "p25 of wall time",
    ]
    assert [threads for *_, threads, _ in machine.loaded] == [1, 1, 2]


def test_remeasuring_nothing(simulate: Simulate) -> None:
    assert remeasure([], CPU, clock=simulate()) == []


def test_the_cap_is_for_each_artifact(simulate: Simulate) -> None:
    machine = simulate(a=steady(200 * MS), b=steady(200 * MS))
    latencies = remeasure(["a", "b"], CPU, clock=machine)
    assert all(" 7 of 7 blocks" in latency.method for latency in latencies)  # 0.8 s a round


def test_a_very_slow_network_is_not_taken_for_disturbed(simulate: Simulate) -> None:
    latency = measure("net", CPU, clock=simulate(net=steady(2000 * MS)))
    assert latency.latency_ms == pytest.approx(2000.0)
    assert not latency.noisy


def latency_of(latency_ms: float) -> Latency:
    return Latency(latency_ms, low=latency_ms, high=latency_ms, source="measured")


def test_ties() -> None:
    latencies = [latency_of(ms) for ms in (1.0, 1.5, 1.02, 1.045)]
    assert ties(latencies) == [(0, 2), (2, 3)]
    assert ties(latencies, tolerance=0.05) == [(0, 2), (0, 3), (2, 3)]
    assert ties(latencies[:1]) == []


GPU = Device("gpu", hw_profiles.load("nvidia-a100"), "measured", "torch-cuda", "float16", 4)


@pytest.fixture
def gpu(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> SimulatedGpu:
    """An A100 on which ``net`` takes 2 ms, the first of which is free."""
    machine = simulate(net=steady(2 * MS))
    simulated = SimulatedGpu(machine)
    monkeypatch.setattr(gpus, "gpu_name", lambda: "NVIDIA A100-SXM4-40GB")
    monkeypatch.setattr(measured_subject, "gpu_clocks", lambda: "SM 1410 MHz, memory 1215 MHz")

    def load(model: str, *asked: object) -> SimulatedGpuSession:
        machine.load(model, *asked)  # type: ignore[arg-type]
        return SimulatedGpuSession(simulated, model)

    monkeypatch.setattr(runtimes, "load", load)
    return simulated


def test_a_gpu_is_timed_by_its_events(gpu: SimulatedGpu) -> None:
    gpu.machine.hidden, gpu.machine.waiting = 1.0, 1.5  # the CPU does nothing, and is slow
    latency = measure("net", GPU, clock=gpu.machine)
    assert latency.latency_ms == pytest.approx(2.0)
    assert latency.wall_p50_ms == pytest.approx(3.0)
    assert latency.method == "p25 of CUDA event time, 20 blocks, SM 1410 MHz, memory 1215 MHz"
    assert latency.memory_kb == 2.0
    assert latency.reference_ratio is None
    assert latency.reference_ms is None
    assert gpu.machine.loaded == [("net", "torch-cuda", 1, "float16")]
    assert "reference" not in gpu.machine.log


def test_a_gpu_out_of_memory_fails_the_candidate_alone(gpu: SimulatedGpu) -> None:
    evaluator = MeasuredLatency(GPU, gpu.machine)
    working = gpu.machine.costs["net"]

    def full(_: int) -> float:
        raise ValueError("the GPU is out of memory: tried to allocate 2 GiB")

    gpu.machine.costs["net"] = full
    with pytest.raises(CandidateError, match="the GPU is out of memory: tried to allocate 2 GiB"):
        evaluator.evaluate(candidate("net"))
    gpu.machine.costs["net"] = working
    readings = evaluator.evaluate(candidate("net"))
    assert readings["latency_ms.gpu"] == pytest.approx(2.0)
    assert readings.provenance["latency_ms.gpu"].dtype == "float16"


@pytest.mark.parametrize(
    ("here", "there", "fits"),
    [
        ("NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB", True),
        ("NVIDIA A100-PCIE-40GB", "NVIDIA A100-SXM4-40GB", True),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 SXM5 80GB", True),
        ("Tesla T4", "NVIDIA T4", True),
        ("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090", True),
        ("NVIDIA GeForce RTX 3090 Ti", "NVIDIA GeForce RTX 3090", False),
        ("NVIDIA H200", "NVIDIA H200-SXM5-141GB", True),
        ("Orin", "NVIDIA Jetson Orin Nano 8GB, 15 W", True),
        ("NVIDIA H200", "NVIDIA H100 SXM5 80GB", False),
        ("NVIDIA TITAN Xp", "NVIDIA Titan X", False),
        ("", "NVIDIA T4", False),
    ],
)
def test_the_gpu_here_must_be_that_of_the_profile(
    monkeypatch: pytest.MonkeyPatch, here: str, there: str, fits: bool
) -> None:
    monkeypatch.setattr(gpus, "gpu_name", lambda: here)
    device = replace(GPU, profile=replace(GPU.profile, title=there))
    if fits:
        measured.check_measurable(device)
        return
    reason = f"the GPU here is {here}" if here else "there is no GPU"
    with pytest.raises(ValueError, match=f"{there}.* cannot be measured here: {reason}"):
        measured.check_measurable(device)


def test_shipped_gpus_are_told_apart() -> None:
    titles = [
        profile.title
        for profile in map(hw_profiles.load, hw_profiles.names())
        if profile.kind == "gpu" and profile.name.startswith("nvidia-")
    ]
    assert len({measured.model_of(title) for title in titles}) == len(titles) > 0
    assert frozenset() not in {measured.model_of(title) for title in titles}


def test_a_gpu_needs_a_runtime_that_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "gpu_name", lambda: "NVIDIA A100")
    with pytest.raises(ValueError, match=r"runs on a gpu \(.*torch-cuda.*\), but got 'torch'"):
        measured.check_measurable(replace(GPU, runtime="torch"))


@pytest.mark.parametrize(
    ("file", "device", "said"),
    [("int8", "", "int8"), ("int8", "bfloat16", "int8, bfloat16"), ("float32", "", "float32")],
)
def test_the_dtype_that_runs_is_said(
    simulate: Simulate, file: str, device: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = simulate(net=steady(MS))
    entry = replace(CPU, runtime="openvino", dtype=device)
    readings = MeasuredLatency(entry, machine).evaluate(candidate("net", file))
    assert readings.provenance["latency_ms.cpu"].dtype == said


def test_torch_has_nothing_for_int8(simulate: Simulate) -> None:
    evaluator = MeasuredLatency(replace(CPU, runtime="torch"), simulate(net=steady(MS)))
    with pytest.raises(CandidateError, match="torch has no counterpart of an int8 file"):
        evaluator.evaluate(candidate("net", "int8"))


def test_refuses_what_is_not_here(simulate: Simulate) -> None:
    machine = simulate(net=steady(MS))
    elsewhere = replace(CPU.profile, name="their-cpu", identity="another machine")
    gpu = hw_profiles.load("nvidia-a100")
    for device, message in [
        (replace(CPU, method="modeled"), "device cpu is modeled, it cannot be measured here"),
        (replace(CPU, profile=elsewhere), r"device cpu \(their-cpu: .* cannot be measured here"),
        (Device("gpu", gpu, "measured"), r"device gpu \(nvidia-a100: .* cannot be measured here"),
        (replace(CPU, runtime="tflite"), "unknown runtime 'tflite'"),
        (
            replace(CPU, runtime="torch-cuda"),
            r"runs on a cpu \(.*torch.*\), but got 'torch-cuda'",
        ),
        (replace(CPU, dtype="int4"), "onnxruntime computes in float32, but got dtype 'int4'"),
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
    machine.waiting = 1.1
    device = replace(CPU, alias="box", batch=4)
    evaluator = evaluators.create("measured_latency", device=device, clock=machine)
    assert evaluator.stage == "measure"
    assert evaluator.needs == "host-cpu"
    names = ["latency_ms.box", "wall_ms.box.p50", "wall_ms.box.p99", "reference_ms.box"]
    assert list(evaluator.provides) == names
    readings = evaluator.evaluate(candidate("net", "int8"))
    assert isinstance(readings, Readings)
    assert readings == pytest.approx(dict(zip(names, [0.1, 0.11, 0.11, 0.01], strict=True)))
    latency = readings.provenance["latency_ms.box"]
    assert latency.to_json() == {
        "source": "measured",
        "device": "host-cpu",
        "runtime": runtimes.version("onnxruntime"),
        "dtype": "int8",
        "batch": 4,
        "threads": 1,
        "method": "p25 of thread CPU time, 40 of 40 blocks at the machine's usual speed",
        "low": pytest.approx(0.1 / 1.03),
        "high": pytest.approx(0.1 * 1.03),
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


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", [1, 4])
def test_each_runtime_is_measured(chains: dict[int, Path], runtime: str, batch: int) -> None:
    latency = measure(chains[40], replace(CPU, runtime=runtime, batch=batch))
    clock = {"onnxruntime": "thread", "openvino": "process"}[runtime]
    assert latency.method.startswith(f"p25 of {clock} CPU time")
    assert 1e-3 < latency.latency_ms < 10.0  # 160 thousand multiply-accumulates an example


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
