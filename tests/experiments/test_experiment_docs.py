"""`docs/experiment.md` names every key of an experiment with its default, and every metric."""

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

import search_spaces
import strategies
from evaluators import runtimes, tasks
from evaluators.devices import METHODS
from evaluators.proxy_names import PROXIES
from evaluators.training_config import TrainingConfig
from experiments import config_sections as sections
from experiments.config import ConfigError, ExperimentConfig, load_config
from experiments.experiment import MAY_CHANGE
from experiments.pipeline import Parts

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


def row(start: str) -> str:
    """The line that begins so."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(start))


def default_of(cell: str) -> Any:
    """As Python has it; a list is a tuple there."""
    value = yaml.safe_load(cell.strip("`"))
    return tuple(value) if isinstance(value, list) else value


def alike(one: Any, other: Any) -> bool:
    """Equal, and 1 is neither 1.0 nor true."""
    return bool(one == other) and type(one) is type(other)


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
    assert said.keys() == defaults.keys()
    assert all(alike(said[key], defaults[key]) for key in said)
    assert list(tables()[name]) == list(model.model_fields)


def test_the_training():
    said = {key: default_of(cell) for key, cell in tables()["training"].items()}
    assert list(said) == [field.name for field in fields(TrainingConfig)]
    assert all(alike(said[field.name], field.default) for field in fields(TrainingConfig))


def test_the_whole():
    said = tables()["The YAML of an experiment"]
    assert list(said) == list(ExperimentConfig.model_fields)
    for key, field in ExperimentConfig.model_fields.items():
        if field.is_required():
            assert said[key] == "", key
        elif key in NESTED:
            assert said[key] == "`{}`", key
        elif key == "strategy":
            assert default_of(said[key]) == field.default.model_dump()
        else:
            assert alike(default_of(said[key]), field.default), key


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
    assert set(said) <= set(names)  # a plugin may add some
    for name in said:
        options = dict(re.findall(r"`(\w+): ([^`]+)`", said[name]))
        for option, parameter in inspect.signature(get(name)).parameters.items():
            if option in NO_OPTION or parameter.kind is parameter.VAR_KEYWORD:
                continue
            value = default_of(options.pop(option))
            assert parameter.default in (value, parameter.empty), (name, option)
        assert not options


@pytest.mark.parametrize(
    ("start", "names"),
    [
        ("| `method`", METHODS),
        ("| `runtime`", runtimes.names()),
        ("| `names`", PROXIES),
        (
            "| `prune`",
            get_args(get_args(sections.CompressionConfig.model_fields["prune"].annotation)[0]),
        ),
        (
            "| `quantize`",
            get_args(get_args(sections.CompressionConfig.model_fields["quantize"].annotation)[0]),
        ),
        ("`nas resume RUN --set ...`", MAY_CHANGE),
    ],
)
def test_what_may_be_named(start, names):
    said = row(start)
    assert names
    assert all(f"`{name}`" in said for name in names)


def test_every_metric():
    devices = (
        "{a: {profile: host-cpu, method: measured}, b: {profile: nvidia-a100, method: modeled}"
    )
    folded = ", c: {profile: pynq-z2, method: fpga_dataflow}}"
    known = set[str]()
    for name, overrides in (
        ("smoke", [f"devices={devices}{folded}", "constraints=[]"]),
        ("digits-fpga", ["constraints=[]"]),
    ):
        config = load_config(name, [*overrides, "objectives=[{maximize: nothing}]"])
        with pytest.raises(ConfigError, match="unknown metric") as error:
            Parts.of(config)
        names = re.sub(r".*known: (.*)\)", r"\1", str(error.value)).split(", ")
        known |= {re.sub(r"\.(a|b|c|fpga)\b", ".ALIAS", each) for each in names}
    said = {name for cell in tables()["Metrics"] for name in cell.replace("`", "").split(", ")}
    assert said == known | {"proxy_NAME"}
