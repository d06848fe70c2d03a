"""One option a unit within a budget."""

import itertools

import numpy as np
import pytest

from evaluators.dataflow.combining import combined

OWNER = np.array([0, 0, 1, 1, 1])
EVERYTHING = np.arange(5)


def test_the_combination_that_fits_is_found() -> None:
    share = np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5], [0.8, 0.05], [0.05, 0.8]])
    found = combined(share, OWNER, EVERYTHING, 100)
    assert found is not None
    assert share[found].sum(axis=0).max() <= 1
    assert OWNER[found].tolist() == [0, 1]


def test_what_is_not_allowed_is_not_chosen() -> None:
    share = np.full((5, 1), 0.3)
    found = combined(share, OWNER, np.array([1, 3, 4]), 100)
    assert found is not None
    assert found[0] == 1


def test_none_where_nothing_fits() -> None:
    assert combined(np.full((5, 1), 0.6), OWNER, EVERYTHING, 100) is None


@pytest.mark.parametrize("seed", range(10))
def test_it_answers_as_trying_all_of_them_does(seed: int) -> None:
    dice = np.random.default_rng(seed)
    share = dice.uniform(0, 0.75, (5, 3))
    fits = any(
        share[list(pair)].sum(axis=0).max() <= 1 for pair in itertools.product((0, 1), (2, 3, 4))
    )
    assert (combined(share, OWNER, EVERYTHING, 100) is not None) == fits
