"""The candidates among which the next one is chosen."""

import numpy as np
import pytest

from nas.choices import Choice
from strategies.guided.codes import CodeSpace
from strategies.guided.pool import KEPT_ASKS, Pool

CHOICES = [Choice(f"c{i}", tuple(range(8))) for i in range(8)]


def pool_of(size: int) -> Pool:
    return Pool(CodeSpace(CHOICES), lambda genotype: tuple(genotype.values()), 0, size)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("size", [16, 50, 100, 800])
def test_two_fifths_are_random(size: int) -> None:
    found = pool_of(size).candidates(100, np.zeros((0, 8), dtype=int), [], np.random.default_rng(0))
    assert 0.4 * size <= len(found) <= 0.6 * size


def test_most_of_them_stay() -> None:
    pool, nothing, rng = pool_of(800), np.zeros((0, 8), dtype=int), np.random.default_rng(0)
    before = set(pool.candidates(100, nothing, [], rng))
    after = set(pool.candidates(101, nothing, [], rng))
    assert len(after - before) == pytest.approx(len(after) / KEPT_ASKS, rel=0.1)
    later = set(pool.candidates(100 + KEPT_ASKS, nothing, [], rng))
    assert not later & before
