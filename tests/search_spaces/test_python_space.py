"""The space `python`: what a user's own file may hold, and what is said where it is wrong."""

import pickle
import sys
from pathlib import Path

import pytest
import torch

import search_spaces
from nas.blocks import Block, keep_all
from nas.task import Task
from nas.trials import CandidateError

TASK = Task("images", "classification", (1, 16, 16), 10, "accuracy", "data")
EXAMPLE = Path(__file__).with_name("own_space.py")
CHOICES = "from nas.choices import Choice\nCHOICES = [Choice('width', (8, 16))]\n"
BUILD = """
from torch import nn
def build(genotype, task):
    width = genotype["width"]
    return nn.Sequential(nn.Flatten(), nn.Linear(256, width), nn.Linear(width, 10))
"""


@pytest.fixture
def space_of(tmp_path):
    def make(text: str):
        file = tmp_path / "my_space.py"
        file.write_text(text)
        return search_spaces.create("python", file=str(file))

    return make


def test_the_example_of_the_readme_is_ten_lines_and_works():
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    space = search_spaces.create("python", file=str(EXAMPLE))

    network = space.build({"width": 16, "kernel": 5}, TASK)

    assert len(lines) <= 10
    assert [choice.name for choice in space.choices] == ["width", "kernel"]
    assert network(torch.zeros(3, 1, 16, 16)).shape == (3, 10)
    assert network.training
    assert dict(space.stages) == {}
    assert space.blocks is None


def test_a_module_can_be_named_instead_of_a_file():
    space = search_spaces.create("python", file="tests.search_spaces.own_space")

    assert len(space.choices) == 2


