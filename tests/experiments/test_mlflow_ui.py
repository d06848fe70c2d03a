"""What a user sees: the link that a search prints, and the page of its front, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.fronts import front_trials
from experiments.recorder import sync
from experiments.report import PAGE
from experiments.runs import Run
from tests.experiments.browser import (
    free_port,
    open_fronts,
    page,
    server,
    why_no_browser,
)
from tests.experiments.fake_runs import fake_run
from tests.experiments.fake_trials import OBJECTIVES

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser() or "there is a browser"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    home = tmp_path_factory.mktemp("runs")
    names = ("digits-cpu", "digits-cpu-genetic")
    return [fake_run(home, name, 12, seed) for seed, name in enumerate(names)]


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory, runs: list[Run]) -> Iterator[str]:
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"
    sync(runs[0], uri)
    with server(uri, free_port()) as address:
        yield sync(runs[1], address).link


def points(run: Run, metric: str) -> list[list[float]]:
    """The front of a run as a chart shows it, by latency or whatever the axis is."""
    with run.ledger() as ledger:
        trials = front_trials(ledger.trials(), OBJECTIVES)
    return sorted([t.metrics[metric], t.metrics["accuracy"]] for t in trials)


def test_the_link_shows_all_fronts_overlaid_with_a_chart_a_device(
    link: str, runs: list[Run], tmp_path: Path
) -> None:
    with page() as tab:
        asked: set[str] = set()
        tab.on("request", lambda request: asked.add(request.url.split("/")[2]))
        charts = {chart["x"]: chart["lines"] for chart in open_fronts(tab, link, charts=6)}
        text = tab.inner_text("body")
        tab.screenshot(path=tmp_path / "fronts.png")
    assert list(charts) == [
        "front/latency_ms.cpu",
        "front/latency_ms.fpga",
        "front/latency_ms.gpu",
        "front/latency_ms.tpu",
        "front/size_kb",
        "Step",
    ]
    for axis, lines in charts.items():
        assert set(lines) == {run.id for run in runs}
        if axis == "Step":
            continue
        for run in runs:
            expected = points(run, axis.removeprefix("front/"))
            assert sorted(lines[run.id]) == [pytest.approx(point) for point in expected]
    assert "Fronts, measured: cpu = host-cpu" in text
    assert "Fronts, modeled: fpga = pynq-z2, gpu = nvidia-a100, tpu = tpu-v3" in text
    assert asked == {link.split("/")[2]}
    assert (tmp_path / "fronts.png").stat().st_size > 20_000


def test_the_page_of_a_front_answers_to_the_mouse(link: str, runs: list[Run]) -> None:
    file = (runs[0].report_dir / PAGE).as_uri()
    number = points_by_number(runs[0])[0]
    with page() as tab:
        asked: list[str] = []
        errors: list[Any] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: errors.append(error))
        tab.goto(file)
        assert not tab.is_visible("#tip")
        tab.hover(f"#p0-t{number} use", force=True)
        tip = tab.inner_text("#tip")
        tab.mouse.move(5, 5)
        assert not tab.is_visible("#tip")
    assert f"trial {number}" in tip
    assert "(measured)" in tip
    assert "(modeled)" in tip
    assert "quantize.scheme" in tip
    assert errors == []
    assert asked == [file]


def points_by_number(run: Run) -> list[int]:
    with run.ledger() as ledger:
        return [trial.number for trial in front_trials(ledger.trials(), OBJECTIVES)]
