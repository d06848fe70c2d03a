"""Coefficients from few networks: what counts as an outlier."""

import numpy as np

from evaluators.calibration_fit import Settings, fit

ROBUST = Settings(1e-6, robust=True)


def weights(outlier: float = 1.0, networks: int = 30, components: int = 16) -> np.ndarray:
    """How much each measurement is believed, (draws, networks); the first one is wrong."""
    found = []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        amounts = draw.lognormal(0, 1, (networks, components))
        measured = amounts.sum(axis=1) * draw.normal(1, 0.03, networks)
        measured[0] *= outlier
        found.append(fit(amounts, measured, np.ones(components), ROBUST).weights)
    return np.array(found)


def test_many_coefficients_do_not_turn_honest_measurements_into_outliers() -> None:
    found = weights()
    assert (found < 0.3).mean() < 0.01
    assert np.median(found) > 0.9


def test_a_wrong_measurement_still_counts_less_than_the_others() -> None:
    found = weights(2.5)
    assert np.median(found[:, 0]) < 0.1
    assert np.median(found[:, 1:]) > 0.9
