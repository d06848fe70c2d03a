"""What kernels demand of processors and convolution engines."""

from dataclasses import replace

import pytest

from evaluators.components import Demand, Processor, class_of, engine_of, window_of
from evaluators.workload import Kernel
from tests.evaluators.synthetic import convolution, dense, moved
from tests.hw_profiles.profiles import engine, fig, processor

MATMUL = Kernel("matmul", (1, 4, 8, 16), (1, 4, 8, 8), "float32", 4096, 4096, 1024, 0)


def demand_of(kernel: Kernel, batch: int = 1, dtype: str = "float32", **changes: object) -> Demand:
    return Processor(processor(**changes), batch, dtype).demand(kernel)


class TestClasses:
    @pytest.mark.parametrize(
        ("kernel", "name", "window"),
        [
            (convolution(3, 16, 3, 8), "stem", 9),
            (convolution(3, 16, 1, 8), "pointwise", 1),
            (convolution(16, 16, 3, 8), "conv", 9),
            (convolution(16, 16, 3, 8, "depthwise"), "depthwise3", 9),
            (convolution(16, 16, 5, 8, "depthwise"), "depthwise5", 25),
            (convolution(16, 16, 7, 8, "depthwise"), "depthwise7", 49),
            (dense(8, 8), "linear", 1),
            (MATMUL, "matmul", 1),
            (replace(MATMUL, op="attention"), "matmul", 1),
            (moved("add", 8, 8, 2), "add", 1),
            (moved("global_pool", 8, 8), "pool", 1),
            (moved("batch_norm", 8, 8), "elementwise", 1),
            (moved("softmax", 8, 8), "function", 1),
            (moved("concat", 8, 8), "move", 1),
            (replace(dense(8, 8), op="einsum"), "einsum", 1),
        ],
    )
    def test_by_op_and_by_window(self, kernel: Kernel, name: str, window: int) -> None:
        assert (class_of(kernel), window_of(kernel)) == (name, window)

    def test_convolutions_are_alike_where_they_only_move(self) -> None:
        found = {demand_of(convolution(16, 16, k, 8)).moves for k in (1, 3, 5)}
        assert found == {"dense"}
        assert demand_of(convolution(16, 16, 5, 8, "depthwise")).moves == "depthwise"

    def test_integers_are_classes_of_their_own_beside_floats(self) -> None:
        kernel = replace(convolution(16, 16, 1, 8), dtype="int8")
        assert demand_of(kernel).kind == "pointwise.int8"
        assert demand_of(kernel).moves == "dense.int8"
        assert demand_of(kernel, dtype="int8").kind == "pointwise.int8"
        alone = Processor(processor(dtype="int8"), 1, "int8")
        assert alone.demand(kernel).kind == "pointwise"


