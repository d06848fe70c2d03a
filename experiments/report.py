"""The front of a run as files in its folder: a page, a picture, and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from experiments.device_settings import device_settings
from experiments.ending import ending_of
from experiments.front_page import front_html
from experiments.fronts import Front
from experiments.pictures import Plot, front_figure, plot_of, save_png
from experiments.runs import Run
from nas.trials import Trial

PAGE, PICTURE, DATA = "pareto_front.html", "pareto_front.png", "front.json"


def plot_of_run(run: Run, front: Front, trials: Sequence[Trial]) -> Plot:
    """The front of a run among its trials, each device with its setting."""
    settings = {alias: str(setting) for alias, setting in device_settings(run).items()}
    return plot_of(front, trials, settings=settings)


def write_report(run: Run, front: Front, trials: Sequence[Trial]) -> list[Path]:
    """Write ``pareto_front.html``, ``pareto_front.png`` and ``front.json``.

    Args:
        run: where they go, into the folder ``report``.
        front: of the run.
        trials: of the run, those on the front included.

    Returns:
        Their paths; of an empty front there is only the JSON.
    """
    page, picture, data = (run.report_dir / name for name in (PAGE, PICTURE, DATA))
    data.write_text(json.dumps(front.to_json(), indent=2) + "\n", encoding="utf-8")
    if not front.trials:
        return [data]
    plot = plot_of_run(run, front, trials)
    with run.ledger() as ledger:
        ended = ending_of(ledger)
    page.write_text(front_html(plot, ended), encoding="utf-8")
    save_png(front_figure(plot), picture)
    return [page, picture, data]
