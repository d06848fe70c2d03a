"""Work of direct convolutions, against counting it out."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from evaluators.components import window_of
from evaluators.register_tiles import RegisterTile
from evaluators.workload import Kernel

TILE = RegisterTile(channels=16, pixels=6, blocks=4)


def convolution(
    channels: tuple[int, int], size: int, side: int = 1, stride: int = 1, op: str = "conv"
) -> Kernel:
    """A convolution of a square image that keeps its size but for the stride."""
    inputs, outputs = channels
    result = math.ceil(size / stride)
    reads = 1 if op == "depthwise" else inputs
    return Kernel(
        op=op,
        in_shape=(1, inputs, size, size),
        out_shape=(1, outputs, result, result),
        dtype="float32",
        macs=outputs * result**2 * reads * side**2,
        input_bytes=4 * inputs * size**2,
        output_bytes=4 * outputs * result**2,
        weight_bytes=4 * outputs * reads * side**2,
        count=1,
    )


def macs(kernel: Kernel, tile: RegisterTile = TILE) -> float:
    return tile.macs(kernel, window_of(kernel))


def inside(size: int, side: int, stride: int) -> int:
    """Products with pixels of the image, counted by a convolution of ones."""
    image = torch.ones(1, 1, size, size)
    return int(torch.conv2d(image, torch.ones(1, 1, side, side), None, stride, side // 2).sum())


def test_full_tiles_have_nothing_to_fill() -> None:
    kernel = convolution((32, 64), 12)
    assert macs(kernel) == kernel.macs


@pytest.mark.parametrize("channels", [(8, 64), (20, 64), (3, 64)])
def test_input_channels_are_filled_up_to_blocks_but_those_of_the_first_layer(
    channels: tuple[int, int],
) -> None:
    filled = {8: 8, 20: 32, 3: 3}[channels[0]]
    kernel = convolution(channels, 12)
    assert macs(kernel) == pytest.approx(kernel.macs * filled / channels[0])


def test_a_few_blocks_of_channels_leave_registers_empty() -> None:
    one, two, four = (macs(convolution((16, 16 * n), 12)) for n in (1, 2, 4))
    assert one == pytest.approx(7 / 6 * four / 4)  # six pixels and a block: seven loads
    assert two == four / 2


def test_channels_within_a_block_are_free() -> None:
    costs = [macs(convolution((32, outputs), 12)) for outputs in range(49, 65)]
    assert max(costs) == pytest.approx(min(costs))


@pytest.mark.parametrize("pixels", [1, 2, 3, 4, 5, 6, 7, 9, 11, 12])
def test_what_is_left_of_the_pixels_makes_smaller_tiles(pixels: int) -> None:
    tiles = {1: [1], 2: [2], 3: [3], 4: [3, 1], 5: [3, 2], 6: [6], 7: [6, 1], 9: [6, 3]}
    tiles |= {11: [6, 3, 2], 12: [6, 6]}
    kernel = Kernel("conv", (1, 16, 1, pixels), (1, 64, 1, pixels), "float32", 1024 * pixels,
                    64 * pixels, 256 * pixels, 4096, 1)  # fmt: skip
    steps = sum(max(4 * p, p + 4, 4) for p in tiles[pixels])
    assert macs(kernel) == pytest.approx(16 * 16 * steps)


@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 32])
def test_products_with_padding_are_skipped(size: int, stride: int, side: int) -> None:
    depthwise = convolution((32, 32), size, side, stride, "depthwise")
    assert macs(depthwise) == pytest.approx(32 * inside(size, side, stride))


def test_pixels_at_the_padding_come_one_by_one() -> None:
    """A row of 8: one at each end, six in between."""
    kernel = convolution((16, 64), 8, side=3)
    share = inside(8, 3, 1) / (64 * 9)
    steps = 8 * (2 * max(4, 5) + 24)
    assert macs(kernel) == pytest.approx(share * 9 * 16 * 16 * steps)


def test_windows_that_are_not_square_count_as_they_are() -> None:
    kernel = convolution((16, 64), 12, side=1)
    assert TILE.macs(kernel, 3) == TILE.macs(kernel, 1)


def test_smaller_registers_waste_less_on_narrow_layers() -> None:
    narrow = RegisterTile(channels=8, pixels=3, blocks=4)
    kernel = convolution((8, 8), 12, side=3)
    assert macs(kernel, narrow) < macs(kernel)


def test_never_less_than_the_products_inside() -> None:
    sizes, sides, widths = (1, 2, 5, 8, 13), (1, 3, 5), (8, 16, 24, 64, 72)
    for size, side, width in itertools.product(sizes, sides, widths):
        kernel = convolution((width, width), size, side)
        assert macs(kernel) >= width * width * inside(size, side, 1) * (1 - 1e-9)


def test_steps_tiles_and_rows_cost_something_beside_their_products() -> None:
    square, depthwise = convolution((64, 64), 12), convolution((48, 48), 12, 3, op="depthwise")
    steps = 12 * 12 // 6 * 64  # six pixels of all four blocks, for each input channel
    more = macs(square, replace(TILE, step=2.5)) - macs(square)
    assert more == pytest.approx(2.5 * 16 * steps)
    rows = 48 * 12  # each of blocks of 16 channels
    for cost, amount in (("start", 3 + 2), ("reload", 9)):  # 6 + 3 + 1 pixels, and the ends
        more = macs(depthwise, replace(TILE, **{cost: 3.0})) - macs(depthwise)
        assert more == pytest.approx(3.0 * rows * amount)


def test_windows_that_lie_in_the_padding_entirely_cost_nothing_and_no_less() -> None:
    kernel = convolution((64, 64), 1)
    padded = replace(kernel, out_shape=(1, 64, 7, 7), macs=kernel.macs * 49)
    assert 0 < macs(padded) <= 49 * macs(kernel)
