"""A task from the user's own file: ten lines, and one line for whatever is wrong with them."""

from pathlib import Path

import numpy as np
import pytest

from evaluators import tasks
from tests.evaluators.packed import blobs

TEN_LINES = """
from sklearn.datasets import load_wine
from evaluators import tasks

def wine(validation=0.2):
    x, y = load_wine(return_X_y=True)
    return tasks.classification_by_split("wine", x, y, validation=validation)
"""


def written(folder: Path, text: str) -> str:
    path = folder / "my_task.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_example_of_the_readme(tmp_path: Path):
    data = tasks.create("python", function=f"{written(tmp_path, TEN_LINES)}:wine")
    assert data.task.name == "wine"
    assert data.task.input_shape == (13,)
    assert data.task.outputs == 3
    assert [len(data.train), len(data.validation), len(data.test)] == [106, 36, 36]


def test_options_go_to_the_function(tmp_path: Path):
    function = f"{written(tmp_path, TEN_LINES)}:wine"
    assert len(tasks.create("python", function=function, validation=0.4).validation) == 71


def test_a_module_instead_of_a_file():
    data = tasks.create("python", function="tests.evaluators.packed:blobs", classes=4)
    assert data.task.data_hash == blobs(classes=4).task.data_hash


def test_images_split_by_hand():
    images, labels = np.zeros((6, 1, 4, 4), np.uint8), [0, 1] * 3
    data = tasks.classification("mine", (images, labels), (images, labels), (images, labels))
    assert data.task.input_shape == (1, 4, 4)
    assert data.train.inputs.dtype == np.float32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def load():\n    return 1 / 0\n", r"raised ZeroDivisionError: .* \(my_task.py:2\)"),
        ("def load():\n    raise KeyError('a\\nb')\n", "raised KeyError"),
        ("def load():\n    return 5\n", "must return what .* returns, but got int"),
        ("def load():\n    exit(0)\n", r"raised SystemExit: called sys.exit\(0\) \(my_task.py:2\)"),
        ("load = 3\n", "has no function 'load'"),
        ("def lode():\n    pass\n", "has no function 'load'"),
        ("import no_such_module\n", "cannot import .* ModuleNotFoundError"),
        ("def load(:\n", "cannot import .* SyntaxError"),
        ("def load(x):\n    return x\n", "raised TypeError"),
    ],
)
def test_one_line_for_a_function_that_does_not_work(tmp_path: Path, text: str, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        tasks.create("python", function=f"{written(tmp_path, text)}:load")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("function", ["my_task.py", "my_task.py:", ":load", "a b", 5, "m:f()"])
def test_what_names_no_function(function: object):
    with pytest.raises(ValueError, match="function must be 'file.py:function' or 'module:fun"):
        tasks.create("python", function=function)


def test_a_file_or_an_option_that_is_missing():
    with pytest.raises(ValueError, match="cannot read no_such.py: No such file"):
        tasks.create("python", function="no_such.py:load")
    with pytest.raises(ValueError, match="task 'python': missing a required argument: 'function'"):
        tasks.create("python")


def test_labels_with_gaps_are_not_taken_for_classes():
    inputs, labels = np.eye(10), [0, 1_000_000] * 5
    for make in (
        lambda **options: tasks.classification_by_split("gaps", inputs, labels, **options),
        lambda **options: tasks.classification("gaps", *[(inputs, labels)] * 3, **options),
    ):
        with pytest.raises(
            ValueError, match="labels must count from 0 without gaps, but"
        ) as caught:
            make()
        assert "\n" not in str(caught.value)
        assert make(classes=1_000_001).task.outputs == 1_000_001


def test_as_many_classes_as_training_examples_are_taken():
    pair = (np.eye(4), [0, 1, 2, 3])
    assert tasks.classification("each", pair, pair, pair).task.outputs == 4
    with pytest.raises(ValueError, match="the highest of 4 training examples is 4; give classes=5"):
        tasks.classification("each", (np.eye(4), [0, 1, 2, 4]), pair, pair)
