"""`nas calibrate`, typed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import hw_profiles
from evaluators.devices import Device
from evaluators.runtimes import version
from experiments import calibrating_host, calibrating_timing, kit_measure
from hw_profiles import host
from tests.experiments.commands.conftest import Nas

SMALL = ("--networks", "8", "--input", "1x16x16")


@pytest.fixture
def fast_machine(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Measuring costs nothing here, and gives what the formula says."""
    timed: list[Path] = []

    def rounds(path: Path, device: Device, look: object) -> list[tuple[float, float]]:
        timed.append(path)
        return [(0.006, path.stat().st_size / 1e5)] * kit_measure.ROUNDS  # larger files take longer

    monkeypatch.setattr(calibrating_timing, "_rounds", rounds)
    return timed


def test_this_machine(nas: Nas, home: Path, fast_machine: list[Path]) -> None:
    typed = nas("calibrate", "host-cpu", *SMALL)
    assert typed.code == 0, typed.err
    assert "host-cpu: calibrated on 8 measurements (onnxruntime" in typed.out
    said = re.search(r"[Ee]rror on networks that the model did not see: (.*)\n", typed.out)
    assert said
    assert re.fullmatch(r"\d+ % within 10 %, mean error [\d.]+ %", said[1])
    assert (
        f"error on networks that the model did not see: {said[1]}\n"
        in nas("devices", "host-cpu").out
    )
    assert said[1] in nas("devices").out
    assert "nas: measuring 12/24\n" in typed.err
    profile = hw_profiles.load("host-cpu")
    assert profile.fingerprint() == host.detect().fingerprint()
    about = profile.calibration or {}
    assert (about["networks"], about["runtime"]) == (8, version("onnxruntime"))
    folder = home / "profiles"
    assert sorted(path.name for path in folder.iterdir()) == ["host-cpu.png", "host-cpu.yaml"]
    shown = nas("devices", "host-cpu")
    assert shown.code == 0
    assert "calibration" in shown.out
    assert "8" in shown.out


def test_another_name_leaves_the_first_profile_as_it_is(
    nas: Nas, home: Path, fast_machine: list[Path]
) -> None:
    typed = nas("calibrate", *SMALL, "--name", "mine", "--method", "lookup", "--dtype", "int8")
    assert typed.code == 0, typed.err
    assert hw_profiles.load("host-cpu").calibration is None
    about = hw_profiles.load("mine").calibration or {}
    assert (about["method"], about["dtype"]) == ("lookup", "int8")