class TestProcessor:
    """10^12 operations a second, a tenth of it on vectors, 10^11 bytes, 1 us a kernel."""

    def test_seconds_are_amounts_by_the_figures(self) -> None:
        kernel = convolution(16, 32, 3, 8)
        found = demand_of(kernel)
        assert found.compute_s == pytest.approx(2 * kernel.macs / 1e12)
        assert found.activations_s == pytest.approx(4 * 64 * (16 + 32) / 100e9)
        assert found.weights_s == pytest.approx(kernel.weight_bytes / 100e9)
        assert (found.overhead_s, found.function_s) == (1e-6, 0)
        assert not found.spills
        assert not found.relaid

    def test_depthwise_runs_on_vectors(self) -> None:
        kernel = convolution(16, 16, 3, 8, "depthwise")
        assert demand_of(kernel).compute_s == pytest.approx(2 * kernel.macs / 1e11)

    def test_functions_take_more_operations_than_sums(self) -> None:
        add, softmax = (demand_of(moved(op, 8, 8)).compute_s for op in ("add", "softmax"))
        assert softmax == pytest.approx(8 * add)

    def test_a_batch_multiplies_all_but_weights_and_overhead(self) -> None:
        one, many = (demand_of(convolution(16, 32, 3, 8), batch) for batch in (1, 7))
        assert many.compute_s == pytest.approx(7 * one.compute_s)
        assert many.activations_s == pytest.approx(7 * one.activations_s)
        assert (many.weights_s, many.overhead_s) == (one.weights_s, one.overhead_s)

    def test_half_the_bytes_and_twice_the_peak_in_another_dtype(self) -> None:
        one, half = (demand_of(convolution(16, 32, 3, 8), 1, d) for d in ("float32", "float16"))
        assert half.compute_s == pytest.approx(one.compute_s / 2)
        assert half.activations_s == pytest.approx(one.activations_s / 2)
        assert half.weights_s == pytest.approx(one.weights_s / 2)

    def test_tiles_are_filled_up_but_not_with_the_channels_of_an_image(self) -> None:
        tiled = {"parts": {"tile_channels": fig(16)}}
        full = demand_of(convolution(32, 32, 3, 8), **tiled).compute_s
        assert demand_of(convolution(20, 20, 3, 8), **tiled).compute_s == pytest.approx(full)
        stem, image = convolution(3, 16, 3, 8), demand_of(convolution(3, 16, 3, 8), **tiled)
        assert image.compute_s == pytest.approx(2 * stem.macs / 1e12)

    def test_what_fits_moves_at_the_bandwidth_of_the_cache(self) -> None:
        cached = {
            "memory_bytes": {"cache": fig(2e4)},
            "bandwidth_bytes_s": {"memory": fig(1e9), "cache": fig(1e10)},
        }
        small, large = (demand_of(moved("add", 8, size, 2), **cached) for size in (8, 64))
        assert small.activations_s == pytest.approx(3 * 4 * 8 * 64 / 1e10)
        assert large.activations_s == pytest.approx(3 * 4 * 8 * 4096 / 1e9)
        assert (small.spills, large.spills) == (False, True)
        assert "add.spill" in large.components()
        assert "add.spill" not in small.components()

    def test_large_images_are_relaid(self) -> None:
        parts = {"parts": {"relayout_pixels": fig(256)}}
        assert demand_of(convolution(8, 8, 1, 16), **parts).relaid
        assert not demand_of(convolution(8, 8, 1, 15), **parts).relaid

    def test_a_function_folded_into_a_kernel_costs_time(self) -> None:
        kernel = replace(convolution(16, 16, 3, 8), fused="silu")
        found = demand_of(kernel)
        assert found.function_s == pytest.approx(8 * 64 * 16 / 1e11)
        assert found.components()["fused"] == found.function_s
        assert found.busy_s > demand_of(replace(kernel, fused="")).busy_s

    def test_the_share_of_a_peak_is_that_of_the_class_and_dtype_where_known(self) -> None:
        shares = {"matrix": 1, "vector": 0.5, "memory": 1, "depthwise": 0.25, "stem_int8": 0.125}
        known = {"efficiency": {name: fig(share) for name, share in shares.items()}}

        def share(kernel: Kernel) -> float:
            return demand_of(kernel).compute_s / demand_of(kernel, **known).compute_s

        assert share(convolution(16, 16, 3, 8)) == pytest.approx(1)
        assert share(moved("add", 8, 8)) == pytest.approx(0.5)
        assert share(convolution(16, 16, 5, 8, "depthwise")) == pytest.approx(0.25)
        assert share(convolution(3, 16, 3, 8)) == pytest.approx(1)
        assert share(replace(convolution(3, 16, 3, 8), dtype="int8")) == pytest.approx(0.125)

    def test_the_cost_of_a_call_is_that_of_the_dtype_it_begins_with(self) -> None:
        profile = processor(overhead_s={"call": fig(1), "call_int8": fig(2), "op": fig(0)})
        runs = Processor(profile, 1, "float32")
        assert runs.call_s(dense(2, 2)) == 1
        assert runs.call_s(replace(dense(2, 2), dtype="int8")) == 2


