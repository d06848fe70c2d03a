from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from evaluators.tasks import Preprocessing
from experiments.config import load_config
from experiments.loading import describe, load, write
from nas.task import Task

SPACE = """
import torch

from nas.choices import Choice

CHOICES = [Choice("width", (4, 8))]


def build(genotype, task):
    return torch.nn.Linear(task.input_shape[0], task.outputs, bias=genotype["width"] == 8)
"""
YAML = """
name: own
task: {kind: digits, size: 8}
space: {kind: python, file: space.py}
strategy: {kind: random}
objectives: [{maximize: accuracy}]
budget: {trials: 2}
"""
TASK = Task("own", "classification", (3,), 2, "accuracy", "0" * 32)


def written(folder: Path) -> tuple[Path, torch.nn.Linear]:
    """An export of a network from a user's own space, and that network."""
    source, out = folder / "source", folder / "out"
    source.mkdir()
    out.mkdir()
    (source / "space.py").write_text(SPACE)
    (source / "mine.yaml").write_text(YAML)
    config = load_config(source / "mine.yaml")
    network = torch.nn.Linear(3, 2)
    save_file(network.state_dict(), source / "weights.safetensors")
    preprocessing = Preprocessing((1.0, 2.0, 3.0), (1.0, 2.0, 4.0))
    write(out, describe(config, TASK, preprocessing, {"width": 8}), source / "weights.safetensors")
    return out, network


def test_a_users_own_space_travels_with_the_export(tmp_path: Path) -> None:
    out, network = written(tmp_path)
    assert (out / "space.py").read_text() == SPACE
    assert json.loads((out / "network.json").read_text())["space"]["options"] == {
        "file": "space.py"
    }
    (tmp_path / "source" / "space.py").unlink()
    moved = out.rename(tmp_path / "elsewhere")
    before, known = torch.random.get_rng_state(), set(sys.modules)
    module = load(moved)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert "space" not in set(sys.modules) - known
    inputs = torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 7.0]])
    normalized = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    torch.testing.assert_close(module(inputs), network(normalized))
    torch.testing.assert_close(module.network(normalized), network(normalized))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    out, _ = written(tmp_path)
    save_file({"weight": torch.zeros(2, 4)}, out / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit network\.json"):
        load(out)


def test_weights_that_are_damaged_are_named(tmp_path: Path) -> None:
    out, _ = written(tmp_path)
    (out / "model.safetensors").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit") as caught:
        load(out)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["space", "task", "preprocessing", "genotype", "align"])
@pytest.mark.parametrize("value", ["gone", None])
def test_a_description_that_is_damaged_is_named(
    tmp_path: Path, key: str, value: str | None
) -> None:
    out, _ = written(tmp_path)
    record = json.loads((out / "network.json").read_text())
    if value == "gone":
        del record[key]
    elif key != "align":
        record[key] = value
    else:
        del record["space"]["kind"]
    (out / "network.json").write_text(json.dumps(record))
    why = "cannot be used" if value is None and key != "align" else "lacks"
    with pytest.raises(ValueError, match=rf"network\.json {why}") as caught:
        load(out)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file"),
        ("{", "Expecting property name"),
        ("[]", "has format None"),
        ('{"format": 7}', "has format 7, but this version reads 1"),
    ],
)
def test_a_folder_that_is_no_export_is_refused_in_one_line(
    tmp_path: Path, text: str | None, why: str
) -> None:
    if text is not None:
        (tmp_path / "network.json").write_text(text)
    with pytest.raises(ValueError, match=why) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
