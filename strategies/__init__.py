"""What to try next. Strategies are made by name; their libraries are imported on demand."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import Any

from nas.choices import Choice
from nas.objectives import Constraint, Objective
from nas.protocols import Strategy
from nas.registry import Registry, unknown
from strategies.base import Screen

STRATEGIES = Registry(
    "strategy",
    {
        "bayesian": "strategies.bayesian:BayesianStrategy",
        "genetic": "strategies.genetic:GeneticStrategy",
        "guided": "strategies.guided.strategy:GuidedStrategy",
        "local": "strategies.local:LocalStrategy",
        "random": "strategies.random:RandomStrategy",
    },
    group="hwnas.strategies",
)


def names() -> list[str]:
    """The names of all strategies."""
    return STRATEGIES.names()


def create(
    name: str,
    choices: Sequence[Choice],
    objectives: Sequence[Objective],
    seed: int,
    screen: Screen | None = None,
    constraints: Sequence[Constraint] = (),
    **options: Any,
) -> Strategy:
    """A fresh strategy.

    Args:
        name: one of `names`.
        choices: the space, parents before children.
        objectives: what the costs stand for, in their order.
        seed: of all its randomness.
        screen: ``screen(genotype)`` returns the metrics that are known before training and raises
            `CandidateError` for what cannot be built; a strategy passes over what it rules out.
        constraints: bounds on metrics.
        options: of this strategy: the keyword-only arguments of its class.

    Raises:
        ValueError: for an unknown name or option, an option or choices that cannot be.
    """
    factory = check_options(name, options)
    strategy: Strategy = factory(choices, objectives, seed, screen, constraints, **options)
    return strategy


def check_options(name: str, options: Collection[str]) -> Any:
    """Check that a strategy knows these options; their values are checked when it is created.

    Returns:
        The class or function behind the name.

    Raises:
        ValueError: for an unknown name or option.
    """
    factory = STRATEGIES.get(name)
    parameters = inspect.signature(factory).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return factory
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if not known:
            raise ValueError(f"strategy {name!r} has no options, but got {option!r}")
        if option not in known:
            settable = [each for each in known if each not in ("prior", "proxies")]
            raise ValueError(unknown(f"option of strategy {name!r}:", option, settable))
    return factory
