"""What is known before training, by the profile that is there: calibrated or not."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

import hw_profiles
from evaluators import runtimes
from experiments.calibrating import Setting, calibrate_profile
from experiments.config import ExperimentConfig, load_config
from experiments.pipeline import CandidatePipeline, Parts
from hw_profiles import HardwareProfile, host
from nas.choices import Genotype, sample
from nas.trials import CandidateError, Provenance, Readings, sure_violation
from tests.experiments.calibrated import samples
from tests.experiments.small import small_config

ESTIMATE = "estimated_latency_ms.cpu"


@pytest.fixture(scope="module")
def calibrated() -> HardwareProfile:
    """This machine, calibrated on networks in float32 and on ONNX Runtime."""
    return calibrate_profile(host.detect(), samples(12), Setting("onnxruntime 1.0")).profile


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAS_HOME", str(tmp_path))
    return tmp_path / "profiles" / "host-cpu.yaml"


def plain(genotype: Genotype, **values: str) -> Genotype:
    """Without compression, but for what is said."""
    rest = {n: v for n, v in genotype.items() if not n.startswith(("prune", "quantize"))}
    return {**rest, "prune.method": "none", "quantize.scheme": "none", **values}


def screened(config: ExperimentConfig, **values: str) -> tuple[Readings, Provenance]:
    parts = Parts.of(config)
    genotype = plain(sample(parts.choices, random.Random(4)), **values)
    pipeline = CandidatePipeline(parts, Path(), 60.0)
    readings = pipeline.screen(pipeline.candidate(genotype))
    return readings, readings.provenance[ESTIMATE]


def reach(readings: Readings, bar: Provenance) -> float:
    assert bar.low is not None
    return readings[ESTIMATE] / bar.low


def test_a_calibrated_profile_of_this_machine_is_what_a_search_uses(
    home: Path, calibrated: HardwareProfile
) -> None:
    before, bar = screened(small_config())
    assert bar.method == "roofline, datasheet"
    assert reach(before, bar) == pytest.approx(host.detect().uncertainty.value)
    hw_profiles.save(calibrated, home)
    readings, bar = screened(small_config())
    assert bar.method == "physical, calibrated on 12 networks"
    assert reach(readings, bar) < 2
    assert readings[ESTIMATE] != before[ESTIMATE]


def test_a_narrow_bar_rejects_what_a_wide_one_lets_pass(
    home: Path, calibrated: HardwareProfile
) -> None:
    bound = screened(small_config())[0][ESTIMATE] / 2
    hw_profiles.save(calibrated, home)
    narrow, _ = screened(small_config())
    bound = narrow[ESTIMATE] / 2
    rule = f"constraints=['latency_ms.cpu <= {bound}']"
    (constraint,) = small_config(rule).constraints_parsed()
    assert sure_violation(constraint, narrow) > 0
    home.unlink()
    wide, _ = screened(small_config())
    alike = Readings({**wide, ESTIMATE: narrow[ESTIMATE]}, {ESTIMATE: _scaled(wide, narrow)})
    assert sure_violation(constraint, alike) == 0


def _scaled(wide: Readings, narrow: Readings) -> Provenance:
    """The bar of the data sheet, around the other estimate."""
    factor, bar = narrow[ESTIMATE] / wide[ESTIMATE], wide.provenance[ESTIMATE]
    assert bar.low is not None
    assert bar.high is not None
    return replace(bar, low=bar.low * factor, high=bar.high * factor)


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("devices.cpu.runtime=openvino", {}),
        ("devices.cpu.batch=32", {}),
        ("seed=0", {"quantize.scheme": "static"}),
    ],
)
def test_a_calibration_of_another_setting_does_not_narrow_the_bar(
    home: Path, calibrated: HardwareProfile, override: str, values: dict[str, str]
) -> None:
    if "openvino" in override:
        runtimes.version("openvino")  # without its telemetry
    hw_profiles.save(calibrated, home)
    readings, bar = screened(small_config(override), **values)
    assert bar.method.startswith("physical, calibrated on 12 networks, ")
    assert bar.method.endswith(", in another setting")
    assert reach(readings, bar) >= host.detect().uncertainty.value * 0.999


def test_modeled_devices_keep_their_number_and_bar(home: Path, calibrated: HardwareProfile) -> None:
    hw_profiles.save(calibrated, home)
    config = load_config("smoke", ["devices.cpu.batch=32", "devices.model.profile=host-cpu",
                                   "devices.model.method=modeled"])  # fmt: skip
    readings, _ = screened(config)
    assert "another" not in readings.provenance["latency_ms.model"].method
    assert "latency_ms.model" in readings


@pytest.mark.parametrize(
    "space", ["{kind: cell, channels: 8, cells: 1}", "{kind: python, file: FILE}"]
)
def test_a_network_that_ignores_its_input_is_not_trained(tmp_path: Path, space: str) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "from nas.choices import Choice\n"
        "CHOICES = [Choice('scale', (0.0, 1.0))]\n"
        "class Scaled(nn.Module):\n"
        "    def __init__(self, by, task):\n"
        "        super().__init__()\n"
        "        self.by = by\n"
        "        self.linear = nn.Sequential(nn.Flatten(), nn.Linear(64, task.outputs))\n"
        "    def forward(self, x):\n"
        "        return self.linear(x * self.by if self.by else x.mul(0.0))\n"
        "def build(genotype, task):\n"
        "    return Scaled(genotype['scale'], task)\n"
    )
    config = small_config(f"space={space.replace('FILE', str(tmp_path / 'mine.py'))}")
    parts = Parts.of(config)
    rest = plain(sample(parts.choices, random.Random(0)))
    bad = {n: {"edge": "none", "scal": 0.0}.get(n[:4], v) for n, v in rest.items()}
    good = {n: {"edge": "conv1x1", "scal": 1.0}.get(n[:4], v) for n, v in rest.items()}
    pipeline = CandidatePipeline(parts, tmp_path, 60.0)
    look = pipeline.screen if parts.screen.is_fast else parts.screen.thorough
    assert "macs" in look(pipeline.candidate(good))
    with pytest.raises(CandidateError, match="does not depend on its input"):
        look(pipeline.candidate(bad))
