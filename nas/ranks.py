"""Rank correlations: whether two figures put the same things in the same order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_DEVIATIONS = 1.645
"""Of a normal distribution, beyond which are five percent on either side."""

Values = Sequence[float] | NDArray[np.float64]


def kendall(one: Values, other: Values) -> float:
    """Kendall's tau-b, -1 to 1; not a number where one of them is constant.

    Kendall 1945, The treatment of ties in ranking problems. Takes memory by the square of the
    length.

    Args:
        one: (n,), finite.
        other: (n,).

    Raises:
        ValueError: for different lengths.
    """
    signs = [_signs(values) for values in _checked(one, other)]
    untied = math.prod(int(np.count_nonzero(sign)) for sign in signs)
    return float((signs[0] * signs[1]).sum()) / math.sqrt(untied) if untied else math.nan


def spearman(one: Values, other: Values) -> float:
    """Spearman's rho with mean ranks for ties, -1 to 1; not a number where one is constant.

    Args:
        one: (n,), finite.
        other: (n,).

    Raises:
        ValueError: for different lengths.
    """
    # The mean rank of a value is half the sum of signs against all others, but for a constant.
    ranks = [_signs(values).sum(axis=1) for values in _checked(one, other)]
    scale = math.sqrt(math.prod(float((rank**2).sum()) for rank in ranks))
    return float((ranks[0] * ranks[1]).sum()) / scale if scale else math.nan


def partial_kendall(one: Values, other: Values, third: Values) -> float:
    """Kendall's tau of two beyond what the third says of both, -1 to 1.

    Kendall 1942, Partial rank correlation. Not a number where one of the three is constant, or
    the third orders as one of the others does.

    Args:
        one: (n,), finite.
        other: (n,).
        third: (n,).

    Raises:
        ValueError: for different lengths.
    """
    both, first, second = kendall(one, other), kendall(one, third), kendall(other, third)
    left = (1 - first**2) * (1 - second**2)
    return (both - first * second) / math.sqrt(left) if left > 1e-12 else math.nan


def chance(number: int) -> float:
    """How large Kendall's tau may be by chance: of unrelated rows it is beyond in one of ten.

    A normal approximation; Kendall 1938, A new measure of rank correlation.

    Args:
        number: the length of the rows, at least 2.
    """
    return _DEVIATIONS * math.sqrt(2 * (2 * number + 5) / (9 * number * (number - 1)))


def _checked(one: Values, other: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"both must be rows of the same length, but got {first.shape} and {second.shape}"
        )
    return first, second


def _signs(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, n): 1 where the row's value is larger than the column's, -1 where smaller, 0 if tied."""
    signs: NDArray[np.float64] = np.sign(values[:, None] - values)
    return signs
