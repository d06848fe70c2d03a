from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from nas.pareto import dominates
from strategies.history import Observation
from strategies.selection import leaders, ranked, ranked_by_reference, reference_points


def seen(*costs: float, violation: float = 0.0, code: tuple[int, ...] = ()) -> Observation:
    return Observation(code, costs, violation)


def test_fronts_come_in_order() -> None:
    rng = random.Random(0)
    observations = [seen(rng.random(), rng.random(), rng.random()) for _ in range(80)]
    order = [observation.complete_costs or () for observation in ranked(observations, 80)]
    assert sorted(order) == sorted(o.complete_costs or () for o in observations)
    for before, after in itertools.combinations(order, 2):
        assert not dominates(after, before)


def test_the_least_crowded_of_a_front_come_first() -> None:
    front = [seen(0, 10), seen(1, 9), seen(1.5, 8.5), seen(2, 8), seen(6, 3), seen(10, 0)]
    order = ranked(front, 6)
    assert {order[0], order[1]} == {front[0], front[5]}
    assert order[2] == front[4]
    assert order[-1] in (front[1], front[2])


def test_crowding_does_not_depend_on_the_unit() -> None:
    rng = random.Random(1)
    costs = [(rng.random(), rng.random()) for _ in range(60)]
    plain = [seen(a, b, code=(i,)) for i, (a, b) in enumerate(costs)]
    other = [seen(a * 1e3 - 5, b, code=(i,)) for i, (a, b) in enumerate(costs)]
    assert [o.code for o in ranked(plain, 30)] == [o.code for o in ranked(other, 30)]


def test_whatever_is_feasible_comes_before_what_is_not() -> None:
    awful, near, far = seen(99, 99), seen(1, 1, violation=0.1), seen(0, 0, violation=3.0)
    assert ranked([far, near, awful], 3) == [awful, near, far]
    assert ranked([far, near, awful], 2) == [awful, near]
    assert ranked([far, near], 1) == [near]
    assert ranked([], 3) == []


def test_one_objective() -> None:
    observations = [seen(float(cost)) for cost in (3, 1, 2, 1)]
    assert [o.costs for o in ranked(observations, 3)] == [(1.0,), (1.0,), (2.0,)]


def test_equal_costs_are_kept() -> None:
    observations = [seen(1.0, 1.0, code=(i,)) for i in range(5)]
    assert len(ranked(observations, 5)) == 5


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_by_reference_fronts_come_in_order_too(objectives: int) -> None:
    rng = random.Random(0)
    observations = [seen(*(rng.random() for _ in range(objectives))) for _ in range(60)]
    points = reference_points(objectives, 16)
    order = [o.complete_costs or () for o in ranked_by_reference(observations, 60, points)]
    assert sorted(order) == sorted(o.complete_costs or () for o in observations)
    for before, after in itertools.combinations(order, 2):
        assert not dominates(after, before)


def test_each_reference_direction_is_served_before_any_is_served_twice() -> None:
    corners = [seen(*row) for row in np.eye(3).tolist()]
    crowd = [seen(0.4 + i / 1000, 0.4 - i / 1000, 0.4) for i in range(8)]
    order = ranked_by_reference([*crowd, *corners], 11, reference_points(3, 3))
    assert {o.costs for o in order[:3]} == {o.costs for o in corners}


def test_by_reference_the_unit_does_not_matter() -> None:
    rng = random.Random(1)
    costs = [(rng.random(), rng.random(), rng.random()) for _ in range(50)]
    points = reference_points(3, 16)
    plain = [seen(*c, code=(i,)) for i, c in enumerate(costs)]
    other = [seen(a * 1e3 - 5, b, c * 1e-6, code=(i,)) for i, (a, b, c) in enumerate(costs)]
    codes = [o.code for o in ranked_by_reference(plain, 25, points)]
    assert [o.code for o in ranked_by_reference(other, 25, points)] == codes


def test_by_reference_a_constant_cost_is_no_matter() -> None:
    observations = [seen(float(i), 5.0, float(-i), code=(i,)) for i in range(6)]
    order = ranked_by_reference(observations, 6, reference_points(3, 16))
    assert {o.code for o in order[:2]} == {(0,), (5,)}
    same = [seen(1.0, 1.0, 1.0, code=(i,)) for i in range(4)]
    assert ranked_by_reference(same, 4, reference_points(3, 16)) == same


def test_by_reference_whatever_is_feasible_comes_first() -> None:
    awful, near, far = seen(99, 99), seen(1, 1, violation=0.1), seen(0, 0, violation=3.0)
    assert ranked_by_reference([far, near, awful], 3, reference_points(2, 4)) == [awful, near, far]
    assert ranked_by_reference([], 3, reference_points(2, 4)) == []


@pytest.mark.parametrize(
    ("objectives", "most", "directions"),
    [(1, 16, 1), (2, 16, 16), (3, 16, 15), (4, 16, 10), (4, 20, 20), (4, 2, 4)],
)
def test_reference_directions(objectives: int, most: int, directions: int) -> None:
    points = reference_points(objectives, most)
    assert points.shape == (directions, objectives)
    assert np.allclose(points.sum(axis=1), 1.0)


def test_leaders_are_what_nothing_beats() -> None:
    a, b, worse = seen(0.0, 1.0), seen(1.0, 0.0), seen(1.0, 1.0)
    assert leaders([worse, b, a]) == [b, a]
    assert leaders([seen(0.0, 0.0, violation=0.5), worse]) == [worse]
    near, far = seen(9.0, violation=0.1), seen(0.0, violation=0.2)
    assert leaders([far, near, near]) == [near, near]
    assert leaders([far, seen(0.0, violation=math.inf)]) == [far]
    assert leaders([]) == []


def test_leaders_do_not_hang_on_the_last_digit() -> None:
    assert len(leaders([seen(0.1 + 0.2, 1.0), seen(0.3, 1.0), seen(0.9, 0.5)])) == 3