class TestDemand:
    def test_its_time_is_that_of_what_takes_longest(self) -> None:
        assert Demand("conv", 3, 1, 1, 0.5).busy_s == 3
        assert Demand("conv", 1, 2, 1, 0.5).busy_s == 3
        assert Demand("conv", 3, 2, 3, 0, function_s=4).busy_s == 7

    @pytest.mark.parametrize(
        ("demand", "binds"),
        [
            (Demand("conv", 3, 1, 1, 0.5), "compute"),
            (Demand("conv", 1, 1, 1, 0.5), "memory"),
            (Demand("conv", 1, 1, 1, 5), "overhead"),
            (Demand("conv", 3, 1, 1, 0.5, function_s=1), "compute"),
        ],
    )
    def test_what_binds(self, demand: Demand, binds: str) -> None:
        assert demand.binds == binds

    def test_components_that_always_go_together_are_one(self) -> None:
        assert Demand("add", 1, 2, 0, 3).components() == {
            "add.memory": 2, "weights": 0, "overhead": 3,
        }  # fmt: skip
        spilled = Demand("conv.int8", 1, 2, 0, 3, spills=True, relaid=True, function_s=4)
        assert spilled.components() == {
            "dense.int8.memory": 2, "weights": 0, "overhead": 3, "conv.int8.compute": 1,
            "fused": 4, "dense.int8.spill": 2, "dense.int8.relayout": 2,
        }  # fmt: skip


class TestConvolutionEngine:
    """4 pixels x 8 x 8 channels a clock at 100 MHz, 2 pixels x 8 channels depthwise, 1 GB/s."""

    @pytest.mark.parametrize(
        ("kernel", "clocks"),
        [
            (convolution(16, 24, 3, 8), 2 * 3 * 9 * 8 * 2),
            (convolution(12, 20, 1, 8), 2 * 3 * 8 * 2),  # channels and pixels filled up
            (convolution(16, 16, 3, 8, "depthwise"), 2 * 9 * 8 * 4),
            (dense(64, 10), 8 * 2),
            (moved("add", 16, 8, 2), 2 * 64),
            (moved("global_pool", 16, 8), 2 * 64),
        ],
    )
    def test_clocks_are_the_turns_of_its_lanes(self, kernel: Kernel, clocks: int) -> None:
        found = engine_of(engine(), 1, "int8").demand(kernel)
        assert found.compute_s == pytest.approx(clocks / 100e6)

    def test_images_of_a_batch_come_one_after_the_other(self) -> None:
        kernel = convolution(16, 24, 3, 8)
        one, many = (engine_of(engine(), batch, "int8").demand(kernel) for batch in (1, 5))
        assert many.compute_s == pytest.approx(5 * one.compute_s)
        assert many.activations_s == pytest.approx(5 * one.activations_s)
        assert many.weights_s == one.weights_s

    def test_bytes_are_those_of_whole_vectors(self) -> None:
        found = engine_of(engine(), 1, "int8").demand(convolution(12, 20, 1, 8))
        assert found.activations_s == pytest.approx(64 * (16 + 24) / 1e9)

    def test_what_is_larger_than_the_memory_on_the_chip_spills(self) -> None:
        runs = engine_of(engine(), 1, "int8")
        assert not runs.demand(convolution(16, 16, 1, 32)).spills
        assert runs.demand(convolution(16, 16, 1, 64)).spills
        parts = engine().parts | {"relayout_pixels": fig(4096)}
        relays = engine_of(engine(parts=parts), 1, "int8")
        assert relays.demand(convolution(16, 16, 1, 64)).relaid
        assert not relays.demand(convolution(64, 64, 1, 32)).relaid

    def test_a_factor_a_channel_is_read_once(self) -> None:
        product = replace(moved("mul", 16, 8), input_bytes=4 * 16 * 64 + 4 * 16)
        found = engine_of(engine(), 1, "int8").demand(product)
        assert found.activations_s == pytest.approx(2 * 16 * 64 / 1e9)

    def test_a_large_gated_tensor_wastes_bursts_of_the_memory(self) -> None:
        parts = engine().parts | {"scattered_gate": fig(4)}
        runs = engine_of(engine(parts=parts), 1, "int8")
        small, large = runs.demand(moved("mul", 16, 32)), runs.demand(moved("mul", 16, 64))
        assert small.scattered_s == 0
        assert large.scattered_s == pytest.approx(3 * large.activations_s)
        assert large.busy_s == pytest.approx(4 * large.activations_s)
        assert large.components()["mul.scattered"] == large.scattered_s
        assert runs.demand(moved("add", 16, 64)).scattered_s == 0

    def test_a_sum_takes_the_place_of_its_newest_summand(self) -> None:
        both = replace(moved("add", 16, 8), input_bytes=4 * 2 * 16 * 64)
        found = engine_of(engine(), 1, "int8").demand(both)
        assert found.activations_s == pytest.approx(16 * 64 / 1e9)


