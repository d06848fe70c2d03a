"""Spaces by their names."""

import subprocess
import sys

import pytest

import search_spaces


def test_the_shipped_spaces_are_known():
    known = {"cell", "convnet", "mnasnet", "mobile", "python", "transformer"}

    assert known <= set(search_spaces.names())


def test_a_space_is_made_with_its_options():
    space = search_spaces.create("convnet", stages=2)

    assert list(space.stages) == ["stage1", "stage2"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("convnett", {}, "unknown search space 'convnett'; did you mean 'convnet'"),
        ("convnet", {"stage": 3}, "'stage'; did you mean 'stages'"),
        ("convnet", {"stages": 0}, "convnet has 1 to 5 stages, but got 0"),
        ("convnet", {"stages": "3"}, "convnet has 1 to 5 stages, but got '3'"),
        ("convnet", {"stages": True}, "convnet has 1 to 5 stages, but got True"),
        ("python", {}, "search space 'python': missing a required argument: 'file'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name, options, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as caught:
        search_spaces.create(name, **options)

    assert "\n" not in str(caught.value)


def test_the_registry_alone_does_not_import_torch():
    code = "import sys, search_spaces; search_spaces.names(); sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
