"""Convolutional networks for images: a stem, stages of blocks, and a linear classifier.

All widths are multiples of 8, in which the kernels of CPU runtimes work. The network that is built
and the blocks that are screened come from one plan, so they cannot differ.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

from nas.blocks import Block, Keep
from nas.choices import Choice, Genotype
from nas.task import Task
from search_spaces.convnet_modules import BlockSpec, HeadSpec, Spec, StemSpec, build, output_shape
from search_spaces.planned import (
    SMALLEST_SIDE,
    Conditions,
    PlannedSpace,
    Shape,
    fitting_stride,
    image_shape,
)

_WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128)
_MAX_STAGES = 5
_VERSION = 1


def _stage_choices(stage: str, index: int) -> list[Choice]:
    there = _there(stage, index)
    return [
        Choice(f"{stage}.depth", (1, 2, 3) if index == 0 else (0, 1, 2, 3), ordered=True),
        Choice(f"{stage}.block", ("conv", "separable", "inverted"), when=there),
        Choice(f"{stage}.expansion", (2, 4), True, {f"{stage}.block": ("inverted",)}),
        Choice(f"{stage}.width", _WIDTHS[: 4 + index], True, there),
        Choice(f"{stage}.kernel", (3, 5), True, there),
        Choice(f"{stage}.downsample", ("none", "stride", "pool"), when=there),
        Choice(f"{stage}.residual", ("no", "yes"), when={f"{stage}.depth": (2, 3)}),
    ]


def _there(stage: str, index: int) -> Conditions:
    """Under which conditions a stage has blocks at all."""
    return {} if index == 0 else {f"{stage}.depth": (1, 2, 3)}


class ConvNetSpace(PlannedSpace):
    """The space ``convnet``.

    A stage of depth 0 is left out. The first block of a stage changes the width and, if so chosen,
    the resolution; the others may be residual. Strides adapt to the input: one that would leave
    a map smaller than 2 x 2 is not taken, so every genotype builds for every image.

    Args:
        stages: how many stages to choose, 1 to 5; later ones may be wider.

    Raises:
        ValueError: for another number of stages.
    """

    def __init__(self, stages: int = 3) -> None:
        if (
            isinstance(stages, bool)
            or not isinstance(stages, int)
            or not 1 <= stages <= _MAX_STAGES
        ):
            raise ValueError(f"convnet has 1 to {_MAX_STAGES} stages, but got {stages!r}")
        conditions = {f"stage{i + 1}": _there(f"stage{i + 1}", i) for i in range(stages)}
        super().__init__(
            identity={"space": "convnet", "version": _VERSION, "stages": stages},
            choices=[
                Choice("activation", ("relu", "hardswish")),
                Choice("stem.width", _WIDTHS[:3], ordered=True),
                Choice("stem.stride", (1, 2, 4), ordered=True),
                *(c for i, stage in enumerate(conditions) for c in _stage_choices(stage, i)),
                Choice("head", ("pool", "flatten")),
            ],
            parts=("stem", *conditions, "head"),
            stages=conditions,
        )

    def _plan(self, genotype: Genotype, task: Task, keep: Keep) -> Iterator[tuple[str, Block]]:
        shape = image_shape("convnet", task)
        stride = fitting_stride(shape, int(genotype["stem.stride"]))
        stem = StemSpec(
            in_width=shape[0],
            out_width=int(genotype["stem.width"]),
            kernel=max(3, stride + 1),  # odd, and no pixel is skipped
            stride=stride,
            activation=str(genotype["activation"]),
        )
        block, shape = _as_block(stem, shape)
        yield "stem", block
        unpruned = stem.out_width
        for stage in self.stages:
            for index in range(int(genotype[f"{stage}.depth"])):
                spec = _stage_spec(genotype, stage, index, unpruned, shape, keep)
                block, shape = _as_block(spec, shape)
                yield stage, block
                unpruned = int(genotype[f"{stage}.width"])
        block, _ = _as_block(HeadSpec(str(genotype["head"]), shape, task.outputs), shape)
        yield "head", block


def _fitting_downsample(shape: Shape, wanted: str) -> str:
    side = min(shape[1:])
    left = side // 2 if wanted == "pool" else math.ceil(side / 2)
    return wanted if left >= SMALLEST_SIDE else "none"


def _stage_spec(
    genotype: Genotype, stage: str, index: int, unpruned: int, shape: Shape, keep: Keep
) -> BlockSpec:
    """The block of a stage.

    Args:
        genotype: of the whole network.
        stage: its name.
        index: of the block in its stage.
        unpruned: the width of its input before pruning, from which the hidden width follows.
        shape: of its input as it is now.
        keep: what pruning leaves.
    """
    kind = str(genotype[f"{stage}.block"])
    inverted = kind == "inverted"
    hidden = unpruned * int(genotype[f"{stage}.expansion"]) if inverted else 0
    wanted = str(genotype[f"{stage}.downsample"]) if index == 0 else "none"
    return BlockSpec(
        kind=kind,
        in_width=shape[0],
        hidden=keep(stage, hidden) if inverted else 0,
        out_width=keep(stage, int(genotype[f"{stage}.width"])),
        kernel=int(genotype[f"{stage}.kernel"]),
        downsample=_fitting_downsample(shape, wanted),
        residual=index > 0 and genotype[f"{stage}.residual"] == "yes",
        activation=str(genotype["activation"]),
    )


def _as_block(spec: Spec, shape: Shape) -> tuple[Block, Shape]:
    out = output_shape(spec, shape)
    output: tuple[int, ...] = (spec.outputs,) if isinstance(spec, HeadSpec) else out
    return Block(f"convnet {spec}", shape, output, functools.partial(build, spec)), out
