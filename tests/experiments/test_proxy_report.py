"""How proxies stand is told while a search runs."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from experiments.mirror import Mirror
from experiments.progress import ProgressRecorder
from experiments.proxy_report import short, standings, summary
from experiments.tracking import Found, Point
from nas.budget import Budget
from nas.protocols import Progress
from nas.trials import Trial
from tests.experiments.builders import ACCURACY, LATENCY, make_run, trial


def trained(number: int, accuracy: float, proxy: float | None) -> Trial:
    known = {} if proxy is None else {"proxy_synflow": proxy}
    extra = {"float_accuracy": accuracy, "macs": 100.0 - number, "params": 7.0, **known}
    return trial(number, accuracy, 0.1, **extra)


TRIALS = [
    *(trained(i, accuracy, i) for i, accuracy in enumerate([0.1, 0.2, 0.4, 0.3, 0.5, 0.6])),
    trained(6, 0.05, None),
    trial(7, status="failed"),
]


def test_rank_correlations_of_what_was_trained() -> None:
    proxy, macs, params = standings(TRIALS)
    assert (proxy.name, proxy.networks, macs.name, macs.networks) == ("synflow", 6, "macs", 7)
    assert proxy.kendall == pytest.approx(13 / 15)
    assert proxy.spearman == pytest.approx(1 - 6 * 2 / (6 * 35))
    assert not proxy.is_chance
    assert math.isnan(params.kendall)
    assert params.is_chance
    assert summary([proxy, macs, params]) == f"synflow .87 (macs {short(macs.kendall)}, params -)"


def test_nothing_is_said_of_few_networks_or_without_proxies() -> None:
    assert standings(TRIALS[:4]) == []
    assert summary([]) == ""
    assert standings([trained(i, i, None) for i in range(9)]) == []


def test_compressed_variants_count_once() -> None:
    again = [Trial.from_json({**t.to_json(), "number": 9}) for t in TRIALS[:6]]
    assert standings([*TRIALS, *again])[0].networks == 6


def test_the_progress_line_has_them() -> None:
    text = io.StringIO()
    console = Console(file=text, width=300)
    shown = ProgressRecorder([ACCURACY, LATENCY], Budget(9), known=TRIALS[:4], console=console)
    shown.finished(TRIALS[4], Progress(done=5))
    assert "rank correlation of proxies synflow .80 (macs " in text.getvalue()


def test_status_has_them(tmp_path, monkeypatch, capsys) -> None:
    from experiments.cli import main

    monkeypatch.setenv("NAS_HOME", str(tmp_path / "runs"))
    run = make_run(tmp_path / "runs", TRIALS)
    assert main(["status", run.id]) == 0
    said = capsys.readouterr().out
    assert "synflow  ranks 6 trained networks: Kendall .87, Spearman .94\n" in said
    assert "params   ranks 7 trained networks: Kendall -, Spearman -, which may be chance" in said


def test_mlflow_has_them_once(tmp_path) -> None:
    class Store:
        points: list[Point] = []

        def last_step(self, run_id: str, key: str) -> int:
            return max((p.step for p in self.points if p.key == key), default=0)

        def log(self, run_id: str, points: list[Point]) -> None:
            self.points += points

    run, store = make_run(tmp_path / "runs", TRIALS), Store()
    for _ in range(2):  # another process the second time
        mirror = Mirror(run, store)  # type: ignore[arg-type]
        for _ in range(2):
            mirror._write_proxies(Found("p", "RUNNING", 0, {}, {}), mirror._read())
        mirror.close()
    found = {(p.key, p.step): p.value for p in store.points}
    assert len(store.points) == 2
    assert found["rank_correlation/synflow", 6] == pytest.approx(13 / 15)
    assert ("rank_correlation/macs", 7) in found
