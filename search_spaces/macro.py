"""The networks of NAS-Bench-Macro (Su et al. 2021): eight layers with one of three blocks each.

With its default options the networks are those of NAS-Bench-Macro for CIFAR-10, parameter by
parameter as published (https://arxiv.org/abs/2103.11922).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from nas.blocks import Block, Keep
from nas.choices import Choice, Genotype, Value
from nas.task import Task
from search_spaces.mobile_modules import HeadSpec, InvertedSpec, StemSpec, as_block
from search_spaces.planned import (
    PlannedSpace,
    Shape,
    checked_factor,
    fitting_stride,
    image_of,
    image_shape,
    scaled_width,
)

OPERATIONS = ("identity", "kernel3", "kernel5")
"""In the order of the digits of NAS-Bench-Macro."""

_INVERTED = {"kernel3": (3, 3), "kernel5": (5, 6)}
"""Kernel and expansion of an inverted residual."""

_STEM, _HEAD = 32, 1280
_STAGES = ((64, 2), (128, 3), (256, 3))
"""Width and layers; the first layer of each halves the resolution."""
_NAMES = tuple(f"layer{i + 1}" for i in range(sum(layers for _, layers in _STAGES)))
_ACTIVATION = "relu"
_VERSION = 1


class _ShortcutSpec(NamedTuple):
    """What stands for the identity where width and resolution change."""

    in_width: int
    out_width: int
    stride: int


def genotype_of(digits: str) -> dict[str, Value]:
    """The genotype of a network in eight digits, for example ``"01220122"``.

    Args:
        digits: of the layers; 0 identity, 1 inverted residual of kernel 3 and expansion 3, 2 of
            kernel 5 and expansion 6.

    Raises:
        ValueError: for anything but eight of these digits.
    """
    if len(digits) != len(_NAMES) or set(digits) - set("012"):
        raise ValueError(
            f"a network of macro must be {len(_NAMES)} digits out of 012, but got {digits!r}"
        )
    return {name: OPERATIONS[int(digit)] for name, digit in zip(_NAMES, digits, strict=True)}


class MacroSpace(PlannedSpace):
    """The space ``macro``.

    A stem, three stages of two, three and three layers, and a head. The first layer of a stage
    changes the width and halves the resolution unless the map would become smaller than 2 x 2; an
    identity there is a convolution of 1 x 1. So every genotype builds for every image.

    Args:
        width: factor on all widths, 0.1 to 4; those that it changes are multiples of 8.

    Raises:
        ValueError: for another factor.
    """

    def __init__(self, width: float = 1.0) -> None:
        factor = checked_factor("the width of macro", width, 0.1, 4)
        self._stem, self._head = scaled_width(_STEM, factor), scaled_width(_HEAD, factor)
        self._widths = [scaled_width(each, factor) for each, _ in _STAGES]
        stages = [f"stage{i + 1}" for i in range(len(_STAGES))]
        super().__init__(
            identity={"space": "macro", "version": _VERSION, "width": factor},
            choices=[Choice(name, OPERATIONS) for name in _NAMES],
            parts=("stem", *stages, "head"),
            stages={stage: {} for stage in (*stages, "head")},
        )

    def _plan(self, genotype: Genotype, task: Task, keep: Keep) -> Iterator[tuple[str, Block]]:
        shape = image_shape("macro", task)
        block = as_block(StemSpec(shape[0], self._stem, 1, _ACTIVATION), shape)
        yield "stem", block
        names, unpruned = iter(_NAMES), self._stem
        for index, (width, (_, layers)) in enumerate(zip(self._widths, _STAGES, strict=True)):
            stage = f"stage{index + 1}"
            for is_first in [True] + [False] * (layers - 1):
                operation = str(genotype[next(names)])
                shape = image_of(block)
                out_width = keep(stage, width)
                if operation == "identity":
                    if is_first:
                        stride = fitting_stride(shape, 2)
                        block = _shortcut(_ShortcutSpec(shape[0], out_width, stride), shape)
                        yield stage, block
                else:
                    kernel, expansion = _INVERTED[operation]
                    spec = InvertedSpec(
                        in_width=shape[0],
                        hidden=keep(stage, unpruned * expansion),
                        out_width=out_width,
                        kernel=kernel,
                        stride=fitting_stride(shape, 2) if is_first else 1,
                        squeeze=0,
                        residual=not is_first,
                        activation=_ACTIVATION,
                    )
                    block = as_block(spec, shape)
                    yield stage, block
                unpruned = width
        shape = image_of(block)
        head = HeadSpec(shape[0], keep("head", self._head), task.outputs, _ACTIVATION)
        yield "head", as_block(head, shape)


@functools.lru_cache(maxsize=1 << 16)
def _shortcut(spec: _ShortcutSpec, shape: Shape) -> Block:
    output = (spec.out_width, *(math.ceil(side / spec.stride) for side in shape[1:]))
    return Block(f"macro {spec}", shape, output, functools.partial(_build, spec))


def _build(spec: _ShortcutSpec) -> nn.Module:
    convolution = nn.Conv2d(spec.in_width, spec.out_width, 1, spec.stride, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(spec.out_width))
