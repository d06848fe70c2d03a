from __future__ import annotations

from pathlib import Path

import pytest

from experiments.comparison import Contender, compare, contender_of
from experiments.fronts import Front, NothingFound
from tests.experiments.builders import ACCURACY, LATENCY, SIZE, front, make_run, trial

HERE, THERE = {"cpu": "host-cpu 1a2b, measured"}, {"cpu": "host-cpu 9f9f, measured"}
A = front("a", {0: (0.9, 2.0), 1: (0.5, 1.0)})
B = front("b", {0: (0.8, 1.0)})


def test_runs_on_one_device_share_a_reference_point() -> None:
    (group,) = compare([Contender(A, "digits", HERE), Contender(B, "digits", HERE)])
    # Worst costs (-0.5, 2.0), moved outwards by a tenth of the ranges 0.4 and 1.0.
    assert group.reference_point == pytest.approx((-0.46, 2.1))
    a, b = group.rows
    # Two overlapping boxes: 0.44 x 0.1 + 0.04 x 1.1 - 0.04 x 0.1.
    assert a.hypervolume == pytest.approx(0.084)
    assert b.hypervolume == pytest.approx(0.34 * 1.1)
    assert group.joint == pytest.approx(0.34 * 1.1 + 0.1 * 0.1)
    assert group.settings == {}
    assert [row.run for row in group.rows] == ["a", "b"]


def test_a_front_compared_with_itself_is_equal_to_it() -> None:
    (group,) = compare([Contender(A), Contender(A)])
    assert group.rows[0].hypervolume == group.rows[1].hypervolume == group.joint > 0


def test_another_device_is_shown_apart() -> None:
    groups = compare([Contender(A, "d", HERE), Contender(B, "d", THERE), Contender(A, "d", HERE)])
    assert [[row.run for row in group.rows] for group in groups] == [["a", "a"], ["b"]]
    assert groups[1].settings == {"latency_ms.cpu": THERE["cpu"]}


def test_another_data_set_is_shown_apart() -> None:
    groups = compare([Contender(A, "digits 8", HERE), Contender(B, "digits 16", HERE)])
    assert [group.settings for group in groups] == [
        {"accuracy": "digits 8"},
        {"accuracy": "digits 16"},
    ]


def test_other_data_behind_the_same_options_are_shown_apart(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "runs", [trial(0, 0.9, 0.1)]) for _ in range(4)]
    for run, data in zip(runs[:3], ("a" * 32, "b" * 32, "a" * 32), strict=True):
        with run.ledger(write=True) as ledger:
            ledger.set_meta("identity", {"data": data})
    contenders = [contender_of(run) for run in runs]
    assert contenders[0].task == "digits size 8 data aaaaaaaaaaaa"
    assert contenders[3].task == "digits size 8"  # an old ledger does not say
    groups = [[row.run for row in group.rows] for group in compare(contenders)]
    assert groups == [[runs[0].id, runs[2].id], [runs[1].id], [runs[3].id]]


def test_a_device_that_is_no_objective_separates_nothing() -> None:
    one = Contender(A, "d", {**HERE, "gpu": "a"})
    assert len(compare([one, Contender(B, "d", {**HERE, "gpu": "b"})])) == 1


def test_only_shared_objectives_count() -> None:
    wide = Front("w", (SIZE, ACCURACY), None, (trial(0, 0.9, 2, 50), trial(1, 0.5, 1, 10)))
    (group,) = compare([Contender(wide), Contender(B)])
    assert group.objectives == (ACCURACY,)
    assert [t.number for t in group.rows[0].trials] == [0]
    assert group.rows[0].hypervolume > group.rows[1].hypervolume


def test_runs_without_a_shared_objective_are_refused() -> None:
    other = front("o", {0: (0.9, 2.0)}, (LATENCY,))
    with pytest.raises(ValueError, match="the runs share no objective: o, p"):
        compare([Contender(other), Contender(front("p", {0: (0.9, 2.0)}, (ACCURACY,)))])


def test_an_empty_front_is_named() -> None:
    with pytest.raises(NothingFound, match="the front of run e is empty: no trial is done yet"):
        compare([Contender(A), Contender(front("e", {}))])
