"""Fully connected networks: hidden layers with ReLU, and a linear classifier.

They take images, flattened, and inputs without a shape such as physical quantities: with three
hidden layers of 64, 32 and 32 neurons the tagger of particle jets of Duarte et al. 2018
(https://arxiv.org/abs/1804.06913), 16-64-32-32-5, is a member.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import nn

from nas.blocks import Block, Keep
from nas.choices import Choice, Genotype
from nas.task import Task
from search_spaces.planned import Conditions, PlannedSpace, checked_integer

_WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128)
_MOST_LAYERS = 8
_WIDEST = 4096
_VERSION = 1


class LayerSpec(NamedTuple):
    """A linear layer; ``flatten`` makes what comes in flat, ``relu`` ends it."""

    in_width: int
    out_width: int
    flatten: bool
    relu: bool


class MLPSpace(PlannedSpace):
    """The space ``mlp``.

    Each hidden layer is a stage of its own; its width is that before structured pruning.

    Args:
        layers: hidden layers at most, 1 to 8.
        widths: neurons of a hidden layer to choose from, ascending.

    Raises:
        ValueError: for another number of layers, or widths that are no ascending list of integers.
    """

    def __init__(self, layers: int = 4, widths: Sequence[int] = _WIDTHS) -> None:
        layers, widths = checked_integer("layers of mlp", layers, 1, _MOST_LAYERS), _checked(widths)
        stages = {f"layer{i + 1}": _there(i, layers) for i in range(layers)}
        super().__init__(
            identity={"space": "mlp", "version": _VERSION, "layers": layers, "widths": widths},
            choices=[
                Choice("depth", tuple(range(1, layers + 1)), ordered=True),
                *(Choice(f"{stage}.width", widths, True, when) for stage, when in stages.items()),
            ],
            parts=(*stages, "head"),
            stages=stages,
        )

    def _plan(self, genotype: Genotype, task: Task, keep: Keep) -> Iterator[tuple[str, Block]]:
        shape = task.input_shape
        for stage in list(self.stages)[: int(genotype["depth"])]:
            width = keep(stage, int(genotype[f"{stage}.width"]))
            block = _as_block(shape, width, relu=True)
            yield stage, block
            shape = block.output_shape
        yield "head", _as_block(shape, task.outputs, relu=False)


def _there(index: int, layers: int) -> Conditions:
    """Under which conditions a layer is there."""
    return {} if index == 0 else {"depth": tuple(range(index + 1, layers + 1))}


def _checked(widths: object) -> tuple[int, ...]:
    listed = tuple(widths) if isinstance(widths, list | tuple) else ()
    if not listed or any(isinstance(w, bool) or not isinstance(w, int) for w in listed):
        raise ValueError(f"widths of mlp must be a list of integers, but got {widths!r}")
    if list(listed) != sorted(set(listed)) or listed[0] < 1 or listed[-1] > _WIDEST:
        raise ValueError(f"widths of mlp must ascend, from 1 to {_WIDEST}, but got {list(listed)}")
    return listed


def _as_block(shape: tuple[int, ...], width: int, relu: bool) -> Block:
    spec = LayerSpec(math.prod(shape), width, len(shape) > 1, relu)
    return Block(f"mlp {spec}", shape, (width,), functools.partial(_build, spec))


def _build(spec: LayerSpec) -> nn.Sequential:
    """The module of a specification, its weights drawn from torch's own generator."""
    linear = nn.Linear(spec.in_width, spec.out_width)
    if spec.relu:
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    first = [nn.Flatten()] if spec.flatten else []
    return nn.Sequential(*first, linear, *([nn.ReLU()] if spec.relu else []))
