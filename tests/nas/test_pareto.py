import random

import pytest

from nas.pareto import ParetoArchive, dominates, hypervolume, reference_point


def test_domination_needs_one_better_cost():
    assert dominates((1.0, 2.0), (1.0, 3.0))
    assert not dominates((1.0, 2.0), (1.0, 2.0))
    assert not dominates((1.0, 2.0), (0.5, 3.0))


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_the_archive_holds_what_nothing_dominates(objectives):
    rng = random.Random(objectives)
    points = [tuple(float(rng.randrange(6)) for _ in range(objectives)) for _ in range(200)]
    archive = ParetoArchive()
    for number, point in enumerate(points):
        archive.add(number, point)
    expected = {n for n, p in enumerate(points) if not any(dominates(q, p) for q in points)}
    assert set(archive.front) == expected


def test_adding_says_whether_it_is_on_the_front():
    archive = ParetoArchive()
    assert archive.add(0, (1.0, 1.0))
    assert not archive.add(1, (2.0, 2.0))
    assert archive.add(2, (0.0, 0.0))
    assert archive.front == {2: (0.0, 0.0)}


def test_hypervolume_by_hand():
    # Two boxes of area 2 x 1 and 1 x 2 that share 1 x 1.
    assert hypervolume([(1.0, 2.0), (2.0, 1.0)], (3.0, 3.0)) == pytest.approx(3.0)
    assert hypervolume([(1.0, 2.0), (2.0, 1.0), (2.5, 2.5)], (3.0, 3.0)) == pytest.approx(3.0)
    assert hypervolume([(0.0, 0.0, 0.0)], (1.0, 2.0, 3.0)) == pytest.approx(6.0)


def test_points_beyond_the_reference_add_nothing():
    assert hypervolume([(4.0, 0.0)], (3.0, 3.0)) == 0.0
    assert hypervolume([], (3.0, 3.0)) == 0.0


def test_the_reference_point_lies_outside():
    assert reference_point([(0.0, -1.0), (10.0, -0.5)]) == pytest.approx((11.0, -0.45))
    assert reference_point([(2.0, 0.0)]) == pytest.approx((2.2, 0.1))
    with pytest.raises(ValueError, match="at least one point"):
        reference_point([])
