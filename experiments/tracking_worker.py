"""The process that writes a search to MLflow: ``python -m experiments.tracking_worker RUN``.

A process of its own, because MLflow takes seconds to import, tens of milliseconds a trial, and a
server that hangs must not be felt by the search. It is told on its standard input, a line each:
``update``, or ``end STATUS`` once. It answers with a JSON object a line. When the input ends
without an ``end``, the search was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from experiments.mirror import Mirror, Status, Written
from experiments.runs import Run
from experiments.tracking import connect

LOCK_FILE = "tracking.lock"
LOCK_WAIT_S = 30.0
RETRY_S = 10.0
"""Pause after a failure."""
DUTY = 4.0
"""Pause after an update, in its own durations, so that long ledgers are not read all the time."""

Answer = Callable[[dict[str, Any]], None]


class Commands:
    """What is said on a file descriptor; lines that come together count as one.

    Args:
        fd: to read from.

    Attributes:
        news: whether there has been anything; for the reader to reset.
        end: the status that was said at the end, empty until then.
    """

    def __init__(self, fd: int) -> None:
        self._fd, self._text = fd, ""
        self.news, self.end = False, ""

    def listen(self, timeout_s: float | None = None) -> None:
        """Wait for something to be said, for ever where the time-out is None."""
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return
        data = os.read(self._fd, 65536)
        *lines, self._text = (self._text + data.decode()).split("\n")
        said = [line.removeprefix("end ") for line in lines if line.startswith("end ")]
        self.end = said[0] if said else "" if data else "interrupted"
        self.news = True


def follow(commands: Commands, run: Run, uri: str, experiment: str, answer: Answer) -> bool:
    """Write whenever there is news, until the end; returns whether the last attempt succeeded."""
    mirror: Mirror | None = None
    while True:
        while not commands.news:
            commands.listen()
        commands.news, final, began = False, commands.end, time.monotonic()
        try:
            mirror = mirror or Mirror(run, connect(uri, experiment))
            answer(_said(mirror.update(cast(Status, final or "running"))))
            failed, pause_s = False, DUTY * (time.monotonic() - began)
        except Exception as error:  # whatever is wrong, the search must not suffer
            answer({"error": one_line(error)})
            if mirror is not None:
                mirror.close()
            mirror, failed, pause_s = None, True, RETRY_S
        if final:
            return not failed
        until = time.monotonic() + pause_s
        while not commands.end and (left := until - time.monotonic()) > 0:
            commands.listen(left)


def _said(written: Written) -> dict[str, Any]:
    return {"error": "", **asdict(written)}


def one_line(error: BaseException) -> str:
    """An error as a line: its innermost cause says most, for example ``Connection refused``."""
    text = " ".join(str(error).split()) or type(error).__name__
    if "Max retries exceeded" in text or "Connection refused" in text or "timed out" in text:
        why = "it refuses connections" if "refused" in text else "it does not answer"
        return f"the tracking server cannot be reached: {why}"
    return text if len(text) <= 300 else f"{text[:297]}..."


def lock(run: Run, wait_s: float = LOCK_WAIT_S) -> bool:
    """Become the only process that writes this run to MLflow, until this process ends."""
    fd = os.open(run.path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(fd)
                return False
            time.sleep(0.1)


def main(arguments: list[str]) -> int:
    """Write a run, given its folder and the experiment, to ``MLFLOW_TRACKING_URI``."""
    (folder, experiment), uri = arguments, os.environ["MLFLOW_TRACKING_URI"]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the search, which says `end`
    # What libraries print goes where errors go; the answers have their own descriptor.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(said: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            answers.write(json.dumps(said) + "\n")

    run = Run(Path(folder))
    if not lock(run):
        answer({"error": "another process is writing this run to MLflow"})
        return 1
    return 0 if follow(Commands(0), run, uri, experiment, answer) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
