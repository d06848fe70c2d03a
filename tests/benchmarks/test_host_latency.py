"""The benchmark of the latency model on this machine, on made-up latencies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import host_networks
from benchmarks.host_latency import (
    Data,
    Prediction,
    data_of,
    figures,
    line,
    macs_affine,
    rows,
    splits,
)
from benchmarks.host_networks import Measured, draw, latencies, measure_all, read, write
from experiments.calibrating_networks import Networks
from hw_profiles import host
from tests.experiments.calibrated import networks_16, small_networks, true_ms

PROFILE = host.detect()


def made_up(count: int) -> list[Measured]:
    return [
        Measured(network, {d: {"latency_ms": true_ms(network, d)} for d in ("float32", "int8")})
        for network in small_networks(count)
    ]


def test_figures_of_a_prediction() -> None:
    measured = np.array([1.0, 2.0, 4.0, 8.0])
    found = figures(
        Prediction(measured * [1.05, 1.0, 1.2, 0.8], measured * 0.9, measured * [1, 1, 0.95, 1]),
        measured,
    )
    assert found["w10"] == 50.0
    assert found["mape"] == pytest.approx(100 * 0.45 / 4)
    assert found["kendall"] == pytest.approx(1.0)
    assert found["coverage90"] == 75.0
    assert np.isnan(figures(Prediction(measured), measured)["coverage90"])
    assert figures(Prediction(measured[::-1]), measured)["kendall"] == pytest.approx(-1.0)


def test_the_baseline_is_affine_in_the_macs() -> None:
    workloads = [networks_16().workload(network) for network in small_networks(12)]
    exact = np.array([0.01 + 2e-8 * workload.macs for workload in workloads])
    found = macs_affine(workloads[:8], exact[:8], workloads[8:])
    assert found.ms == pytest.approx(exact[8:])


def test_no_network_is_fitted_and_tested() -> None:
    networks = Networks(PROFILE.lowering)
    workloads = [networks.workload(network) for network in small_networks(24)]
    families = ["convnet", "transformer"] * 12
    found = splits(Data(families, workloads, np.ones(24)), PROFILE, shots=6, seeds=2)
    assert list(found) == ["all", "convolutional -> transformer", "transformer -> convolutional"]
    for name, parts in found.items():
        assert len(parts) == 2
        for train, test in parts:
            assert not set(train) & set(test)
            assert len(train) == 6
            if name != "all":
                assert {families[i] for i in train} != {families[i] for i in test}


def test_rows_say_how_good_each_model_is() -> None:
    found = rows(made_up(24), PROFILE, shots=16, seeds=1)
    assert len(found) == 2 * 4
    for row in found:
        assert set(row) == {
            *("dtype", "split", "model", "shots", "n_test", "seeds"),
            *("w10", "mape", "kendall", "coverage90"),
        }
        assert (row["shots"], row["n_test"]) == (16, 8)
    by_model = {row["model"]: row for row in found if row["dtype"] == "float32"}
    assert by_model["physical"]["mape"] < by_model["data sheet"]["mape"]  # type: ignore[operator]
    assert "goals met" in line(found[0]) or "MISSED" in line(found[0])
    assert "MISSED" not in line(by_model["lookup"])


def test_what_was_measured_is_read_back(tmp_path: Path) -> None:
    networks = made_up(4)
    write(networks, tmp_path / "m.json")
    again = read(tmp_path / "m.json")
    assert again == networks
    assert latencies(again, "int8") == [true_ms(n, "int8") for n in small_networks(4)]
    data = data_of(again, "int8", PROFILE.lowering)
    assert data.families == ["convnet"] * 4
    assert {kernel.dtype for kernel in data.workloads[0].kernels} == {"int8"}


def test_only_what_is_missing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = made_up(3)
    networks[1].seen.pop("int8")
    asked: list[str] = []

    def time_all(files: Any, device: object, known: dict[str, Any], apart_s: float) -> Any:
        for name, file in files.items():
            if name not in known:
                asked.append(file().name)
                known[name] = {"latency_ms": 7.0}
                yield 1, 1

    monkeypatch.setattr(host_networks, "time_all", time_all)
    measure_all(networks, tmp_path / "m.json", tmp_path / "files")
    assert asked == [f"{networks[1].name}.int8.onnx"]
    assert networks[1].seen["int8"] == {"latency_ms": 7.0}
    assert read(tmp_path / "m.json") == networks


def test_families_and_sizes_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_networks, "SIDES", (16, 24))
    monkeypatch.setattr(host_networks, "FAMILIES", {"convnet": {"stages": 1}, "mobile": {}})
    found = draw(8, 0, PROFILE)
    assert [each.family for each in found].count("convnet") == 4
    assert {each.network.input_shape for each in found} == {(3, 16, 16), (3, 24, 24)}
    assert [each.name for each in draw(8, 0, PROFILE)] == [each.name for each in found]
    networks = Networks()
    assert all(networks.workload(each.network).macs > 0 for each in found)
