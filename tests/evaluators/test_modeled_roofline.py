"""The roofline: each of its terms by hand, on a made-up processor with round figures."""

from dataclasses import replace
from typing import Any

import pytest

from evaluators.latency import Latency
from evaluators.modeled import estimate
from evaluators.workload import Kernel, Workload
from hw_profiles import HardwareProfile
from tests.hw_profiles.profiles import fig, processor

CALL_MS, OP_MS = 10e-3, 1e-3


def conv(inputs: int = 64, outputs: int = 64, size: int = 32, kernel: int = 3) -> Kernel:
    pixels = size * size
    return Kernel(
        op="conv",
        in_shape=(1, inputs, size, size),
        out_shape=(1, outputs, size, size),
        dtype="float32",
        macs=pixels * inputs * outputs * kernel**2,
        input_bytes=4 * pixels * inputs,
        output_bytes=4 * pixels * outputs,
        weight_bytes=4 * inputs * outputs * kernel**2,
    )


def add(elements: int) -> Kernel:
    shape = (1, elements)
    return Kernel("add", shape, shape, "float32", 0, 8 * elements, 4 * elements, 0)


def modeled(profile: HardwareProfile, *kernels: Kernel, **options: Any) -> Latency:
    return estimate(Workload(kernels, 0, 0, profile.lowering), profile, **options)


class TestTerms:
    def test_compute_binds_a_big_convolution(self) -> None:
        kernel = conv()
        latency = modeled(processor(), kernel)
        assert latency.latency_ms == pytest.approx(CALL_MS + OP_MS + 2e3 * kernel.macs / 1e12)
        assert (latency.binds, latency.kernels[0].binds) == ("compute", "compute")

    def test_memory_binds_a_big_sum(self) -> None:
        latency = modeled(processor(), add(1 << 20))
        assert latency.latency_ms == pytest.approx(CALL_MS + OP_MS + 1e3 * 12 * (1 << 20) / 100e9)
        assert latency.binds == "memory"

    def test_overhead_binds_what_is_small(self) -> None:
        latency = modeled(processor(), replace(add(8), count=20))
        assert latency.latency_ms == pytest.approx(CALL_MS + 20 * OP_MS, rel=1e-2)
        assert (latency.binds, latency.kernels[0].binds) == ("overhead", "overhead")

    def test_depthwise_runs_on_the_vector_engine(self) -> None:
        kernel = replace(conv(), op="depthwise")
        fast, slow = modeled(processor(), conv()), modeled(processor(), kernel)
        without = CALL_MS + OP_MS
        assert slow.latency_ms - without == pytest.approx(10 * (fast.latency_ms - without))

    def test_efficiencies_stretch_the_peaks(self) -> None:
        half = processor(efficiency={"matrix": fig(0.5), "vector": fig(1), "memory": fig(0.25)})
        without = CALL_MS + OP_MS
        for kernel, factor in ((conv(), 2), (add(1 << 20), 4)):
            ideal, real = modeled(processor(), kernel), modeled(half, kernel)
            assert real.latency_ms - without == pytest.approx(factor * (ideal.latency_ms - without))

    def test_functions_cost_more_operations_than_a_sum(self) -> None:
        profile = processor(bandwidth_bytes_s={"memory": fig(1e15)})
        plain, function = add(1 << 20), replace(add(1 << 20), op="softmax")
        without = CALL_MS + OP_MS
        assert modeled(profile, function).latency_ms - without == pytest.approx(
            8 * (modeled(profile, plain).latency_ms - without)
        )

    def test_kernels_add_up_with_the_call(self) -> None:
        latency = modeled(processor(), conv(), replace(add(1 << 20), count=3))
        assert sum(part.latency_ms for part in latency.kernels) + CALL_MS == pytest.approx(
            latency.latency_ms
        )
        assert [part.count for part in latency.kernels] == [1, 3]


class TestTiles:
    tiled = processor(parts={"tile_channels": fig(16)})

    def test_a_convolution_of_20_channels_costs_what_one_of_32_costs(self) -> None:
        """So it is in ONNX Runtime, whose blocks have 16 channels."""
        times = [modeled(self.tiled, conv(n, n)).latency_ms for n in (20, 32)]
        assert times[0] == pytest.approx(times[1])
        assert modeled(processor(), conv(20, 20)).latency_ms < times[0]

    def test_few_input_channels_are_taken_as_they_are(self) -> None:
        plain, tiled = (modeled(p, conv(3, 64)).latency_ms for p in (processor(), self.tiled))
        assert plain == tiled

    def test_a_systolic_array_is_filled_in_both_directions(self) -> None:
        parts = {"systolic_rows": fig(128), "systolic_columns": fig(128)}
        array = processor(parts=parts)
        # 3 x 3 x 16 = 144 weights take two passes of 128 rows, 64 outputs one of 128 columns
        ideal, real = modeled(processor(), conv(16, 64)), modeled(array, conv(16, 64))
        without = CALL_MS + OP_MS
        assert real.latency_ms - without == pytest.approx(
            (256 / 144) * 2 * (ideal.latency_ms - without)
        )


class TestCache:
    cached = processor(
        bandwidth_bytes_s={"memory": fig(100e9), "cache": fig(400e9)},
        memory_bytes={"cache": fig(1 << 20)},
    )

    def test_what_fits_moves_faster_what_does_not_moves_as_ever(self) -> None:
        small, big = add(80_000), add(90_000)
        without = CALL_MS + OP_MS
        apart = [modeled(p, small).latency_ms - without for p in (processor(), self.cached)]
        assert apart[0] == pytest.approx(4 * apart[1])
        assert modeled(processor(), big) == modeled(self.cached, big)


class TestBatchAndDtype:
    def test_a_batch_moves_and_computes_more_but_is_one_call(self) -> None:
        kernel = conv()
        one, many = modeled(processor(), kernel), modeled(processor(), kernel, batch=8)
        without = CALL_MS + OP_MS
        assert many.latency_ms - without == pytest.approx(8 * (one.latency_ms - without))

    def test_a_float32_network_is_computed_in_the_dtype_of_the_device(self) -> None:
        half = processor(dtype="float16")
        assert modeled(half, conv()) == modeled(processor(), conv(), dtype="float16")
        assert modeled(half, conv()).latency_ms < modeled(processor(), conv()).latency_ms

    def test_integer_kernels_stay_integer(self) -> None:
        kernel = replace(conv(), dtype="int8")
        assert modeled(processor(), kernel) == modeled(processor(), kernel, dtype="float16")

    def test_a_dtype_may_have_overheads_and_efficiencies_of_its_own(self) -> None:
        profile = processor(
            overhead_s={"call": fig(10e-6), "call_int8": fig(30e-6), "op": fig(1e-6)},
            efficiency={
                "matrix": fig(1),
                "matrix_int8": fig(0.1),
                "vector": fig(1),
                "memory": fig(1),
            },
        )
        kernel = replace(conv(), dtype="int8")
        expected = 30e-3 + 1e-3 + 1e3 * 2 * kernel.macs / (4e12 * 0.1)
        assert modeled(profile, kernel).latency_ms == pytest.approx(expected)
        assert modeled(profile, conv()) == modeled(processor(), conv())

    def test_a_dtype_without_a_peak_is_refused(self) -> None:
        with pytest.raises(
            ValueError, match="made-up has no peak of its matrix engine for bfloat16"
        ):
            modeled(processor(), conv(), dtype="bfloat16")
