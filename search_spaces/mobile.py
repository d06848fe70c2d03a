"""Networks for deployment: stages of inverted residuals, as in MobileNetV3, EfficientNet and FBNet.

Sandler et al. 2018 (https://arxiv.org/abs/1801.04381), Howard et al. 2019
(https://arxiv.org/abs/1905.02244), Wu et al. 2019 (https://arxiv.org/abs/1812.03443).
"""

from __future__ import annotations

from collections.abc import Iterator

from nas.blocks import Block, Keep
from nas.choices import Choice, Genotype
from nas.task import Task
from search_spaces.mobile_modules import (
    HeadSpec,
    Stage,
    StemSpec,
    as_block,
    stage_blocks,
)
from search_spaces.planned import (
    Conditions,
    PlannedSpace,
    checked_factor,
    checked_integer,
    fitting_stride,
    image_of,
    image_shape,
    scaled_width,
)

_STEMS = (8, 16, 24, 32)
_WIDTHS = (
    (16, 24, 32),
    (24, 32, 40, 48),
    (40, 48, 64, 80),
    (64, 80, 96, 112, 128),
    (96, 112, 128, 160, 192),
    (160, 192, 224, 256, 320),
)
_HEADS = (64, 128, 256, 512, 960, 1280)
_LARGEST_SIDES = (112, 56, 28, 28, 14, 14)
"""A stage whose map would be larger takes its stride, whatever was chosen."""
_LARGEST_STEM_SIDE = 112
_VERSION = 1


def _there(stage: str, index: int) -> Conditions:
    """Under which conditions a stage has blocks at all."""
    return {} if index == 0 else {f"{stage}.depth": (1, 2, 3, 4)}


def _stage_choices(stage: str, index: int, factor: float) -> list[Choice]:
    there = _there(stage, index)
    depths = (1, 2, 3) if index == 0 else (0, 1, 2, 3, 4)
    return [
        Choice(f"{stage}.depth", depths, ordered=True),
        Choice(f"{stage}.width", _scaled(_WIDTHS[index], factor), True, there),
        Choice(f"{stage}.expansion", (1, 3, 4, 6), True, there),
        Choice(f"{stage}.kernel", (3, 5, 7), True, there),
        Choice(f"{stage}.stride", (1, 2), True, there),
        Choice(f"{stage}.se", ("no", "yes"), when=there),
    ]


def _scaled(widths: tuple[int, ...], factor: float) -> tuple[int, ...]:
    return tuple(sorted({scaled_width(width, factor) for width in widths}))


class MobileSpace(PlannedSpace):
    """The space ``mobile``.

    A stage of depth 0 is left out. The first block of a stage changes the width and, if so chosen,
    the resolution; the others are residual. Strides adapt to the image: one that would leave a
    map smaller than 2 x 2 is not taken, and one without which the map would be far larger than in
    networks for 224 x 224 is taken in any case. So every genotype builds for every image.

    Args:
        stages: how many stages to choose, 1 to 6; later ones are wider.
        width: factor on all widths, 0.1 to 4; widths are multiples of 8.

    Raises:
        ValueError: for options out of range.
    """

    def __init__(self, stages: int = 5, width: float = 1.0) -> None:
        checked_integer("the stages of mobile", stages, 1, len(_WIDTHS))
        factor = checked_factor("the width of mobile", width, 0.1, 4)
        self._stages = [f"stage{i + 1}" for i in range(stages)]
        conditions = {stage: _there(stage, i) for i, stage in enumerate(self._stages)}
        super().__init__(
            identity={"space": "mobile", "version": _VERSION, "stages": stages, "width": factor},
            choices=[
                Choice("activation", ("relu", "hardswish")),
                Choice("stem.width", _scaled(_STEMS, factor), ordered=True),
                Choice("stem.stride", (1, 2), ordered=True),
                *(
                    c
                    for i, stage in enumerate(self._stages)
                    for c in _stage_choices(stage, i, factor)
                ),
                Choice("head.width", _scaled(_HEADS, factor), ordered=True),
            ],
            parts=("stem", *self._stages, "head"),
            stages={**conditions, "head": {}},
        )

    def _plan(self, genotype: Genotype, task: Task, keep: Keep) -> Iterator[tuple[str, Block]]:
        shape = image_shape("mobile", task)
        activation = str(genotype["activation"])
        unpruned = int(genotype["stem.width"])
        stride = fitting_stride(shape, int(genotype["stem.stride"]), _LARGEST_STEM_SIDE)
        block = as_block(StemSpec(shape[0], unpruned, stride, activation), shape)
        yield "stem", block
        for name, largest in zip(self._stages, _LARGEST_SIDES, strict=False):
            if not genotype[f"{name}.depth"]:
                continue
            stage = Stage(
                name=name,
                layers=int(genotype[f"{name}.depth"]),
                width=int(genotype[f"{name}.width"]),
                expansion=int(genotype[f"{name}.expansion"]),
                kernel=int(genotype[f"{name}.kernel"]),
                stride=int(genotype[f"{name}.stride"]),
                excitation=genotype[f"{name}.se"] == "yes",
                activation=activation,
                largest=largest,
            )
            blocks = list(stage_blocks(stage, block, unpruned, keep))
            yield from ((name, each) for each in blocks)
            block = blocks[-1]
            unpruned = stage.width
        width = keep("head", int(genotype["head.width"]))
        shape = image_of(block)
        yield "head", as_block(HeadSpec(shape[0], width, task.outputs, activation), shape)
