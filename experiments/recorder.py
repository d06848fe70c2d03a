"""Follows a search in MLflow without ever holding it up, or catches up with it later."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from experiments.runs import Run
from experiments.tracking import TrackingError, environment, link, tracking_uri
from nas.protocols import Ask, Progress
from nas.trials import Trial

WORKER = "experiments.tracking_worker"
LOG_FILE = "tracking.log"
PATIENCE_S: Mapping[str, float] = {"finished": 60.0, "failed": 10.0, "interrupted": 5.0}
"""How long `MlflowRecorder.close` waits for the last update, by the status of the search."""
GRACE_S = 3.0
"""How long it waits where MLflow could not be reached before."""

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class SyncReport:
    """What `sync` has done.

    Args:
        link: opens all fronts of the MLflow experiment.
        uri: of the store.
        trials: those that were missing and are child runs now.
    """

    link: str
    uri: str
    trials: int


class _Worker:
    """The process that writes, see `experiments.tracking_worker`.

    Args:
        run: to write.
        uri: where to.
        patience: seconds and further attempts that a request has.
        heard: called with each answer, from a thread of its own.
    """

    def __init__(
        self, run: Run, uri: str, patience: tuple[int, int], heard: Callable[[Answer], None]
    ) -> None:
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        with (run.path / LOG_FILE).open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", WORKER, str(run.path), run.config.tracking_experiment],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Not as an argument: an address may hold a password, and arguments are public.
                env={**environment(*patience), "PYTHONPATH": path, "MLFLOW_TRACKING_URI": uri},
            )
        self._input = cast(IO[bytes], self._process.stdin)
        os.set_blocking(self._input.fileno(), False)
        self._reader = threading.Thread(target=self._read, args=(heard,), daemon=True)
        self._reader.start()

    def _read(self, heard: Callable[[Answer], None]) -> None:
        with cast(IO[bytes], self._process.stdout) as answers:
            for line in answers:
                heard(json.loads(line))

    def say(self, line: str) -> None:
        """Send a line; a process that is gone or does not listen is not waited for."""
        with contextlib.suppress(OSError, ValueError):
            os.write(self._input.fileno(), f"{line}\n".encode())

    def is_done(self, timeout_s: float) -> bool:
        """Whether the process has ended, waiting for it up to the time-out."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
            self._reader.join(timeout_s)
        return self._process.returncode is not None

    @property
    def broke(self) -> bool:
        """Whether the process ended by an error of its own."""
        return self._process.returncode not in (None, 0)

    def close(self) -> None:
        """End the process at once, if it has not ended by itself."""
        with contextlib.suppress(OSError):
            self._input.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()


class MlflowRecorder:
    """A `nas.protocols.Recorder` that shows a search in MLflow while it runs.

    It only says that there is news; another process reads the ledger and writes to MLflow. A
    server that is down, hangs or refuses costs the search nothing and is mentioned once;
    `sync` catches up.

    Args:
        run: the search.
        uri: of the MLflow store; None: as configured, see `experiments.tracking.tracking_uri`.
        on_problem: called with one line when MLflow cannot be written for the first time, from
            another thread.
    """

    def __init__(
        self, run: Run, uri: str | None = None, on_problem: Callable[[str], None] | None = None
    ) -> None:
        self.uri = tracking_uri(uri or run.config.tracking.uri, run.home.parent)
        self._run, self._on_problem = run, on_problem
        self._answer: Answer = {}
        self._mentioned = False
        self._worker: _Worker | None = _Worker(run, self.uri, (5, 1), self._heard)
        self._worker.say("update")

    def started(self, ask: Ask, progress: Progress) -> None:
        """Nothing: a trial is shown when it is over."""

    def finished(self, trial: Trial, progress: Progress) -> None:
        """Let MLflow hear of a trial, some time soon."""
        if self._worker is not None:
            self._worker.say("update")

    @property
    def problem(self) -> str:
        """Why MLflow could not be written at the last attempt, empty when all is well."""
        return str(self._answer.get("error", ""))

    @property
    def link(self) -> str:
        """Opens all fronts of the MLflow experiment; empty before it has been reached."""
        return _link(self.uri, self._answer)

    def close(self, status: str = "finished") -> str:
        """Write what is left, wait for it within limits, and end.

        Args:
            status: of the search: ``finished``, ``interrupted`` or ``failed``.

        Returns:
            The link; empty where MLflow could not be written, see `problem`.
        """
        if self._worker is None:
            return self.link
        worker, self._worker = self._worker, None
        worker.say(f"end {status}")
        left_s = GRACE_S if self.problem else PATIENCE_S[status]
        while left_s > 0 and not worker.is_done(0.2):
            left_s = min(left_s, GRACE_S) if self.problem else left_s
            left_s -= 0.2
        in_time, broke = worker.is_done(0.0), worker.broke
        worker.close()
        if not self.problem and (broke or not in_time):
            why = f"writing broke off, see {self._run.path / LOG_FILE}"
            self._heard({"error": why if broke else "no answer in time"})
        return self.link

    def _heard(self, answer: Answer) -> None:
        known = {} if answer["error"] else answer
        self._answer = {**self._answer, **known, "error": answer["error"]}
        if answer["error"] and not self._mentioned and self._on_problem is not None:
            self._mentioned = True
            self._on_problem(f"MLflow: {answer['error']}; `nas sync {self._run.id}` catches up")


def sync(run: Run, uri: str | None = None, timeout_s: float = 600.0) -> SyncReport:
    """Write to MLflow what is missing there of a search that is not running.

    Done twice, the second time changes nothing.

    Args:
        run: the search.
        uri: of the store; None: as configured, see `experiments.tracking.tracking_uri`.
        timeout_s: for all of it.

    Raises:
        TrackingError: when the search is running, or MLflow cannot be reached or refuses.
    """
    status = run.state.status
    if status == "running":
        raise TrackingError(f"{run.id} is being searched, which writes to MLflow by itself")
    uri = tracking_uri(uri or run.config.tracking.uri, run.home.parent)
    answers: list[Answer] = []
    worker = _Worker(run, uri, (30, 2), answers.append)
    try:
        worker.say(f"end {'interrupted' if status == 'created' else status}")
        in_time = worker.is_done(timeout_s)
    finally:
        worker.close()
    if not in_time:
        raise TrackingError(f"MLflow did not answer within {timeout_s:g} s")
    why = f"writing broke off, see {run.path / LOG_FILE}"
    last: Answer = answers[-1] if answers else {"error": why}
    if last["error"]:
        raise TrackingError(f"MLflow: {last['error']}")
    return SyncReport(_link(uri, last), uri, last["children"])


def _link(uri: str, answer: Answer) -> str:
    if "experiment_id" not in answer:
        return ""
    return link(uri, answer["experiment_id"], answer["has_view"])
