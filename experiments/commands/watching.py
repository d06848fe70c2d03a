"""A search as the command line shows it: progress, MLflow beside it, the front at the end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal, NoReturn

from rich.console import Console

from experiments.commands.output import FINE, Output, hints, second_look, show_front
from experiments.config import ExperimentConfig
from experiments.ending import budget_of, ending
from experiments.experiment import MakeRecorder, Result
from experiments.fronts import run_front
from experiments.progress import ProgressRecorder
from experiments.recorder import MlflowRecorder
from experiments.report import write_report
from experiments.runs import Run
from experiments.tables import duration
from experiments.tracking import is_server, left_behind
from nas.protocols import Recorder
from nas.trials import Trial

FAILED = 1

Start = Callable[[Sequence[MakeRecorder]], Result]


class Watch:
    """The recorders of one search. A context manager, which gives the terminal back.

    Args:
        config: of the search.
        console: where progress and warnings go; standard error where None.
    """

    def __init__(self, config: ExperimentConfig, console: Console | None = None) -> None:
        self._config, self._console = config, console or Console(stderr=True, highlight=False)
        self._terminal = ExitStack()
        self.run: Run | None = None
        self.mlflow: MlflowRecorder | None = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.end("failed")

    @property
    def makers(self) -> list[MakeRecorder]:
        """What the experiment calls once there is a run."""
        return [self._show, self._follow] if self._config.tracking.enabled else [self._show]

    def _show(self, run: Run) -> Recorder:
        self.run = run
        self.say(f"run {run.id} in {run.home}")
        with run.ledger() as ledger:
            known = ledger.trials()
        budget = budget_of(self._config)
        wanted, bounds = self._config.objectives_parsed(), self._config.constraints_parsed()
        progress = ProgressRecorder(wanted, budget, known, bounds, self._console)
        return self._terminal.enter_context(progress)

    def _follow(self, run: Run) -> Recorder:
        moved = left_behind(self._config.tracking.uri, run.home.parent)
        if moved:
            self.say(moved)
        self.mlflow = MlflowRecorder(run, on_problem=self.say)
        return self.mlflow

    def say(self, text: str) -> None:
        """A line on standard error."""
        self._console.print(f"nas: {text}", soft_wrap=True, markup=False)

    def give_back(self) -> None:
        """Stop the live view."""
        self._terminal.close()

    def end(self, status: Literal["finished", "interrupted", "failed"]) -> str:
        """Bring MLflow to the end, once; returns its link, empty where there is none."""
        self.give_back()
        return "" if self.mlflow is None else self.mlflow.close(status)


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM, which a batch system or a container sends, ends a search as Ctrl-C does."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def watch(config: ExperimentConfig, start: Start) -> int:
    """See a search through.

    Args:
        config: of the search.
        start: runs it with the recorders that the given functions make.

    Returns:
        The exit code; 1 after Ctrl-C, which says how to go on.

    Raises:
        NothingFound: when no trial was fit for the front.
    """
    with _terminated_is_interrupted(), Watch(config) as watching:
        try:
            result = start(watching.makers)
        except KeyboardInterrupt:
            if watching.run is None:
                raise
            watching.give_back()
            kept = "interrupted; everything finished is kept"
            watching.say(f"{kept}; to go on: nas resume {watching.run.id}")
            watching.end("interrupted")
            return FAILED
        link = watching.end("finished")
    _report(result, link, watching.mlflow)
    return FINE


def _stopped(trials: Sequence[Trial], epochs: int) -> str:
    """What early stopping has saved: variants of a network share its training."""
    stopped = [trial for trial in trials if trial.status == "stopped"]
    whole = {trial.training_key for trial in trials if trial.status == "done"}
    seen: dict[str, int] = {}
    for trial in stopped:
        done = len(trial.curve.get("accuracy", ()))
        seen[trial.training_key] = max(done, seen.get(trial.training_key, 0))
    saved = sum(epochs - done for key, done in seen.items() if key not in whole)
    return f"{len(stopped)} trials were stopped early: {saved} epochs of training less"


def _confirmed(trials: Sequence[Trial]) -> str:
    """What went into further trainings of known candidates, apart from the budget."""
    again = [trial for trial in trials if trial.repeat]
    candidates = len({tuple(sorted(trial.genotype.items())) for trial in again})
    work_s = sum(sum(trial.seconds.values()) for trial in again)
    return (
        f"{len(again)} further trainings confirm {candidates} candidates, beside the budget: "
        f"{duration(work_s)} of work"
    )


def _report(result: Result, link: str, mlflow: MlflowRecorder | None) -> None:
    output, run, progress = Output(), result.run, result.outcome.progress
    what = [f"{progress.scored} trials in {duration(progress.elapsed_s)}"]
    what += [f"{progress.epochs} epochs of training"] if progress.epochs else []
    what += [f"{progress.repeats} repeats: {ending(result.outcome)}"]
    output.line(", ".join(what))
    if progress.stopped:
        output.line(_stopped(result.trials, run.config.training.epochs))
    if progress.confirmed:
        output.line(_confirmed(result.trials))
    front = run_front(run)
    show_front(output, front, second_look(run), f"Front of {run.id}: {len(front.trials)} points")
    output.line()
    next_steps = [(f"nas export {run.id}", "writes the knee of the front, checked")]
    if link:
        output.line(f"MLflow: {link}")
        if mlflow is not None and not is_server(mlflow.uri):
            next_steps.insert(0, ("nas ui", "starts MLflow, which answers at that link"))
    elif mlflow is not None:
        next_steps.insert(0, (f"nas sync {run.id}", "writes to MLflow once it can be reached"))
    next_steps.append((f"nas front {run.id}", "shows this again"))
    output.line(f"Run: {run.id}")
    output.line(f"Report: {write_report(run, front, result.trials)[0]}")
    hints(output, next_steps)
