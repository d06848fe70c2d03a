"""What worker processes are given to do in tests."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from nas.protocols import StageResult
from nas.trials import Artifact, CandidateError, Provenance, Readings


def value(number: float) -> StageResult:
    provenance = Provenance("measured", device="host-cpu", low=number, high=number)
    return StageResult(
        Readings({"latency_ms.cpu": number}, provenance), Artifact("model.onnx", "0" * 64)
    )


def about_process() -> StageResult:
    """Facts of the process as metrics."""
    return StageResult(
        Readings(
            {
                "pid": os.getpid(),
                "omp_threads": float(os.environ.get("OMP_NUM_THREADS", -1)),
                "openblas_threads": float(os.environ.get("OPENBLAS_NUM_THREADS", -1)),
                "mkl_threads": float(os.environ.get("MKL_NUM_THREADS", -1)),
                "cores": len(os.sched_getaffinity(0)),
                "torch": float("torch" in sys.modules),
            }
        )
    )


def cores() -> StageResult:
    return StageResult(Readings({f"core{core}": 1.0 for core in os.sched_getaffinity(0)}))


def span(seconds: float) -> StageResult:
    """Work for a while and tell when and where."""
    start = time.monotonic()
    time.sleep(seconds)
    return StageResult(Readings({"pid": os.getpid(), "start": start, "end": time.monotonic()}))


def candidate_error() -> StageResult:
    raise CandidateError("diverged: the loss is nan\nafter 3 epochs")


def type_error() -> StageResult:
    raise TypeError("no such layer")


def kill_itself() -> StageResult:
    os.kill(os.getpid(), signal.SIGKILL)
    return StageResult(Readings())


def exit_in_the_middle() -> StageResult:
    os._exit(3)


def system_exit() -> StageResult:
    raise SystemExit(4)


def hang() -> StageResult:
    while True:
        time.sleep(60)


def hang_after_writing(path: str) -> StageResult:
    """Say where it runs, then hang."""
    partial = Path(f"{path}.partial")
    partial.write_text(str(os.getpid()))
    partial.rename(path)
    return hang()


def allocate(gigabytes: float) -> StageResult:
    return StageResult(Readings({"bytes": len(bytearray(int(gigabytes * 1e9)))}))


def unpicklable_result() -> StageResult:
    return threading.Lock()  # type: ignore[return-value]


def meet(folder: str, mine: str, other: str) -> StageResult:
    """Comes to an end only if the other job runs at the same time."""
    (Path(folder) / mine).touch()
    while not (Path(folder) / other).exists():
        time.sleep(0.01)
    return StageResult(Readings())


def say(text: str) -> StageResult:
    print(text, flush=True)
    return StageResult(Readings())


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DiesWhenUnpickled:
    """As a job whose imports crash."""

    def __call__(self) -> StageResult:
        return StageResult(Readings())

    def __reduce__(self) -> tuple[Any, ...]:
        return _die, ()
