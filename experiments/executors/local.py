"""Jobs on this machine: worker processes for training, and one a device for measuring."""

from __future__ import annotations

import itertools
import os
import pickle
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path

from experiments.executors.process import ExecutorError, QueuedJob, WorkerProcess
from experiments.executors.worker import describe
from nas.protocols import Job, JobDone
from nas.registry import unknown

__all__ = ["ExecutorError", "LocalExecutor"]

_LONGEST_PAUSE_S = 60.0


@dataclass(eq=False)
class _Slot:
    """A place for one job at a time, and the process that is kept there from job to job."""

    needs: str
    cores: tuple[int, ...]
    process: WorkerProcess | None = None

    @property
    def busy(self) -> bool:
        return self.process is not None and self.process.busy


class LocalExecutor:
    """Implements `nas.protocols.Executor` with processes on this machine.

    Processes start with the first job that needs them, and a new one takes the place of each that
    died or had to be killed. What a job prints goes to the log. Where there are cores enough, the
    measuring processes have theirs to themselves: training then runs on the others.

    Args:
        workers: training jobs at a time.
        devices: names of the devices that are measured here, each by one process of its own.
        memory_gb: of heap that a worker may have; None for no limit.
        measuring_cores: that the measuring processes need, so the most threads of a runtime.
        preload: modules that training workers import at their start, which no limit of a job
            counts then.
        log: the file that takes the workers' output, None for nowhere.

    Raises:
        ValueError: for numbers below 1 or memory of 0 or less.
    """

    def __init__(
        self,
        workers: int = 1,
        devices: Sequence[str] = ("host-cpu",),
        memory_gb: float | None = None,
        measuring_cores: int = 1,
        preload: Sequence[str] = (),
        log: str | Path | None = None,
    ) -> None:
        for name, count in (("workers", workers), ("measuring_cores", measuring_cores)):
            if count < 1:
                raise ValueError(f"{name} must be at least 1, but got {count}")
        if memory_gb is not None and memory_gb <= 0:
            raise ValueError(f"memory_gb must be above 0, but got {memory_gb}")
        training, measuring = _share_cores(workers, measuring_cores if devices else 0)
        self._workers, self._memory_gb = workers, memory_gb
        self._preload, self._log = tuple(preload), None if log is None else Path(log)
        self._slots = [_Slot("", training) for _ in range(workers)]
        self._slots += [_Slot(device, measuring) for device in dict.fromkeys(devices)]
        self._queues: dict[str, deque[QueuedJob]] = {slot.needs: deque() for slot in self._slots}
        self._ids = itertools.count()
        self._ended: list[JobDone] = []
        self._closed = False

    def submit(self, job: Job) -> int:
        """Queue a job; see `nas.protocols.Executor`.

        Raises:
            ValueError: for a device that is not measured here.
            RuntimeError: after `close`.
        """
        if self._closed:
            raise RuntimeError("the executor is closed and takes no jobs")
        if job.needs not in self._queues:
            raise ValueError(unknown("device", job.needs, filter(None, self._queues)))
        job_id = next(self._ids)
        try:
            pickled = pickle.dumps(job.call)
        except Exception as error:  # whatever the classes of the job raise
            problem = f"the job cannot be sent to a worker: {describe(error)}"
            self._ended.append(JobDone(job_id, None, problem))
        else:
            self._queues[job.needs].append(QueuedJob(job_id, pickled, job.limit_s))
            self._dispatch()
        return job_id

    def wait(self, timeout_s: float) -> list[JobDone]:
        """The jobs that ended; returns at once where nothing is under way.

        Raises:
            ExecutorError: when workers cannot be started.
        """
        end = time.monotonic() + timeout_s
        while not self._ended:
            busy = {slot: slot.process for slot in self._slots if slot.process and slot.busy}
            if not busy:
                break
            until = min(end, *(process.deadline for process in busy.values()))
            pause = min(max(0.0, until - time.monotonic()), _LONGEST_PAUSE_S)
            heard = connection.wait([process.connection for process in busy.values()], pause)
            for slot, process in busy.items():
                self._attend(slot, process, process.connection in heard)
            self._dispatch()
            if time.monotonic() >= end:
                break
        ended, self._ended = self._ended, []
        return ended

    def slots(self) -> int:
        """Training jobs at a time."""
        return self._workers

    def close(self) -> None:
        """End all workers, running jobs included."""
        self._closed = True
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill()
                slot.process = None
        for queue in self._queues.values():
            queue.clear()

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attend(self, slot: _Slot, process: WorkerProcess, heard: bool) -> None:
        done = None
        if heard:
            done = process.receive()
        elif time.monotonic() >= process.deadline:
            done = process.expire()
        if isinstance(done, QueuedJob):
            self._queues[slot.needs].appendleft(done)
        elif done is not None:
            self._ended.append(done)

    def _dispatch(self) -> None:
        """Give waiting jobs to free slots, in the order of submission."""
        for slot in self._slots:
            queue = self._queues[slot.needs]
            if queue and not slot.busy:
                if slot.process is None or not slot.process.alive:
                    slot.process = self._new_process(slot)
                slot.process.assign(queue.popleft())

    def _new_process(self, slot: _Slot) -> WorkerProcess:
        if slot.process is not None:
            slot.process.kill()
        preload = () if slot.needs else self._preload
        return WorkerProcess(self._memory_gb, slot.cores, preload, self._log)


def _share_cores(workers: int, measuring: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The cores for training and for measuring, both empty (any core) where they do not suffice."""
    cores = tuple(sorted(os.sched_getaffinity(0)))
    if not measuring or workers + measuring > len(cores):
        return (), ()
    return cores[:-measuring], cores[-measuring:]
