"""The torch modules of `search_spaces.mnasnet` and `search_spaces.mobile`."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

from nas.blocks import Block, Keep
from search_spaces.convnet_modules import Residual
from search_spaces.planned import Shape, fitting_stride, image_of


class StemSpec(NamedTuple):
    """The first convolution."""

    in_width: int
    out_width: int
    stride: int
    activation: str


class InvertedSpec(NamedTuple):
    """An inverted residual (Sandler et al. 2018, MobileNetV2).

    ``hidden`` is the expanded width, 0 where nothing is expanded; ``squeeze`` the width within
    squeeze-excitation (Hu et al. 2018), 0 where there is none.
    """

    in_width: int
    hidden: int
    out_width: int
    kernel: int
    stride: int
    squeeze: int
    residual: bool
    activation: str


class HeadSpec(NamedTuple):
    """The last convolution, pooling and the classifier."""

    in_width: int
    width: int
    outputs: int
    activation: str


Spec = StemSpec | InvertedSpec | HeadSpec

_SQUEEZED = 4
"""Squeeze-excitation narrows to a quarter of what comes into the block (Tan et al. 2019)."""


class Stage(NamedTuple):
    """Blocks in sequence that are alike but for the first, which alone is not residual.

    ``stride`` is that of the first block, taken as `fitting_stride` says; ``largest`` see there.
    """

    name: str
    layers: int
    width: int
    expansion: int
    kernel: int
    stride: int
    excitation: bool
    activation: str
    largest: float = math.inf


class SqueezeExcitation(nn.Module):
    """Scales each channel by a share that follows from the means of all of them.

    Args:
        width: channels.
        squeeze: channels in between.
    """

    def __init__(self, width: int, squeeze: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, squeeze, 1),
            nn.ReLU(),
            nn.Conv2d(squeeze, width, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        outputs: Tensor = inputs * self.gate(inputs)
        return outputs


def stage_blocks(stage: Stage, before: Block, unpruned: int, keep: Keep) -> Iterator[Block]:
    """The blocks of a stage, with the channels that ``keep`` leaves.

    Args:
        stage: what to make.
        before: the block in front of it.
        unpruned: the width in front of it before pruning, from which hidden widths follow.
        keep: what pruning leaves.
    """
    block = before
    for index in range(stage.layers):
        shape = image_of(block)
        hidden = keep(stage.name, unpruned * stage.expansion) if stage.expansion > 1 else 0
        squeezed = max(1, unpruned // _SQUEEZED)
        spec = InvertedSpec(
            in_width=shape[0],
            hidden=hidden,
            out_width=keep(stage.name, stage.width),
            kernel=stage.kernel,
            stride=1 if index else fitting_stride(shape, stage.stride, stage.largest),
            squeeze=keep(stage.name, squeezed) if stage.excitation else 0,
            residual=index > 0,
            activation=stage.activation,
        )
        block = as_block(spec, shape)
        yield block
        unpruned = stage.width


@functools.lru_cache(maxsize=1 << 16, typed=True)  # specifications are tuples, hence equal
def as_block(spec: Spec, shape: Shape) -> Block:
    """The block of a specification, for inputs of (channels, height, width)."""
    output: tuple[int, ...]
    if isinstance(spec, HeadSpec):
        output = (spec.outputs,)
    else:
        # Kernels are odd and padded by half, so only the stride counts.
        output = (spec.out_width, *(math.ceil(side / spec.stride) for side in shape[1:]))
    return Block(f"mobile {spec}", shape, output, functools.partial(build, spec))


def build(spec: Spec) -> nn.Module:
    """The module of a specification, its weights drawn from torch's own generator."""
    if isinstance(spec, StemSpec):
        module: nn.Module = _conv(spec.in_width, spec.out_width, 3, spec.activation, spec.stride)
    elif isinstance(spec, InvertedSpec):
        module = _inverted(spec)
    else:
        module = nn.Sequential(
            *_conv(spec.in_width, spec.width, 1, spec.activation),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(spec.width, spec.outputs),
        )
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return module


def _inverted(spec: InvertedSpec) -> nn.Module:
    width = spec.hidden or spec.in_width
    expand = _conv(spec.in_width, width, 1, spec.activation) if spec.hidden else ()
    excitation = [SqueezeExcitation(width, spec.squeeze)] if spec.squeeze else []
    layers = nn.Sequential(
        *expand,
        *_conv(width, width, spec.kernel, spec.activation, spec.stride, groups=width),
        *excitation,
        *_conv(width, spec.out_width, 1),
    )
    return Residual(layers, None) if spec.residual else layers


def _conv(
    in_width: int,
    out_width: int,
    kernel: int,
    activation: str = "",
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(in_width, out_width, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_width),
    ]
    if activation:
        layers.append(nn.Hardswish() if activation == "hardswish" else nn.ReLU())
    return nn.Sequential(*layers)
