"""Streaming circuits: FINN's cycles, the best folding, published boards."""

import itertools
import math
import random

import pytest

from evaluators.modeled import estimate
from evaluators.modeled_dataflow import Layer, first_frame, layer_of, slowest_layer
from evaluators.workload import Kernel, Workload, trace, with_dtype
from tests.evaluators.workload_nets import cnv, conv, head
from tests.hw_profiles.profiles import circuit, fig

CNV = trace(cnv(), (1, 3, 32, 32), "dataflow")
# PE and SIMD of the layers of CNV-W1A1 as published (MLPerf Tiny v0.7, hls4ml-finn; BNN-PYNQ)
PE = (16, 32, 16, 16, 4, 1, 1, 1, 5)
SIMD = (3, 32, 32, 32, 32, 32, 4, 8, 1)


def published() -> tuple[list[float], list[tuple[Layer, int]]]:
    """Cycles and layers of CNV with the published folding."""
    cycles, layers = [], []
    foldings = iter([pe * simd for pe, simd in zip(PE, SIMD, strict=True)])
    for kernel in CNV.kernels:
        layer = layer_of(kernel, 1 << 20)
        if kernel.macs:
            cycles.append(layer.cycles[layer.parallel.index(next(foldings))])
        else:
            cycles.append(layer.cycles[0])
        layers.append((layer, kernel.count))
    return cycles, layers


class TestPublishedDesigns:
    def test_cycles_of_the_layers_are_those_of_the_folding(self) -> None:
        """(MH / PE) (MW / SIMD) x output pixels, FINN-R (Blott et al., 2018)."""
        cycles, _ = published()
        of_layers = [c for c, kernel in zip(cycles, CNV.kernels, strict=True) if kernel.macs]
        assert of_layers[:3] == [32400, 28224, 20736]
        assert max(cycles) == 32768

    def test_throughput_of_cnv_at_300_mhz(self) -> None:
        """BNN-PYNQ, CNV-W1A1 on an Ultra96: 9,149.98 frames a second, measured."""
        assert 300e6 / max(published()[0]) == pytest.approx(9149.98, rel=0.01)

    @pytest.mark.parametrize(
        ("clock_hz", "measured_s"),
        [(100e6, 1511.78e-6), (300e6, 527e-6)],
        ids=["MLPerf Tiny v0.7, PYNQ-Z2", "BNN-PYNQ, Ultra96"],
    )
    def test_latency_of_cnv(self, clock_hz: float, measured_s: float) -> None:
        cycles, layers = published()
        modeled_s = first_frame(max(cycles), cycles, layers) / clock_hz
        assert modeled_s == pytest.approx(measured_s, rel=0.12)


class TestFolding:
    def test_elements_divide_outputs_and_lanes_divide_weights(self) -> None:
        kernel = Kernel("linear", (1, 6), (1, 4), "int8", 24, 6, 4, 28)
        layer = layer_of(kernel, 24)
        assert layer.parallel == (1, 2, 3, 4, 6, 8, 12, 24)
        assert layer.cycles == tuple(24 / p for p in layer.parallel)
        assert layer_of(kernel, 5).parallel == (1, 2, 3, 4)

    def test_depthwise_folds_over_channels_and_window(self) -> None:
        net = conv(6, 6, groups=6)
        (kernel,) = trace(net, (1, 6, 8, 8), "dataflow").kernels
        # 6 channels, a window of 9, 64 pixels; not faster than one pixel a clock comes in
        assert layer_of(kernel, 54).parallel == (1, 2, 3, 6, 9, 18, 27, 54)
        assert layer_of(kernel, 54).cycles[-1] == 64
        assert layer_of(kernel, 54).cycles[0] == 64 * 54

    def test_the_smallest_folding_that_keeps_up_is_taken(self) -> None:
        layer = Layer((1, 2, 4, 8), (80.0, 40.0, 20.0, 10.0), 0.0)
        assert [layer.folded(t) for t in (100, 80, 79, 40, 20, 11, 10, 3)] == [
            80, 80, 40, 40, 20, 10, 10, 10,
        ]  # fmt: skip

    @pytest.mark.parametrize("seed", range(30))
    def test_no_folding_is_better_than_the_one_found(self, seed: int) -> None:
        """Against all foldings of small circuits."""
        dice = random.Random(seed)
        layers = []
        for _ in range(dice.randint(1, 4)):
            steps = sorted(dice.sample(range(1, 13), dice.randint(1, 4)))
            work = dice.randint(10, 500)
            layer = Layer(tuple(steps), tuple(work / p for p in steps), 0.0)
            layers.append((layer, dice.randint(1, 3)))
        budget = dice.randint(sum(layer.parallel[0] * n for layer, n in layers), 80)
        best = math.inf
        for choice in itertools.product(*[range(len(layer.parallel)) for layer, _ in layers]):
            chosen = list(zip(choice, layers, strict=True))
            if sum(layer.parallel[i] * n for i, (layer, n) in chosen) <= budget:
                best = min(best, max(layer.cycles[i] for i, (layer, _) in chosen))
        assert slowest_layer(layers, budget) == best

    def test_layers_take_turns_where_there_are_more_than_multipliers(self) -> None:
        layers = [(Layer((1,), (100.0,), 0.0), 5), (Layer((1, 2), (60.0, 30.0), 0.0), 1)]
        assert slowest_layer(layers, 4) == 560 / 4
        assert slowest_layer(layers, 6) == 100


