"""What spaces of networks share whose blocks follow one another.

A space writes one plan of blocks; the network that is built and the blocks that are screened both
come from it, so they cannot differ.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from nas.blocks import Block, Keep, keep_all
from nas.choices import Choice, Genotype, Value, validate
from nas.keys import digest
from nas.task import Task

Shape = tuple[int, int, int]
Conditions = Mapping[str, Collection[Value]]
SMALLEST_SIDE = 2
"""No stride makes a map smaller than this."""


class PlannedSpace(ABC):
    """A space whose networks are blocks in sequence.

    Args:
        identity: what decides the networks besides the genotype (name, version, options); plain
            values.
        choices: see `nas.protocols.SearchSpace`.
        parts: the submodules of a network, in order.
        stages: those of them that are pruned by a ratio of their own, see `search_spaces`.
    """

    def __init__(
        self,
        identity: Mapping[str, Any],
        choices: Iterable[Choice],
        parts: Sequence[str],
        stages: Mapping[str, Conditions],
    ) -> None:
        self.fingerprint = digest(identity)
        self.choices = tuple(choices)
        self.stages = stages
        self._parts = tuple(parts)

    def build(self, genotype: Genotype, task: Task) -> nn.Module:
        """The untrained network, its weights drawn from torch's own generator.

        Raises:
            ValueError: for a genotype that is none of this space, or a task that it does not take.
        """
        validate(self.choices, genotype)
        parts = {name: nn.Sequential() for name in self._parts}
        for name, block in self._plan(genotype, task, keep_all):
            parts[name].append(block.build())
        network = nn.Sequential()
        for name, part in parts.items():
            network.add_module(name, part)
        return network

    def blocks(self, genotype: Genotype, task: Task, keep: Keep = keep_all) -> list[Block]:
        """The network in blocks, with the channels of each stage that ``keep`` leaves.

        Raises:
            ValueError: for a task that the space does not take.
        """
        return [block for _, block in self._plan(genotype, task, keep)]

    @abstractmethod
    def _plan(self, genotype: Genotype, task: Task, keep: Keep) -> Iterable[tuple[str, Block]]:
        """Each block with the name of its part."""


def image_shape(space: str, task: Task) -> Shape:
    """The (channels, height, width) of a task.

    Raises:
        ValueError: for a task that is not on images.
    """
    if len(task.input_shape) != 3:
        raise ValueError(
            f"{space} needs images as (channels, height, width), "
            f"but the input shape of {task.name!r} is {task.input_shape}"
        )
    channels, height, breadth = task.input_shape
    return channels, height, breadth


def fitting_stride(shape: Shape, wanted: int, largest: float = math.inf) -> int:
    """The wanted stride, halved until it leaves the smallest side that makes sense.

    Args:
        shape: (channels, height, width) that come in.
        wanted: 1, 2 or 4.
        largest: side that may go out; the stride is at least 2 where it would be larger.
    """
    if math.ceil(max(shape[1:]) / wanted) > largest:
        wanted = max(wanted, 2)
    while wanted > 1 and math.ceil(min(shape[1:]) / wanted) < SMALLEST_SIDE:
        wanted //= 2
    return wanted


def image_of(block: Block) -> Shape:
    """The (channels, height, width) that leave a block."""
    channels, height, breadth = block.output_shape
    return channels, height, breadth


def scaled_width(width: int, factor: float) -> int:
    """A width times a factor, as a multiple of 8 that is at least 8; itself for a factor of 1."""
    return width if factor == 1 else max(8, int(width * factor + 4) // 8 * 8)


def checked_integer(what: str, value: object, low: int, high: int) -> int:
    """An option that must be an integer.

    Raises:
        ValueError: for anything else, or one that is not in [low, high].
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{what} must be an integer from {low} to {high}, but got {value!r}")
    return value


def checked_factor(what: str, value: object, low: float, high: float) -> float:
    """An option that must be a number.

    Raises:
        ValueError: for anything else, or one that is not in [low, high].
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # type: ignore[operator]
        raise ValueError(f"{what} must be a number from {low} to {high}, but got {value!r}")
    return float(value)  # type: ignore[arg-type]
