"""`docs/experiment.md` names every key of an experiment, with its default."""

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

import search_spaces
import strategies
from evaluators import tasks
from evaluators.training_config import TrainingConfig
from experiments import config_sections as sections
from experiments.config import ExperimentConfig

PAGE = Path(__file__).parents[2] / "docs" / "experiment.md"
NESTED = ("compression", "screening", "proxies", "training", "early_stopping", "tracking")
NO_OPTION = ("choices", "objectives", "seed", "screen", "constraints", "proxies", "prior")


def tables() -> dict[str, dict[str, str]]:
    """The second column of each table by the first, by the heading or the head of the table."""
    found: dict[str, dict[str, str]] = {}
    heading = head = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if line.startswith("#"):
            heading, head = line.lstrip("# "), ""
        elif line.startswith("|---"):
            continue
        elif line.startswith("|") and not head:
            head = cells[0].strip("`") if cells[0].startswith("`") else heading
            found[head] = {}
        elif line.startswith("|"):
            found[head][cells[0].strip("`")] = cells[1]
        else:
            head = ""
    return found


def default_of(cell: str) -> Any:
    """As Python has it; a list is a tuple there."""
    value = yaml.safe_load(cell.strip("`"))
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("compression", sections.CompressionConfig),
        ("devices", sections.DeviceConfig),
        ("screening", sections.ScreeningConfig),
        ("proxies", sections.ProxiesConfig),
        ("early_stopping", sections.EarlyStoppingConfig),
        ("budget", sections.BudgetConfig),
        ("tracking", sections.TrackingConfig),
    ],
)
def test_sections(name, model):
    said = {key: default_of(cell) for key, cell in tables()[name].items() if cell}
    defaults = {key: f.default for key, f in model.model_fields.items() if not f.is_required()}
    assert said == defaults
    assert list(tables()[name]) == list(model.model_fields)


def test_the_training():
    said = {key: default_of(cell) for key, cell in tables()["training"].items()}
    assert said == {field.name: field.default for field in fields(TrainingConfig)}


def test_the_whole():
    said = tables()["The YAML of an experiment"]
    assert list(said) == list(ExperimentConfig.model_fields)
    for key, field in ExperimentConfig.model_fields.items():
        if field.is_required() or key in NESTED:
            assert said[key] in ("", "none"), key
        elif key == "strategy":
            assert default_of(said[key]) == field.default.model_dump()
        else:
            assert default_of(said[key]) == field.default, key


@pytest.mark.parametrize(
    ("what", "names", "get"),
    [
        ("strategy", strategies.names(), strategies.STRATEGIES.get),
        ("space", search_spaces.names(), search_spaces._REGISTRY.get),
        ("task", tasks.names(), tasks._REGISTRY.get),
    ],
)
def test_kinds_and_their_options(what, names, get):
    said = tables()[what]
    assert sorted(said) == names
    for name in names:
        options = dict(re.findall(r"`(\w+): ([^`]+)`", said[name]))
        for option, parameter in inspect.signature(get(name)).parameters.items():
            if option in NO_OPTION or parameter.kind is parameter.VAR_KEYWORD:
                continue
            value = default_of(options.pop(option))
            assert parameter.default in (value, parameter.empty), (name, option)
        assert not options