class TestCircuits:
    def test_the_slowest_layer_and_the_windows_make_the_latency(self) -> None:
        """One convolution: a period, and the share of it that fills the window."""
        workload = trace(conv(1, 10, 3), (1, 1, 10, 10), "dataflow")
        latency = estimate(workload, circuit())
        period = 100 * 10 * 9 / 90  # all 90 products of a pixel at once: one pixel a clock
        share = (2 * 10 + 3) / 100
        assert latency.latency_ms == pytest.approx((period + period * share) / 1e6 * 1e3)
        assert latency.binds == "compute"
        assert latency.method == "streaming dataflow, slowest folded layer"

    def test_a_batch_adds_a_period_a_frame(self) -> None:
        workload = trace(conv(1, 10, 3), (1, 1, 10, 10), "dataflow")
        one, two, five = (estimate(workload, circuit(), n).latency_ms for n in (1, 2, 5))
        assert five - one == pytest.approx(4 * (two - one))

    def test_weights_that_do_not_fit_stream_in_from_memory(self) -> None:
        workload = trace(head(1000, 4000), (1, 1000, 2, 2), "dataflow")
        parts = {**circuit().parts, "dsp": fig(12500)}
        small = circuit(parts={**parts, "bram18": fig(1000)})
        latency = estimate(workload, small)
        outside_bytes = 1000 * 4000 + 4000 - 0.8 * 1000 * 18 * 1024 / 8
        assert latency.binds == "memory"
        assert latency.latency_ms == pytest.approx(outside_bytes / 1e7 * 1e3, rel=0.05)
        assert estimate(with_dtype(workload, "int16"), small).latency_ms > latency.latency_ms
        roomy = circuit(parts={**parts, "bram18": fig(5000)})
        assert estimate(workload, roomy).binds == "compute"

    def test_wide_products_take_two_multipliers(self) -> None:
        """FINN's estimate of DSP blocks: ceil((weight bits + data bits) / 48)."""
        workload = trace(cnv(), (1, 3, 32, 32), "dataflow")
        roomy = circuit(parts={**circuit().parts, "bram18": fig(1e6)})
        times = {
            d: estimate(workload, roomy, dtype=d).latency_ms for d in ("int8", "int16", "int32")
        }
        assert times["int8"] == times["int16"] < times["int32"]

    def test_more_multipliers_are_never_slower(self) -> None:
        roomy = {**circuit().parts, "bram18": fig(1e6)}
        times = [
            estimate(CNV, circuit(parts={**roomy, "dsp": fig(n)})).latency_ms
            for n in (8, 20, 50, 125, 300, 1000, 5000)
        ]
        assert times == sorted(times, reverse=True)
        assert times[0] > 100 * times[-1]

    def test_a_network_without_products_streams_pixels(self) -> None:
        shape = (1, 4, 10, 10)
        pool = Kernel("pool", shape, (1, 4, 5, 5), "int8", 0, 400, 100, 0)
        latency = estimate(Workload((pool,), 0, 0, "dataflow"), circuit())
        assert latency.latency_ms == pytest.approx((100 + 100 * 0.12) / 1e6 * 1e3)

    def test_floating_point_and_a_chip_without_multipliers_are_refused(self) -> None:
        with pytest.raises(ValueError, match="computes in int8, int16, int32, but got 'float32'"):
            estimate(CNV, circuit(), dtype="float32")
        with pytest.raises(ValueError, match="made-up-circuit has no multiplier left"):
            estimate(CNV, circuit(parts={**circuit().parts, "dsp": fig(1)}))