def test_an_engine_is_set_up_once() -> None:
    assert engine_of(processor(), 1, "float32") is engine_of(processor(), 1, "float32")
    assert engine_of(processor(), 1, "float32") is not engine_of(processor(), 2, "float32")


class TestTpu:
    """Tiles of 8 x 128, two arrays of 128 x 128."""

    PARTS = {
        "lanes": fig(128),
        "sublanes": fig(8),
        "systolic_rows": fig(128),
        "systolic_columns": fig(128),
        "matrix_units": fig(2),
    }

    def demand(self, kernel: Kernel, batch: int = 1, **parts: float) -> Demand:
        known = {**self.PARTS, **{name: fig(value) for name, value in parts.items()}}
        return demand_of(kernel, batch, kind="tpu", lowering="xla", parts=known)

    def test_tensors_are_moved_with_the_zeros_of_their_tiles(self) -> None:
        kernel = convolution(64, 128, 3, 8)
        assert self.demand(kernel, 8).activations_s == pytest.approx(
            8 * 4 * 64 * (128 + 128) / 100e9
        )

    def test_arrays_share_a_kernel_by_tiles_or_by_the_window(self) -> None:
        one, both, window = (
            self.demand(kernel).compute_s * 1e12 / (2 * kernel.macs)
            for kernel in (
                convolution(128, 128, 1, 8),
                convolution(256, 256, 1, 8),
                convolution(128, 128, 3, 8),
            )
        )
        assert (one, both, window) == (2, 1, 1)

    def test_what_moves_its_own_elements_hides_nothing(self) -> None:
        found = self.demand(convolution(128, 128, 3, 8, "depthwise"), 8)
        assert found.busy_s == found.compute_s + found.activations_s + found.weights_s
        dense_one = self.demand(convolution(128, 128, 3, 8), 8)
        assert dense_one.busy_s < dense_one.compute_s + dense_one.activations_s

    def test_large_results_are_laid_anew(self) -> None:
        kernel = replace(convolution(128, 256, 3, 8), out_shape=(1, 256, 8, 8))
        small = self.demand(kernel, 8, relayout_pixels=65)
        large = self.demand(kernel, 8, relayout_pixels=64)
        assert "dense.relayout" not in small.components()
        assert large.components()["dense.relayout"] == pytest.approx(
            large.components()["dense.memory"] * 256 / (128 + 256)
        )


