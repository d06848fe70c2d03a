"""The only loop: asks a strategy, sends candidates through the stages, writes the ledger.

It never trains, measures or logs itself. Everything that happened is in the ledger before the
strategy or a recorder hears of it, so a search that is killed goes on by replay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nas.budget import Budget, Reason, improvement_per_minute
from nas.dispatch import Dispatcher, Work
from nas.front import costs_of
from nas.objectives import Constraint, Objective, is_share, total_violation
from nas.pareto import Costs, ParetoArchive, hypervolume, reference_point
from nas.protocols import (
    Ask,
    Evaluator,
    Executor,
    Job,
    JobDone,
    Ledger,
    Pipeline,
    Progress,
    Recorder,
    SearchSpace,
    Stage,
    StageResult,
    Strategy,
)
from nas.repeats import front_of_means, unconfirmed
from nas.trials import (
    ESTIMATED,
    Artifact,
    Candidate,
    CandidateError,
    Exhausted,
    Provenance,
    Readings,
    Trial,
    sure_violation,
)

__all__ = [
    "Artifact",
    "Ask",
    "Budget",
    "Candidate",
    "CandidateError",
    "Constraint",
    "Evaluator",
    "Executor",
    "Exhausted",
    "Job",
    "JobDone",
    "Ledger",
    "Objective",
    "Outcome",
    "Pipeline",
    "Progress",
    "Provenance",
    "Readings",
    "Recorder",
    "SearchError",
    "SearchSpace",
    "Stage",
    "StageResult",
    "Strategy",
    "Trial",
    "replay",
    "search",
]

REFERENCE_AFTER = 10
"""Results after which the hypervolume's reference point is fixed (or fewer, at the end)."""

MAX_REPEATS_IN_A_ROW = 1000
"""Asks for known candidates after which a strategy counts as exhausted."""


class SearchError(Exception):
    """The search as a whole cannot go on: no candidate comes through."""


@dataclass(frozen=True)
class Outcome:
    """Why a search ended and where it stood then.

    Args:
        reason: one word.
        progress: the standings.
        detail: what the strategy said that had nothing left to ask for, or how little it expects.
        notes: of the strategy, where it has ``notes``: how it searched, if not as one would expect.
    """

    reason: Reason
    progress: Progress
    detail: str = ""
    notes: tuple[str, ...] = ()


def replay(
    strategy: Strategy,
    ledger: Ledger,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
) -> None:
    """Bring a fresh strategy to where the ledger is: tell all results, mark what is pending."""
    for trial in ledger.told():
        _tell(strategy, trial, objectives, constraints)
    for ask in ledger.unfinished():
        if not ask.repeat:
            strategy.pending(ask.genotype)


def _tell(
    strategy: Strategy,
    trial: Trial,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
) -> None:
    if trial.status == "done" and hasattr(strategy, "took"):
        strategy.took(trial.genotype, sum(trial.seconds.values()))
    if trial.status == "failed":
        strategy.tell(trial.genotype, None)
        return
    metrics = _likely_metrics(trial)
    costs = [objective.cost(metrics) for objective in objectives]
    strategy.tell(trial.genotype, costs, total_violation(constraints, metrics))


def _likely_metrics(trial: Trial) -> Mapping[str, float]:
    """Of a training that was stopped, with what its curve says it would have learned.

    A strategy that did not hear of it would ask for the like again and again.
    """
    if trial.status != "stopped":
        return trial.metrics
    learned = {
        name.removeprefix(ESTIMATED): value
        for name, value in trial.metrics.items()
        if name.startswith(ESTIMATED) and is_share(name.removeprefix(ESTIMATED))
    }
    return {**learned, **trial.metrics}


