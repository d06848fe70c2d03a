"""Estimates of the shipped devices, and the evaluator."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

import hw_profiles
from evaluators.devices import Device
from evaluators.modeled import ModeledLatency, energy_mj, estimate, estimate_many, lowering_on
from evaluators.workload import Workload, trace, with_dtype
from hw_profiles import HardwareProfile
from nas.trials import Candidate, CandidateError, Readings
from tests.evaluators.workload_nets import cnv, conv, head, mobile
from tests.hw_profiles.profiles import circuit, fig, processor

LOWERINGS = ("onnxruntime", "onnxruntime-nchwc8", "xla", "dataflow")
NET = {lowering: trace(mobile(), (1, 3, 32, 32), lowering) for lowering in LOWERINGS}


@pytest.fixture(
    scope="module",
    params=["host-cpu", "nvidia-a100", "tpu-v3", "pynq-z2"],
    name="profile",
)
def _profile(request: pytest.FixtureRequest) -> HardwareProfile:
    return hw_profiles.load(request.param)


def plain(width: int = 32, depth: int = 3, kernel: int = 3, size: int = 32) -> nn.Module:
    body = [conv(width, width, kernel) for _ in range(depth)]
    return nn.Sequential(conv(3, width), *body, head(width, 10))


class TestShippedDevices:
    def test_the_bar_is_the_uncertainty_of_the_profile(self, profile: HardwareProfile) -> None:
        latency = estimate(NET[profile.lowering], profile)
        factor = profile.uncertainty.value
        assert latency.source == "modeled"
        assert latency.low == pytest.approx(latency.latency_ms / factor)
        assert latency.high == pytest.approx(latency.latency_ms * factor)
        assert latency.low < latency.latency_ms < latency.high
        assert latency.method
        assert latency.binds in ("compute", "memory", "overhead")

    def test_every_kernel_is_in_the_breakdown(self, profile: HardwareProfile) -> None:
        workload = NET[profile.lowering]
        parts = estimate(workload, profile).kernels
        assert [(p.op, p.in_shape, p.out_shape, p.count) for p in parts] == [
            (k.op, k.in_shape, k.out_shape, k.count) for k in workload.kernels
        ]
        computing = [part for part in parts if part.op != "reorder" or profile.kind == "cpu"]
        assert all(part.latency_ms > 0 and part.binds for part in computing)

    @pytest.mark.parametrize(
        "grow",
        [
            lambda n: (plain(width=8 * n), 32),
            lambda n: (plain(depth=n), 32),
            lambda n: (plain(kernel=2 * n - 1), 32),
            lambda n: (plain(), 8 * n),
            lambda n: (mobile(width=8 * n), 32),
        ],
        ids=["width", "depth", "kernel", "resolution", "mobile width"],
    )
    def test_more_work_is_never_faster(
        self, profile: HardwareProfile, grow: Callable[[int], tuple[nn.Module, int]]
    ) -> None:
        macs, times = [], []
        for n in range(1, 8):
            net, size = grow(n)
            workload = trace(net, (1, 3, size, size), profile.lowering)
            macs.append(workload.macs)
            times.append(estimate(workload, profile).latency_ms)
        assert macs == sorted(macs)
        assert times == sorted(times)
        assert times[-1] > times[0]

    def test_a_batch_is_slower_than_one_but_not_than_one_by_one(
        self, profile: HardwareProfile
    ) -> None:
        workload = NET[profile.lowering]
        one, many = (estimate(workload, profile, n).latency_ms for n in (1, 32))
        spills = 3.4 if profile.kind == "cpu" else 1.0  # a batch leaves the cache
        assert one < many < 32 * one * spills

    def test_an_estimate_is_the_same_in_another_process(self, profile: HardwareProfile) -> None:
        workload, other = pickle.loads(pickle.dumps((NET[profile.lowering], profile)))
        assert estimate(workload, other) == estimate(NET[profile.lowering], profile)

    def test_a_workload_of_another_lowering_is_refused(self, profile: HardwareProfile) -> None:
        workload = trace(mobile(), (1, 3, 32, 32), "eager")
        with pytest.raises(
            ValueError, match=f"needs a workload lowered for '{profile.lowering}', b"
        ):
            estimate(workload, profile)

    def test_a_batch_below_one_and_an_empty_workload_are_refused(
        self, profile: HardwareProfile
    ) -> None:
        with pytest.raises(ValueError, match="batch must be at least 1, but got 0"):
            estimate(NET[profile.lowering], profile, batch=0)
        with pytest.raises(ValueError, match="needs a workload with kernels"):
            estimate(Workload((), 0, 0, profile.lowering), profile)


class TestKnownBehaviour:
    """Directions that are known from measurements, whatever the exact figures."""

    def test_launches_decide_on_a_gpu_at_batch_1(self) -> None:
        a100 = hw_profiles.load("nvidia-a100")
        latency = estimate(NET["onnxruntime"], a100)
        assert latency.binds == "overhead"
        deep = trace(plain(width=16, depth=20), (1, 3, 32, 32))
        wide = trace(plain(width=64, depth=4), (1, 3, 32, 32))
        assert deep.macs < wide.macs
        assert estimate(deep, a100).latency_ms > estimate(wide, a100).latency_ms

    def test_narrow_layers_leave_the_matrix_unit_of_a_tpu_empty(self) -> None:
        tpu = hw_profiles.load("tpu-v3")
        narrow = trace(plain(width=64, size=128), (64, 3, 128, 128), "xla")
        full = trace(plain(width=128, size=128), (64, 3, 128, 128), "xla")
        ratio = estimate(full, tpu).latency_ms / estimate(narrow, tpu).latency_ms
        assert full.macs > 3.8 * narrow.macs
        assert ratio < 3

    def test_a_board_with_dsp_blocks_needs_milliseconds_for_cnv_with_int8(self) -> None:
        """58 million products on 176 multipliers at 100 MHz: at least 3.3 ms."""
        workload = trace(cnv(), (1, 3, 32, 32), "dataflow")
        latency = estimate(workload, hw_profiles.load("pynq-z2"), dtype="int8")
        assert workload.macs / 176 / 100e6 * 1e3 < latency.latency_ms < 15

    def test_half_the_bytes_are_not_slower(self, profile: HardwareProfile) -> None:
        if profile.kind == "fpga":
            one, other = "int8", "int16"
        else:
            one, other = "bfloat16", "float32"
        workload = NET[profile.lowering]
        times = [estimate(workload, profile, 32, dtype).latency_ms for dtype in (one, other)]
        assert times[0] <= times[1]


FIGURES = {"mac_float32": fig(2e-12), "mac_float16": fig(1e-12), "byte": fig(1e-10)}


class TestEnergyAndMemory:
    net = NET["onnxruntime"]
    profile = processor(energy_j=FIGURES, power_w={"idle": fig(5)})
    moved = sum((k.input_bytes + k.output_bytes) * k.count for k in net.kernels)
    weights = sum(k.weight_bytes * k.count for k in net.kernels)

    def test_products_bytes_and_idle_power_add_up(self) -> None:
        latency = estimate(self.net, self.profile)
        working = self.net.macs * 2e-12 + (self.moved + self.weights) * 1e-10
        assert latency.energy_mj == pytest.approx(1e3 * working + 5 * latency.latency_ms)
        assert energy_mj(self.net, self.profile, 2) == pytest.approx(1e3 * working + 10)

    def test_a_batch_reads_the_weights_once(self) -> None:
        working = 8 * self.net.macs * 2e-12 + (8 * self.moved + self.weights) * 1e-10
        assert energy_mj(self.net, self.profile, 0, batch=8) == pytest.approx(1e3 * working)

    def test_it_is_that_of_the_dtype(self) -> None:
        working = self.net.macs * 1e-12 + (self.moved + self.weights) / 2 * 1e-10
        found = energy_mj(self.net, self.profile, 0, dtype="float16")
        assert found == pytest.approx(1e3 * working)

    @pytest.mark.parametrize(
        ("figures", "dtype"), [({}, ""), ({"mac_float32": fig(1e-12)}, ""), (FIGURES, "int8")]
    )
    def test_where_a_figure_is_missing_it_is_not_known(
        self, figures: dict[str, Any], dtype: str
    ) -> None:
        profile = processor(energy_j=figures)
        assert estimate(self.net, profile, dtype=dtype).energy_mj is None
        assert estimate_many([self.net], profile, dtype=dtype)[0].energy_mj is None

    def test_without_idle_power_only_work_counts(self) -> None:
        assert energy_mj(self.net, processor(energy_j=FIGURES), 1e6) == energy_mj(
            self.net, self.profile, 0
        )

    @pytest.mark.parametrize(("batch", "dtype", "share"), [(1, "", 1), (4, "", 4), (4, "int8", 1)])
    def test_memory_is_the_peak_of_the_activations(
        self, batch: int, dtype: str, share: int
    ) -> None:
        kilobytes = share * self.net.peak_memory_bytes / 1024
        assert estimate(self.net, self.profile, batch, dtype).memory_kb == kilobytes
        assert estimate_many([self.net], self.profile, batch, dtype)[0].memory_kb == kilobytes
        unknown = Workload(self.net.kernels, 0, 0, "onnxruntime")
        assert estimate(unknown, self.profile).memory_kb is None


class TestManyAtOnce:
    @pytest.mark.parametrize("batch", [1, 16])
    def test_they_are_the_estimates_one_by_one(self, profile: HardwareProfile, batch: int) -> None:
        nets = (mobile(), plain(), plain(width=16, depth=5))
        workloads = [trace(net, (1, 3, 32, 32), profile.lowering) for net in nets]
        found = estimate_many(workloads, profile, batch)
        for many, workload in zip(found, workloads, strict=True):
            one = estimate(workload, profile, batch)
            assert many.latency_ms == pytest.approx(one.latency_ms)
            assert (many.low, many.high) == pytest.approx((one.low, one.high))
            assert many.energy_mj == (one.energy_mj and pytest.approx(one.energy_mj))
            assert (many.memory_kb, many.method) == (one.memory_kb, one.method)

    def test_none_are_none_and_each_is_checked(self, profile: HardwareProfile) -> None:
        assert estimate_many([], profile) == []
        wrong = trace(mobile(), (1, 3, 32, 32), "eager")
        with pytest.raises(ValueError, match="needs a workload lowered for"):
            estimate_many([NET[profile.lowering], wrong], profile)


def candidate(**genotype: str) -> Candidate:
    return Candidate(genotype, "training", "candidate", workload=NET)


class TestEvaluator:
    def test_it_declares_what_it_gives(self) -> None:
        evaluator = ModeledLatency(Device("gpu", processor(), "modeled"))
        assert (evaluator.stage, evaluator.needs) == ("screen", "")
        assert evaluator.provides == ("latency_ms.gpu",)
        estimated = ModeledLatency(Device("cpu", processor(), "measured"))
        assert estimated.provides == ("estimated_latency_ms.cpu",)

    def test_the_reading_is_the_estimate_with_its_bar(self) -> None:
        device = Device("gpu", processor(), "modeled", dtype="float16", batch=4)
        readings = ModeledLatency(device).evaluate(candidate())
        expected = estimate(NET["onnxruntime"], processor(), 4, "float16")
        assert isinstance(readings, Readings)
        assert readings == {"latency_ms.gpu": expected.latency_ms}
        provenance = readings.provenance["latency_ms.gpu"]
        assert provenance.source == "modeled"
        assert (provenance.low, provenance.high) == (expected.low, expected.high)
        assert (provenance.device, provenance.dtype, provenance.batch) == ("made-up", "float16", 4)
        assert provenance.method == "roofline, datasheet"

    def test_the_workload_of_the_devices_lowering_is_taken(self) -> None:
        tpu = hw_profiles.load("tpu-v3")
        readings = ModeledLatency(Device("tpu", tpu, "modeled")).evaluate(candidate())
        assert readings["latency_ms.tpu"] == estimate(NET["xla"], tpu).latency_ms

    @pytest.mark.parametrize(
        ("profile", "scheme", "dtype"),
        [
            (processor(kind="cpu"), "none", "float32"),
            (processor(kind="cpu"), "dynamic", "float32"),
            (processor(kind="cpu"), "static", "int8"),
            (circuit(dtype="int16"), "none", "int16"),
            (circuit(dtype="int16"), "static", "int8"),
            (processor(dtype="float16"), "static", "float16"),
            (processor(kind="tpu"), "static", "float32"),
        ],
    )
    def test_a_quantized_candidate_is_int8_where_the_device_computes_that(
        self, profile: HardwareProfile, scheme: str, dtype: str
    ) -> None:
        device = Device("d", profile, "modeled")
        readings = ModeledLatency(device).evaluate(candidate(**{"quantize.scheme": scheme}))
        assert readings.provenance["latency_ms.d"].dtype == dtype
        workload = with_dtype(NET[profile.lowering], dtype)
        assert readings["latency_ms.d"] == estimate(workload, profile).latency_ms

    def test_the_runtime_is_the_assumed_one_and_threads_are_those_of_a_cpu(self) -> None:
        for kind, threads in (("cpu", 1), ("tpu", None)):
            device = Device("d", processor(kind=kind, lowering="xla"), "modeled", threads=4)
            provenance = ModeledLatency(device).evaluate(candidate()).provenance["latency_ms.d"]
            assert (provenance.runtime, provenance.threads) == ("xla", threads)

    @pytest.mark.parametrize("workload", [None, {}, {"eager": NET["xla"]}, NET["xla"]])
    def test_a_candidate_without_the_workload_is_refused(self, workload: Any) -> None:
        empty = Candidate({}, "training", "candidate", workload=workload)
        with pytest.raises(CandidateError, match="no workload lowered for 'onnxruntime'"):
            ModeledLatency(Device("gpu", processor(), "modeled")).evaluate(empty)

    def test_energy_is_given_where_it_is_known(self) -> None:
        profile = processor(energy_j=FIGURES, power_w={"idle": fig(5)})
        evaluator = ModeledLatency(Device("gpu", profile, "modeled"))
        assert evaluator.provides == ("latency_ms.gpu", "energy_mj.gpu")
        readings = evaluator.evaluate(candidate())
        assert readings["energy_mj.gpu"] == estimate(NET["onnxruntime"], profile).energy_mj
        assert readings.provenance["energy_mj.gpu"].source == "modeled"
        other = ModeledLatency(Device("gpu", profile, "modeled", dtype="int8"))
        assert set(other.evaluate(candidate())) == {"latency_ms.gpu"}

    def test_a_quantized_candidate_is_lowered_so_where_it_can_be(self) -> None:
        device = Device("cpu", processor(kind="cpu"), "measured")
        quantized = trace(mobile(), (1, 3, 32, 32), "onnxruntime-int8")
        both = {**NET, "onnxruntime-int8": quantized}
        for scheme, expected in (("static", quantized), ("none", NET["onnxruntime"])):
            genotype = {"quantize.scheme": scheme}
            given = Candidate(genotype, "training", "candidate", workload=both)
            assert lowering_on(given, device) == expected.lowering
            tpu = Device("tpu", processor(lowering="xla"), "modeled")
            assert lowering_on(given, tpu) == "xla"
            older = processor(kind="cpu", lowering="onnxruntime-nchwc8")
            named = {"static": "onnxruntime-int8", "none": "onnxruntime-nchwc8"}[scheme]
            assert lowering_on(given, Device("cpu", older, "measured")) == named
            readings = ModeledLatency(device).evaluate(given)
            found = readings["estimated_latency_ms.cpu"]
            assert found == estimate(expected, device.profile).latency_ms
