"""The cells of NAS-Bench-201 (Dong and Yang 2020): six edges with one of five operations each.

With its default options the networks are those of NAS-Bench-201 for CIFAR-10, kernel by kernel as
the published code executes them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from nas.blocks import Block, Keep
from nas.choices import Choice, Genotype, Value
from nas.task import Task
from search_spaces import cell_modules
from search_spaces.cell_modules import EDGES, OPERATIONS
from search_spaces.planned import PlannedSpace, Shape, checked_integer, image_shape

_STAGES = ("stage1", "stage2", "stage3")
_NAMES = tuple(f"edge{a}{b}" for a, b in EDGES)
_VERSION = 1


class _StemSpec(NamedTuple):
    in_width: int
    width: int


class _ReductionSpec(NamedTuple):
    in_width: int
    width: int


class _CellSpec(NamedTuple):
    operations: tuple[str, ...]
    width: int


class _HeadSpec(NamedTuple):
    width: int
    outputs: int


_Spec = _StemSpec | _ReductionSpec | _CellSpec | _HeadSpec


def genotype_of(digits: str) -> dict[str, Value]:
    """The genotype of a cell in six digits, for example ``"433444"``.

    Args:
        digits: of the edges 0>1, 0>2, 1>2, 0>3, 1>3, 2>3; 0 none, 1 skip, 2 conv1x1, 3 conv3x3,
            4 avgpool3x3.

    Raises:
        ValueError: for anything but six of these digits.
    """
    if len(digits) != len(EDGES) or set(digits) - set("01234"):
        raise ValueError(f"a cell must be {len(EDGES)} digits out of 01234, but got {digits!r}")
    return {name: OPERATIONS[int(digit)] for name, digit in zip(_NAMES, digits, strict=True)}


class CellSpace(PlannedSpace):
    """The space ``cell``.

    A stem, and three stages of equal cells with one, two and four times the channels; a residual
    block between stages halves the resolution. Images must have sides that can be halved twice.

    Args:
        channels: of the first stage, 1 to 1024.
        cells: in each stage, 1 to 20.

    Raises:
        ValueError: for options out of range.
    """

    def __init__(self, channels: int = 16, cells: int = 5) -> None:
        self._channels = checked_integer("channels of cell", channels, 1, 1024)
        self._cells = checked_integer("cells of cell", cells, 1, 20)
        identity = {"space": "cell", "version": _VERSION, "channels": channels, "cells": cells}
        choices = [Choice(name, OPERATIONS) for name in _NAMES]
        super().__init__(identity, choices, (*_STAGES, "head"), {stage: {} for stage in _STAGES})

    def _plan(self, genotype: Genotype, task: Task, keep: Keep) -> Iterator[tuple[str, Block]]:
        shape = _checked_shape(task)
        operations = tuple(str(genotype[name]) for name in _NAMES)
        for index, stage in enumerate(_STAGES):
            width = keep(stage, self._channels << index)
            first = (_ReductionSpec if index else _StemSpec)(shape[0], width)
            shape = (width, shape[1] >> min(index, 1), shape[2] >> min(index, 1))
            yield stage, _as_block(first, shape)
            cell = _as_block(_CellSpec(operations, width), shape)
            yield from [(stage, cell)] * self._cells
        yield "head", _as_block(_HeadSpec(shape[0], task.outputs), shape)


def _checked_shape(task: Task) -> Shape:
    shape = image_shape("cell", task)
    if shape[1] % 4 or shape[2] % 4:
        raise ValueError(
            "cell needs images whose height and width are multiples of 4, "
            f"but the input shape of {task.name!r} is {task.input_shape}"
        )
    return shape


@functools.lru_cache(maxsize=1 << 16, typed=True)  # specifications are tuples, hence equal
def _as_block(spec: _Spec, made: Shape) -> Block:
    """The block of a specification.

    Args:
        spec: what to make.
        made: the (channels, height, width) that leave it; of the head, that come in.
    """
    output: tuple[int, ...] = made
    taken = made
    if isinstance(spec, _ReductionSpec):
        taken = (spec.in_width, 2 * made[1], 2 * made[2])
    elif isinstance(spec, _StemSpec):
        taken = (spec.in_width, *made[1:])
    elif isinstance(spec, _HeadSpec):
        output = (spec.outputs,)
    return Block(f"cell {spec}", taken, output, functools.partial(_build, spec))


def _build(spec: _Spec) -> nn.Module:
    if isinstance(spec, _StemSpec):
        module: nn.Module = cell_modules.stem(spec.in_width, spec.width)
    elif isinstance(spec, _ReductionSpec):
        module = cell_modules.Reduction(spec.in_width, spec.width)
    elif isinstance(spec, _CellSpec):
        module = cell_modules.Cell(spec.operations, spec.width)
    else:
        module = cell_modules.head(spec.width, spec.outputs)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return module
