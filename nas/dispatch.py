"""Candidates on their way through the stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from nas.protocols import Ask, Executor, JobDone, Stage
from nas.trials import Candidate, Curve, Readings, Status, Trial


@dataclass
class Work:
    """A candidate on its way: what it knows so far, and the stages left."""

    ask: Ask
    candidate: Candidate
    readings: Readings
    stage: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    curve: Curve = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)

    def trial(self, status: Status, error: str = "") -> Trial:
        """The end of it."""
        ask = self.ask
        return Trial(
            number=ask.number,
            genotype=ask.genotype,
            training_key=ask.training_key,
            candidate_key=ask.candidate_key,
            status=status,
            metrics=dict(self.readings),
            provenance=self.readings.provenance,
            artifact=self.candidate.artifact if status == "done" else None,
            error=error,
            seconds=self.seconds,
            curve=self.curve,
            epochs=self.epochs,
            repeat=ask.repeat,
        )

    def count_epochs(self, key: str, done: JobDone) -> None:
        """Take note of training, under a key that all who share it have in common."""
        epochs = done.epochs if done.value is None else done.value.epochs
        if epochs and (done.value is None or done.value.stopped):  # the next one trains again
            self.epochs[f"{key} {self.ask.number}"] = epochs
        elif epochs:
            self.epochs[key] = epochs


class Dispatcher:
    """Sends candidates through the stages; stages that share a key are worked out once at a time.

    A candidate whose stage another one is working out waits for it, and then finds the result in
    the stage's cache.
    """

    def __init__(
        self, stages: Sequence[Stage], executor: Executor, broken: Callable[[Readings], str]
    ) -> None:
        self._stages, self._executor, self._broken = stages, executor, broken
        self._running: dict[int, tuple[Work, tuple[str, str]]] = {}
        self._waiting: dict[tuple[str, str], list[Work]] = {}
        self.works: dict[int, Work] = {}

    def has(self, candidate_key: str) -> bool:
        """Whether this candidate is in work."""
        return any(w.candidate.candidate_key == candidate_key for w in self.works.values())

    def start(self, work: Work) -> None:
        """Send a candidate to its next stage."""
        self.works[work.ask.number] = work
        stage = self._stages[work.stage]
        key = (stage.name, stage.key(work.candidate))
        if key in self._waiting:
            self._waiting[key].append(work)
            return
        self._waiting[key] = []
        self._running[self._executor.submit(stage.job(work.candidate))] = (work, key)

    def wait(self, timeout_s: float) -> list[Trial]:
        """The trials of the candidates that are through, or came to an early end."""
        over = []
        for done in self._executor.wait(timeout_s):
            work, key = self._running.pop(done.job_id)
            trial = self._advance(work, done)
            if trial is None:
                self.start(work)
            else:
                del self.works[work.ask.number]
                over.append(trial)
            for waiting in self._waiting.pop(key):
                self.start(waiting)
        return over

    def _advance(self, work: Work, done: JobDone) -> Trial | None:
        """Take a stage's result in; returns the trial, where that was the end of it."""
        stage = self._stages[work.stage]
        work.seconds[stage.name] = work.seconds.get(stage.name, 0.0) + done.seconds
        work.count_epochs(stage.key(work.candidate), done)
        if done.value is None:
            return work.trial("failed", f"{stage.name}: {done.error}")
        work.readings = work.readings.merged(done.value.readings)
        work.curve = done.value.curve or work.curve
        if done.value.stopped:
            return work.trial("stopped", done.value.stopped)
        if done.value.artifact is not None:
            work.candidate = replace(work.candidate, artifact=done.value.artifact)
        broken = self._broken(work.readings) if stage.screens else ""
        if broken:
            return work.trial("rejected", broken)
        work.stage += 1
        return work.trial("done") if work.stage == len(self._stages) else None
