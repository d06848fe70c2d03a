"""``nas status``: where searches stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich import box
from rich.table import Table

from experiments.commands.output import FINE, Output, hints, lines
from experiments.ending import ending_of
from experiments.fronts import front_trials
from experiments.ledger import LedgerError
from experiments.proxy_report import Standing, short, standings
from experiments.runs import Run, RunNotFound, find_run, home, list_runs
from experiments.tables import duration, shown
from nas.pareto import hypervolume
from nas.search import Trial


def run(text: str) -> int:
    """Print how one run stands, or all of them.

    Raises:
        RunNotFound: when there is none.
    """
    output = Output()
    if text:
        _one(output, find_run(home(), text))
        return FINE
    runs = list_runs(home())
    if not runs:
        raise RunNotFound(f"there are no runs in {home()}; start one: nas search digits-cpu")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("run", "state", "trials", "front", "time"):
        table.add_column(name, no_wrap=True)
    unreadable = []
    for each in runs:
        try:
            table.add_row(each.id, *_row(each))
        except (LedgerError, ValueError) as error:
            table.add_row(each.id, "unreadable", "", "", "")
            unreadable.append(str(error))
    output.show(table)
    lines(output, unreadable)
    return FINE


def _row(run: Run) -> tuple[str, str, str, str]:
    facts = _Facts(run)
    trials = run.config.budget.trials
    scored = f"{facts.scored}/{trials}" if trials else str(facts.scored)
    return run.state.status, scored, str(len(facts.front)), duration(facts.elapsed_s)


class _Facts:
    """What the ledger of a run says."""

    def __init__(self, run: Run) -> None:
        objectives, constraints = run.config.objectives_parsed(), run.config.constraints_parsed()
        with run.ledger() as ledger:
            trials: list[Trial] = ledger.trials()
            self.elapsed_s, self.repeats = ledger.elapsed_s(), ledger.repeats()
            self.running, reference = len(ledger.unfinished()), ledger.reference_point
            self.ended = ending_of(ledger)
        searched = [trial for trial in trials if not trial.repeat]
        self.epochs = sum({key: n for t in searched for key, n in t.epochs.items()}.values())
        self.counts = Counter(trial.status for trial in searched)
        self.confirmed = sum(trial.repeat > 0 for trial in trials)
        self.scored = self.counts["done"] + self.counts["failed"] + self.counts["stopped"]
        self.front = front_trials(trials, objectives, constraints)
        self.proxies = standings(trials)
        self.last_error = next((t.error for t in trials[::-1] if t.status == "failed"), "")
        self.hypervolume: float | None = None
        if reference is not None:
            costs = [[o.cost(t.metrics) or 0.0 for o in objectives] for t in self.front]
            self.hypervolume = hypervolume([tuple(point) for point in costs], reference)


def _one(output: Output, run: Run) -> None:
    state, facts = run.state, _Facts(run)
    for name, value in _details(run, facts):
        output.line(f"{name:<12} {value}")
    if state.status in ("interrupted", "failed", "created"):
        hints(output, [(f"nas resume {run.id}", "goes on from here")])
    elif facts.front:
        hints(output, [(f"nas front {run.id}", "shows the front")])


def _details(run: Run, facts: _Facts) -> Iterator[tuple[str, str]]:
    state, budget = run.state, run.config.budget
    yield "run", str(run.path)
    yield "state", f"{state.status}{': ' + state.note if state.note else ''}"
    rest = ", ".join(f"{n} {name}" for name, n in sorted(facts.counts.items()))
    of = f" of {budget.trials}" if budget.trials else ""
    yield "trials", f"{facts.scored}{of} ({rest or 'none yet'})"
    if facts.epochs or budget.epochs:
        yield "epochs", f"{facts.epochs}{f' of {budget.epochs}' if budget.epochs else ''}"
    if state.status == "running":
        yield "in work", str(facts.running)
    elif facts.running:
        yield "unfinished", f"{facts.running}; nas resume begins anew with them"
    if facts.repeats:
        yield "repeats", f"{facts.repeats}, answered from the cache"
    limit = f" of {duration(60 * budget.minutes)}" if budget.minutes else ""
    yield "time", f"{duration(facts.elapsed_s)}{limit}"
    volume = "" if facts.hypervolume is None else f", hypervolume {shown(facts.hypervolume)}"
    yield "front", f"{len(facts.front)} points{volume}"
    for standing in facts.proxies:
        yield "proxy" if standing is facts.proxies[0] else "", _ranked(standing)
    if facts.confirmed:
        yield "confirmed", f"by {facts.confirmed} further trainings, which are no part of the above"
    if facts.ended:
        yield "ended", facts.ended
    if facts.last_error:
        yield "last error", facts.last_error


def _ranked(standing: Standing) -> str:
    return (
        f"{standing.name:<8} ranks {standing.networks} trained networks: "
        f"Kendall {short(standing.kendall)}, Spearman {short(standing.spearman)}"
        f"{', which may be chance' if standing.is_chance else ''}"
    )
