"""The early stopping benchmark: what it counts."""

from __future__ import annotations

import json

import pytest

from benchmarks import early_stopping
from benchmarks.early_stopping import foreseen, goals_of, hypervolumes, line
from nas.stopping import LEAST_CURVES


def row(arm: str, steps, **more):
    return {
        "arm": arm,
        "seed": 0,
        "steps": steps,
        "truths": {},
        "stopped": 0,
        "wrong": 0,
        "front": 1,
        **more,
    }


PLAIN = row("tpe", [[12, 1.0, [-0.5, 2.0]], [12, 1.0, [-0.9, 3.0]], [12, 1.0, [-0.4, 4.0]]])


def test_the_goal_is_what_plain_tpe_reaches() -> None:
    found = line(PLAIN, goals_of([PLAIN]), 12)
    assert (found["of union"], found["of tpe"], found["epochs"]) == (1.0, 1.0, 36)
    assert found["cpu_s to union"] == 2.0


def test_stopped_epochs_are_not_paid_for_and_add_nothing() -> None:
    other = row("tpe+prediction", [[12, 1.0, [-0.5, 2.0]], [3, 0.25, None], [12, 1.0, [-0.9, 3]]])
    found = line(other, goals_of([PLAIN, other]), 12)
    assert (found["epochs"], found["cpu_s to tpe"], found["cpu_s"]) == (27, 2.2, 2.2)
    assert found["epochs of whole trainings"] == 36


def test_who_never_gets_there_has_no_time() -> None:
    other = row("guided", [[12, 1.0, [-0.5, 2.0]]])
    found = line(other, goals_of([PLAIN, other]), 12)
    assert found["cpu_s to union"] is None
    assert found["of union"] < 1


def test_what_is_presented_is_scored_by_what_it_is_worth() -> None:
    lucky = row("tpe", PLAIN["steps"], truths={"0": [-0.5, 2.0], "1": [-0.6, 3.0]})
    worth = hypervolumes(lucky, (0.0, 4.0))
    assert worth == pytest.approx([0.5 * 2, 0.5 * 2 + 0.1 * 1, 0.5 * 2 + 0.1 * 1])
    assert hypervolumes(PLAIN, (0.0, 4.0)) == pytest.approx([1.0, 1.4, 1.4])


def test_who_foresees_everything_stops_what_adds_nothing_after_its_first_epoch() -> None:
    first = [[12, 1.0, [-0.5, 2.0]]] * LEAST_CURVES
    plain = row("tpe", [*first, [12, 2.4, [-0.4, 2.5]], [12, 3.0, [-0.9, 3.0]]])
    found = foreseen(plain)
    assert found["steps"] == [*first, [1, pytest.approx(0.2), None], [12, 3.0, [-0.9, 3.0]]]
    assert found["stopped"] == 1
    assert line(found, goals_of([plain]), 12)["cpu_s to tpe"] == pytest.approx(11.2)


def test_reference_points_lie_beyond_what_they_are_named_after() -> None:
    other = row("guided", [[12, 1.0, [-0.1, 1.0]], [12, 1.0, [-0.05, 9.0]]])
    goals = goals_of([PLAIN, other])
    references = {name: reference for name, (reference, _) in goals.items()}
    assert references["tpe"] == pytest.approx((-0.35, 4.2))
    assert references["union"] == pytest.approx((0.035, 9.8))
    assert references["nadir"] == pytest.approx((-0.02, 3.2))  # of (-.5, 2), (-.9, 3), (-.1, 1)


@pytest.mark.slow
def test_it_runs(tmp_path, capsys) -> None:
    file = tmp_path / "kept.json"
    arguments = ["--seeds=1", "--budget=12", "--size=8", "--space=mlp", "--epochs=4", "--again=1"]
    arguments += ["--arms=tpe,tpe+rungs,guided+prediction", f"--json={file}"]
    assert early_stopping.main(arguments) == 0
    first = capsys.readouterr().out
    assert "of the epochs saved" in first
    curves = json.loads(file.read_text())["curves"]
    assert {len(curve["accuracy"]) for curve in curves.values()} == {4}
    assert early_stopping.main(arguments) == 0
    assert capsys.readouterr().out == first


def test_unknown_arms_are_refused(capsys) -> None:
    assert early_stopping.main(["--arms=tpe,tpe+median"]) == 2
    assert "arms are of" in capsys.readouterr().err
