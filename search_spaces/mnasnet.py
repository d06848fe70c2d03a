"""The MnasNet space (Tan et al. 2019) as Accel-NASBench measured it (Ahmad et al. 2024).

Seven stages of inverted residuals. With its default options and 1000 classes at 224 x 224 the
networks are those whose latencies that benchmark gives.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from nas.blocks import Block, Keep
from nas.choices import Choice, Genotype, Value
from nas.task import Task
from search_spaces.mobile_modules import HeadSpec, Stage, StemSpec, as_block, stage_blocks
from search_spaces.planned import (
    PlannedSpace,
    checked_factor,
    fitting_stride,
    image_of,
    image_shape,
    scaled_width,
)

_STEM, _HEAD = 32, 1280
_WIDTHS = (16, 24, 40, 80, 112, 192, 320)
_STRIDES = (2, 1, 2, 2, 2, 1, 2, 1)
_OPTIONS = {"expansion": (1, 4, 6), "kernel": (3, 5), "layers": (1, 2, 3), "se": (0, 1)}
_DEEPER = {5: {"layers": (1, 2, 3, 4)}}
"""The sixth stage may have a layer more."""
_ACTIVATION = "relu"
_VERSION = 1


def genotype_of(expansion: str, kernel: str, layers: str, se: str) -> dict[str, Value]:
    """The genotype that Accel-NASBench writes in four strings, one digit a stage.

    Args:
        expansion: for example ``"6466611"``.
        kernel: sizes, for example ``"3535533"``.
        layers: blocks, for example ``"1233222"``.
        se: 1 with squeeze-excitation, for example ``"0000000"``.

    Raises:
        ValueError: for a string that has not one digit a stage, or a digit that is no option.
    """
    strings = dict(zip(_OPTIONS, (expansion, kernel, layers, se), strict=True))
    genotype: dict[str, Value] = {}
    for name, digits in strings.items():
        if len(digits) != len(_WIDTHS):
            raise ValueError(f"{name} must be {len(_WIDTHS)} digits, but got {digits!r}")
    for choice in _choices():
        stage, name = choice.name.removeprefix("stage").split(".")
        digit = strings[name][int(stage) - 1]
        if digit not in map(str, choice.options):
            raise ValueError(f"{choice.name} must be one of {choice.options}, but got {digit!r}")
        genotype[choice.name] = int(digit)
    return genotype


@functools.cache
def _choices() -> tuple[Choice, ...]:
    return tuple(
        Choice(f"stage{i + 1}.{name}", options, ordered=True)
        for i in range(len(_WIDTHS))
        for name, options in {**_OPTIONS, **_DEEPER.get(i, {})}.items()
    )


class MnasNetSpace(PlannedSpace):
    """The space ``mnasnet``.

    All blocks of a stage are alike but for the first, which changes the width and the resolution
    and is never residual. A stride that would leave a map smaller than 2 x 2 is not taken, so
    every genotype builds for every image.

    Args:
        width: factor on all widths, 0.1 to 4; those that it changes are multiples of 8.
        strides: of the stem and of each stage, 1 or 2; the default is for 224 x 224.

    Raises:
        ValueError: for another factor, or strides that are not eight of 1 and 2.
    """

    def __init__(self, width: float = 1.0, strides: Sequence[int] = _STRIDES) -> None:
        factor = checked_factor("the width of mnasnet", width, 0.1, 4)
        self._strides = _checked_strides(strides)
        self._stem, *self._widths, self._head = (
            scaled_width(each, factor) for each in (_STEM, *_WIDTHS, _HEAD)
        )
        self._stages = [f"stage{i + 1}" for i in range(len(_WIDTHS))]
        super().__init__(
            identity={
                "space": "mnasnet",
                "version": _VERSION,
                "width": factor,
                "strides": self._strides,
            },
            choices=_choices(),
            parts=("stem", *self._stages, "head"),
            stages={stage: {} for stage in (*self._stages, "head")},
        )

    def _plan(self, genotype: Genotype, task: Task, keep: Keep) -> Iterator[tuple[str, Block]]:
        shape = image_shape("mnasnet", task)
        stride = fitting_stride(shape, self._strides[0])
        block = as_block(StemSpec(shape[0], self._stem, stride, _ACTIVATION), shape)
        yield "stem", block
        unpruned = self._stem
        for name, width, stride in zip(self._stages, self._widths, self._strides[1:], strict=True):
            stage = Stage(
                name=name,
                layers=int(genotype[f"{name}.layers"]),
                width=width,
                expansion=int(genotype[f"{name}.expansion"]),
                kernel=int(genotype[f"{name}.kernel"]),
                stride=stride,
                excitation=genotype[f"{name}.se"] == 1,
                activation=_ACTIVATION,
            )
            blocks = list(stage_blocks(stage, block, unpruned, keep))
            yield from ((name, each) for each in blocks)
            block = blocks[-1]
            unpruned = width
        shape = image_of(block)
        head = HeadSpec(shape[0], keep("head", self._head), task.outputs, _ACTIVATION)
        yield "head", as_block(head, shape)


def _checked_strides(strides: object) -> tuple[int, ...]:
    listed = isinstance(strides, list | tuple) and len(strides) == len(_STRIDES)
    if not listed or any(isinstance(s, bool) or s not in (1, 2) for s in strides):  # type: ignore[attr-defined]
        raise ValueError(
            f"the strides of mnasnet must be {len(_STRIDES)} of 1 and 2, but got {strides!r}"
        )
    return tuple(strides)  # type: ignore[arg-type]
