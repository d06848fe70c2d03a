"""The seams of a search: what the loop asks of strategies, pipelines, executors and ledgers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nas.choices import Choice, Genotype
from nas.task import Task
from nas.trials import Artifact, Candidate, Curve, Readings, Trial


class Strategy(Protocol):
    """What to try next.

    It may also have ``notes`` (lines: how it searches, if not as one would expect);
    ``expected_improvement()``: the hypervolume that the next ask is expected to add in the time of
    a mean trial, as a share of the present one, None where that is not known yet; and
    ``took(genotype, seconds)``: what a complete trial took, told before its result.

    State law: each ask depends only on (seed, what was told, what is pending), in another process
    too, so that resume, warm start and many workers are replay.
    """

    def ask(self) -> Genotype:
        """A canonical genotype, pending from now until it is told.

        Raises:
            Exhausted: when nothing is left to ask for.
        """
        ...

    def tell(
        self,
        genotype: Genotype,
        costs: Sequence[float | None] | None,
        violation: float = 0.0,
    ) -> None:
        """Learn a result.

        Args:
            genotype: also one that was never asked for; again: a repeated, noisy observation.
            costs: one an objective, lower is better; None in a place: unknown (rejected before
                training, stopped early); None at all: failed.
            violation: the sum of constraint violations, 0.0 when all are met.
        """
        ...

    def pending(self, genotype: Genotype) -> None:
        """Mark a genotype as asked for and not yet told (found in the ledger after a resume)."""
        ...


class SearchSpace(Protocol):
    """What can be built. A space may also have ``blocks``; see `search_spaces`."""

    @property
    def choices(self) -> Sequence[Choice]:
        """The choices of the architecture."""
        ...

    def build(self, genotype: Genotype, task: Task) -> Any:
        """The untrained `torch.nn.Module`, (batch, *input_shape) -> (batch, outputs).

        Raises:
            CandidateError: when this genotype cannot be built for this task.
        """
        ...


class Evaluator(Protocol):
    """One way to find out what a candidate is worth."""

    @property
    def stage(self) -> str:
        """``screen``, ``score``, ``measure`` or ``front``."""
        ...

    @property
    def provides(self) -> Sequence[str]:
        """The names of the metrics it gives."""
        ...

    @property
    def needs(self) -> str:
        """The device it needs for itself alone, ``""`` for none."""
        ...

    def evaluate(self, candidate: Candidate) -> Mapping[str, float]:
        """The metrics; `Readings` where it also says where they come from.

        Raises:
            CandidateError: the candidate's fault.
        """
        ...


@dataclass(frozen=True)
class StageResult:
    """What a stage found out, and the file that it made.

    Args:
        readings: metrics.
        artifact: the file.
        curve: of a training.
        epochs: of training that were run for it.
        stopped: why the training was ended early, one line; such a result is not kept, since
            another candidate may need the same network.
    """

    readings: Readings
    artifact: Artifact | None = None
    curve: Curve = field(default_factory=dict)
    epochs: int = 0
    stopped: str = ""


@dataclass(frozen=True)
class Job:
    """Work for an executor.

    Args:
        call: picklable, without arguments; runs in a worker process.
        needs: ``""`` for a training worker, or the name of a device that is to be used alone.
        limit_s: wall-clock seconds after which it is killed.
    """

    call: Callable[[], StageResult]
    needs: str = ""
    limit_s: float = float("inf")


@dataclass(frozen=True)
class JobDone:
    """The end of a job: its value, or one line that says what went wrong and after which epochs."""

    job_id: int
    value: StageResult | None
    error: str = ""
    seconds: float = 0.0
    epochs: int = 0


class Executor(Protocol):
    """Runs jobs somewhere else. A job that dies, hangs or runs out of memory costs only itself."""

    def submit(self, job: Job) -> int:
        """Queue a job; returns its id."""
        ...

    def wait(self, timeout_s: float) -> list[JobDone]:
        """The jobs that ended, waiting up to the time-out for the first one."""
        ...

    def slots(self) -> int:
        """How many training jobs it runs at a time."""
        ...

    def close(self) -> None:
        """End all workers, running jobs included."""
        ...


class Stage(Protocol):
    """One step in the life of a candidate, run by an executor and cached by its key."""

    @property
    def name(self) -> str:
        """``screen``, ``train``, ``score``, ``measure.cpu``, ..."""
        ...

    @property
    def screens(self) -> bool:
        """Whether what it finds out may reject the candidate, because it comes before training."""
        ...

    def key(self, candidate: Candidate) -> str:
        """Candidates with the same key share the result; it is worked out once."""
        ...

    def job(self, candidate: Candidate) -> Job:
        """The work."""
        ...


class Pipeline(Protocol):
    """How a genotype becomes a scored candidate."""

    @property
    def stages(self) -> Sequence[Stage]:
        """In order; each runs only after the one before it."""
        ...

    def candidate(self, genotype: Genotype, repeat: int = 0) -> Candidate:
        """The candidate with its keys, nothing built yet."""
        ...

    def screen(self, candidate: Candidate) -> Readings:
        """What is known before training, in this process and cheap.

        Raises:
            CandidateError: for what cannot be built.
        """
        ...


@dataclass(frozen=True)
class Ask:
    """An ask as the ledger holds it; with a repeat it is no strategy's, see `nas.repeats`."""

    number: int
    genotype: Genotype
    training_key: str
    candidate_key: str
    repeat: int = 0