class TestWhatComesBesideTheKernels:
    """Of a CPU whose convolutions are blocked, as those of ONNX Runtime are."""

    CACHE_BYTES, CACHE_BYTES_S, MEMORY_BYTES_S = 1_000_000, 100e9, 25e9
    ROW_S = 1e-8

    def cpu(self) -> Processor:
        tile = {"tile_channels": 8, "tile_pixels": 3, "tile_blocks": 4, "tile_rows": 12}
        profile = processor(
            parts={name: fig(value) for name, value in tile.items()},
            memory_bytes={"cache": fig(self.CACHE_BYTES)},
            overhead_s={"call": fig(1e-6), "op": fig(1e-6), "row": fig(self.ROW_S)},
            bandwidth_bytes_s={
                "memory": fig(self.MEMORY_BYTES_S),
                "cache": fig(self.CACHE_BYTES_S),
            },
        )
        return Processor(profile, 1, "float32")

    def test_weights_that_fit_into_the_cache_stay_there(self) -> None:
        assert self.cpu().evicted_s(400_000 / self.CACHE_BYTES_S, 1.0) == 0

    def test_weights_that_do_not_are_fetched_again_in_every_call(self) -> None:
        assert self.cpu().evicted_s(500_000_000 / self.CACHE_BYTES_S, 1.0) == 1.0

    def test_between_them_some_are(self) -> None:
        assert 0 < self.cpu().evicted_s(750_000 / self.CACHE_BYTES_S, 1.0) < 1

    def test_other_devices_fetch_their_weights_anyway(self) -> None:
        assert Processor(processor(), 1, "float32").evicted_s(1e9, 1e9) == 0
        assert engine_of(engine(), 1, "int8").evicted_s(1e9, 1e9) == 0

    def test_weights_of_a_convolution_come_before_its_products(self) -> None:
        found = self.cpu().demand(convolution(64, 64, 1, 8))
        beyond = self.CACHE_BYTES_S / self.MEMORY_BYTES_S - 1
        assert found.refetched_s == pytest.approx(found.weights_s * beyond)
        alone = replace(found, weights_s=0.0)
        assert found.busy_s == pytest.approx(alone.busy_s + found.weights_s)

    def test_the_first_rows_of_a_product_hide_the_fetching_of_its_weights(self) -> None:
        few, many, more = (self.cpu().demand(dense(64, 64, rows)) for rows in (1, 12, 120))
        assert few.hides_s == pytest.approx(few.compute_s)
        assert many.hides_s == pytest.approx(more.hides_s) == pytest.approx(12 * few.compute_s)
        weights = [each.components()["weights"] for each in (few, many, more)]
        assert weights[0] > weights[1] == pytest.approx(weights[2])

    def test_components_sum_up_to_the_roofline(self) -> None:
        kernels = [dense(64, 64, rows) for rows in (1, 12, 120)]
        kernels += [convolution(64, 64, 1, 8), convolution(8, 200, 1, 2)]
        for kernel in kernels:
            found = self.cpu().demand(kernel)
            parts = sum(found.components().values())
            assert parts == pytest.approx(found.busy_s + found.overhead_s)

    def transpose(self, heads: int, tokens: int, size: int) -> Kernel:
        whole = convolution(heads, heads, 1, 8)
        shapes = (1, heads, tokens, size), (1, tokens, heads, size)
        return replace(
            whole, op="transpose", macs=0, weight_bytes=0, in_shape=shapes[0], out_shape=shapes[1]
        )

    def test_the_view_that_splits_heads_is_an_operator_of_its_own(self) -> None:
        split = self.transpose(4, 8, 8)
        tokens = replace(split, in_shape=(1, 8, 8), out_shape=(1, 8, 8))
        assert self.cpu().demand(split).overhead_s == 2 * self.cpu().demand(tokens).overhead_s

    def test_a_transpose_copies_row_by_row(self) -> None:
        many, few = self.transpose(8, 100, 4), self.transpose(1, 100, 32)
        across = replace(many, out_shape=(1, 8, 4, 100))
        found = [self.cpu().demand(kernel).scattered_s for kernel in (many, few, across)]
        assert found == [pytest.approx(800 * self.ROW_S), 0, 0]

    def test_the_products_of_heads_come_one_after_the_other(self) -> None:
        one = self.cpu().demand(replace(MATMUL, in_shape=(1, 1, 8, 16), out_shape=(1, 1, 8, 8)))
        assert self.cpu().demand(MATMUL).overhead_s == 4 * one.overhead_s
