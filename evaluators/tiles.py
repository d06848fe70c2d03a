"""Tiles: how many elements a tensor has once it fills whole registers of a vector unit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=1 << 14)
def fill(shape: tuple[int, ...], lanes: int, sublanes: int) -> float:
    """By which factor a tensor grows in memory when two of its axes fill tiles.

    A TPU keeps tensors in tiles of 8 x 128; the compiler chooses the two axes, here those that
    waste least.

    Args:
        shape: with the whole batch.
        lanes: of a tile, filled by one axis.
        sublanes: filled by another one.
    """
    if len(shape) < 2:
        return _up(math.prod(shape), lanes)
    pairs = itertools.permutations(shape, 2)
    return min(_up(minor, lanes) * _up(second, sublanes) for minor, second in pairs)


def with_batch(shape: Sequence[int], batch: int) -> tuple[int, ...]:
    """A shape whose own batch is taken several times."""
    return (shape[0] * batch, *shape[1:])


def _up(size: int, tile: int) -> float:
    """How much larger the next multiple is."""
    return math.ceil(size / tile) * tile / max(1, size)