class Ledger(Protocol):
    """The truth about a search. Every call is durable when it returns."""

    def asked(self, ask: Ask) -> None:
        """Record an ask, before anything works on it."""
        ...

    def done(self, trial: Trial, elapsed_s: float) -> None:
        """Record a result, before anything else hears of it."""
        ...

    def repeated(self, number: int) -> None:
        """Record that the strategy was told the result of this trial once more."""
        ...

    def told(self) -> Sequence[Trial]:
        """Results in the order in which the strategy was told them, repeats included."""
        ...

    def unfinished(self) -> Sequence[Ask]:
        """Asks without a result, by number."""
        ...

    def next_number(self) -> int:
        """The number of the next ask."""
        ...

    def elapsed_s(self) -> float:
        """Search time up to the last result."""
        ...

    @property
    def reference_point(self) -> tuple[float, ...] | None:
        """Costs; None until it has been fixed."""
        ...

    def fix_reference_point(self, costs: tuple[float, ...]) -> None:
        """Store the hypervolume's reference point, once."""
        ...


@dataclass(frozen=True)
class Progress:
    """Where a search stands.

    Args:
        done, failed, rejected, stopped: trials by status.
        repeats: asks answered from the cache.
        running: trials in work.
        elapsed_s: search time, earlier sessions included.
        epochs: of training, as they were really run.
        front: numbers of the trials on the front.
        hypervolume: None until the reference point is fixed.
        confirmed: further trainings of known genotypes that are over; counted apart.
        confirming: such trainings in work.
    """

    done: int = 0
    failed: int = 0
    rejected: int = 0
    stopped: int = 0
    repeats: int = 0
    running: int = 0
    elapsed_s: float = 0.0
    epochs: int = 0
    front: tuple[int, ...] = ()
    hypervolume: float | None = None
    confirmed: int = 0
    confirming: int = 0

    @property
    def scored(self) -> int:
        """What counts against the budget of trials."""
        return self.done + self.failed + self.stopped


class Recorder(Protocol):
    """Hears of what is in the ledger already. It must not hold up the search.

    It may also have ``noted(line)``, which hears what the strategy notes, once each.
    """

    def started(self, ask: Ask, progress: Progress) -> None:
        """A candidate goes to work."""
        ...

    def finished(self, trial: Trial, progress: Progress) -> None:
        """A trial is over."""
        ...
