from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest

from experiments.fronts import (
    Front,
    NothingFound,
    bounds,
    front_trials,
    knee,
    pick,
    run_front,
    scaled,
)
from nas.front import costs_of
from nas.objectives import Constraint, Objective
from nas.pareto import dominates
from nas.trials import Trial
from tests.experiments.builders import ACCURACY, CONFIG, LATENCY, SIZE, make_run, trial

BOTH = (ACCURACY, LATENCY)


def numbers(trials: tuple[Trial, ...]) -> list[int]:
    return [t.number for t in trials]


def test_the_front_is_best_first_and_leaves_out_what_is_dominated() -> None:
    trials = [trial(0, 0.8, 0.1), trial(1, 0.9, 0.3), trial(2, 0.85, 0.4), trial(3, 0.7, 0.1)]
    assert numbers(front_trials(trials, BOTH)) == [1, 0]


def test_the_front_equals_the_definition_on_random_trials() -> None:
    rng = random.Random(3)
    trials = [trial(n, rng.randint(0, 9) / 10, rng.randint(1, 9)) for n in range(60)]
    costs = {t.number: costs_of(t, BOTH) or () for t in trials}
    expected = {
        n for n, c in costs.items() if not any(dominates(other, c) for other in costs.values())
    }
    assert set(numbers(front_trials(trials, BOTH))) == expected


def test_only_trials_that_are_done_and_fully_known_count() -> None:
    trials = [
        trial(0, 0.99, 0.01, status="failed"),
        trial(1, 0.98, None),
        trial(2, 0.5, 0.5),
        trial(3, 0.97, 0.02, status="stopped"),
    ]
    assert numbers(front_trials(trials, BOTH)) == [2]


def test_a_trial_told_twice_is_on_the_front_once() -> None:
    assert numbers(front_trials([trial(0, 0.9, 0.1)] * 2, BOTH)) == [0]


def test_an_unknown_metric_breaks_no_constraint_but_meets_no_filter() -> None:
    trials, bound = [trial(0, 0.9, 0.1)], Constraint.parse("latency_ms.fpga <= 1")
    assert numbers(front_trials(trials, BOTH, constraints=[bound])) == [0]
    assert numbers(front_trials(trials, BOTH, filters=[bound])) == []


def test_what_breaks_a_constraint_neither_shows_nor_dominates() -> None:
    trials = [trial(0, 0.9, 0.1, 50), trial(1, 0.95, 0.05, 500)]
    assert numbers(front_trials(trials, BOTH, [Constraint.parse("size_kb <= 100")])) == [0]


def test_json_has_exactly_the_promised_keys_and_the_metrics_own_units() -> None:
    one = trial(7, 0.9, 0.1)
    front = Front("run-a", BOTH, (-0.25, 0.5), (one,))
    got = json.loads(json.dumps(front.to_json()))
    assert list(got) == ["run", "objectives", "reference_point", "front"]
    assert got["reference_point"] == [0.25, 0.5]
    assert got["objectives"][1] == {"metric": "latency_ms.cpu", "direction": "minimize"}
    (point,) = got["front"]
    assert list(point) == ["trial", "genotype", "metrics", "provenance", "artifact_sha256"]
    assert point["trial"] == 7
    assert point["artifact_sha256"] == f"{7:064x}"
    assert point["provenance"]["latency_ms.cpu"]["source"] == "measured"


def test_json_without_a_reference_point() -> None:
    assert Front("a", BOTH, None, ()).to_json()["reference_point"] is None


def test_scaled_costs_span_0_to_1_and_a_constant_objective_is_0() -> None:
    assert scaled([(1.0, 5.0), (3.0, 5.0), (2.0, 5.0)]) == [(0.0, 0.0), (1.0, 0.0), (0.5, 0.0)]


def test_the_knee_of_two_objectives_is_farthest_from_the_line_between_the_extremes() -> None:
    trials = front_trials(
        [trial(0, 0.5, 1.0), trial(1, 0.6, 1.5), trial(2, 0.9, 2.0), trial(3, 0.95, 5.0)], BOTH
    )
    points = {t.number: p for t, p in zip(trials, scaled([costs_of(t, BOTH) for t in trials]))}  # type: ignore[misc]  # noqa: B905

    def distance(number: int) -> float:
        # The extremes lie at (0, 1) and (1, 0) once scaled.
        return float((1 - sum(points[number])) / 2**0.5)

    assert knee(trials, BOTH).number == max(points, key=distance) == 2


def test_the_knee_does_not_depend_on_units_nor_on_the_order_of_the_trials() -> None:
    rng = random.Random(1)
    trials = [trial(n, rng.random(), rng.random(), rng.random()) for n in range(40)]
    grams = [trial(t.number, *(1000 * m for m in t.metrics.values())) for t in trials]
    three = (ACCURACY, LATENCY, SIZE)
    found = knee(front_trials(trials, three), three).number
    assert knee(front_trials(grams, three), three).number == found
    assert knee(front_trials(trials, three)[::-1], three).number == found


