"""Rank correlations, against figures worked out by hand."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from nas.ranks import chance, kendall, partial_kendall, spearman


def test_the_same_order_and_the_opposite() -> None:
    assert kendall([1, 2, 3], [10, 200, 3000]) == spearman([1, 2, 3], [10, 200, 3000]) == 1.0
    assert kendall([1, 2, 3], [3, 2, 1]) == spearman([1, 2, 3], [3, 2, 1]) == -1.0


def test_one_pair_of_six_is_out_of_order() -> None:
    assert kendall([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert spearman([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(0.8)


def test_ties_count_as_scipy_counts_them() -> None:
    rng = random.Random(0)
    one, other = ([rng.randrange(5) for _ in range(40)] for _ in range(2))
    assert kendall(one, other) == pytest.approx(stats.kendalltau(one, other).statistic)
    assert spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)


def test_a_constant_has_no_order() -> None:
    assert math.isnan(kendall([1, 1, 1], [1, 2, 3]))
    assert math.isnan(spearman([1, 2, 3], [1, 1, 1]))
    assert math.isnan(kendall([], []))


def test_beyond_a_third() -> None:
    size = [1, 2, 3, 4, 5, 6]
    assert math.isnan(partial_kendall(size, [1, 3, 2, 4, 5, 6], size))
    one, other, third = [1, 2, 3], [1, 3, 2], [2, 1, 3]
    taus = [kendall(one, other), kendall(one, third), kendall(other, third)]
    assert taus == pytest.approx([1 / 3, 1 / 3, -1 / 3])
    assert partial_kendall(one, other, third) == pytest.approx((1 / 3 + 1 / 9) / (8 / 9))


def test_rows_of_different_lengths() -> None:
    with pytest.raises(ValueError, match=r"same length, but got \(2,\) and \(3,\)"):
        kendall([1, 2], [1, 2, 3])


def test_unrelated_rows_are_beyond_chance_in_one_of_ten() -> None:
    rng = random.Random(0)
    rows = [[rng.random() for _ in range(20)] for _ in range(400)]
    beyond = [abs(kendall(a, b)) > chance(20) for a, b in zip(rows[::2], rows[1::2], strict=True)]
    assert sum(beyond) / len(beyond) == pytest.approx(0.1, abs=0.06)
