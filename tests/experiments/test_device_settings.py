from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import hw_profiles
from experiments.config import load_config
from experiments.device_settings import DeviceSetting, device_settings
from experiments.runs import Run, create_run
from hw_profiles import host

CPU = DeviceSetting("host-cpu", "1a2b3c", "measured", "onnxruntime", batch=8, threads=2)


def test_a_line_for_people() -> None:
    assert str(CPU) == "host-cpu 1a2b3c, measured, onnxruntime, batch 8, 2 threads"


def test_a_modeled_device_has_no_runtime_of_ours() -> None:
    tpu = DeviceSetting("tpu-v3", "4d5e", "modeled", "onnxruntime", dtype="bfloat16")
    assert str(tpu) == "tpu-v3 4d5e, modeled, bfloat16, batch 1"


@pytest.mark.parametrize(
    "change",
    [
        {"profile": "nvidia-a100"},
        {"fingerprint": "other"},
        {"method": "modeled"},
        {"runtime": "openvino"},
        {"dtype": "bfloat16"},
        {"batch": 1},
        {"threads": 1},
    ],
)
def test_the_key_tells_all_settings_apart(change: dict[str, str]) -> None:
    assert replace(CPU, **change).key != CPU.key  # type: ignore[arg-type]
    assert replace(CPU).key == CPU.key


def test_of_a_run(tmp_path: Path) -> None:
    run = create_run(tmp_path, load_config("digits-cpu", ["devices.cpu.batch=4"]))
    settings = device_settings(Run(run.path))
    assert list(settings) == ["cpu", "gpu", "tpu", "fpga"]
    assert settings["cpu"].batch == 4
    assert settings["cpu"].fingerprint == run.environment["fingerprint"]
    modeled = {setting.fingerprint for setting in settings.values() if setting.method == "modeled"}
    assert len(modeled) == 3


def test_what_may_be_chosen_is_part_of_the_setting(tmp_path: Path) -> None:
    choice = "devices.cpu.runtime=[onnxruntime, openvino]"
    run = create_run(tmp_path, load_config("digits-cpu", [choice]))
    assert device_settings(run)["cpu"].runtime == "onnxruntime or openvino"


def test_a_calibration_changes_what_is_modeled_but_not_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_HOME", str(tmp_path))
    add = "devices.model={profile: host-cpu, method: modeled}"
    run = create_run(tmp_path, load_config("digits-cpu", [add]))
    before = device_settings(run)
    calibrated = replace(host.detect(), calibration={"method": "physical"})
    hw_profiles.save(calibrated, tmp_path / "profiles" / "host-cpu.yaml")
    after = device_settings(run)
    assert after["cpu"] == before["cpu"]
    assert after["model"].fingerprint != before["model"].fingerprint
    assert hw_profiles.load("host-cpu").fingerprint() == run.environment["fingerprint"]


def test_a_profile_that_is_gone_has_no_fingerprint(tmp_path: Path) -> None:
    run = create_run(tmp_path, load_config("digits-cpu", ["devices.gpu.profile=gone"]))
    assert device_settings(run)["gpu"].fingerprint == ""