class _Board:
    """The standings: counts, front and hypervolume, kept up to date trial by trial."""

    def __init__(
        self, objectives: Sequence[Objective], constraints: Sequence[Constraint], ledger: Ledger
    ) -> None:
        self._objectives, self._constraints = objectives, tuple(constraints)
        self._ledger, self._archive = ledger, ParetoArchive()
        self._costs: list[Costs] = []
        self._counts = {"done": 0, "failed": 0, "rejected": 0, "stopped": 0}
        self._epochs: dict[str, int] = {}
        self.results: dict[str, Trial] = {}
        self.repeats = self._confirmed = 0

    def add(self, trial: Trial) -> None:
        """Count a trial; a second time with the same number it is a repeat."""
        if trial.candidate_key in self.results:
            self.repeats += 1
            return
        self.results[trial.candidate_key] = trial
        if trial.repeat:
            self._confirmed += 1
            results = [*self.results.values()]
            self._archive = front_of_means(results, self._objectives, self._constraints)
            return
        self._counts[trial.status] += 1
        self._epochs |= trial.epochs
        costs = costs_of(trial, self._objectives)
        if costs is None:
            return
        self._costs.append(costs)
        if not total_violation(self._constraints, trial.metrics):
            self._archive.add(trial.number, costs)
        if len(self._costs) >= REFERENCE_AFTER:
            self.fix_reference_point()

    def fix_reference_point(self) -> None:
        """Fix the reference point by the results so far, unless it is fixed already."""
        if self._ledger.reference_point is None and self._costs:
            self._ledger.fix_reference_point(reference_point(self._costs))

    def progress(self, running: int, elapsed_s: float, confirming: int = 0) -> Progress:
        """Where the search stands."""
        front, reference = self._archive.front, self._ledger.reference_point
        return Progress(
            **self._counts,
            repeats=self.repeats,
            running=running,
            elapsed_s=elapsed_s,
            epochs=sum(self._epochs.values()),
            front=tuple(front),
            hypervolume=None if reference is None else hypervolume([*front.values()], reference),
            confirmed=self._confirmed,
            confirming=confirming,
        )

    def all_failed(self, limit: int) -> bool:
        """Whether the search began with ``limit`` failures and nothing else."""
        counts = self._counts
        return counts["failed"] >= limit and counts["done"] + counts["stopped"] == 0


