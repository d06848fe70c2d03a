"""``nas ui``: MLflow on this machine."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from experiments.commands.output import FINE, Output, lines, without_password
from experiments.mlflow_view import TAG
from experiments.runs import home, list_runs
from experiments.tracking import left_behind, link, tracking_uri, ui_command

FAILED = 1
LONGEST_START_S = 120.0


def run(port: int) -> int:
    """Start MLflow's pages on loopback, print the link of each experiment, wait for Ctrl-C.

    Raises:
        ValueError: when the configured store is a server, which shows its pages itself, or the
            port is taken.
    """
    output, runs = Output(), [run for run in list_runs(home()) if run.config.tracking.enabled]
    configured = runs[-1].config.tracking.uri if runs else None
    uri = tracking_uri(configured, home().parent)
    command, environment = ui_command(uri, port)
    _check_free(port)
    lines(output, filter(None, [left_behind(configured, home().parent)]))
    output.line(f"MLflow on {without_password(uri)}: http://127.0.0.1:{port} (Ctrl-C ends it)")
    # What the server says goes to standard error: ours is for the links.
    with subprocess.Popen(command, env=environment, stdout=2) as server:
        try:
            if _is_up(server, port):
                names = dict.fromkeys(run.config.tracking_experiment for run in runs)
                lines(output, _links(uri, port, names))
            return FAILED if server.wait() else FINE
        except KeyboardInterrupt:
            # The server is in our process group: it got the signal as well.
            server.wait()
            return FINE


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ValueError(f"port {port}: {error.strerror}; choose another: --port") from None


def _ask(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5.0) as answer:
        return answer.read()


def _is_up(server: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the server answers, waiting for its start."""
    until = time.monotonic() + LONGEST_START_S
    while server.poll() is None and time.monotonic() < until:
        try:
            return bool(_ask(port, "version"))
        except OSError:
            time.sleep(0.2)
    return False


def _links(uri: str, port: int, names: Iterable[str]) -> Iterator[str]:
    """A line for each experiment that MLflow knows."""
    for name in names:
        path = f"api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(name)}"
        try:
            found = json.loads(_ask(port, path))["experiment"]
        except (OSError, ValueError, KeyError):
            continue
        tags = {tag["key"] for tag in found.get("tags", [])}
        yield f"{name}: {link(uri, found['experiment_id'], TAG in tags, port)}"
