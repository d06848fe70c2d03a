"""How a search is going, on the terminal while it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from experiments.proxy_report import standings, summary
from experiments.tables import duration, shown, trial_tables
from nas.budget import Budget
from nas.objectives import Constraint, Objective, excesses, total_violation
from nas.protocols import Ask, Progress
from nas.repeats import merged
from nas.trials import Trial

ROWS = 12

MANY = 200
"""Candidates screened since the last news that are worth a word: they may take a second."""


class ProgressRecorder:
    """Shows trials done, the front and the time left; a context manager.

    On a terminal it is a table that changes in place, elsewhere a line a trial. Implements
    `nas.protocols.Recorder`.

    Args:
        objectives: of the search.
        budget: when it ends.
        known: trials of earlier sessions of the same search.
        constraints: of the search; the line of a trial names those that it violates.
        console: where to write.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        budget: Budget,
        known: Iterable[Trial] = (),
        constraints: Sequence[Constraint] = (),
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objectives, self._budget = tuple(objectives), budget
        self._constraints = tuple(constraints)
        self._trials = {trial.number: trial for trial in known}
        self._console, self._clock = console or Console(stderr=True), clock
        self._progress, self._heard, self._first = Progress(), clock(), Progress()
        self._proxies = summary(standings(self._trials.values()))
        self._live: Live | None = None
        self._screened, self._mentioned = 0, False

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self.view,
                console=self._console,
                refresh_per_second=2,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def started(self, ask: Ask, progress: Progress) -> None:
        """See `nas.protocols.Recorder`."""
        self._hear(progress)

    def finished(self, trial: Trial, progress: Progress) -> None:
        """See `nas.protocols.Recorder`."""
        self._trials[trial.number] = trial
        if trial.status == "done":
            self._proxies = summary(standings(self._trials.values()))
        self._hear(progress)
        if self._live is None and trial.status != "rejected":
            self._print(self.line(trial))

    def noted(self, line: str) -> None:
        """What the strategy says of how it searches; see `nas.protocols.Recorder`."""
        self._print(f"nas: note: {line}")

    def screening(self, candidates: int) -> None:
        """So many more candidates were screened; see `experiments.watched_screen`."""
        before, self._screened = self._screened, self._screened + candidates
        if before < MANY <= self._screened and self._live is None and not self._mentioned:
            self._mentioned = True
            self._print("nas: screening candidates before the next one is trained ...")

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)

    def _hear(self, progress: Progress) -> None:
        self._screened = 0
        if self._progress == Progress():
            self._first = progress
        self._progress, self._heard = progress, self._clock()

    def left_s(self) -> float | None:
        """An estimate of the seconds left, None while there is nothing to go by.

        By the pace since this session began, and not beyond the budget of minutes.
        """
        now, since = self._progress, self._clock() - self._heard
        if now.confirmed or now.confirming:
            return None
        elapsed, budget = now.elapsed_s + since, self._budget
        estimates = [] if math.isinf(budget.minutes) else [60 * budget.minutes - elapsed]
        limits = (
            (budget.trials, now.scored, now.scored - self._first.scored),
            (budget.epochs, now.epochs, now.epochs - self._first.epochs),
        )
        for limit, spent, lately in limits:
            if limit is not None and lately > 0:
                pace = (elapsed - self._first.elapsed_s) / lately
                estimates.append(pace * (limit - spent) - since)
        return max(0.0, min(estimates)) if estimates else None

    def share(self) -> float:
        """How much of the budget is spent, from 0 to 1: of the limit that is nearest."""
        now, budget = self._progress, self._budget
        shares = [(now.elapsed_s + self._clock() - self._heard) / (60 * budget.minutes)]
        shares += [now.scored / budget.trials] if budget.trials else []
        shares += [now.epochs / budget.epochs] if budget.epochs else []
        return min(1.0, max(shares))

    def summary(self) -> str:
        """One line: how many trials, the front, the time."""
        now, left = self._progress, self.left_s()
        elapsed = now.elapsed_s + self._clock() - self._heard
        counts = {"failed": now.failed, "rejected": now.rejected, "stopped": now.stopped}
        trials, epochs = self._budget.trials, self._budget.epochs
        parts = [f"{now.scored}/{trials} trials" if trials else f"{now.scored} trials"]
        parts += [f"{now.epochs}/{epochs} epochs"] if epochs else []
        parts.append(f"front {len(now.front)}")
        parts += [f"{count} {name}" for name, count in counts.items() if count]
        if now.confirmed or now.confirming:
            due = now.confirmed + now.confirming
            parts.append(f"confirming: {now.confirmed}/{due} trainings")
        parts.append(duration(elapsed))
        if left is not None:
            parts.append(f"{duration(left)} left")
        if self._proxies:
            parts.append(f"rank correlation of proxies {self._proxies}")
        if self._screened >= MANY:
            parts.append(f"screening candidates ({self._screened})")
        return ", ".join(parts)

    def line(self, trial: Trial) -> str:
        """What is printed of a trial where there is no terminal."""
        if trial.status == "failed":
            what = f"failed: {trial.error}"
        elif trial.status == "stopped":
            what = trial.error  # says so
        else:
            names = (objective.metric for objective in self._objectives)
            parts = [f"{n} {shown(trial.metrics[n])}" for n in names if n in trial.metrics]
            broken = self._broken(trial)
            parts += [f"violates {broken}"] if broken else []
            what = f"{trial.status}: {', '.join(parts)}"
        star = " *" if trial.number in self._progress.front else ""
        again = f" (repeat {trial.repeat} of a genotype)" if trial.repeat else ""
        return f"trial {trial.number}{again} {what}{star} [{self.summary()}]"

    def _broken(self, trial: Trial) -> str:
        return excesses((c, c.violation(trial.metrics) or 0.0) for c in self._constraints)

    def _nearest(self, trials: Iterable[Trial]) -> list[str]:
        """Why there is no front though trials are done: a line, or none."""
        done = [trial for trial in trials if trial.status == "done"]
        nearest = min(
            done, key=lambda t: total_violation(self._constraints, t.metrics), default=None
        )
        if nearest is None or not (broken := self._broken(nearest)):
            return []
        return [
            f"none satisfies all constraints; nearest: trial {nearest.number} violates {broken}"
        ]

    def view(self) -> RenderableType:
        """What a terminal shows: a bar, the counts, the front."""
        now = self._progress
        bar = ProgressBar(total=1.0, completed=self.share(), width=30)
        head = Table.grid(padding=(0, 1))
        head.add_row(bar, self.summary())
        together = merged(self._trials.values(), self._objectives)
        trials = {trial.number: trial for trial in together}
        front = [trials[number] for number in now.front if number in trials]
        front.sort(key=lambda trial: [o.cost(trial.metrics) or 0.0 for o in self._objectives])
        if not front:
            return Group(head, *self._nearest(together))
        # Only the columns that fit: a live table must not scroll.
        table = next(trial_tables(front[:ROWS], self._console.width))
        rest = [f"... and {len(front) - ROWS} more"] if len(front) > ROWS else []
        return Group(head, table, *rest)
