"""The model of a calibrated profile: one network as many, saved, damaged, and far from home."""

import copy
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hw_profiles
from evaluators.calibrated import Calibrated
from evaluators.calibration import METHODS, calibrate
from evaluators.kernel_table import tabulate
from evaluators.lookup import Lookup
from evaluators.modeled import estimate, estimate_many
from evaluators.workload import Kernel, Workload, counted
from hw_profiles import HardwareProfile
from tests.evaluators.synthetic import convolution, device, latencies, moved, networks

DEVICE = device()
NETWORKS = networks(40)
OTHERS = networks(40, seed=1)
MEASURED = latencies(NETWORKS, DEVICE, noise=0.1)
PROFILES = {method: calibrate(DEVICE, NETWORKS, MEASURED.tolist(), method) for method in METHODS}
STRANGE = [
    Kernel("softmax", (1, 64, 64), (1, 64, 64), "float32", 0, 16384, 16384, 0),
    Kernel("attention", (1, 4, 8, 16), (1, 4, 8, 8), "float32", 4096, 4096, 1024, 0, count=3),
    replace(convolution(16, 16, 3, 32), dtype="int8"),
    replace(convolution(16, 16, 3, 32), fused="silu"),
]
"""Kernels with components that no measured network had."""


def model(method: str) -> Calibrated | Lookup:
    kind = Calibrated if method == "physical" else Lookup
    return kind(PROFILES[method], 1, "float32")


def one(*kernels: Kernel) -> Workload:
    return Workload(kernels, 0, 0, "onnxruntime")


@pytest.mark.parametrize("method", METHODS)
class TestOneAsMany:
    workloads = [
        *OTHERS, *NETWORKS[:5], *(one(kernel) for kernel in STRANGE), one(*STRANGE),
        one(*NETWORKS[0].kernels, *STRANGE),
    ]  # fmt: skip

    def test_times_are_those_of_predict(self, method: str) -> None:
        found, runs = model(method).predict(tabulate(self.workloads)), model(method)
        for row, workload in enumerate(self.workloads):
            expected = found.latency_ms[row], found.low_ms[row], found.high_ms[row]
            assert runs.times(workload.kernels)[:3] == pytest.approx(expected, rel=1e-9)

    def test_so_are_estimates(self, method: str) -> None:
        found = estimate_many(self.workloads, PROFILES[method])
        for many, workload in zip(found, self.workloads, strict=True):
            alone = estimate(workload, PROFILES[method])
            assert many.latency_ms == pytest.approx(alone.latency_ms)
            assert (many.low, many.high) == pytest.approx((alone.low, alone.high))
            assert (many.method, many.source) == (alone.method, "modeled")
            assert (many.memory_kb, many.energy_mj) == (alone.memory_kb, alone.energy_mj)

    def test_kernels_and_the_call_add_up(self, method: str) -> None:
        for workload in OTHERS[:5]:
            total, _, _, parts, binds = model(method).times(workload.kernels)
            assert [(p.op, p.in_shape, p.out_shape, p.count) for p in parts] == [
                (k.op, k.in_shape, k.out_shape, k.count) for k in workload.kernels
            ]
            assert 0.8 * total < sum(part.latency_ms for part in parts) <= 1.001 * total
            assert binds in ("compute", "memory", "overhead")

    def test_what_was_not_measured_has_a_positive_time(self, method: str) -> None:
        for kernel in STRANGE:
            alone = estimate(one(kernel), PROFILES[method])
            assert 0 < alone.low <= alone.latency_ms <= alone.high < np.inf

    def test_more_of_it_takes_longer(self, method: str) -> None:
        base = list(NETWORKS[0].kernels)
        times = [
            estimate(one(*base, *more), PROFILES[method]).latency_ms
            for more in ([], STRANGE[:1], [counted(STRANGE[0], 50)])
        ]
        assert times == sorted(times)
        assert times[2] > 1.05 * times[0]

    def test_any_order_of_kernels_is_the_same(self, method: str) -> None:
        kernels = OTHERS[3].kernels
        other = (kernels[0], *reversed(kernels[1:]))
        assert model(method).times(other)[0] == pytest.approx(model(method).times(kernels)[0])


