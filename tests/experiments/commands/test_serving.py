"""The commands that talk to MLflow: ui and sync."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

import experiments.commands.sync as sync_command
import experiments.commands.ui as ui_command
from experiments.mlflow_view import TAG
from experiments.recorder import SyncReport
from experiments.tracking import TrackingError
from tests.experiments.builders import CONFIG, make_run, trial
from tests.experiments.commands.conftest import Nas

SERVER = f"""
import http.server, json, sys

class Fake(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = "experiment_name=tiny" in self.path
        found = {{"experiment_id": "7", "tags": [{{"key": {TAG!r}, "value": "x"}}]}}
        text = json.dumps({{"experiment": found}}) if "/api/" in self.path else "3.17.2"
        self.send_response(404 if "/api/" in self.path and not known else 200)
        self.end_headers()
        self.wfile.write(text.encode())
        self.server.seen += "/api/" in self.path

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Fake)
server.seen = 0
while server.seen < int(sys.argv[2]):
    server.handle_request()
sys.exit(int(sys.argv[3]))
"""


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free one."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    return number


def play(monkeypatch: pytest.MonkeyPatch, requests: int, code: int = 0) -> list[str]:
    """A server of our own, which ends after so many questions, instead of MLflow's."""
    asked: list[str] = []

    def command(uri: str, port: int) -> tuple[list[str], dict[str, str]]:
        asked.append(uri)
        arguments = [str(number) for number in (port, requests, code)]
        return [sys.executable, "-c", SERVER, *arguments], {}

    monkeypatch.setattr(ui_command, "ui_command", command)
    return asked


def test_ui_prints_the_link_of_each_experiment(
    nas: Nas, home: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked = CONFIG.replace("enabled: false", "uri: 'sqlite:////tmp/other.db'")
    make_run(home, text=tracked.replace("name: tiny", "name: other"))
    for _ in range(2):
        make_run(home, text=tracked)
    asked = play(monkeypatch, requests=2)
    typed = nas("ui", "--port", port)
    assert (typed.code, typed.err) == (0, "")
    assert asked == ["sqlite:////tmp/other.db"]
    first, second = typed.out.splitlines()
    assert first == f"MLflow on {asked[0]}: http://127.0.0.1:{port} (Ctrl-C ends it)"
    assert second.startswith(f"  tiny: http://127.0.0.1:{port}/#/experiments/7/runs?")


def test_ui_without_runs_shows_the_default_store(
    nas: Nas, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = play(monkeypatch, requests=0)
    assert nas("ui", "--port", port).code == 0
    assert asked == [f"sqlite:///{tmp_path}/mlflow.db"]


def test_ui_finds_the_store_beside_the_runs_from_anywhere(
    nas: Nas, home: Path, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "mlflow.db").write_text("of an earlier version")
    make_run(home, text=CONFIG.replace("tracking: {enabled: false}", ""))
    asked = play(monkeypatch, requests=1)
    typed = nas("ui", "--port", port)
    assert asked == [f"sqlite:///{tmp_path}/mlflow.db"]
    assert f"{tmp_path}/elsewhere/mlflow.db stays as it is" in typed.out


def test_a_server_that_fails_is_a_failure(
    nas: Nas, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, requests=0, code=3)
    assert nas("ui", "--port", port).code == 1


def test_ui_says_that_a_port_is_taken(nas: Nas, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        typed = nas("ui", "--port", port)
    assert (typed.code, typed.out) == (2, "")
    assert typed.err == f"nas: port {port}: Address already in use; choose another: --port\n"
    assert nas("ui", "--port", "99999").code == 2


def test_ui_refuses_a_server_which_has_its_own_pages(
    nas: Nas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:secret@mlflow.example.org")
    typed = nas("ui")
    assert typed.code == 2
    assert "https://mlflow.example.org" in typed.err
    assert "secret" not in typed.err


def test_ctrl_c_ends_ui_well(nas: Nas, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(server: object, port: int) -> bool:
        raise KeyboardInterrupt

    play(monkeypatch, requests=0)
    monkeypatch.setattr(ui_command, "_is_up", interrupted)
    assert nas("ui", "--port", port).code == 0


def test_sync_says_what_was_missing(nas: Nas, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(home, [trial(0, 0.9, 0.1)])
    report = SyncReport("http://127.0.0.1:5000/#/x", "postgresql://me:secret@db/mlflow", 3)
    monkeypatch.setattr(sync_command, "sync", lambda found: report)
    typed = nas("sync", run.id)
    assert typed.code == 0
    assert f"3 trials of {run.id} were missing in postgresql://db/mlflow\n" in typed.out
    assert "http://127.0.0.1:5000/#/x" in typed.out


def test_sync_with_a_server_that_is_down_fails_in_one_line(
    nas: Nas, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(home, [trial(0, 0.9, 0.1)])

    def down(found: object) -> SyncReport:
        raise TrackingError("MLflow: the tracking server cannot be reached")

    monkeypatch.setattr(sync_command, "sync", down)
    typed = nas("sync")
    assert (typed.code, typed.out) == (1, "")
    assert typed.err == "nas: MLflow: the tracking server cannot be reached\n"
