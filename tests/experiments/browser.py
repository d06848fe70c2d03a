"""MLflow's server, and its pages in a headless Chromium as one sees them who opens the link."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from experiments.tracking import ui_command

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PLOTS = """
() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => ({
  x: plot.layout.xaxis.title?.text ?? '',
  lines: Object.fromEntries(plot.data.map(line => [line.name, [...line.x].map(
    (value, i) => [value, line.y[i]])])),
}))
"""
_READY = """
count => {
  const plots = [...document.querySelectorAll('.js-plotly-plot')];
  return plots.length >= count && plots.every(plot => plot.data?.length);
}
"""


def why_no_browser() -> str:
    """Why there is no browser here, empty when there is one."""
    if not Path(CHROMIUM).exists():
        return "needs chromium: apt-get install chromium"
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "needs playwright: pip install playwright"
    return ""


@contextlib.contextmanager
def page(width: int = 1600, height: int = 1600) -> Iterator[Any]:
    """A page of a fresh browser; it loads from this machine only."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser.new_page(viewport={"width": width, "height": height})
        finally:
            browser.close()


def open_fronts(page: Any, link: str, charts: int, timeout_s: float = 120.0) -> list[Any]:
    """Open the link that a search prints and wait for its charts.

    Args:
        page: of the browser.
        link: as printed.
        charts: how many there must be at least.
        timeout_s: for all of them to be drawn.

    Returns:
        For each chart its horizontal axis ``x`` and its ``lines``: points by run name.
    """
    page.goto(link)
    close = page.get_by_role("button", name="Close").last
    page.wait_for_function(_READY, arg=charts, timeout=1000 * timeout_s)
    with contextlib.suppress(Exception):  # MLflow's assistant, which is not always there
        close.click(timeout=1000)
    time.sleep(1.0)  # it draws anew when its width has changed
    found: list[Any] = page.evaluate(_PLOTS)
    return found


def free_port() -> int:
    """A port that nothing listens on."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for(what: str, is_true: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Wait until something is true.

    Raises:
        TimeoutError: naming what did not happen.
    """
    until = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} took more than {timeout_s:g} s")
        time.sleep(0.05)


@contextlib.contextmanager
def server(uri: str, port: int) -> Iterator[str]:
    """MLflow's server as `nas ui` starts it; gives its address."""
    command, env = ui_command(uri, port)
    log = Path(uri.removeprefix("sqlite:///")).parent / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out, process_group=0)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for("the server", lambda: _is_up(address), 120)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/version", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
