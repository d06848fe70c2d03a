from __future__ import annotations

import subprocess
import sys

import pytest

import strategies
from nas.objectives import Constraint, Objective
from nas.registry import Registry
from strategies.base import BaseStrategy
from strategies.toys import TINY, TOY

OBJECTIVES = [Objective("accuracy", "maximize"), Objective("latency_ms.cpu", "minimize")]


def test_names() -> None:
    assert strategies.names() == ["bayesian", "genetic", "guided", "local", "random"]


@pytest.mark.parametrize("name", strategies.names())
def test_creates_by_name(name: str) -> None:
    strategy = strategies.create(
        name, TOY, OBJECTIVES, 0, lambda genotype: {}, [Constraint.parse("accuracy >= 0.9")]
    )
    assert isinstance(strategy, BaseStrategy)
    assert type(strategy).__name__.lower() == f"{name}strategy"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bayes", {}, r"unknown strategy 'bayes'; did you mean 'bayesian'\? \(known: bayesian, g"),
        ("random", {"population": 3}, "strategy 'random' has no options, but got 'population'"),
        (
            "genetic",
            {"populaton": 3},
            "unknown option of strategy 'genetic': 'populaton'; did you mean 'population'",
        ),
        ("bayesian", {"x": 1}, r"'x' \(known: candidates, sampler, startup\)"),
        ("bayesian", {"sampler": "tpee"}, r"unknown sampler 'tpee'; did you mean 'tpe'"),
        ("bayesian", {"startup": 0}, "startup must be a whole number of at least 1, but got 0"),
        ("bayesian", {"candidates": "many"}, "candidates must be a whole number .* got 'many'"),
        ("genetic", {"algorithm": "nsga9"}, "unknown algorithm 'nsga9'; did you mean 'nsga"),
        ("bayesian", {"sampler": ["gp"]}, r"unknown sampler \['gp'\] \(known: gp, tpe\)"),
        ("genetic", {"algorithm": 3}, r"unknown algorithm 3 \(known: ageing, nsga2, nsga3\)"),
        ("genetic", {"population": 0}, "population must be a whole number of at least 2"),
        ("local", {"startup": 0}, "startup must be a whole number of at least 1, but got 0"),
        ("genetic", {"population": 1}, "population must be a whole number of at least 2"),
        ("genetic", {"population": True}, "population must be a whole number .* got True"),
        ("genetic", {"startup": 2.5}, "startup must be a whole number .* got 2.5"),
        ("genetic", {"crossover": 1.5}, "crossover must be a share from 0 to 1, but got 1.5"),
        ("genetic", {"crossover": "half"}, "crossover must be a share .* got 'half'"),
    ],
)
def test_bad_names_and_options_are_one_clear_line(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        strategies.create(name, TINY, OBJECTIVES, 0, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", strategies.names())
def test_bad_spaces_and_objectives(name: str) -> None:
    with pytest.raises(ValueError, match="at least one objective"):
        strategies.create(name, TINY, [], 0)
    with pytest.raises(ValueError, match="there twice"):
        strategies.create(name, [TINY[0], TINY[0]], OBJECTIVES, 0)


class _WithAnything:
    def __init__(self, *arguments: object, **options: object) -> None:
        self.arguments, self.options = arguments, options

    @classmethod
    def registry(cls) -> Registry:
        return Registry("strategy", {"mine": f"{cls.__module__}:{cls.__name__}"}, "hwnas.none")


def test_a_strategy_from_elsewhere_may_take_any_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategies, "STRATEGIES", _WithAnything.registry())
    strategy = strategies.create("mine", TINY, OBJECTIVES, 7, depth=3)
    assert isinstance(strategy, _WithAnything)
    assert strategy.arguments == (TINY, OBJECTIVES, 7, None, ())
    assert strategy.options == {"depth": 3}


def test_libraries_are_imported_on_demand() -> None:
    code = (
        "import sys, strategies; strategies.names()\n"
        "print(sorted({'optuna', 'deap', 'numpy', 'torch'} & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", strategies.names())
def test_a_space_without_choices_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a strategy needs at least one choice, but got none"):
        strategies.create(name, [], OBJECTIVES, 0)
