"""The expected gain in hypervolume, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from nas.pareto import hypervolume
from strategies.guided.improvement import Belief, boxes, expected_improvement, nondominated


def front_of(points: np.ndarray) -> np.ndarray:
    return points[nondominated(points)]


def volume(points: np.ndarray, reference: np.ndarray) -> float:
    return hypervolume([tuple(point) for point in points.tolist()], tuple(reference.tolist()))


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("has_ties", [False, True])
def test_boxes_fill_exactly_what_is_not_dominated(objectives, seed, has_ties) -> None:
    points = np.random.default_rng(seed).random((30, objectives))
    if has_ties:
        points = np.round(points * 4) / 4
    points, reference = front_of(points), np.full(objectives, 1.1)
    found = boxes(points, reference)
    low = np.maximum(found.low, 0)

    total = np.maximum(found.high - low, 0).prod(axis=1).sum()
    assert total == pytest.approx(1.1**objectives - volume(points, reference))
    for one in range(len(low)):
        overlap = np.minimum(found.high[one], found.high) - np.maximum(low[one], low)
        overlap[one] = 0
        assert (np.maximum(overlap, 0).prod(axis=1) < 1e-12).all()


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_the_gain_of_known_costs_is_that_of_the_hypervolume(objectives) -> None:
    rng = np.random.default_rng(0)
    points, reference = front_of(rng.random((20, objectives))), np.ones(objectives)
    candidates = rng.random((25, objectives)) * 1.1
    beliefs = [Belief(column, np.zeros(25)) for column in candidates.T]
    before = volume(points, reference)

    found = expected_improvement(beliefs, boxes(points, reference))
    for candidate, gain in zip(candidates, found, strict=True):
        after = volume(np.vstack([points, candidate]), reference)
        assert gain == pytest.approx(after - before, abs=1e-9)


@pytest.mark.parametrize("objectives", [2, 3])
def test_the_expected_gain_is_the_mean_over_draws(objectives) -> None:
    rng = np.random.default_rng(1)
    points, reference = front_of(rng.random((12, objectives))), np.ones(objectives)
    beliefs = [
        Belief(np.log([0.5]), np.array([0.4]), 0.1),
        Belief(np.array([0.3]), np.array([0.2])),
        Belief(np.array([0.2]), np.zeros(1)),
    ][:objectives]
    draws = [
        np.exp(np.log(0.5) + 0.4 * rng.standard_normal(3000)) - 0.1,
        0.3 + 0.2 * rng.standard_normal(3000),
        np.full(3000, 0.2),
    ][:objectives]
    before = volume(points, reference)
    gains = [
        volume(np.vstack([points, drawn]), reference) - before for drawn in np.column_stack(draws)
    ]

    found = float(expected_improvement(beliefs, boxes(points, reference))[0])
    assert found == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / np.sqrt(3000))


def test_how_far_a_cost_is_expected_to_be_below_a_bound() -> None:
    rng, bounds = np.random.default_rng(0), np.array([-0.5, 0.2, 3.0])
    for belief, draws in (
        (Belief(np.array([0.1]), np.array([0.3])), 0.1 + 0.3 * rng.standard_normal(100_000)),
        (
            Belief(np.array([0.1]), np.array([0.3]), 1.0),
            np.exp(0.1 + 0.3 * rng.standard_normal(100_000)) - 1,
        ),
    ):
        expected = np.maximum(bounds - draws[:, None], 0).mean(axis=0)
        assert belief.expected_below(bounds)[0] == pytest.approx(expected, abs=5e-3)


def test_without_a_front_all_of_the_space_can_be_gained() -> None:
    zones = boxes(np.zeros((0, 2)), np.ones(2))
    found = expected_improvement([Belief(np.array([0.5]), np.zeros(1))] * 2, zones)

    assert found == pytest.approx([0.25])


def test_equal_points_are_not_dominated() -> None:
    points = np.array([[0, 1], [0, 1], [1, 0], [1, 1], [0, 2]])

    assert nondominated(points).tolist() == [True, True, True, False, False]
