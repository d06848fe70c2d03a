"""The shipped task: real digits, the same on every machine."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from evaluators import tasks
from evaluators.tasks.digits import SIZES, resized


@pytest.mark.parametrize("size", SIZES)
def test_shapes_values_and_split(size: int):
    data = tasks.create("digits", size=size)
    assert data.task.input_shape == (1, size, size)
    assert data.task.outputs == 10
    assert data.task.name == f"digits-{size}"
    assert [len(data.train), len(data.validation), len(data.test)] == [1077, 360, 360]
    assert data.train.inputs.min() == 0
    assert 15 < data.train.inputs.max() <= 16
    for split in (data.train, data.validation, data.test):
        share = np.bincount(split.labels) / len(split)
        assert share == pytest.approx(np.bincount(load_digits().target) / 1797, abs=0.005)


def test_the_smallest_are_scikit_learns_own():
    data = tasks.create("digits", size=8)
    ours = np.concatenate([s.inputs for s in (data.train, data.validation, data.test)])
    theirs = load_digits().images.astype(np.float32)
    assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))


@pytest.mark.parametrize("size", [16, 32, 64])
def test_resizing_is_bilinear_as_in_torch_and_exact(size: int):
    images = load_digits().images[:20].astype(np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.tensor(images)[:, None], (size, size), mode="bilinear", align_corners=False
    )
    assert (resized(images, size) == theirs[:, 0].numpy()).all()


def test_the_content_hash_is_that_of_every_other_machine():
    # Golden: first computed on x86-64 with scikit-learn 1.9.1 and numpy 2.4.6.
    hashes = {size: tasks.create("digits", size=size).task.data_hash for size in SIZES}
    assert hashes == GOLDEN


GOLDEN = {
    8: "62b6e58a291d9b11f6aef200893791dd",
    16: "9a51ad413a95654521e827e3f085104f",
    32: "ee3428a4004d07fdad0ac464a615b1d4",
    64: "72c91ca09898468103ec33352b210469",
}


@pytest.mark.parametrize("size", [7, "16", True, 16.5, [16], None])
def test_another_size(size: object):
    with pytest.raises(ValueError, match=r"the size of digits is one of \(8, 16, 32, 64\), but"):
        tasks.create("digits", size=size)


def test_unknown_kinds_and_options():
    with pytest.raises(ValueError, match="unknown task 'digit'; did you mean 'digits'"):
        tasks.create("digit")
    with pytest.raises(ValueError, match="task 'digits': got an unexpected keyword .*'sise'"):
        tasks.create("digits", sise=8)
    assert tasks.names() == ["digits", "python"]


def test_the_first_use_leaves_the_global_generators_as_found():
    """In a process of its own: what imports scikit-learn for the first time draws from `random`."""
    code = (
        "import random, sys; import numpy as np; from evaluators import tasks;"
        "assert 'sklearn' not in sys.modules;"
        "before = random.getstate(), np.random.get_state()[1].tolist();"
        "tasks.create('digits', size=8);"
        "assert 'sklearn' in sys.modules;"
        "assert before == (random.getstate(), np.random.get_state()[1].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
