"""``nas sync``: MLflow catches up with a run."""

from __future__ import annotations

from experiments.commands.output import FINE, Output, lines, without_password
from experiments.recorder import sync
from experiments.runs import find_run, home
from experiments.tracking import left_behind


def run(text: str) -> int:
    """Write what MLflow lacks.

    Raises:
        TrackingError: when it cannot be reached, or the search is running.
    """
    found, output = find_run(home(), text), Output()
    moved = left_behind(found.config.tracking.uri, found.home.parent)
    report = sync(found)
    lines(output, filter(None, [moved]))
    store = without_password(report.uri)
    output.line(f"{report.trials} trials of {found.id} were missing in {store}")
    output.line(f"MLflow: {report.link}")
    return FINE