class _Search:
    """One run of the loop, see `search`."""

    def __init__(
        self,
        strategy: Strategy,
        pipeline: Pipeline,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        budget: Budget,
        ledger: Ledger,
        recorders: Sequence[Recorder],
        executor: Executor,
        clock: Callable[[], float],
    ) -> None:
        self._strategy, self._pipeline = strategy, pipeline
        self._objectives, self._constraints = tuple(objectives), tuple(constraints)
        self._budget, self._ledger, self._recorders = budget, ledger, recorders
        self._executor, self._clock = executor, clock
        self._dispatcher = Dispatcher(pipeline.stages, executor, self._broken)
        self._board = _Board(self._objectives, self._constraints, ledger)
        self._began, self._detail = clock() - ledger.elapsed_s(), ""
        self._notes: dict[str, None] | None = None
        self._reason: Reason | None = None
        self._ended: float | None = None

    def run(self) -> Outcome:
        replay(self._strategy, self._ledger, self._objectives, self._constraints)
        for trial in self._ledger.told():
            self._board.add(trial)
        for ask in self._ledger.unfinished():
            self._start(ask)
        while True:
            reason = self._reason or self._fill()
            works = self._dispatcher.works.values()
            if reason is not None and self._ended is None and all(w.ask.repeat for w in works):
                self._reason, self._ended = reason, self._clock()
            if reason is not None and not works and not self._confirm():
                self._board.fix_reference_point()
                if self._notes is not None:
                    self._note()
                return Outcome(reason, self._progress(), self._detail, (*(self._notes or ()),))
            for trial in self._dispatcher.wait(timeout_s=1.0):
                self._finish(trial)

    def _confirm(self) -> bool:
        """Begin the repeats that are due once the search is over; whether there are any."""
        trials = [*self._board.results.values()]
        due = unconfirmed(trials, self._objectives, self._constraints, self._budget.confirm)
        for genotype, repeat in due:
            self._ask(self._pipeline.candidate(genotype, repeat))
        return bool(due)

    def _fill(self) -> Reason | None:
        """Ask until all workers are busy; returns why there is nothing more to ask for."""
        repeats_before, self._detail = self._board.repeats, ""
        # One more than there are workers, so that none idles while another is being measured.
        works = self._dispatcher.works
        while sum(not w.ask.repeat for w in works.values()) < self._executor.slots() + 1:
            reason = self._spent()
            if reason is not None:
                return reason
            if self._notes is None:
                self._note()
            try:
                genotype = self._strategy.ask()
            except Exhausted as exhausted:
                self._detail = str(exhausted)
                return "exhausted"
            self._begin(dict(genotype))
            if self._board.repeats - repeats_before >= MAX_REPEATS_IN_A_ROW:
                return "exhausted"
        return None

    def _spent(self) -> Reason | None:
        progress = self._progress()
        if self._board.all_failed(self._budget.failures):
            last = next(t for t in reversed(self._board.results.values()) if t.status == "failed")
            raise SearchError(
                f"all of the first {progress.failed} candidates failed; the last one: {last.error}"
            )
        spent = self._budget.spent(progress)
        return "improvement" if spent is None and self._expects_little(progress) else spent

    def _note(self) -> None:
        """Let recorders hear what the strategy notes, once each: they may screen for it."""
        known = self._notes or {}
        self._notes = known | dict.fromkeys(getattr(self._strategy, "notes", ()))
        for line in [line for line in self._notes if line not in known]:
            for recorder in self._recorders:
                if hasattr(recorder, "noted"):
                    recorder.noted(line)

    def _expects_little(self, progress: Progress) -> bool:
        """Whether another minute is expected to add less than is wished for."""
        least = self._budget.improvement_per_minute
        if least is None:
            return False
        gain = self._strategy.expected_improvement()  # type: ignore[attr-defined]
        rate = improvement_per_minute(gain, self._ledger.elapsed_s(), progress.scored)
        if rate is None or rate >= least:
            return False
        self._detail = (
            f"{rate:.4%} of the hypervolume is expected of a minute, less than {100 * least:g} %"
        )
        return True

    def _begin(self, genotype: dict[str, int | float | str]) -> None:
        candidate = self._pipeline.candidate(genotype)
        if self._dispatcher.has(candidate.candidate_key):
            self._board.repeats += 1
            return
        known = self._board.results.get(candidate.candidate_key)
        if known is not None:
            self._ledger.repeated(known.number)
            self._board.add(known)
            _tell(self._strategy, known, self._objectives, self._constraints)
            return
        self._ask(candidate)

    def _ask(self, candidate: Candidate) -> None:
        keys = candidate.training_key, candidate.candidate_key
        number = self._ledger.next_number()
        ask = Ask(number, candidate.genotype, *keys, candidate.repeat)
        self._ledger.asked(ask)
        self._start(ask)

    def _start(self, ask: Ask) -> None:
        work = Work(ask, self._pipeline.candidate(ask.genotype, ask.repeat), Readings())
        began = self._clock()
        try:
            work.readings = self._pipeline.screen(work.candidate)
        except CandidateError as error:
            self._finish(work.trial("failed", f"screen: {error}"))
            return
        finally:
            work.seconds["screen"] = self._clock() - began
        broken = self._broken(work.readings)
        if broken:
            self._finish(work.trial("rejected", broken))
            return
        self._dispatcher.start(work)
        for recorder in self._recorders:
            recorder.started(ask, self._progress())

    def _broken(self, readings: Readings) -> str:
        """Why what is known before training rules a candidate out, "" where it does not."""
        broken = next((c for c in self._constraints if sure_violation(c, readings)), None)
        if broken is None:
            return ""
        if broken.metric in readings:
            return f"surely violates {broken}"
        return f"violates {broken} with a probability above {100 * broken.reject_above:g} %"

    def _finish(self, trial: Trial) -> None:
        self._ledger.done(trial, self._elapsed_s())
        _tell(self._strategy, trial, self._objectives, self._constraints)
        self._board.add(trial)
        for recorder in self._recorders:
            recorder.finished(trial, self._progress())

    def _progress(self) -> Progress:
        works = self._dispatcher.works
        confirming = sum(work.ask.repeat > 0 for work in works.values())
        return self._board.progress(len(works), self._elapsed_s(), confirming)

    def _elapsed_s(self) -> float:
        """Search time; confirming is no part of it."""
        return (self._clock() if self._ended is None else self._ended) - self._began


def search(
    strategy: Strategy,
    evaluate: Pipeline,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    budget: Budget,
    ledger: Ledger,
    recorders: Sequence[Recorder],
    executor: Executor,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Search until the budget is spent or nothing is left to try.

    A ledger that holds results already is continued: the strategy is rebuilt by replay, asks
    without a result go to work first, and no finished candidate runs again.

    Args:
        strategy: fresh; it is told what the ledger holds.
        evaluate: the stages that a candidate goes through.
        objectives: at least one.
        constraints: what breaks one surely is rejected before training.
        budget: when to end.
        ledger: the record of this search.
        recorders: hear of asks and results after the ledger has them.
        executor: runs the stages; not closed here.
        clock: seconds, monotonic.

    Returns:
        Why it ended, and where it stands.

    Raises:
        SearchError: when it begins with nothing but failures.
        KeyboardInterrupt: as it comes; whatever is finished is in the ledger.
    """
    if not objectives:
        raise ValueError("a search needs at least one objective, but got none")
    if budget.improvement_per_minute is not None and not hasattr(strategy, "expected_improvement"):
        raise ValueError("improvement_per_minute needs a strategy that says what it expects")
    return _Search(
        strategy, evaluate, objectives, constraints, budget, ledger, recorders, executor, clock
    ).run()
