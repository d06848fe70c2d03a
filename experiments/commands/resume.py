"""``nas resume``: goes on with a search."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.commands.watching import watch
from experiments.config import load_config
from experiments.experiment import Experiment
from experiments.runs import find_run, home


def run(text: str, overrides: Sequence[str]) -> int:
    """Go on by replay, and show the front.

    Raises:
        RunNotFound: when there is no such run.
        ConfigError: when an override changes what a result means.
    """
    found = find_run(home(), text)
    config = load_config(found.path / "config.yaml", overrides)
    return watch(config, lambda makers: Experiment.resume(found, overrides, makers))
