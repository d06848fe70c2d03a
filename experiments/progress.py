"""How a search is going, on the terminal while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from experiments.tables import duration, shown, trial_tables
from nas.objectives import Objective
from nas.protocols import Ask, Progress
from nas.repeats import merged
from nas.trials import Trial

ROWS = 12


class ProgressRecorder:
    """Shows trials done, the front and the time left; a context manager.

    On a terminal it is a table that changes in place, elsewhere a line a trial. Implements
    `nas.protocols.Recorder`.

    Args:
        objectives: of the search.
        trials: its budget of trials.
        minutes: its budget of minutes, None for none.
        known: trials of earlier sessions of the same search.
        console: where to write.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        trials: int,
        minutes: float | None = None,
        known: Iterable[Trial] = (),
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objectives, self._budget, self._minutes = tuple(objectives), trials, minutes
        self._trials = {trial.number: trial for trial in known}
        self._console, self._clock = console or Console(stderr=True), clock
        self._progress, self._heard, self._first = Progress(), clock(), Progress()
        self._live: Live | None = None

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
        self._hear(progress)
        if self._live is None and trial.status != "rejected":
            self._console.print(self.line(trial), soft_wrap=True, markup=False, highlight=False)

    def _hear(self, progress: Progress) -> None:
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
        elapsed = now.elapsed_s + since
        estimates = [] if self._minutes is None else [60 * self._minutes - elapsed]
        scored = now.scored - self._first.scored
        if scored > 0:
            pace = (elapsed - self._first.elapsed_s) / scored
            estimates.append(pace * (self._budget - now.scored) - since)
        return max(0.0, min(estimates)) if estimates else None

    def summary(self) -> str:
        """One line: how many trials, the front, the time."""
        now, left = self._progress, self.left_s()
        elapsed = now.elapsed_s + self._clock() - self._heard
        counts = {"failed": now.failed, "rejected": now.rejected, "stopped": now.stopped}
        parts = [f"{now.scored}/{self._budget} trials", f"front {len(now.front)}"]
        parts += [f"{count} {name}" for name, count in counts.items() if count]
        if now.confirmed or now.confirming:
            due = now.confirmed + now.confirming
            parts.append(f"confirming: {now.confirmed}/{due} trainings")
        parts.append(duration(elapsed))
        if left is not None:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)

    def line(self, trial: Trial) -> str:
        """What is printed of a trial where there is no terminal."""
        if trial.status == "failed":
            what = f"failed: {trial.error}"
        else:
            names = (objective.metric for objective in self._objectives)
            known = (f"{n} {shown(trial.metrics[n])}" for n in names if n in trial.metrics)
            what = f"{trial.status}: {', '.join(known)}"
        star = " *" if trial.number in self._progress.front else ""
        again = f" (repeat {trial.repeat} of a genotype)" if trial.repeat else ""
        return f"trial {trial.number}{again} {what}{star} [{self.summary()}]"

    def view(self) -> RenderableType:
        """What a terminal shows: a bar, the counts, the front."""
        now = self._progress
        bar = ProgressBar(total=self._budget, completed=min(now.scored, self._budget), width=30)
        head = Table.grid(padding=(0, 1))
        head.add_row(bar, self.summary())
        together = merged(self._trials.values(), self._objectives)
        trials = {trial.number: trial for trial in together}
        front = [trials[number] for number in now.front if number in trials]
        front.sort(key=lambda trial: [o.cost(trial.metrics) or 0.0 for o in self._objectives])
        if not front:
            return head
        # Only the columns that fit: a live table must not scroll.
        table = next(trial_tables(front[:ROWS], self._console.width))
        rest = [f"... and {len(front) - ROWS} more"] if len(front) > ROWS else []
        return Group(head, table, *rest)
