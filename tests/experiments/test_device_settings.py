from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.config import load_config
from experiments.device_settings import DeviceSetting, device_settings
from experiments.runs import Run, create_run

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


def test_a_profile_that_is_gone_has_no_fingerprint(tmp_path: Path) -> None:
    run = create_run(tmp_path, load_config("digits-cpu", ["devices.gpu.profile=gone"]))
    assert device_settings(run)["gpu"].fingerprint == ""
