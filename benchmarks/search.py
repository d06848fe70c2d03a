"""How many trainings does a strategy need to find the best front?

    python -m benchmarks.search --data DIR [--strategies all] [--tables macro,cell] [--seeds 20]
        [--budget 200] [--noisy] [--json FILE] [--picture FILE]

Networks are looked up in tables of trained networks (see search_tasks.py), so that a training takes
no time and the best front is known. Regret: the percentage of the hypervolume of the best front
that is missed after so many distinct trainings; the reference point is the worst accuracy and the
worst cost. Strategies that ask for a network again get its result from a cache, which costs no
training. Mean over seeds, with a bootstrap confidence interval (95 %) of the mean.

With --noisy searches are told the first training of each network and scored by the mean of its
other trainings; the front that is scored is the one that a search would present: by the
surrogate's expectation where it has one, else by what was told.

With --json results are kept there after each run, and what is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.search_peers import LIMITS, PEERS, STRATEGIES, names, play
from benchmarks.search_tasks import SearchTask, load_tasks

AT = (50, 100, 200)
"""Trainings after which regret is reported."""

RESAMPLED = 2000

Row = dict[str, Any]


def run(task: SearchTask, strategy: str, seed: int, budget: int, noisy: bool = False) -> Row:
    """Regret after every tenth training, and at the end."""
    result = play(strategy, task, budget, seed)
    curve = {}
    numbers = AT if noisy else range(10, budget + 1, 10)
    for number in sorted({*(n for n in numbers if n <= len(result.trained)), len(result.trained)}):
        chosen = result.presented(number) if noisy else result.trained[:number]
        curve[number] = round(task.regret(chosen), 5)
    cut = strategy in LIMITS and LIMITS[strategy] < budget
    return {"task": task.name, "strategy": strategy, "seed": seed, "curve": curve, "cut": cut}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Of the mean, 95 %, by bootstrap."""
    rng, samples = np.random.default_rng(0), np.asarray(values)
    means = samples[rng.integers(len(samples), size=(RESAMPLED, len(samples)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def regrets(rows: Iterable[Row], strategy: str, number: int, task: str = "") -> list[float]:
    """After so many trainings; of one task, or by seed the mean over the tasks."""
    by_seed: dict[int, list[float]] = {}
    for row in rows:
        curve = {int(key): value for key, value in row["curve"].items()}
        if row["strategy"] != strategy or task not in ("", row["task"]):
            continue
        # A search that has tried everything stays where it is.
        reached = [value for key, value in curve.items() if key <= number]
        if number in curve or (reached and max(curve) < number and not row.get("cut")):
            by_seed.setdefault(row["seed"], []).append(curve.get(number, reached[-1]))
    return [float(np.mean(values)) for values in by_seed.values()]


def summary(rows: list[Row]) -> list[Row]:
    """A line a strategy and task, and one over all tasks."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    lines = []
    for task in [*tasks, *([""] if len(tasks) > 1 else [])]:
        for strategy in dict.fromkeys(row["strategy"] for row in rows):
            line: Row = {"task": task or "mean", "strategy": strategy}
            for number in AT:
                values = regrets(rows, strategy, number, task)
                if values:
                    line[f"at {number}"] = round(float(np.mean(values)), 3)
                    line[f"interval {number}"] = [round(v, 3) for v in interval(values)]
            lines.append(line)
    return lines


def verdicts(lines: list[Row]) -> list[str]:
    """How guided search compares with the best of the other libraries, by task."""
    found = []
    for task in dict.fromkeys(line["task"] for line in lines):
        here = [line for line in lines if line["task"] == task]
        peers = [line for line in here if line["strategy"] in PEERS]
        for line in here:
            if not line["strategy"].startswith("guided") or "at 200" not in line:
                continue
            best = {
                n: min((p[n] for p in peers if n in p), default=None)
                for n in map("at {}".format, AT)
            }
            if best["at 200"] is None or best["at 50"] is None:
                continue
            found.append(
                f"{task}, {line['strategy']}: at 200 {line['at 200'] / best['at 200']:.3f} of the "
                f"best peer's regret, at 50 {line['at 50'] / best['at 50']:.2f} of the best peer's "
                f"at 50 and {line['at 50'] / best['at 200']:.2f} of the best peer's at 200"
            )
    return found


def draw(rows: list[Row], file: Path) -> None:
    """Regret by trainings, both logarithmic, mean over tasks and seeds with its interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for index, strategy in enumerate(dict.fromkeys(row["strategy"] for row in rows)):
        counts = sorted({int(n) for row in rows for n in row["curve"] if int(n) % 10 == 0})
        found = [(n, values) for n in counts if (values := regrets(rows, strategy, n))]
        if not found:
            continue
        numbers, means = [n for n, _ in found], [np.mean(values) for _, values in found]
        bars = np.array([interval(values) for _, values in found])
        is_ours = strategy.startswith("guided")
        (line,) = axes.plot(
            numbers,
            means,
            label=strategy,
            color=f"C{index % 10}",
            linewidth=2.5 if is_ours else 1.2,
            linestyle="-" if index < 10 else "--",
        )
        axes.fill_between(numbers, bars[:, 0], bars[:, 1], color=line.get_color(), alpha=0.12)
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    axes.set(xscale="log", yscale="log", xlabel="trainings", ylabel="regret, %")
    axes.set_xticks([10, 20, 50, 100, 200], ["10", "20", "50", "100", "200"])
    axes.set_title(f"Hypervolume missed, mean of {', '.join(tasks)}", fontsize=10)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(file, dpi=110, metadata={"Date": None} if file.suffix == ".svg" else None)


def show(lines: list[Row], console: Console) -> None:
    for task in dict.fromkeys(line["task"] for line in lines):
        table = Table("strategy", *(f"after {n}" for n in AT), title=f"regret in %, {task}")
        for line in lines:
            if line["task"] == task:
                cells = [
                    f"{line[f'at {n}']:.3f} [{line[f'interval {n}'][0]:.3f} .. "
                    f"{line[f'interval {n}'][1]:.3f}]"
                    if f"at {n}" in line
                    else "-"
                    for n in AT
                ]
                table.add_row(line["strategy"], *cells)
        console.print(table)


def collect(
    arguments: argparse.Namespace, tasks: Sequence[SearchTask], console: Console
) -> list[Row]:
    """All runs; those kept from before are not run again."""
    file: Path | None = arguments.json
    rows: list[Row] = []
    if file and file.exists():
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    known = {
        (row["task"], row["strategy"], row["seed"], row["budget"], row["noisy"]) for row in rows
    }
    wanted = list(names(arguments.strategies))
    for seed in range(arguments.seeds):
        for task in tasks:
            for strategy in wanted:
                key = (task.name, strategy, seed, arguments.budget, arguments.noisy)
                if key in known:
                    continue
                row = run(task, strategy, seed, arguments.budget, arguments.noisy)
                rows.append({**row, "budget": arguments.budget, "noisy": arguments.noisy})
                if file:
                    file.write_text(json.dumps({"rows": rows}), encoding="utf-8")
        console.print(f"seed {seed + 1} of {arguments.seeds}", highlight=False)
    chosen = {task.name for task in tasks}
    return [
        row
        for row in rows
        if row["task"] in chosen
        and row["strategy"] in wanted
        and row["seed"] < arguments.seeds
        and (row["budget"], row["noisy"]) == (arguments.budget, arguments.noisy)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--strategies", default="all", help=f"all, or of {', '.join(STRATEGIES)}")
    parser.add_argument("--tables", default="macro", help="tasks by the start of their names; all")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=int, default=200, help="distinct trainings")
    parser.add_argument("--noisy", action="store_true", help="told one training, scored by others")
    parser.add_argument("--json", type=Path, help="keep the results there")
    parser.add_argument("--picture", type=Path, help="draw the curves there (.png or .svg)")
    chosen = parser.parse_args(arguments)
    console = Console()
    try:
        wanted = () if chosen.tables == "all" else tuple(chosen.tables.split(","))
        list(names(chosen.strategies))
        tasks = load_tasks(chosen.data, wanted, chosen.noisy)
    except ValueError as error:
        print(f"search: {error}", file=sys.stderr)
        return 2
    rows = collect(chosen, tasks, console)
    lines = summary(rows)
    show(lines, console)
    for line in verdicts(lines):
        console.print(line, highlight=False)
    if chosen.picture:
        draw(rows, chosen.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
