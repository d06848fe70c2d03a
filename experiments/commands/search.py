"""``nas search``: a new search."""

from __future__ import annotations

from collections.abc import Sequence

import click

from experiments.commands.watching import watch
from experiments.experiment import Experiment


def run(name: str, overrides: Sequence[str]) -> int:
    """Check the experiment, search, and show the front.

    Raises:
        ConfigError: before anything is written.
    """
    experiment = Experiment.from_yaml(name, overrides)
    if experiment.beginning:
        click.echo(f"nas: {experiment.beginning}", err=True)
    return watch(experiment.config, experiment.run)
