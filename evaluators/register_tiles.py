"""Direct convolutions on a CPU: what fills its registers, and what lies in the padding.

A blocked direct convolution keeps a tile of its output in registers, some pixels of a row by some
blocks of channels, and a step multiplies all of it by one weight of one input channel (Georganas et
al., Anatomy of high-performance deep learning convolutions on SIMD architectures, 2018; ONNX
Runtime's blocked convolutions work so too). What is left of a row makes smaller tiles, and the
pixels whose window reaches into the padding come one by one. The weights that lie in the padding
are skipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from evaluators.workload import Kernel

_FEWEST_STARTS = 4
"""Multiply-adds that could have started in the time that even the smallest step takes."""


@dataclass(frozen=True)
class RegisterTile:
    """What a kernel keeps in registers.

    Args:
        channels: of a block, one vector register.
        pixels: of a row.
        blocks: of output channels.
        step: what a step costs beside its multiply-adds: loops and addresses. This and what follows
            are in multiply-adds of vectors.
        start: what a tile of a depthwise convolution costs beside its multiply-adds.
        reload: what a row of one costs for each weight of the window, which it loads again.
    """

    channels: int
    pixels: int
    blocks: int
    step: float = 0.0
    start: float = 0.0
    reload: float = 0.0

    def macs(self, kernel: Kernel, window: int) -> float:
        """Multiply-accumulates that take as long in full tiles as this convolution does in its own.

        Args:
            kernel: a convolution or depthwise convolution of images.
            window: its weights a channel.
        """
        side = math.isqrt(window)
        outputs = math.prod(kernel.out_shape)
        share = _inside(kernel.in_shape, kernel.out_shape, side) if side * side == window else 1.0
        if kernel.op == "depthwise":
            return self._depthwise_macs(kernel.in_shape, kernel.out_shape, window, share)
        inputs = kernel.in_shape[1]
        # Fewer input channels than a block are read as they are: the first layer.
        depth = self._filled(inputs) if inputs >= self.channels else inputs
        steps = self._steps(kernel.in_shape, kernel.out_shape, side)
        return kernel.macs * share * depth / inputs * steps * self.channels / outputs

    def _filled(self, channels: int) -> int:
        return math.ceil(channels / self.channels) * self.channels

    def _depthwise_macs(
        self, in_shape: tuple[int, ...], out_shape: tuple[int, ...], window: int, share: float
    ) -> float:
        batch, channels, height, width = out_shape
        alone = _in_padding(in_shape[3], width, math.isqrt(window))
        tiles = len(_split(width - alone, self.pixels)) + alone
        row = width * window * share + self.reload * window + self.start * tiles
        return batch * self._filled(channels) * height * row

    def _steps(self, in_shape: tuple[int, ...], out_shape: tuple[int, ...], side: int) -> float:
        """Multiply-adds of vectors for one weight of one input channel, of the whole output."""
        batch, channels, height, width = out_shape
        if side == 1 and in_shape[2:] == out_shape[2:]:
            pixels, rows = _split(height * width, self.pixels), batch  # rows run into one another
        else:
            alone = _in_padding(in_shape[3], width, side)
            pixels = _split(width - alone, self.pixels) + (1,) * alone
            rows = batch * height
        blocks = math.ceil(channels / self.channels)
        groups = [self.blocks] * (blocks // self.blocks)
        groups += [blocks % self.blocks] if blocks % self.blocks else []
        # A step loads a vector a block and a value a pixel, and as many loads start as products.
        return rows * sum(
            max(p * g, p + g, _FEWEST_STARTS) + self.step for p in pixels for g in groups
        )


@lru_cache(maxsize=1 << 12)
def _split(pixels: int, most: int) -> tuple[int, ...]:
    """A row in tiles: full ones, then one of half the pixels, then what is left."""
    full, rest = divmod(pixels, most)
    half, rest = divmod(rest, max(1, most // 2))
    return (most,) * full + (most // 2,) * half + ((rest,) if rest else ())


def met(in_shape: tuple[int, ...], out_shape: tuple[int, ...], window: int) -> float:
    """The share of a window's weights that meet anything but padding, of any output."""
    side = math.isqrt(window)
    if side * side != window:
        return 1.0
    axes = zip(in_shape[2:], out_shape[2:], strict=True)
    return math.prod(_axis_met(n, m, side) for n, m in axes)


@lru_cache(maxsize=1 << 12)
def _axis_met(size: int, outputs: int, side: int) -> float:
    stride, before, _ = _padding(size, outputs, side)
    seen = {
        at - start
        for start in (i * stride - before for i in range(outputs))
        for at in range(max(0, start), min(size, start + side))
    }
    return len(seen) / side


def _inside(in_shape: tuple[int, ...], out_shape: tuple[int, ...], side: int) -> float:
    """The share of the products that are not with padding."""
    axes = zip(in_shape[2:], out_shape[2:], strict=True)
    return math.prod(_axis_inside(n, m, side) for n, m in axes)


@lru_cache(maxsize=1 << 12)
def _axis_inside(size: int, outputs: int, side: int) -> float:
    stride, before, _ = _padding(size, outputs, side)
    starts = (index * stride - before for index in range(outputs))
    inside = sum(max(0, min(size, at + side) - max(0, at)) for at in starts)
    return inside / (outputs * side)


@lru_cache(maxsize=1 << 12)
def _in_padding(size: int, outputs: int, side: int) -> int:
    """The outputs of a row whose window reaches into the padding."""
    stride, before, after = _padding(size, outputs, side)
    return min(outputs, math.ceil(before / stride) + math.ceil(after / stride))


def _padding(size: int, outputs: int, side: int) -> tuple[int, int, int]:
    """Stride, and padding before and after, of a window that covers all inputs."""
    stride = max(1, round(size / outputs))
    missing = max(0, (outputs - 1) * stride + side - size)
    return stride, missing - missing // 2, missing // 2
