"""What 8-bit integer convolutions cost beside their products, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evaluators.components import Processor, window_of
from evaluators.integer_convolutions import IntegerConvolutions
from evaluators.workload import Kernel
from hw_profiles import host
from tests.evaluators.test_register_tiles import convolution

COSTS = IntegerConvolutions(
    lanes=16, vector=3, half=2.5, single=1.5, window_s=1.0, output_s=0.01, ragged_s=100.0
)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (16, 16),
        (128, 128),
        (8, 16 * 2.5),
        (24, 16 * (3 + 2.5)),
        (120, 16 * (7 * 3 + 2.5)),
        (20, 16 * (3 + 4 * 1.5)),
        (3, 16 * 3 * 1.5),
    ],
)
def test_channels_that_fill_no_vector_make_all_vectors_slow(channels: int, expected: float) -> None:
    assert COSTS.depthwise_channels(channels) == pytest.approx(expected)


def beside(kernel: Kernel) -> float:
    return COSTS.beside_s(kernel, window_of(kernel))


def test_windows_are_found_and_outputs_are_scaled() -> None:
    assert beside(convolution((32, 32), 4)) == pytest.approx(16 * (1 + 0.32))
    assert beside(convolution((32, 32), 4, side=3, stride=2)) == pytest.approx(4 * (9 + 0.32))


@pytest.mark.parametrize(
    ("channels", "side", "vectors"),
    [
        ((18, 32), 1, 2),  # products of 18 are no whole words
        ((32, 18), 1, 2),  # nor are 18 outputs
        ((32, 8), 1, 1),  # fewer outputs than a vector has
        ((3, 16), 3, 2),  # 27, and a window
        ((20, 20), 1, 0),
        ((4, 16), 3, 0),
    ],
)
def test_products_that_are_no_whole_words_are_scaled_slowly(
    channels: tuple[int, int], side: int, vectors: int
) -> None:
    kernel = convolution(channels, 4, side)
    plain = 16 * (side**2 + 0.01 * channels[1])
    assert beside(kernel) == pytest.approx(plain + 16 * 100 * vectors)


def test_a_depthwise_convolution_has_no_products_of_words() -> None:
    kernel = convolution((18, 18), 4, 3, op="depthwise")
    assert beside(kernel) == pytest.approx(16 * (9 + 0.18))


def test_a_narrower_depthwise_convolution_can_take_longer_and_that_is_so() -> None:
    """Seen in the profiler of ONNX Runtime: 24 channels take longer than 32, on integers only."""
    cpu = Processor(host.profile_of(AVX), 1, "float32")

    def compute_s(channels: int, dtype: str) -> float:
        kernel = convolution((channels, channels), 32, 3, op="depthwise")
        return cpu.demand(replace(kernel, dtype=dtype)).compute_s

    assert compute_s(24, "int8") > compute_s(32, "int8") > compute_s(16, "int8")
    assert compute_s(24, "float32") <= compute_s(32, "float32")


AVX = host.Cpu(
    model="a processor",
    flags=frozenset({"avx512f", "avx512bw", "avx512_vnni"}),
    cores=2,
    clock=host.Figure(2.7e9, "test"),
    cache=host.Figure(1 << 21, "test"),
)