def test_what_was_measured_before_ctrl_c_is_not_measured_again(
    nas: Nas, home: Path, fast_machine: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = calibrating_host.time_all

    def stopped(files: Any, device: Device, known: Any) -> Any:
        for step in ours(files, device, known):
            yield step
            if step[0] == 5:
                raise KeyboardInterrupt

    monkeypatch.setattr(calibrating_host, "time_all", stopped)
    typed = nas("calibrate", *SMALL)
    assert typed.code == 1
    assert "What was measured is kept" in typed.out
    assert not (home / "profiles" / "host-cpu.yaml").exists()
    monkeypatch.setattr(calibrating_host, "time_all", ours)
    before = len(fast_machine)
    assert nas("calibrate", *SMALL).code == 0
    assert before == 5
    assert len(fast_machine) == 3 * 8


@pytest.mark.parametrize("text", ["{", "[]", '{"identity": "another", "seen": {}}', '"a"'])
def test_what_was_kept_of_something_else_is_not_used(tmp_path: Path, text: str) -> None:
    kept = tmp_path / "host-cpu.measured.json"
    kept.write_text(text)
    assert calibrating_host._known(kept, "this") == {}
    calibrating_host._keep(kept, "this", {"a": {"latency_ms": 1.0}})
    assert calibrating_host._known(kept, "this") == {"a": {"latency_ms": 1.0}}
    assert calibrating_host._known(kept, "that") == {}


def test_what_it_replaces_is_kept_and_named(nas: Nas, home: Path, fast_machine: list[Path]) -> None:
    pixel = ("calibrate", *SMALL, "--name", "pixel3", "--method", "lookup")
    typed = nas(*pixel)
    path = home / "profiles" / "pixel3.yaml"
    before = path.read_text()
    assert "It comes before the shipped pixel3 as long as that file is there.\n" in typed.out
    assert "It replaces" not in typed.out
    before += "# by hand\n"
    path.write_text(before)
    typed = nas(*pixel)
    kept = path.with_name("pixel3.yaml.bak")
    assert f"It replaces your own pixel3 of before, which is kept as {kept}.\n" in typed.out
    assert kept.read_text() == before != path.read_text()
    assert "pixel3.yaml" not in hw_profiles.names()


@pytest.mark.slow
def test_a_kit_there_and_back(nas: Nas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = nas(
        "calibrate", "--kit", "kit", "--space", "convnet", *SMALL, "--dtype", "float32,int8"
    )
    assert typed.code == 0, typed.err
    assert "kit holds 16 networks and measure.py" in typed.out
    assert "such as --profile generic-phone" in typed.out
    monkeypatch.setattr("sys.argv", ["measure.py", "--folder", "kit", "--rounds", "3"])
    assert kit_measure.main() == 0
    typed = nas("calibrate", "--import", "kit", "--name", "there")
    assert typed.code == 0, typed.err
    assert "there: calibrated on 16 measurements" in typed.out
    assert "What is not measured is taken from generic-cpu: for a phone" in typed.out
    assert hw_profiles.load("there").title.endswith(", by a kit (generic-cpu)")
    assert re.search(r"  float32: .*\n  int8: \d+ % within 10 %, mean error ", typed.out)
    about = hw_profiles.load("there").calibration or {}
    assert about["dtype"] == "float32,int8"
    assert about["machine"]
    assert hw_profiles.load("there").fingerprint() != host.detect().fingerprint()
    half = ("--profile", "nvidia-jetson-orin-nano", "--name", "half", "--dtype", "float16")
    assert nas("calibrate", "--import", "kit", *half, "--method", "lookup").code == 0
    assert (hw_profiles.load("half").calibration or {})["dtype"] == "float16,int8"
    typed = nas("calibrate", "--import", "kit", "--profile", "host-cpu")
    assert typed.code == 2
    assert "host-cpu is this machine, which `nas calibrate host-cpu` measures" in typed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kit", "a", "--import", "b"), "--kit and --import cannot be given together"),
        (("--input", "3,96,96"), "--input looks like 3x96x96"),
        (("--input", "0x16x16"), "input must be sizes of at least 1"),
        (("--dtype", "int4"), "dtype must be one of float32, int8, but got 'int4'"),
        (("--networks", "2"), "networks must be at least"),
        (("--networks", "0"), "networks must be at least"),
        (("--space", "convnets"), "unknown search space 'convnets'"),
        (("--runtime", "onnxruntimes"), "unknown runtime 'onnxruntimes'"),
        (("--name", "../x"), "--name is the name of a profile, not a path"),
        (("nvidia-a100",), "to measure it where it is: nas calibrate --kit DIR --profile nvid"),
        (("pixel3",), "nas: pixel3 (Google Pixel 3"),
        (("pynq-z2",), "cannot be measured here"),
        (("no-such-device",), "unknown hardware profile 'no-such-device'"),
        (("--import", "nowhere"), "cannot read nowhere: No such file"),
        (("--kit", "."), "the folder of a kit must be new or empty"),
    ],
)
def test_wrong_requests_are_one_line(
    nas: Nas, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "something.txt").write_text("")
    typed = nas("calibrate", *arguments)
    assert typed.code == 2
    assert message in typed.err
    assert typed.err.count("\n") == 1
