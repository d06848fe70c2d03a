from __future__ import annotations

import json
from pathlib import Path

from experiments.fronts import Front, front_trials
from experiments.report import plot_of_run, write_report
from tests.experiments.fake_runs import fake_run
from tests.experiments.fake_trials import OBJECTIVES, fake_trials

TRIALS = fake_trials(12)


def test_writes_a_page_a_picture_and_the_data(tmp_path: Path) -> None:
    run = fake_run(tmp_path, count=0)
    front = Front(run.id, OBJECTIVES, None, front_trials(TRIALS, OBJECTIVES))
    paths = write_report(run, front, TRIALS)
    assert [path.name for path in paths] == ["pareto_front.html", "pareto_front.png", "front.json"]
    assert {path.parent for path in paths} == {run.report_dir}
    page, picture, data = (path.read_bytes() for path in paths)
    assert run.id.encode() in page
    assert picture.startswith(b"\x89PNG")
    assert json.loads(data) == front.to_json()


def test_of_an_empty_front_there_is_only_the_data(tmp_path: Path) -> None:
    run = fake_run(tmp_path, count=0)
    paths = write_report(run, Front(run.id, OBJECTIVES, None, ()), [])
    assert [path.name for path in paths] == ["front.json"]
    assert json.loads(paths[0].read_text())["front"] == []


def test_a_plot_says_which_machine(tmp_path: Path) -> None:
    run = fake_run(tmp_path, count=0)
    front = Front(run.id, OBJECTIVES, None, front_trials(TRIALS, OBJECTIVES))
    plot = plot_of_run(run, front, TRIALS)
    assert run.environment["fingerprint"] in plot.settings["cpu"]
    assert plot.settings["gpu"].startswith("nvidia-a100")
