"""``nas compare``: the fronts of several runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from experiments.commands.output import FINE, Output, lines, second_look, show_front
from experiments.comparison import Contender, Group, compare, contender_of
from experiments.paces import pace_notes
from experiments.pictures import Plot, comparison_figure, save_png
from experiments.report import plot_of_run
from experiments.runs import Run, find_run, home
from experiments.tables import shown


def run(texts: Sequence[str], out: Path | None) -> int:
    """Print fronts and hypervolumes, and write a picture.

    Raises:
        RunNotFound: for a run that is not there.
        NothingFound: when a front is empty.
    """
    runs = list({found.id: found for found in (find_run(home(), text) for text in texts)}.values())
    contenders = [contender_of(each) for each in runs]
    groups, output = compare(contenders), Output()
    for each, contender in zip(runs, contenders, strict=True):
        show_front(output, contender.front, second_look(each))
        output.line()
    for group in groups:
        _show_group(output, group, len(groups) > 1)
        lines(output, pace_notes(group, [each.front for each in contenders]))
    for path in _draw(runs, contenders, out or runs[0].report_dir / "compare.png"):
        output.line(f"Picture: {path}")
    return FINE


def _show_group(output: Output, group: Group, apart: bool) -> None:
    names = ", ".join(objective.metric for objective in group.objectives)
    output.line(f"Hypervolume in {names}")
    if apart:
        for metric, setting in group.settings.items():
            output.line(f"  only where {metric} is of {setting}")
    pairs = zip(group.objectives, group.reference_point, strict=True)
    reference = ", ".join(f"{o.metric} {shown(o.value(cost))}" for o, cost in pairs)
    output.line(f"  common reference point: {reference}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("run", "points", "hypervolume", "share of all together"):
        table.add_column(head, justify="left" if head == "run" else "right", no_wrap=True)
    for row in group.rows:
        share = row.hypervolume / group.joint if group.joint else 0.0
        table.add_row(row.run, str(len(row.trials)), shown(row.hypervolume), f"{share:.1%}")
    output.show(table)


def _draw(runs: Sequence[Run], contenders: Sequence[Contender], out: Path) -> list[Path]:
    """A picture for each data set: qualities on different data are never overlaid."""
    by_task: dict[str, list[Plot]] = defaultdict(list)
    for each, contender in zip(runs, contenders, strict=True):
        with each.ledger() as ledger:
            by_task[contender.task].append(plot_of_run(each, contender.front, ledger.trials()))
    paths = []
    for index, plots in enumerate(by_task.values()):
        path = out if index == 0 else out.with_stem(f"{out.stem}-{index + 1}")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(comparison_figure(plots), path)
        paths.append(path)
    return paths