def test_stages_and_blocks_are_taken_from_the_file(space_of):
    space = space_of(
        CHOICES
        + BUILD
        + "from nas.blocks import Block\nSTAGES = ['1']\n"
        + "def blocks(genotype, task, keep):\n"
        + "    width = keep('1', genotype['width'])\n"
        + "    return [Block(f'linear {width}', (256,), (width,), lambda: nn.Linear(256, width))]\n"
    )

    assert list(space.stages) == ["1"]
    blocks = space.blocks({"width": 16}, TASK, lambda stage, width: width // 2)
    assert [(block.signature, block.output_shape) for block in blocks] == [("linear 8", (8,))]
    assert isinstance(space.blocks({"width": 16}, TASK)[0], Block)


def test_a_stage_may_come_with_its_conditions(space_of):
    space = space_of(CHOICES + BUILD + "STAGES = {'1': {'width': (16,)}}")

    assert space.stages == {"1": {"width": (16,)}}


def test_a_file_may_import_its_neighbour(tmp_path, space_of):
    (tmp_path / "hwnas_test_neighbour.py").write_text("OPTIONS = (8, 16)")
    before = list(sys.path)

    space = space_of("from hwnas_test_neighbour import OPTIONS\n" + CHOICES + BUILD)

    assert sys.path == before
    assert space.choices[0].options == (8, 16)
    del sys.modules["hwnas_test_neighbour"]


def test_another_content_is_another_fingerprint(space_of):
    first, other = space_of(CHOICES + BUILD), space_of(CHOICES + BUILD + "changed = 1")

    assert first.fingerprint != other.fingerprint
    assert first.fingerprint == space_of(CHOICES + BUILD).fingerprint


@pytest.mark.parametrize("line", ["from hwnas_beside import WIDTH", "import hwnas_beside"])
def test_what_a_file_imports_from_beside_it_is_of_its_content(tmp_path, space_of, line):
    beside, deeper = tmp_path / "hwnas_beside.py", tmp_path / "hwnas_deeper.py"
    found = []
    for width, depth in ((8, 1), (9, 1), (8, 2), (8, 1)):
        beside.write_text(f"import math, hwnas_deeper\nWIDTH = {width}")
        deeper.write_text(f"import hwnas_beside\nDEPTH = {depth}")
        found.append(space_of(f"{line}\n" + CHOICES + BUILD).fingerprint)
        del sys.modules["hwnas_beside"], sys.modules["hwnas_deeper"]
    assert found[0] == found[3]
    assert len(set(found)) == 3


def test_the_space_travels_to_another_process(space_of):
    space = pickle.loads(pickle.dumps(space_of(CHOICES + BUILD)))

    assert space.build({"width": 8}, TASK)[1].out_features == 8


def test_trying_a_network_leaves_its_statistics_alone(space_of):
    space = space_of(
        CHOICES
        + "from torch import nn\n"
        + "def build(genotype, task):\n"
        + "    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(256), nn.Linear(256, 10))\n"
    )

    norm = space.build({"width": 8}, TASK)[1]

    assert norm.num_batches_tracked == 0
    assert norm.training


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CHOICES, r"my_space.py must define the function build\(genotype, task\), but there is"),
        (CHOICES + "build = 3", r"must define the function build.*, but got int"),
        (BUILD, "must define CHOICES, a list of nas.choices.Choice, but there is none"),
        ("CHOICES = []" + BUILD, r"must define CHOICES, .*, but got \[\]"),
        ("CHOICES = ['width']" + BUILD, r"must define CHOICES, .*, but got \['width'\]"),
        (CHOICES + "CHOICES *= 2" + BUILD, "'width' is there twice"),
        (CHOICES + BUILD + "STAGES = 'body'", "STAGES lists names of submodules, but got 'body'"),
        (CHOICES + BUILD + "STAGES = 3", "STAGES lists names of submodules, but got 3"),
        ("import torch.nothing", r"cannot import .*my_space.py: ModuleNotFoundError: .*\(my_sp"),
        ("def build(:", r"cannot import .*my_space.py: SyntaxError: .*line 1"),
        (CHOICES + "1 / 0", r"cannot import .*: ZeroDivisionError: .*\(my_space.py:3\)"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(space_of, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        space_of(text)

    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"cannot read /nowhere/my_space.py: No such file"):
        search_spaces.create("python", file="/nowhere/my_space.py")
    with pytest.raises(ValueError, match="file must be the path of a Python file, but got 3"):
        search_spaces.create("python", file=3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return genotype['depth']", r"^KeyError: 'depth' \(my_space.py:6\)$"),
        ("return nn.Linear(0.5, 1)", r"^TypeError: .* \(my_space.py:6\)$"),
        ("exit(0)", r"^SystemExit: called sys.exit\(0\) \(my_space.py:6\)$"),
        ("return 3", "build must return a torch.nn.Module, but got int"),
        ("return nn.Flatten()", r"must give outputs of shape \(2, 10\), but got \(2, 256\)"),
        ("return nn.Linear(3, 10)", r"^RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        ("return nn.MaxPool2d(2, return_indices=True)", r"shape \(2, 10\), but got tuple"),
        ("from nas.trials import CandidateError; raise CandidateError('too wide')", "^too wide$"),
    ],
)
def test_what_cannot_be_built_is_the_candidates_fault(space_of, body, message):
    space = space_of(f"{CHOICES}\nfrom torch import nn\ndef build(genotype, task):\n    {body}\n")

    with pytest.raises(CandidateError, match=message) as caught:
        space.build({"width": 8}, TASK)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [3]", "blocks must return a list of nas.blocks.Block, but got list"),
        ("return None", "blocks must return a list of nas.blocks.Block, but got NoneType"),
        ("return keep(1)", r"TypeError: .*\(my_space.py:\d+\)"),
    ],
)
def test_blocks_that_are_wrong_are_the_candidates_fault(space_of, body, message):
    space = space_of(f"{CHOICES}{BUILD}\ndef blocks(genotype, task, keep):\n    {body}\n")

    with pytest.raises(CandidateError, match=message):
        space.blocks({"width": 8}, TASK, keep_all)
