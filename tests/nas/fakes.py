"""Stand-ins for the seams of the loop: everything in memory, nothing trained."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field

from nas.choices import Choice, enumerate_genotypes
from nas.keys import candidate_key, training_key
from nas.search import (
    Ask,
    Candidate,
    CandidateError,
    Exhausted,
    Job,
    JobDone,
    Provenance,
    Readings,
    StageResult,
    Trial,
)

CHOICES = [Choice("x", tuple(range(10))), Choice("prune.ratio", (0.0, 0.5))]


class MemoryLedger:
    """Keeps events in a list; a copy of it is what a killed search leaves behind."""

    def __init__(self, events=(), reference_point=None):
        self.events = list(events)
        self.reference_point = reference_point
        self.fixed = 0

    def asked(self, ask):
        self.events.append(("asked", ask))

    def done(self, trial, elapsed_s):
        self.events.append(("done", trial, elapsed_s))

    def repeated(self, number):
        self.events.append(("repeated", number))

    def told(self):
        trials = {e[1].number: e[1] for e in self.events if e[0] == "done"}
        return [e[1] if e[0] == "done" else trials[e[1]] for e in self.events if e[0] != "asked"]

    def unfinished(self):
        over = {e[1].number for e in self.events if e[0] == "done"}
        return [e[1] for e in self.events if e[0] == "asked" and e[1].number not in over]

    def next_number(self):
        return sum(e[0] == "asked" for e in self.events)

    def elapsed_s(self):
        return max((e[2] for e in self.events if e[0] == "done"), default=0.0)

    def fix_reference_point(self, costs):
        self.fixed += 1
        self.reference_point = costs


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@dataclass
class InlineExecutor:
    """Runs the job that was submitted last (`lifo`) or first, when waited for."""

    workers: int = 1
    lifo: bool = False
    clock: Clock = field(default_factory=Clock)
    die_after: int | None = None

    def __post_init__(self):
        self.queue, self.ids, self.ran = deque(), itertools.count(), []

    def slots(self):
        return self.workers

    def submit(self, job: Job) -> int:
        job_id = next(self.ids)
        self.queue.append((job_id, job))
        return job_id

    def wait(self, timeout_s):
        if self.die_after is not None and len(self.ran) >= self.die_after:
            raise KeyboardInterrupt
        job_id, job = self.queue.pop() if self.lifo else self.queue.popleft()
        self.ran.append(job)
        self.clock.now += 10.0
        try:
            return [JobDone(job_id, job.call(), seconds=10.0)]
        except CandidateError as error:
            return [JobDone(job_id, None, str(error), 10.0, error.epochs)]

    def close(self):
        self.queue.clear()


@dataclass
class FakeStage:
    name: str
    key: object
    call: object
    needs: str = ""
    screens: bool = False

    def job(self, candidate: Candidate) -> Job:
        return Job(lambda: self.call(candidate), self.needs)


class FakePipeline:
    """Accuracy is x / 10, latency is x + ratio; odd x fail to train where asked to."""

    def __init__(self, failing=frozenset(), unbuildable=frozenset()):
        self.trained, self.scored = [], []
        self.failing, self.unbuildable = failing, unbuildable
        self.stages = [
            FakeStage("train", lambda c: c.training_key, self._train),
            FakeStage("score", lambda c: c.candidate_key, self._score),
        ]

    def candidate(self, genotype, repeat=0):
        trained = training_key({"x": genotype["x"]}, {}, "data", repeat)
        return Candidate(genotype, trained, candidate_key(genotype, trained), repeat)

    def screen(self, candidate):
        x = candidate.genotype["x"]
        if x in self.unbuildable:
            raise CandidateError("too deep")
        bar = Provenance("modeled", low=x - 2.0, high=x + 2.0)
        return Readings(
            {"macs": 100.0 * x, "estimated_latency_ms.cpu": x},
            {"macs": Provenance("counted"), "estimated_latency_ms.cpu": bar},
        )

    def _train(self, candidate):
        x = candidate.genotype["x"]
        if x in self.failing:
            raise CandidateError("loss is nan")
        if candidate.training_key not in self.trained:
            self.trained.append(candidate.training_key)
        return StageResult(Readings())

    def _score(self, candidate):
        self.scored.append(candidate.candidate_key)
        x, ratio = candidate.genotype["x"], candidate.genotype["prune.ratio"]
        return StageResult(Readings({"accuracy": x / 10, "latency_ms.cpu": x + ratio}))


class InOrder:
    """Asks for a list of genotypes, in order; keeps what it was told."""

    def __init__(self, genotypes=None):
        self.genotypes = list(enumerate_genotypes(CHOICES) if genotypes is None else genotypes)
        self.tells, self.marked = [], []

    def ask(self):
        if not self.genotypes:
            raise Exhausted
        return self.genotypes.pop(0)

    def tell(self, genotype, costs, violation=0.0):
        self.tells.append((dict(genotype), costs, violation))
        if genotype in self.genotypes:
            self.genotypes.remove(genotype)

    def pending(self, genotype):
        self.marked.append(genotype)
        if genotype in self.genotypes:
            self.genotypes.remove(genotype)


class ListRecorder:
    """Keeps what it hears, and what the ledger held at that moment."""

    def __init__(self, ledger):
        self.ledger, self.heard = ledger, []

    def started(self, ask: Ask, progress):
        self.heard.append(("started", ask.number, len(self.ledger.events), progress))

    def finished(self, trial: Trial, progress):
        assert trial in self.ledger.told()
        self.heard.append(("finished", trial.number, trial.status, progress))
