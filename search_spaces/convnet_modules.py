"""The torch modules of `search_spaces.convnet`, each made from a specification of plain values."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn

_LARGEST_FLATTENED_SIDE = 4


class StemSpec(NamedTuple):
    """The first convolution."""

    in_width: int
    out_width: int
    kernel: int
    stride: int
    activation: str


class BlockSpec(NamedTuple):
    """A block of a stage.

    ``kind`` is conv, separable or inverted, ``hidden`` the expanded width of an inverted block and
    0 otherwise, ``downsample`` none, stride or pool.
    """

    kind: str
    in_width: int
    hidden: int
    out_width: int
    kernel: int
    downsample: str
    residual: bool
    activation: str


class HeadSpec(NamedTuple):
    """The classifier; ``kind`` is pool or flatten."""

    kind: str
    in_shape: tuple[int, int, int]
    outputs: int


Spec = StemSpec | BlockSpec | HeadSpec


class Residual(nn.Module):
    """The input added to what the body makes of it, then the activation, if any."""

    def __init__(self, body: nn.Module, activation: nn.Module | None) -> None:
        super().__init__()
        self.body = body
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        outputs: Tensor = inputs + self.body(inputs)
        return outputs if self.activation is None else self.activation(outputs)


def build(spec: Spec) -> nn.Sequential:
    """The module of a specification, its weights drawn from torch's own generator."""
    if isinstance(spec, StemSpec):
        module = nn.Sequential(
            *_conv(spec.in_width, spec.out_width, spec.kernel, spec.stride),
            _activation(spec.activation),
        )
    elif isinstance(spec, BlockSpec):
        module = _block(spec)
    else:
        module = _head(spec)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return module


def output_shape(spec: Spec, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The (channels, height, width) that leave the module of a specification.

    For the head: those that reach its linear layer.
    """
    if isinstance(spec, HeadSpec):
        kernels = _head_kernels(spec)
        return shape[0], shape[1] // kernels[0], shape[2] // kernels[1]
    if isinstance(spec, BlockSpec) and spec.downsample == "pool":
        return spec.out_width, shape[1] // 2, shape[2] // 2
    # Kernels are odd and padded by half, so only the stride counts.
    stride = spec.stride if isinstance(spec, StemSpec) else 2 if spec.downsample == "stride" else 1
    return spec.out_width, math.ceil(shape[1] / stride), math.ceil(shape[2] / stride)


def _head_kernels(spec: HeadSpec) -> tuple[int, int]:
    """What is averaged in front of the linear layer."""
    _, height, breadth = spec.in_shape
    if spec.kind == "pool":
        return height, breadth
    return math.ceil(height / _LARGEST_FLATTENED_SIDE), math.ceil(breadth / _LARGEST_FLATTENED_SIDE)


def _activation(name: str) -> nn.Module:
    return nn.Hardswish() if name == "hardswish" else nn.ReLU()


def _conv(
    in_width: int, out_width: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    padding = kernel // 2
    return [
        nn.Conv2d(in_width, out_width, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(out_width),
    ]


def _body(spec: BlockSpec, stride: int) -> list[nn.Module]:
    """The layers of a block up to its last batch norm."""
    if spec.kind == "conv":
        return _conv(spec.in_width, spec.out_width, spec.kernel, stride)
    expand: list[nn.Module] = []
    width = spec.in_width
    if spec.kind == "inverted":
        width = spec.hidden
        expand = [*_conv(spec.in_width, width, 1), _activation(spec.activation)]
    return [
        *expand,
        *_conv(width, width, spec.kernel, stride, groups=width),
        _activation(spec.activation),
        *_conv(width, spec.out_width, 1),
    ]


def _block(spec: BlockSpec) -> nn.Sequential:
    body = _body(spec, 2 if spec.downsample == "stride" else 1)
    # The output of an inverted block is linear (Sandler et al. 2018, MobileNetV2).
    last = None if spec.kind == "inverted" else _activation(spec.activation)
    if spec.residual:
        return nn.Sequential(Residual(nn.Sequential(*body), last))
    first = [nn.MaxPool2d(2)] if spec.downsample == "pool" else []
    return nn.Sequential(*first, *body, *([last] if last else []))


def _head(spec: HeadSpec) -> nn.Sequential:
    kernels = _head_kernels(spec)
    pool: list[nn.Module] = []
    if spec.kind == "pool":
        pool = [nn.AdaptiveAvgPool2d(1)]
    elif max(kernels) > 1:
        pool = [nn.AvgPool2d(kernels)]
    features = math.prod(output_shape(spec, spec.in_shape))
    return nn.Sequential(*pool, nn.Flatten(), nn.Linear(features, spec.outputs))
