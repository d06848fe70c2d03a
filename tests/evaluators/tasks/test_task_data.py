"""Arrays of a task: checked on the way in, read-only, without the test split where it counts."""

import numpy as np
import pytest

from evaluators import tasks
from evaluators.tasks import Preprocessing, Split
from tests.evaluators.packed import blobs, colours


def pair(n: int = 6, shape: tuple[int, ...] = (2,)) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(n * int(np.prod(shape)), dtype=float).reshape(n, *shape), np.arange(n) % 2


def test_a_split_is_float32_and_int64_and_cannot_be_written():
    inputs, labels = pair()
    split = Split(inputs, labels.astype(np.uint8))
    assert split.inputs.dtype == np.float32
    assert split.labels.dtype == np.int64
    assert len(split) == 6
    with pytest.raises(ValueError, match="read-only"):
        split.inputs[0] = 1
    inputs[0] = 99  # the caller's array is still the caller's
    assert split.inputs[0, 0] == 0


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (np.zeros((4, 8, 8)), np.zeros(4, int), "give images a channel axis"),
        (np.zeros(4), np.zeros(4, int), r"inputs must be .* but got shape \(4,\)"),
        (np.zeros((4, 2)), np.zeros(3, int), "one label an example"),
        (np.zeros((4, 2)), np.zeros((4, 1), int), "one label an example"),
        (np.zeros((0, 2)), np.zeros(0, int), "at least one example"),
        (np.zeros((4, 2)), np.zeros(4), "labels must be integers"),
        (np.array([["a"], ["b"]]), np.zeros(2, int), "inputs must be numbers"),
        (np.array([[1.0], [np.nan]]), np.zeros(2, int), "must be finite, but 1 values are not"),
        (np.array([[1e300], [np.inf]]), np.zeros(2, int), "must be finite, but 2 values are not"),
    ],
)
def test_what_is_no_split(inputs: np.ndarray, labels: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        Split(inputs, labels)
    assert "\n" not in str(caught.value)


def test_normalization_brings_the_training_split_to_mean_0_and_std_1():
    inputs = np.random.default_rng(0).normal(3, 7, (50, 2, 4, 4)).astype(np.float32)
    inputs[:, 1] = 5.0  # constant: only moved
    normalized = Preprocessing.of(inputs).apply(inputs)
    assert normalized.dtype == np.float32
    assert normalized[:, 0].mean() == pytest.approx(0, abs=1e-5)
    assert normalized[:, 0].std() == pytest.approx(1, abs=1e-5)
    assert (normalized[:, 1] == 0).all()


def test_normalization_of_columns_is_by_column():
    data = blobs()
    assert len(data.preprocessing.mean) == 5
    assert data.preprocessing.apply(data.train.inputs).std(axis=0) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.0,), (1.0, 2.0), "one value a channel"),
        ((), (), "one value a channel"),
        ((np.nan,), (1.0,), "must be finite"),
        ((0.0,), (0.0,), "std must be at least"),
    ],
)
def test_what_is_no_normalization(mean: tuple[float], std: tuple[float], message: str):
    with pytest.raises(ValueError, match=message):
        Preprocessing(mean, std)


def test_a_search_does_not_see_the_test_split():
    data = blobs()
    assert len(data.test) == 12
    searched = data.without_test()
    assert searched.task == data.task
    with pytest.raises(LookupError, match="a search works without it"):
        _ = searched.test


def test_splits_must_fit_the_task_and_each_other():
    train, validation = pair(shape=(2,)), pair(shape=(3,))
    with pytest.raises(ValueError, match=r"the validation inputs must have shape \(2,\) each"):
        tasks.classification("t", train, validation, train)
    with pytest.raises(ValueError, match=r"the test labels must lie in 0..1, but got 0..2"):
        tasks.classification("t", train, train, (train[0], np.arange(6) % 3))
    with pytest.raises(ValueError, match=r"the train labels must lie in 0..1, but got -1..1"):
        tasks.classification("t", (train[0], np.arange(6) % 3 - 1), train, train)
    with pytest.raises(ValueError, match="one mean and std for each of 2 channels, but got 1"):
        tasks.classification("t", train, train, train, preprocessing=Preprocessing((0,), (1,)))


def test_what_was_given_instead_of_a_split_is_named():
    train = pair()
    with pytest.raises(ValueError, match="validation must be a pair .* but got ndarray"):
        tasks.classification("t", train, train[0], train)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="train: labels must be integers"):
        tasks.classification("t", (train[0], train[1] * 1.0), train, train)
    with pytest.raises(ValueError, match="classes must be an integer, but got '2'"):
        tasks.classification("t", train, train, train, classes="2")  # type: ignore[arg-type]


def test_the_hash_says_everything_about_the_data():
    def hashed(change: int = 0, **options: object) -> str:
        first, second = pair(), pair()
        first[0][0, 0] += change
        return tasks.classification("t", first, second, second, **options).task.data_hash

    assert hashed() == hashed()
    assert len(hashed()) == 32
    assert hashed() != hashed(change=1)
    assert hashed() != hashed(preprocessing=Preprocessing((0, 0), (1, 1)))
    a, b = pair(), (pair()[0], 1 - pair()[1])
    moved = [tasks.classification("t", a, *order).task.data_hash for order in ((a, b), (b, a))]
    assert moved[0] != moved[1]


def test_the_hash_says_what_is_held_out_even_where_it_was_taken_away():
    data = colours()
    assert data.without_test().task.data_hash == data.task.data_hash


def test_classes_are_counted_or_given():
    data = pair()
    assert tasks.classification("t", data, data, data).task.outputs == 2
    assert tasks.classification("t", data, data, data, classes=5).task.outputs == 5
