from __future__ import annotations

import numpy as np
import pytest

from benchmarks import winner
from benchmarks.winner_task import SHIFTS, digits, moved
from evaluators import tasks
from experiments.config import load_config
from experiments.wiring import build_task


@pytest.mark.parametrize("size", [16, 32])
def test_the_test_split_is_that_of_digits(size: int) -> None:
    plain, task = tasks.create("digits", size=size), digits(size)
    np.testing.assert_array_equal(plain.test.inputs, task.test.inputs)
    np.testing.assert_array_equal(plain.test.labels, task.test.labels)
    assert task.preprocessing == plain.preprocessing
    assert task.task.input_shape == plain.task.input_shape
    assert task.task.data_hash != plain.task.data_hash


@pytest.mark.parametrize("split", ["train", "validation"])
def test_each_other_image_is_there_moved_by_a_pixel(split: str) -> None:
    plain = getattr(tasks.create("digits", size=16), split)
    found = getattr(digits(16), split)
    assert len(found) == len(SHIFTS) * len(plain)
    np.testing.assert_array_equal(found.inputs[: len(plain)], plain.inputs)
    for index, (down, right) in enumerate(SHIFTS):
        rows = slice(index * len(plain), (index + 1) * len(plain))
        seen = found.inputs[rows][:, :, 1:-1, 1:-1]
        was = plain.inputs[:, :, 1 + down : 15 + down, 1 + right : 15 + right]
        np.testing.assert_array_equal(seen, was)
        np.testing.assert_array_equal(found.labels[rows], plain.labels)


def test_what_comes_in_at_the_edge_repeats_it() -> None:
    split = tasks.create("digits", size=16).validation
    images, _ = moved(split)
    down = SHIFTS.index((-1, 0)) * len(split)
    np.testing.assert_array_equal(images[down][:, 0], split.inputs[0][:, 0])


def test_it_is_the_task_of_the_search() -> None:
    config = load_config(winner.CONFIG, ["task.size=16"])
    assert build_task(config).task.data_hash == digits(16).task.data_hash