def test_a_tie_at_the_knee_goes_to_the_first_objective_then_to_the_lower_number() -> None:
    square = [trial(0, 0.0, 0.0), trial(1, 0.5, 0.5), trial(2, 1.0, 1.0), trial(3, 1.0, 1.0)]
    for order in itertools.permutations(square):
        assert knee(order, BOTH).number == 2


def test_picks_of_the_front() -> None:
    trials = [trial(0, 0.5, 1.0), trial(1, 0.9, 2.0), trial(2, 0.95, 5.0), trial(3, 0.1, 9.0)]
    found = [pick(trials, BOTH, how).number for how in ("knee", "fastest", "most-accurate")]
    assert found == [1, 0, 2]


def test_a_pick_by_number_need_not_be_on_the_front() -> None:
    trials = [trial(0, 0.5, 1.0), trial(3, 0.1, 9.0), trial(4, status="failed")]
    assert pick(trials, BOTH, "3").number == 3
    with pytest.raises(NothingFound, match="no artifact, it is failed: no luck"):
        pick(trials, BOTH, "4")
    with pytest.raises(NothingFound, match="no finished trial 9"):
        pick(trials, BOTH, "9")


def test_filters_come_before_the_pick() -> None:
    trials = [trial(0, 0.5, 1.0), trial(1, 0.9, 2.0), trial(2, 0.95, 5.0)]
    assert pick(trials, BOTH, "fastest", bounds({"accuracy": 0.9}, {})).number == 1
    assert pick(trials, BOTH, "most-accurate", bounds({}, {"latency_ms.cpu": 2})).number == 1


def test_a_filter_on_another_metric_may_bring_in_a_dominated_trial() -> None:
    trials = [trial(0, 0.9, 1.0, 500), trial(1, 0.8, 2.0, 10)]
    assert pick(trials, BOTH, "knee", bounds({}, {"size_kb": 100})).number == 1


def test_an_empty_choice_names_the_nearest_trial() -> None:
    trials = [trial(0, 0.5, 1.0), trial(1, 0.9, 2.0)]
    with pytest.raises(NothingFound) as caught:
        pick(trials, BOTH, "knee", bounds({"accuracy": 0.97}, {"latency_ms.cpu": 3}))
    assert str(caught.value) == (
        "no trial meets accuracy >= 0.97 and latency_ms.cpu <= 3; "
        "nearest is trial 1 (accuracy 0.9, latency_ms.cpu 2)"
    )
    with pytest.raises(NothingFound, match="nearest is trial 0"):
        pick(trials, BOTH, "0", bounds({"accuracy": 0.97}, {}))


def test_an_empty_choice_of_trials_that_lack_an_objective_says_so() -> None:
    with pytest.raises(NothingFound, match=r"^no trial has all of accuracy, latency_ms\.cpu$"):
        pick([trial(0, 0.9)], BOTH, "knee", bounds({"accuracy": 0.5}, {}))


def test_an_empty_front_says_why(tmp_path: Path) -> None:
    config = CONFIG + 'constraints: ["accuracy >= 1"]\n'
    run = make_run(tmp_path / "runs", [trial(0, 0.8, 0.1), trial(1, 0.7, 0.1)], config)
    with pytest.raises(NothingFound) as caught:
        run_front(run).require_trials()
    assert str(caught.value) == (
        f"the front of run {run.id} is empty: "
        "no trial meets accuracy >= 1; nearest is trial 0 (accuracy 0.8)"
    )
    failed = make_run(tmp_path / "runs", [trial(0, status="failed")])
    with pytest.raises(NothingFound, match="is empty: no trial is done yet"):
        run_front(failed).require_trials()
    run_front(make_run(tmp_path / "runs", [trial(0, 0.8, 0.1)])).require_trials()


@pytest.mark.parametrize("digit", ["²", "٣", "-1", ""])
def test_only_plain_digits_are_a_number(digit: str) -> None:
    with pytest.raises(ValueError, match="or a trial's number, but got"):
        pick([trial(2, 0.5, 1.0), trial(3, 0.5, 1.0)], BOTH, digit)


def test_without_any_result_nothing_is_found() -> None:
    with pytest.raises(NothingFound, match="no trial is done yet"):
        pick([trial(0, status="failed")], BOTH, "knee")


def test_what_is_refused() -> None:
    trials = [trial(0, 0.5, 1.0)]
    with pytest.raises(ValueError, match="knee, fastest, most-accurate or a trial's number.*best"):
        pick(trials, BOTH, "best")
    with pytest.raises(ValueError, match="unknown metric 'acuracy'; did you mean 'accuracy'"):
        pick(trials, BOTH, "knee", bounds({"acuracy": 0.5}, {}))
    with pytest.raises(ValueError, match="needs a latency among the objectives, but got accuracy"):
        pick(trials, [ACCURACY], "fastest")
    with pytest.raises(NothingFound, match="no trial of the front has accuracy"):
        pick([trial(0, None, 1.0)], [Objective("latency_ms.cpu", "minimize")], "most-accurate")
    with pytest.raises(ValueError, match="must be finite"):
        bounds({"accuracy": float("nan")}, {})
