"""Calibrations on devices whose coefficients are known."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hw_profiles
from evaluators.calibration import METHODS, calibrate, choose, choose_rows
from evaluators.calibration_fit import Array
from evaluators.components import engine_of
from evaluators.kernel_table import components_of, tabulate
from evaluators.modeled import estimate, estimate_many
from evaluators.workload import Workload
from hw_profiles import HardwareProfile
from tests.evaluators.synthetic import TRUE, device, latencies, networks
from tests.hw_profiles.profiles import circuit, engine

DEVICE = device()
NETWORKS = networks(100)
OTHERS = networks(200, seed=1)
TRUTH = latencies(OTHERS, DEVICE)


def errors(profile: HardwareProfile, truth: Array = TRUTH) -> Array:
    """Relative, of networks that were not measured."""
    found = estimate_many(OTHERS, profile)
    return np.abs(np.array([latency.latency_ms for latency in found]) / truth - 1)


def fitted(count: int, noise: float, method: str = "physical") -> HardwareProfile:
    measured = latencies(NETWORKS, DEVICE, noise=noise)
    return calibrate(DEVICE, NETWORKS[:count], measured[:count].tolist(), method)


class TestAccuracy:
    @pytest.mark.parametrize(("count", "most"), [(10, 0.03), (30, 0.005), (100, 0.002)])
    def test_latencies_are_recovered(self, count: int, most: float) -> None:
        assert errors(DEVICE).mean() > 0.4
        assert errors(fitted(count, noise=0)).mean() < most

    @pytest.mark.parametrize(("count", "most"), [(10, 0.05), (30, 0.035), (100, 0.025)])
    def test_also_under_noise(self, count: int, most: float) -> None:
        found = errors(fitted(count, noise=0.05))
        assert found.mean() < most
        assert (found <= 0.1).mean() > 0.9

    def test_coefficients_are_those_of_the_device(self) -> None:
        found = (fitted(100, noise=0).calibration or {})["coefficients"]
        for name in ("conv.compute", "dense.memory", "overhead"):
            assert found[name] == pytest.approx(TRUE[name], rel=0.1)

    def test_the_dear_half_is_predicted_from_the_cheap_one(self) -> None:
        measured = latencies(NETWORKS, DEVICE, noise=0.02)
        cheap = np.argsort(measured)[:50]
        profile = calibrate(DEVICE, [NETWORKS[n] for n in cheap], measured[cheap].tolist())
        dear = np.quantile(TRUTH, 0.75) < TRUTH
        assert dear.sum() == 50
        assert TRUTH[dear].min() > measured[cheap].max()
        assert (errors(profile)[dear] <= 0.1).mean() >= 0.95

    def test_a_look_up_is_better_than_nothing_but_not_than_physics(self) -> None:
        looked_up, physical = (
            errors(fitted(100, 0.02, method)) for method in ("lookup", METHODS[0])
        )
        assert 1.2 * physical.mean() < looked_up.mean() < 0.3 * errors(DEVICE).mean()

    def test_outliers_do_not_spoil_it(self) -> None:
        measured = latencies(NETWORKS, DEVICE, noise=0.02)
        draw = np.random.default_rng(1)
        wrong = draw.choice(100, 10, replace=False)
        measured[wrong] *= draw.choice([1.6, 2.5, 0.5], 10)
        profile = calibrate(DEVICE, NETWORKS, measured.tolist())
        assert (profile.calibration or {})["robust"]
        assert errors(profile).mean() < 0.03

    @pytest.mark.parametrize("lowering", ["dpu"])
    def test_a_convolution_engine_too(self, lowering: str) -> None:
        runs = engine()
        known, others = networks(30, 0, lowering), networks(60, 1, lowering)
        weights = {"overhead": 2.0, "weights": 3.0, "conv.compute": 1.5, "call": 1.0}
        profile = calibrate(runs, known, latencies(known, runs, weights, 0.01).tolist())
        found = np.array([latency.latency_ms for latency in estimate_many(others, profile)])
        assert np.abs(found / latencies(others, runs, weights) - 1).mean() < 0.02

    def test_a_batch_is_that_of_the_measurements(self) -> None:
        measured = latencies(NETWORKS[:20], DEVICE) * 8
        profile = calibrate(DEVICE, NETWORKS[:20], measured.tolist(), batch=8)
        assert (profile.calibration or {})["batch"] == 8
        found = [latency.latency_ms for latency in estimate_many(NETWORKS[:20], profile, batch=8)]
        assert np.array(found) == pytest.approx(measured, rel=0.1)


class TestErrorBars:
    def covered(self, profile: HardwareProfile) -> float:
        measured = latencies(OTHERS, DEVICE, noise=0.05, seed=7)
        found = estimate_many(OTHERS, profile)
        inside = [f.low <= m <= f.high for f, m in zip(found, measured, strict=True)]
        return float(np.mean(inside))

    @pytest.mark.parametrize("method", METHODS)
    def test_ninety_percent_are_within_them(self, method: str) -> None:
        assert 0.8 <= self.covered(fitted(100, 0.05, method)) <= 0.97

    def test_few_networks_give_no_narrow_ones(self) -> None:
        assert self.covered(fitted(10, 0.05)) >= 0.75

    def test_the_error_that_is_told_is_that_of_other_networks(self) -> None:
        told = (fitted(100, noise=0.05).calibration or {})["error"]
        assert told["mape"] == pytest.approx(4, abs=0.8)  # mean of the noise, absolute
        assert told["w10"] == pytest.approx(95.4, abs=4)


class TestRecord:
    def test_what_was_measured_is_told(self) -> None:
        profile = fitted(10, noise=0)
        about = profile.calibration or {}
        assert {name: about[name] for name in ("method", "networks", "dtype", "batch")} == {
            "method": "physical", "networks": 10, "dtype": "float32", "batch": 1,
        }  # fmt: skip
        measured = latencies(NETWORKS[:10], DEVICE)
        assert about["range_ms"] == pytest.approx([measured.min(), measured.max()], rel=1e-5)
        assert replace(profile, calibration=None) == DEVICE

    def test_another_calibration_replaces_it(self) -> None:
        measured = latencies(NETWORKS[:12], DEVICE).tolist()
        once = calibrate(DEVICE, NETWORKS[:12], measured)
        assert calibrate(fitted(30, 0.05), NETWORKS[:12], measured) == once

    @pytest.mark.parametrize("method", METHODS)
    def test_it_is_deterministic_and_leaves_the_global_generators(self, method: str) -> None:
        before = random.getstate(), np.random.get_state()[1].tolist()
        assert fitted(20, 0.05, method) == fitted(20, 0.05, method)
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before


class TestSibling:
    OTHER = {name: 1.3 * value for name, value in TRUE.items()}

    def test_it_is_a_better_start_than_none(self, tmp_path: Path) -> None:
        path = str(tmp_path / "sibling.yaml")
        hw_profiles.save(fitted(100, noise=0.03), path)
        measured = latencies(OTHERS, DEVICE, self.OTHER, noise=0.03)
        found = {"": 0.0, path: 0.0}
        for start in range(0, 30, 6):
            few = slice(start, start + 6)
            for name in found:
                start_from = replace(DEVICE, sibling=name)
                profile = calibrate(start_from, OTHERS[few], measured[few].tolist())
                found[name] += errors(profile, 1.3 * TRUTH).mean() / 5
                scale = (profile.calibration or {})["scale"]
                assert scale == pytest.approx(1.3 * 2.3, rel=0.3)  # of the data sheet, in any case
        assert found[path] < 0.85 * found[""]

    def test_one_without_a_calibration_changes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "sibling.yaml"
        hw_profiles.save(DEVICE, path)
        measured = latencies(NETWORKS[:10], DEVICE).tolist()
        alone = calibrate(DEVICE, NETWORKS[:10], measured)
        beside = calibrate(replace(DEVICE, sibling=str(path)), NETWORKS[:10], measured)
        assert beside.calibration == alone.calibration

    def test_one_that_is_unknown_is_refused(self) -> None:
        profile = replace(DEVICE, sibling="nobody")
        with pytest.raises(ValueError, match="unknown hardware profile 'nobody'"):
            calibrate(profile, NETWORKS[:10], latencies(NETWORKS[:10], DEVICE).tolist())


class TestRefused:
    workloads = NETWORKS[:8]
    measured = tuple(latencies(NETWORKS[:8], DEVICE).tolist())

    def refused(self, message: str, measured: Sequence[float], **changes: object) -> None:
        arguments = {"profile": DEVICE, "workloads": self.workloads, **changes}
        with pytest.raises(ValueError, match=message) as caught:
            calibrate(measured_ms=measured, **arguments)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)

    def test_too_few(self) -> None:
        self.refused("at least 5 networks, but got 4", self.measured[:4], workloads=NETWORKS[:4])

    def test_not_one_each(self) -> None:
        self.refused("got 8 workloads and 7 measurements", self.measured[:7])
        self.refused(r"one number each, but got shape \(8, 1\)", [[m] for m in self.measured])  # type: ignore[misc]

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
    def test_what_is_no_positive_number(self, value: float) -> None:
        message = f"must be positive numbers, but number 7 is {value}"
        self.refused(message, [*self.measured[:7], value])

    def test_a_constant(self) -> None:
        self.refused("must differ between networks, but all are 2 ms", [2.0] * 8)

    @pytest.mark.parametrize("factor", [1e-3, 1e3])
    def test_another_unit(self, factor: float) -> None:
        self.refused(
            "must be in milliseconds.*is the unit wrong", [factor * m for m in self.measured]
        )
        calibrate(DEVICE, self.workloads, [factor * m for m in self.measured], check_unit=False)

    def test_another_lowering(self) -> None:
        others = [*self.workloads[:7], *networks(1, 0, "eager")]
        self.refused(
            "lowered for 'onnxruntime', but got one for 'eager'", self.measured, workloads=others
        )

    def test_nothing_to_run(self) -> None:
        for place in (0, 7):
            empty = list(self.workloads)
            empty[place] = Workload((), 0, 0, "onnxruntime")
            self.refused("workloads with kernels", self.measured, workloads=empty)

    def test_an_unknown_method_a_batch_and_a_dtype(self) -> None:
        self.refused(
            "method must be one of physical, lookup, but got 'magic'", self.measured, method="magic"
        )
        self.refused("batch must be at least 1, but got 0", self.measured, batch=0)
        self.refused("no peak of its matrix engine for bfloat16", self.measured, dtype="bfloat16")

    def test_a_circuit(self) -> None:
        workloads = networks(8, 0, "dataflow")
        self.refused("a circuit", self.measured, profile=circuit(), workloads=workloads)
        with pytest.raises(ValueError, match="a circuit"):
            choose(workloads, circuit(), 3)


class TestChoose:
    def test_it_is_deterministic_and_takes_each_once(self) -> None:
        taken = choose(NETWORKS, DEVICE, 20, seed=3)
        assert taken == choose(NETWORKS, DEVICE, 20, seed=3)
        assert len(set(taken)) == 20
        assert set(taken) <= set(range(100))
        assert sorted(choose(NETWORKS, DEVICE, 100)) == list(range(100))
        assert len(choose(NETWORKS, DEVICE, 1)) == 1

    def test_one_half_is_random(self) -> None:
        one, other = (choose(NETWORKS, DEVICE, 20, seed) for seed in (1, 2))
        assert len(set(one[:10]) & set(other[:10])) < 5
        assert one[:10] == np.random.default_rng(1).permutation(100)[:10].tolist()

    def test_the_other_half_spans_what_random_ones_do_not(self) -> None:
        """Volume of the shares of the components, by D-optimality, against random choices."""
        table = tabulate(NETWORKS)
        parts = components_of(table, engine_of(DEVICE, 1, "float32"))
        amounts = table.counts @ parts.each
        shares = amounts / amounts.sum(axis=1, keepdims=True)
        shares /= shares.std(axis=0)

        def volume(rows: Sequence[int]) -> float:
            information = shares[rows].T @ shares[rows] + 0.1 * np.eye(shares.shape[1])
            return float(np.linalg.slogdet(information)[1])

        chosen = [volume(choose(NETWORKS, DEVICE, 20, seed)) for seed in range(10)]
        drawn = [
            volume(np.random.default_rng(seed).permutation(100)[:20].tolist()) for seed in range(10)
        ]
        assert min(chosen) > np.median(drawn)
        assert np.mean(chosen) > max(drawn)

    def test_rows_of_a_table_are_taken_alike(self) -> None:
        order = np.random.default_rng(0).permutation(100)
        rows = choose_rows(tabulate([NETWORKS[n] for n in order]), DEVICE, 12)
        assert [int(order[row]) for row in rows] == choose(NETWORKS, DEVICE, 12)

    @pytest.mark.parametrize("count", [0, -1, 101])
    def test_more_than_there_are_is_refused(self, count: int) -> None:
        with pytest.raises(ValueError, match=f"count must be 1 to 100.*but got {count}"):
            choose(NETWORKS, DEVICE, count)

    def test_another_lowering_is_refused(self) -> None:
        with pytest.raises(ValueError, match="needs workloads lowered for 'onnxruntime'"):
            choose(networks(5, 0, "xla"), DEVICE, 3)


def test_an_estimate_of_a_calibrated_profile_is_labeled() -> None:
    latency = estimate(OTHERS[0], fitted(10, noise=0.05))
    assert (latency.source, latency.method) == ("modeled", "physical, calibrated on 10 networks")
