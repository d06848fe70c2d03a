"""``nas export``: one network of a run, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from experiments.commands.output import FINE, Output
from experiments.export import export
from experiments.runs import find_run, home


def run(
    text: str,
    pick: str,
    minimum: Mapping[str, float],
    maximum: Mapping[str, float],
    out: Path | None,
    force: bool,
    formats: Sequence[str] = (),
) -> int:
    """Export a network and print what was checked; warnings go to standard error."""
    report = export(find_run(home(), text), out, pick, minimum, maximum, force, formats)
    output, trial, checked = Output(), report.trial, report.verification
    output.line(f"Exported trial {trial.number} ({pick}) to {report.folder}")
    for check in checked.checks:
        output.line(f"  {check.name}: {_short(check.found)} ({check.rule})")
    if checked.test_accuracy is not None:
        output.line(f"  test accuracy: {checked.test_accuracy:.4f}")
    for latency in checked.latencies:
        output.line(
            f"  {latency.metric}: {latency.found_ms:.4g} now, {latency.recorded_ms:.4g} recorded "
            f"({latency.difference:+.0%})"
        )
    for warning in checked.warnings:
        click.echo(f"nas: warning: {warning}", err=True)
    return FINE


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:16]
