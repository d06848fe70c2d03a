"""Measured networks become a profile that predicts others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import hw_profiles
from evaluators.modeled import estimate
from experiments.calibrating import (
    Calibrated,
    Setting,
    calibrate_profile,
    save_calibrated,
)
from experiments.calibrating_networks import LEAST
from hw_profiles import host
from tests.experiments.calibrated import networks_16, samples, small_networks, true_ms

SETTING = Setting("onnxruntime 9.9", date="2026-11-22", machine="a formula")
PROFILE = dataclasses.replace(
    hw_profiles.load("generic-cpu"), name="host-cpu", identity=host.detect().identity
)
"""This machine without the tiles of its processor, which a formula does not have."""


@pytest.fixture(scope="module")
def calibrated() -> Calibrated:
    return calibrate_profile(PROFILE, samples(20), SETTING)


def test_the_profile_predicts_networks_that_were_not_measured(calibrated: Calibrated) -> None:
    others = small_networks(40)[20:]
    errors = [
        estimate(networks_16().workload(network), calibrated.profile).latency_ms / true_ms(network)
        for network in others
    ]
    before = [
        estimate(networks_16().workload(network), PROFILE).latency_ms / true_ms(network)
        for network in others
    ]
    assert sum(abs(e - 1) <= 0.1 for e in errors) >= 0.5 * len(others)
    assert sum(abs(e - 1) <= 0.1 for e in before) < 0.2 * len(others)


def test_it_says_where_it_comes_from(calibrated: Calibrated) -> None:
    about = calibrated.profile.calibration or {}
    assert about["method"] == "physical"
    assert about["networks"] == 20
    said = {name: about[name] for name in ("date", "runtime", "machine", "batch", "threads")}
    assert said == {
        "date": "2026-11-22",
        "runtime": "onnxruntime 9.9",
        "machine": "a formula",
        "batch": 1,
        "threads": 1,
    }
    assert (about["dtype"], about["space"], about["input_shape"]) == (
        "float32",
        "convnet",
        [1, 16, 16],
    )
    assert set(about["error"]) == {"mape", "w10"}


def test_a_calibrated_host_is_still_this_machine(calibrated: Calibrated) -> None:
    assert calibrated.profile.fingerprint() == PROFILE.fingerprint()
    assert calibrated.profile.name == "host-cpu"


def test_each_network_is_predicted_by_a_model_that_did_not_see_it(calibrated: Calibrated) -> None:
    points = calibrated.points
    assert [point.measured_ms for point in points] == [s.latency_ms for s in samples(20)]
    fitted = [
        estimate(networks_16().workload(sample.network), calibrated.profile).latency_ms
        for sample in samples(20)
    ]
    assert all(p.predicted.latency_ms != f for p, f in zip(points, fitted, strict=True))
    ((dtype, (mape, w10)),) = calibrated.errors().items()
    assert dtype == "float32"
    assert mape < 15
    assert w10 > 40


def test_two_dtypes_make_one_profile() -> None:
    both = [*samples(16), *samples(16, "int8")]
    calibrated = calibrate_profile(PROFILE, both, SETTING)
    assert (calibrated.profile.calibration or {})["dtype"] == "float32,int8"
    assert list(calibrated.errors()) == ["float32", "int8"]
    network = small_networks(20)[19]
    for dtype in ("float32", "int8"):
        found = estimate(networks_16().workload(network, dtype=dtype), calibrated.profile)
        assert found.latency_ms == pytest.approx(true_ms(network, dtype), rel=0.25)


def test_what_is_not_quantized_stays_in_float_where_all_networks_are_int8() -> None:
    measured = samples(16, "int8")
    calibrated = calibrate_profile(PROFILE, measured, SETTING)
    works = [networks_16().workload(each.network, dtype="int8") for each in measured]
    mixed = [work for work in works if any(kernel.dtype == "float32" for kernel in work.kernels)]
    assert mixed
    for work in mixed:
        point = calibrated.points[works.index(work)]
        seen = estimate(work, calibrated.profile).latency_ms
        assert seen == pytest.approx(point.measured_ms, rel=0.3)
        assert seen != estimate(work, calibrated.profile, dtype="int8").latency_ms


def test_the_saved_profile_is_found_first_by_its_name(
    calibrated: Calibrated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_HOME", str(tmp_path))
    path, picture = save_calibrated(calibrated)
    assert path == tmp_path / "profiles" / "host-cpu.yaml"
    assert hw_profiles.load("host-cpu") == calibrated.profile
    assert picture.read_bytes().startswith(b"\x89PNG")
    network = small_networks(40)[30]
    workload = networks_16().workload(network)
    assert estimate(workload, hw_profiles.load("host-cpu")).latency_ms == pytest.approx(
        estimate(workload, calibrated.profile).latency_ms, rel=1e-4
    )


def test_another_name_and_method() -> None:
    calibrated = calibrate_profile(PROFILE, samples(12), SETTING, "lookup", "my-pi")
    assert calibrated.profile.name == "my-pi"
    assert (calibrated.profile.calibration or {})["method"] == "lookup"


def test_batches_are_examples_a_call() -> None:
    four = [dataclasses.replace(s, latency_ms=4 * s.latency_ms) for s in samples(20, noise=0)]
    setting = dataclasses.replace(SETTING, batch=4)
    profile = calibrate_profile(PROFILE, four, setting).profile
    network = small_networks(40)[25]
    found = estimate(networks_16().workload(network), profile, batch=4).latency_ms
    assert found == pytest.approx(4 * true_ms(network), rel=0.15)


def test_too_few_and_a_wrong_unit_are_refused() -> None:
    with pytest.raises(ValueError, match=f"needs {LEAST} measured networks, but got 3"):
        calibrate_profile(PROFILE, samples(3), SETTING)
    seconds = [dataclasses.replace(s, latency_ms=s.latency_ms / 1000) for s in samples(12)]
    with pytest.raises(ValueError, match="is the unit wrong"):
        calibrate_profile(PROFILE, seconds, SETTING)
