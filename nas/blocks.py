"""The building blocks of a network, so that screening need not build and trace the whole of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Keep = Callable[[str, int], int]
"""``keep(stage, width) -> width``: the channels of a stage left by structured pruning."""


def keep_all(stage: str, width: int) -> int:
    """Nothing is pruned."""
    return width


@dataclass(frozen=True)
class Block:
    """A part of a network through which the data flows once, in sequence with the other blocks.

    Args:
        signature: says everything about the block but its input; blocks with the same signature
            and input shape execute the same kernels.
        input_shape: without the batch, for example (channels, height, width).
        output_shape: without the batch.
        build: makes the `torch.nn.Module`; called only where the kernels are not known yet.
    """

    signature: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    build: Callable[[], Any] = field(compare=False)
