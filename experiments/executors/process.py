"""One worker process, seen from the search."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from experiments.executors.worker import (
    BOOT,
    THREAD_VARIABLES,
    Message,
    WorkerSettings,
    describe,
)
from nas.protocols import JobDone

START_LIMIT_S = 120.0
"""For starting a worker and importing what its job needs: torch takes long on a busy machine."""

_END_LIMIT_S = 5.0


class ExecutorError(RuntimeError):
    """No worker can be started, so that no job can be run; the message is one line."""


@dataclass(frozen=True)
class QueuedJob:
    """A job as it goes over the socket.

    Args:
        id: as the search knows it.
        pickled: the call.
        limit_s: counted from the moment when the worker begins with it.
        again: whether a worker has died before it could begin with it.
    """

    id: int
    pickled: bytes
    limit_s: float
    again: bool = False


@dataclass
class _Work:
    """A job under way; a new one takes its place when the worker begins with it."""

    job: QueuedJob
    begun: bool = False
    started: float = field(default_factory=time.monotonic)
    deadline: float = field(default_factory=lambda: time.monotonic() + START_LIMIT_S)
    limit_s: float = START_LIMIT_S


class WorkerProcess:
    """A worker process with at most one job.

    Args:
        memory_gb: limit of the process, None for none.
        cores: that it may run on, empty for all.
        preload: modules that it imports at its start.
        log: the file that takes its output, None for nowhere.
    """

    def __init__(
        self,
        memory_gb: float | None = None,
        cores: tuple[int, ...] = (),
        preload: tuple[str, ...] = (),
        log: Path | None = None,
    ) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            settings = WorkerSettings(
                fd=theirs.fileno(),
                parent_pid=os.getpid(),
                die_with_thread=threading.current_thread() is threading.main_thread(),
                memory_gb=memory_gb,
                cores=cores,
                preload=preload,
            )
            self._process = _start(settings, log)
        self.connection = Connection(ours.detach())
        self._work: _Work | None = None
        self._ready = False

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def busy(self) -> bool:
        """Whether it has a job."""
        return self._work is not None

    @property
    def alive(self) -> bool:
        """Whether it can be given a job."""
        return not self.connection.closed and self._process.poll() is None

    @property
    def deadline(self) -> float:
        """When its job exceeds its limit, by `time.monotonic`."""
        return self._work.deadline if self._work else float("inf")

    def assign(self, job: QueuedJob) -> None:
        """Give it a job; a process that has just died shows in `receive`."""
        self._work = _Work(job)
        with contextlib.suppress(OSError):
            self.connection.send_bytes(job.pickled)

    def receive(self) -> JobDone | QueuedJob | None:
        """What came of the job, if it is over; waits for the worker to say something.

        Returns:
            The end of the job, or the job itself where the worker died between two jobs and
            another one should have it, or None where it goes on.

        Raises:
            ExecutorError: when the worker could not even get ready.
        """
        try:
            message: Message = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            return self._died()
        if message.kind == "broken":
            self.kill()
            raise ExecutorError(f"a worker cannot start: {message.error}")
        if message.kind == "ready":
            self._ready = True
        if message.kind == "started" and self._work:
            job = self._work.job
            end = time.monotonic() + job.limit_s
            self._work = _Work(job, begun=True, deadline=end, limit_s=job.limit_s)
        return self._finish(message) if message.kind == "done" else None

    def expire(self) -> JobDone:
        """End a job that exceeded its limit, and the process with it."""
        limit = self._work.limit_s if self._work else START_LIMIT_S
        self.kill()
        return self._end(f"exceeded its limit of {limit:g} s")

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel: leave it
            self._process.wait(_END_LIMIT_S)
        self.connection.close()

    def _finish(self, message: Message) -> JobDone:
        if not message.healthy:
            self.kill()
        value, error = None, message.error
        if not error:
            try:
                value = pickle.loads(message.value)
            except Exception as problem:  # whatever the classes of the result raise
                error = f"its result cannot be read back: {describe(problem)}"
        return replace(self._end(error, value, message.seconds), epochs=message.epochs)

    def _died(self) -> JobDone | QueuedJob:
        with contextlib.suppress(subprocess.TimeoutExpired):  # its exit code is worth a moment
            self._process.wait(_END_LIMIT_S)
        self.kill()
        code = self._process.returncode
        if code is None:
            return self._end("worker died: it hangs in the kernel")
        if code >= 0 and not self._ready:
            raise ExecutorError(f"a worker cannot start: it ended with exit status {code}")
        if code >= 0:
            return self._end(f"worker died: exit status {code}")
        work = self._work
        if self._ready and work and not work.begun and not work.job.again:
            self._work = None
            return replace(work.job, again=True)
        name = signal.Signals(-code).name
        hint = ", maybe for want of memory" if -code == signal.SIGKILL else ""
        return self._end(f"worker died: killed by signal {-code} ({name}{hint})")

    def _end(self, error: str, value: Any = None, seconds: float | None = None) -> JobDone:
        work, self._work = self._work, None
        if work is None:
            raise RuntimeError(f"worker {self.pid} ended a job that it did not have")
        took = time.monotonic() - work.started if seconds is None else seconds
        return JobDone(work.job.id, value, error, took)


def _start(settings: WorkerSettings, log: Path | None) -> subprocess.Popen[bytes]:
    path = [entry or os.getcwd() for entry in sys.path]
    arguments = [json.dumps(path), json.dumps(settings.to_json())]
    with contextlib.ExitStack() as stack:
        output = subprocess.DEVNULL if log is None else stack.enter_context(log.open("ab"))
        # A Ctrl-C before the worker ignores it must not reach it: it inherits the blocked signal.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, blocked)
        return subprocess.Popen(
            [sys.executable, "-c", BOOT, *arguments],
            env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[settings.fd],
        )
