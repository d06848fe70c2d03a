"""The Gaussian process: gradient, predictions, the logarithm of costs."""

from __future__ import annotations

import numpy as np
import pytest

from strategies.guided.surrogate import OFFSETS, Points, Process, Settings, _loss, _prior, fit

GROUPS = np.array([0, 0, 1, 2, 3])


def points(number: int, seed: int = 0) -> Points:
    return Points(np.random.default_rng(seed).random((number, 5)), GROUPS, 2)


def test_the_gradient_is_that_of_the_loss() -> None:
    where, rng = points(14), np.random.default_rng(1)
    means, deviations = _prior(where)
    theta = means + 0.3 * rng.standard_normal(len(means))
    rest = (where, rng.standard_normal(14), rng.integers(1, 4, 14) * 1.0, means, deviations)

    _, gradient = _loss(theta, *rest)
    for i, step in enumerate(1e-5 * np.eye(len(theta))):
        slope = (_loss(theta + step, *rest)[0] - _loss(theta - step, *rest)[0]) / 2e-5
        assert gradient[i] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_the_kernel_is_as_it_is_written() -> None:
    where = points(2)
    theta = np.log([0.5, 1.5, 2.0, 0.7, 3.0, 0.2, 0.4, 0.6, 0.8, 1.1, 0.3, 0.9, 2.5, 0.1])
    one, other = where.places
    both = 3.0 * np.exp(-((one - other) ** 2) @ np.array([0.5, 0.5, 1.5, 2.0, 0.7]))
    linear = 1.1 * one * np.array([0.2, 0.2, 0.4, 0.6, 0.8])
    alone = 2.5 * np.exp(-((one - other) ** 2)[3:] @ np.array([0.3, 0.9]))

    found = Settings(theta, None).kernel(where, where)

    assert found[0, 1] == pytest.approx(both + linear @ other + alone)
    assert found[0, 0] == pytest.approx(5.5 + linear @ one)
    assert Settings(theta, None).signal(where) == pytest.approx(np.diag(found))


def test_what_choices_add_holds_far_from_what_was_told() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(24)
    told = Points(rng.integers(0, 2, (60, 24)) - 0.5, groups, 24)
    other = Points(rng.integers(0, 2, (200, 24)) - 0.5, groups, 24)
    effects = rng.random(24)
    costs = told.places @ effects
    process = Process(fit(told, costs, np.ones(60), False), told, costs, np.ones(60))

    error = process.predict(other)[0] - other.places @ effects
    assert np.sqrt((error**2).mean()) < 0.2 * costs.std()


def test_predicts_what_it_was_not_told() -> None:
    def truth(where: Points) -> np.ndarray:
        return np.sin(3 * where.places[:, 3]) + where.places[:, 0]

    told, other = points(60), points(40, seed=1)
    low, span = truth(told).min(), np.ptp(truth(told))
    costs, expected = (truth(told) - low) / span, (truth(other) - low) / span
    process = Process(fit(told, costs, np.ones(60)), told, costs, np.ones(60))
    mean, deviation = process.predict(other)

    found = process.unwarped(mean)
    assert np.abs(found - expected).mean() < 0.05
    errors = (process.settings.warped(expected) - mean) / deviation
    assert 0.2 < np.sqrt((errors**2).mean()) < 2.5


def test_what_does_not_matter_gets_little_weight() -> None:
    told = points(80)
    settings = fit(told, told.places[:, 2].copy(), np.ones(80), is_warped=False)

    weights = settings.theta[5:9]  # of the linear kernel
    assert weights[1] == weights.max()


def test_repeated_results_count_more() -> None:
    where = Points(np.zeros((2, 5)), GROUPS, 2)
    theta = _prior(where)[0]
    theta[-1] = 0.0
    once = Process(Settings(theta, None), where, np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    often = Process(Settings(theta, None), where, np.array([0.0, 1.0]), np.array([1.0, 9.0]))

    assert once.predict(where)[0][0] == pytest.approx(0.5)
    assert often.predict(where)[0][0] > 0.7


def test_is_surer_where_results_near_by_were_predicted_well() -> None:
    rng = np.random.default_rng(0)
    places = np.zeros((40, 5))
    places[:, 3] = np.repeat([0.0, 4.0], 20)
    places[:, 0] = rng.random(40)
    costs = np.where(places[:, 3] > 0, 1.0, rng.random(40) * 0.8)
    where = Points(places, GROUPS, 2)
    process = Process(fit(where, costs, np.ones(40)), where, costs, np.ones(40))
    new = Points(np.array([[0.5, 0, 0, 0, 0], [0.5, 0, 0, 4.0, 0]]), GROUPS, 2)

    _, deviation = process.predict(new)
    assert deviation[1] < 0.5 * deviation[0]


@pytest.mark.parametrize("costs", [np.zeros(5), np.array([0.0, 0.0, 0.0, 0.0, 1.0])])
def test_costs_that_hardly_differ(costs: np.ndarray) -> None:
    where = points(5)
    mean, deviation = Process(fit(where, costs, np.ones(5)), where, costs, np.ones(5)).predict(
        where
    )

    assert np.isfinite(mean).all()
    assert (deviation > 0).all()


def test_too_few_results_leave_the_settings_as_expected() -> None:
    where = points(1)
    settings = fit(where, np.zeros(1), np.ones(1))

    assert settings.theta == pytest.approx(_prior(where)[0])
    assert settings.offset in OFFSETS


def test_no_features() -> None:
    where = Points(np.random.default_rng(0).random((10, 3)), np.array([0, 0, 1]), 2)
    settings = fit(where, np.linspace(0, 1, 10), np.ones(10))

    assert len(settings.theta) == 7
    assert settings.kernel(where, where).shape == (10, 10)


def test_the_same_place_twice_is_no_trouble() -> None:
    where = Points(np.repeat(points(4).places, 3, axis=0), GROUPS, 2)
    costs = np.linspace(0, 1, 12)
    mean, _ = Process(fit(where, costs, np.ones(12)), where, costs, np.ones(12)).predict(where)

    assert np.isfinite(mean).all()
