"""The process that jobs run in: one job at a time, sent and answered over one socket.

It is started as ``python -c BOOT ...`` and not forked or spawned by `multiprocessing`, which would
run the user's main script once more in every worker. It dies with its parent: at the end of the
socket, at the latest by the kernel's parent-death signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import os
import pickle
import queue
import resource
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

from nas.trials import CandidateError

BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from experiments.executors.worker import main; main(json.loads(sys.argv[2]))"
)
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
MAX_ERROR_CHARACTERS = 500

_PR_SET_PDEATHSIG = 1
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "bad_alloc")


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is told at its start; JSON-able.

    Args:
        fd: of its end of the socket.
        parent_pid: with which it dies.
        die_with_thread: whether the kernel may watch the parent: it watches the thread that
            started the worker, so only where that is the main thread.
        memory_gb: of data (heap and private mappings) that it may have, None for no limit.
        cores: that it may run on, empty for all.
        preload: modules to import before the first job.
    """

    fd: int
    parent_pid: int
    die_with_thread: bool = True
    memory_gb: float | None = None
    cores: tuple[int, ...] = ()
    preload: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Message:
    """What a worker says.

    Args:
        kind: ``ready`` (for jobs), ``broken`` (it cannot get ready), ``started`` (a job; its limit
            counts from here) or ``done``.
        value: of the job, pickled.
        error: one line, ``""`` if all went well.
        seconds: wall time of the job.
        healthy: False when the worker should not be given another job.
        epochs: of a training that ended in an error.
    """

    kind: str
    value: bytes = b""
    error: str = ""
    seconds: float = 0.0
    healthy: bool = True
    epochs: int = 0


def main(settings: dict[str, Any]) -> None:
    """Run jobs until the parent is gone."""
    told = WorkerSettings(**settings)
    connection = Connection(told.fd)
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    try:
        _settle(told)
        threading.Thread(target=_receive, args=(connection, jobs), daemon=True).start()
        for module in told.preload:
            importlib.import_module(module)
    except Exception as error:
        connection.send_bytes(pickle.dumps(Message("broken", error=describe(error))))
        raise
    connection.send_bytes(pickle.dumps(Message("ready")))
    while True:
        done = _run(jobs.get(), connection, told.memory_gb)
        connection.send_bytes(pickle.dumps(done))


def _settle(settings: WorkerSettings) -> None:
    """Make the process die with its parent, leave Ctrl-C to it, and keep to its share."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    faulthandler.enable()
    if settings.die_with_thread and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != settings.parent_pid:
        os._exit(1)
    # Should memory run short, the kernel is to take a worker and not the search.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
    if settings.cores:
        os.sched_setaffinity(0, settings.cores)
    if settings.memory_gb is not None:
        limit = int(settings.memory_gb * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _receive(connection: Connection, jobs: queue.SimpleQueue[bytes]) -> None:
    """Pass jobs on; the end of the socket ends the process, in the middle of a job too."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            jobs.put(connection.recv_bytes())
    os._exit(0)


def _run(pickled: bytes, connection: Connection, memory_gb: float | None) -> Message:
    start = time.monotonic()
    try:
        call = pickle.loads(pickled)  # imports what the job needs
        connection.send_bytes(pickle.dumps(Message("started")))
        start = time.monotonic()
        result = call()
        seconds = time.monotonic() - start
        return Message("done", value=_pickled(result), seconds=seconds)
    except CandidateError as error:
        seconds = time.monotonic() - start
        return Message("done", error=one_line(error), seconds=seconds, epochs=error.epochs)
    except BaseException as error:
        traceback.print_exc()
        memory = _is_out_of_memory(error)
        line = _memory_line(memory_gb) if memory else describe(error)
        healthy = isinstance(error, Exception) and not memory
        return Message("done", error=line, seconds=time.monotonic() - start, healthy=healthy)


def _pickled(result: Any) -> bytes:
    try:
        return pickle.dumps(result)
    except MemoryError:
        raise
    except Exception as error:
        kind = type(result).__name__
        raise CandidateError(
            f"its result, of type {kind}, cannot be sent back: {one_line(error)}"
        ) from error


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _OUT_OF_MEMORY)


def _memory_line(memory_gb: float | None) -> str:
    return "out of memory" if memory_gb is None else f"out of memory (limit {memory_gb:g} GB)"


def describe(error: BaseException) -> str:
    """``TypeError: ... (file.py:12)``: an exception and where it was raised, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    text = one_line(error)
    return f"{type(error).__name__}{': ' if text else ''}{text}{place}"


def one_line(error: BaseException) -> str:
    """The message of an exception in one line of bounded length."""
    text = " ".join(str(error).split())
    return text if len(text) <= MAX_ERROR_CHARACTERS else f"{text[:MAX_ERROR_CHARACTERS]}..."
