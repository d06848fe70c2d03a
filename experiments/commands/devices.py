"""``nas devices``: the device profiles."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

import hw_profiles
from experiments.commands.output import FINE, Output


def run(name: str) -> int:
    """Print all profiles, or the figures of one with their sources.

    Raises:
        ValueError: for a profile that does not exist.
    """
    output = Output()
    if name:
        _one(output, hw_profiles.load(name))
        return FINE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("profile", "kind", "dtype", "lowering", "device"):
        table.add_column(head)
    for each in hw_profiles.names():
        profile = hw_profiles.load(each)
        table.add_row(each, profile.kind, profile.dtype, profile.lowering, Text(profile.title))
    output.show(table)
    return FINE


def _one(output: Output, profile: hw_profiles.HardwareProfile) -> None:
    output.line(f"{profile.name}: {profile.title} ({profile.kind}, {profile.dtype})")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("source")
    for name, figure in profile.figures():
        table.add_row(name, f"{figure.value:.4g}", Text(figure.source))
    output.show(table)
