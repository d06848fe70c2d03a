"""Splits: disjoint, complete, stratified, and always the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.tasks import stratified


@given(
    labels=st.lists(st.integers(0, 3), min_size=10, max_size=200),
    validation=st.sampled_from([0.1, 0.2, 0.3]),
    test=st.sampled_from([0.1, 0.2, 0.4]),
)
def test_every_example_is_in_one_split_and_classes_are_in_proportion(
    labels: list[int], validation: float, test: float
):
    parts = stratified(labels, validation, test)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    for share, part in zip((1 - validation - test, validation, test), parts, strict=True):
        assert abs(len(part) - share * len(labels)) <= 2
        for value in set(labels):
            there = sum(labels[index] == value for index in part)
            assert abs(there - share * labels.count(value)) <= 2


def test_the_split_depends_on_the_labels_alone_and_leaves_numpy_alone():
    labels = np.arange(50) % 3
    before = np.random.get_state()[1].copy()
    one, other = stratified(labels), stratified(labels)
    assert all((a == b).all() for a, b in zip(one, other, strict=True))
    assert (np.random.get_state()[1] == before).all()


def test_examples_are_shuffled_before_they_are_dealt():
    _, _, test = stratified(np.zeros(100, int))
    assert set(np.diff(test)) != {5}


@pytest.mark.parametrize("shares", [(0.0, 0.2), (0.2, 0.0), (0.5, 0.5), (-0.1, 0.2), (1.2, 0.2)])
def test_shares_must_leave_something_to_train_on(shares: tuple[float, float]):
    with pytest.raises(ValueError, match="shares must be above 0 and leave some"):
        stratified(np.arange(10), *shares)


def test_too_few_examples():
    with pytest.raises(ValueError, match="at least 3 examples"):
        stratified([0, 1])
