"""Networks timed in passes on a machine with good and bad moments."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import hw_profiles
from evaluators import runtimes
from evaluators.devices import Device
from evaluators.latency import Latency
from experiments import calibrating_timing
from experiments.calibrating_timing import time_all
from experiments.kit_measure import MOST_PASSES, PASSES
from tests.evaluators.simulated import Cost, Machine, steady

MS, US = 1_000_000, 1_000
CPU = Device("cpu", hw_profiles.load("host-cpu"), "measured")
Simulate = Callable[..., Machine]


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Simulate:
    def make(**costs: Cost) -> Machine:
        machine = Machine(costs={"reference": steady(6 * US), **costs})
        clocks = {"thread": machine.cpu_ns, "wall": machine.wall_ns}
        monkeypatch.setattr(calibrating_timing, "_CLOCKS", clocks)
        monkeypatch.setattr(runtimes, "load", machine.load)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
        return machine

    return make


def named(names: str) -> dict[str, Callable[[], Path]]:
    def get(name: str) -> Callable[[], Path]:
        return lambda: Path(name)

    return {name: get(name) for name in names}


def timed(names: str, device: Device = CPU, known: dict[str, Any] | None = None) -> dict[str, Any]:
    found = {} if known is None else known
    for _ in time_all(named(names), device, found):
        pass
    return {name: seen["latency_ms"] for name, seen in found.items()}


def test_every_network_is_timed_in_each_pass_in_another_order(simulate: Simulate) -> None:
    machine = simulate(**{name: steady(0.2 * MS) for name in "abcdef"})
    assert timed("abcdef") == {name: pytest.approx(0.2) for name in "abcdef"}
    order = [name for name, *_ in machine.loaded if name != "reference"]
    assert len(order) == 6 * PASSES
    assert sorted(order[:6]) == sorted(order[6:12]) == [*"abcdef"]
    assert order[:6] != order[6:12]
    assert machine.closed.count("a") == PASSES


def test_a_neighbour_that_slows_networks_differently_does_no_harm(simulate: Simulate) -> None:
    machine = simulate()

    def share(factor: float) -> float:
        """Slower in every second stretch of 100 ms."""
        return factor if machine.cpu_ns() // (100 * MS) % 2 else 1.0

    machine.costs |= {
        "reference": lambda _: 6 * US * share(1.4),
        "a": lambda _: 1 * MS * share(1.2),
        "b": lambda _: 2 * MS * share(1.7),
    }
    assert timed("ab") == {"a": pytest.approx(1.0), "b": pytest.approx(2.0)}


def test_what_was_disturbed_is_timed_again_but_not_for_ever(simulate: Simulate) -> None:
    machine = simulate(a=steady(1 * MS))
    quiet = {"rounds_ms": [(0.003, 1.0)] * 20, "passes": PASSES}  # it was faster once
    found = timed("ab", known={"b": quiet})
    assert [name for name, *_ in machine.loaded].count("a") == MOST_PASSES
    assert found["a"] == pytest.approx(1.0)  # the reference may be slow for its own reasons


def test_what_is_settled_is_not_timed_again_nor_packed(simulate: Simulate) -> None:
    simulate(b=steady(1 * MS))
    settled = {"rounds_ms": [(0.006, 5.0)] * 20, "passes": PASSES}

    def packed() -> Path:
        raise AssertionError("a is known")

    steps = list(time_all({"a": packed, "b": lambda: Path("b")}, CPU, {"a": settled}))
    assert [done for done, _ in steps] == [1, 2, 3]


def test_progress_counts_further_passes_as_they_come(simulate: Simulate) -> None:
    simulate(a=steady(1 * MS))
    assert [*time_all(named("a"), CPU, {})] == [(1, 3), (2, 3), (3, 3)]
    quiet = {"rounds_ms": [(0.003, 1.0)] * 20, "passes": PASSES}
    steps = [*time_all(named("ab"), CPU, {"b": quiet})]
    assert steps[-1] == (MOST_PASSES, MOST_PASSES)


def test_the_first_passes_begin_apart(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(a=steady(1 * MS), b=steady(1 * MS))
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: 50.0 + sum(slept))
    assert len([*time_all(named("ab"), CPU, {}, 60.0)]) == 2 * PASSES
    assert slept == [0.0] + [60.0] * (PASSES - 1)


def test_several_threads_are_timed_on_the_wall(simulate: Simulate) -> None:
    machine = simulate(a=steady(1 * MS))
    machine.waiting = 2.0
    device = Device("cpu", CPU.profile, "measured", threads=2, batch=3)
    assert timed("a", device) == {"a": pytest.approx(2.0)}
    assert machine.shapes["a"] == (3, 1, 4, 4)
    assert ("a", "onnxruntime", 2) in [entry[:3] for entry in machine.loaded]


def test_a_gpu_is_measured_by_its_own_events(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Device("gpu", hw_profiles.load("nvidia-a100"), "measured", runtime="torch-cuda")
    times: Mapping[str, float] = {"a": 1.5, "b": 2.5}

    def measure(path: Path, device: Device) -> Latency:
        return Latency(times[path.name], times[path.name], times[path.name], "measured")

    monkeypatch.setattr(calibrating_timing, "check_measurable", lambda device: None)
    monkeypatch.setattr(calibrating_timing, "measure", measure)
    known: dict[str, Any] = {}
    assert timed("ab", gpu, known) == times
    assert [seen["passes"] for seen in known.values()] == [1, 1]


def test_another_machine_cannot_be_timed() -> None:
    gpu = Device("gpu", hw_profiles.load("nvidia-a100"), "measured")
    with pytest.raises(ValueError, match="cannot be measured"):
        next(time_all(named("a"), gpu, {}))
