"""What is remembered of a machine's speed."""

from pathlib import Path

import pytest

from evaluators import pace as paces
from evaluators.pace import Pace
from evaluators.pace_memory import PaceMemory, Standing, memory_of_this_machine
from hw_profiles import host
from tests.evaluators.simulated import Machine, steady

RUNTIME = "onnxruntime 1.32.0"


def test_factors_are_at_least_one() -> None:
    assert (Standing(12.0, 10.0, 15.0).slower, Standing(12.0, 10.0, 15.0).faster) == (1.2, 1.25)
    assert (Standing(9.0, 10.0, 15.0).slower, Standing(16.0, 10.0, 15.0).faster) == (1.0, 1.0)


def test_another_process_knows(tmp_path: Path) -> None:
    path = tmp_path / "profiles" / "a.pace.json"
    first = PaceMemory(path, RUNTIME)
    for minute in range(10):
        first.add(10.0, 60.0 * minute)
    found = PaceMemory(path, RUNTIME).standing(15.0)
    assert found.slower == pytest.approx(1.5)
    assert found.faster == 1.0
    assert [each.name for each in path.parent.iterdir()] == ["a.pace.json"]


def test_another_version_of_the_runtime_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.pace.json"
    PaceMemory(path, RUNTIME).add(10.0, 1.0)
    other = PaceMemory(path, "onnxruntime 2.0")
    assert other.standing(15.0) == Standing(15.0, 15.0, 15.0)
    other.add(15.0, 2.0)
    assert PaceMemory(path, RUNTIME).standing(10.0).faster == 1.0


def test_a_busy_hour_does_not_crowd_out_the_rest() -> None:
    memory = PaceMemory()
    memory.add(10.0, 0.0)
    for tenth in range(1, 300):
        memory.add(20.0, tenth / 10)
    assert memory.standing(20.0).slower > 1.9
    for minute in range(1, 1000):
        memory.add(20.0, 60.0 * minute)
    assert memory.standing(20.0).slower == 1.0  # weeks ago


def test_moments_that_hardly_ever_come_again_do_not_count() -> None:
    memory = PaceMemory()
    for minute in range(100):
        memory.add(30.0 if minute == 50 else 10.0, 60.0 * minute)
    assert memory.standing(10.0).faster == 1.0


@pytest.mark.parametrize(
    "text", ["", "[]", '{"runtime": "onnxruntime 1.32.0"}', '{"runtime": "x", "levels": 3}', "\xff"]
)
def test_a_damaged_file_is_no_memory(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.pace.json"
    path.write_text(text, encoding="latin-1")
    memory = PaceMemory(path, RUNTIME)
    assert memory.standing(10.0) == Standing(10.0, 10.0, 10.0)
    memory.add(20.0, 1.0)
    assert memory.standing(10.0).faster > 1.5


def test_a_folder_that_cannot_be_written_costs_the_memory_only(tmp_path: Path) -> None:
    (tmp_path / "profiles").write_text("no folder")
    memory = PaceMemory(tmp_path / "profiles" / "a.json", RUNTIME)
    memory.add(20.0, 1.0)
    assert memory.standing(10.0).faster > 1.5


def test_of_this_machine_it_lies_beside_the_profiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_HOME", str(tmp_path))
    path = memory_of_this_machine(RUNTIME).path
    fingerprint = host.detect().fingerprint()
    assert path == tmp_path / "profiles" / f"host-cpu-{fingerprint}.pace.json"


def test_disturbed_moments_are_not_remembered() -> None:
    machine = Machine(costs={"reference": steady(10_000)})
    found = Pace(machine.call("reference"), machine)
    found.watch()
    assert found.glance() == 10_000
    assert found.standing([16_000, 17_000], disturbed=True).now_ns == 10_000
    assert found.memory.standing(10_000).faster == 1.0
    assert found.standing([12_000, 17_000], disturbed=False).now_ns == 12_000
    assert found.memory.standing(10_000).faster > 1.15


def test_only_the_clock_of_this_machine_has_a_memory_on_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(costs={"reference": steady(10_000)})
    monkeypatch.setattr(paces.runtimes, "load", machine.load)
    assert paces.pace(machine).memory.path is None