@pytest.mark.parametrize("method", METHODS)
class TestKept:
    def same(self, profile: HardwareProfile, method: str) -> None:
        assert profile == PROFILES[method]
        assert estimate_many(OTHERS, profile) == estimate_many(OTHERS, PROFILES[method])
        assert estimate(OTHERS[0], profile) == estimate(OTHERS[0], PROFILES[method])

    def test_in_a_file(self, method: str, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        hw_profiles.save(PROFILES[method], path)
        self.same(hw_profiles.load(path), method)
        hw_profiles.save(hw_profiles.load(path), tmp_path / "again.yaml")
        assert (tmp_path / "again.yaml").read_bytes() == path.read_bytes()
        assert path.stat().st_size < 100_000

    def test_in_a_pickle(self, method: str) -> None:
        self.same(pickle.loads(pickle.dumps(PROFILES[method])), method)


Change = Callable[[dict[str, Any]], None]


def without(*path: str) -> Change:
    def change(record: dict[str, Any]) -> None:
        for name in path[:-1]:
            record = record[name]
        del record[path[-1]]

    return change


def put(value: Any, *path: str) -> Change:
    def change(record: dict[str, Any]) -> None:
        for name in path[:-1]:
            record = record[name]
        record[path[-1]] = value

    return change


class TestDamaged:
    def refused(self, method: str, change: Change, message: str) -> None:
        record = copy.deepcopy(dict(PROFILES[method].calibration or {}))
        change(record)
        profile = replace(DEVICE, calibration=record)
        for attempt in (
            lambda: estimate(OTHERS[0], profile),
            lambda: estimate_many(OTHERS, profile),
        ):
            with pytest.raises(ValueError, match=message) as caught:
                attempt()
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "change",
        [
            *(without(name) for name in ("coefficients", "scale", "bar", "networks", "residual")),
            without("coefficients", "call"),
            without("coefficients", "weights"),
            without("residual", "kernels"),
            put([1.0], "coefficients"),
            put(-1.0, "coefficients", "weights"),
            put(float("nan"), "coefficients", "weights"),
            put(None, "scale"),
            put(float("inf"), "bar"),
            put("many", "networks"),
            put("abc", "residual", "networks"),
            put({"width": 1}, "residual", "settings"),
            put({"noise": -9.0}, "residual", "settings"),
        ],
    )
    def test_a_physical_one_is_refused(self, change: Change) -> None:
        self.refused("physical", change, "calibration of made-up cannot be read .* it again")

    @pytest.mark.parametrize(
        "change",
        [
            *(without(name) for name in ("times_ms", "kernels", "scale", "call_ms", "bar")),
            put([1.0], "times_ms"),
            put(3, "times_ms"),
            put(-1.0, "call_ms"),
            put("abc", "kernels"),
        ],
    )
    def test_a_table_is_refused(self, change: Change) -> None:
        self.refused("lookup", change, "calibration of made-up cannot be read .* it again")

    @pytest.mark.parametrize("change", [put("magic", "method"), without("method")])
    def test_an_unknown_method_is_refused(self, change: Change) -> None:
        self.refused("physical", change, "is calibrated by an unknown method")


class TestLookup:
    def test_known_kernels_have_their_own_times(self) -> None:
        """Half the convolutions run at half the speed that their size says."""
        fast, slow = convolution(16, 16, 3, 32), convolution(24, 24, 3, 32)
        workloads = [
            one(counted(fast, 1 + n % 4), counted(slow, 1 + n // 4 % 4), moved("add", 16, 32, 2))
            for n in range(16)
        ]
        measured = [
            0.02 + 0.1 * workload.kernels[0].count + 0.5 * workload.kernels[1].count
            for workload in workloads
        ]
        profile = calibrate(DEVICE, workloads, measured, "lookup")
        runs = Lookup(profile, 1, "float32")
        parts = runs.times((fast, slow))[3]
        assert [part.latency_ms for part in parts] == pytest.approx([0.1, 0.5], rel=0.1)
        assert runs.method == "lookup, calibrated on 16 networks"

    def test_the_bar_is_as_wide_for_all(self) -> None:
        found = Lookup(PROFILES["lookup"], 1, "float32").predict(tabulate(OTHERS))
        reach = (PROFILES["lookup"].calibration or {})["bar"]
        assert found.notes == ("",) * 40
        assert found.high_ms / found.latency_ms == pytest.approx(np.full(40, 1 + reach))
        assert found.low_ms / found.latency_ms == pytest.approx(np.full(40, 1 - reach))


@pytest.mark.parametrize("method", METHODS)
class TestOutsideOfWhatWasMeasured:
    """The bar of a calibration holds for what was measured, and nothing else."""

    def reach(self, workload: Workload, method: str, dtype: str = "") -> tuple[float, float, str]:
        found = estimate(workload, PROFILES[method], dtype=dtype)
        return found.low / found.latency_ms, found.high / found.latency_ms, found.method

    def test_networks_like_those_measured_have_its_bar(self, method: str) -> None:
        for workload in OTHERS:
            assert "outside" not in self.reach(workload, method)[2]

    @pytest.mark.parametrize("kernel", STRANGE[:3])
    def test_what_was_never_measured_has_that_of_the_data_sheet(
        self, method: str, kernel: Kernel
    ) -> None:
        low, high, said = self.reach(one(kernel), method)
        factor = DEVICE.uncertainty.value
        assert low < 1 / (0.5 * factor)
        assert high > 0.5 * factor
        assert "outside its calibration (" in said
        assert "that were not measured" in said

    def test_another_dtype(self, method: str) -> None:
        low, high, said = self.reach(OTHERS[0], method, "float16")
        factor = DEVICE.uncertainty.value
        assert low <= 1 / factor * 1.001
        assert high >= factor
        assert re.search(r"outside its calibration \((9\d|100)% of it in kinds of", said)
        assert self.reach(OTHERS[0], method, "float32")[1] < high

    def test_far_larger_and_far_smaller_networks(self, method: str) -> None:
        base = OTHERS[0].kernels
        larger = one(*(counted(kernel, kernel.count * 1000) for kernel in base))
        low, high, said = self.reach(larger, method)
        assert low < 1.001 / DEVICE.uncertainty.value
        assert high >= DEVICE.uncertainty.value
        assert re.search(r"outside its calibration \([\d.e+]+ times its slowest network\)", said)
        assert "times faster than its fastest network" in self.reach(one(base[0]), method)[2]

    def test_the_bar_grows_by_and_by(self, method: str) -> None:
        base = OTHERS[0].kernels
        alone = estimate(OTHERS[0], PROFILES[method]).latency_ms
        slowest = (PROFILES[method].calibration or {})["range_ms"][1] / alone
        ends = [
            self.reach(one(*(counted(k, k.count * round(n * slowest)) for k in base)), method)[1]
            for n in (2, 6, 15, 40, 100)
        ]
        assert ends[0] < 1.3
        assert ends[:4] == sorted(set(ends[:4]))
        assert ends[3] == pytest.approx(ends[4])
