from __future__ import annotations

import numpy as np
import pytest

from nas.regression import KernelRidge, Ridge

MODELS = [Ridge, KernelRidge]


def data(count: int, noise: float, features: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, features))
    return x, 2.0 + x[:, 0] - 0.5 * x[:, 1] + noise * rng.normal(size=count)


@pytest.mark.parametrize("model", MODELS)
def test_a_line_is_found(model) -> None:
    x, y = data(40, 0.0)
    found = model(x, y).predict(np.array([1.0, 1.0, 0.0]))
    assert found is not None
    assert found.mean == pytest.approx(2.5, abs=0.05)
    assert found.deviation < 0.1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", [12, 30, 100])
def test_its_ends_hold_as_often_as_they_say(model, count: int) -> None:
    inside = total = 0
    for seed in range(40):
        x, y = data(count + 5, 0.3, seed=seed)
        ridge = model(x[:count], y[:count])
        for row, value in zip(x[count:], y[count:], strict=True):
            found = ridge.predict(row)
            assert found is not None
            inside += value <= found.quantiles(np.array([0.9]))[0]
            total += 1
    assert 0.83 < inside / total < 0.97


@pytest.mark.parametrize("model", MODELS)
def test_its_error_is_not_that_of_the_fit(model) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(12, 30)), rng.normal(size=12)
    found = model(x, y).predict(rng.normal(size=30))
    # Thirty features explain twelve values of noise exactly; a new one they do not.
    assert found is None or found.deviation > 0.5


@pytest.mark.parametrize("model", MODELS)
def test_far_from_all_examples_it_is_less_sure(model) -> None:
    x, y = data(40, 0.3)
    ridge = model(x, y)
    near, far = ridge.predict(np.zeros(3)), ridge.predict(np.full(3, 20.0))
    assert near is not None
    assert far is not None
    assert far.deviation > 2 * near.deviation


@pytest.mark.parametrize("model", MODELS)
def test_few_examples_say_nothing(model) -> None:
    x, y = data(4, 0.1)
    assert model(x, y).predict(x[0]) is None


@pytest.mark.parametrize("model", MODELS)
def test_constant_features_and_scales_do_not_matter(model) -> None:
    x, y = data(30, 0.1)
    one = model(x, y).predict(x[3])
    scaled = np.hstack([1000 * x, np.full((30, 1), 7.0)])
    other = model(scaled, y).predict(scaled[3])
    assert one is not None
    assert other is not None
    assert other.mean == pytest.approx(one.mean)
    assert other.deviation == pytest.approx(one.deviation)


@pytest.mark.parametrize("model", MODELS)
def test_what_is_believed_to_matter_less_is_used_less(model) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(25, 12))
    y = x[:, 0] + 0.1 * rng.normal(size=25)
    weights = np.array([1.0] + [0.1] * 11)
    plain, weighted = model(x, y), model(x, y, weights)
    new = rng.normal(size=(50, 12))
    errors = [
        np.mean([(ridge.predict(row).mean - row[0]) ** 2 for row in new])
        for ridge in (weighted, plain)
    ]
    assert errors[0] < errors[1]


def test_a_kernel_finds_what_is_no_line() -> None:
    """A logarithm of a sum, as the size of a file is of its weights and of what names them."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 4, size=(120, 3))
    y = np.log(np.exp(x[:, 0]) + 5.0)
    errors = {}
    for model in MODELS:
        fitted = model(x[:100], y[:100])
        found = [fitted.predict(row) for row in x[100:]]
        errors[model] = np.sqrt(
            np.mean([(f.mean - v) ** 2 for f, v in zip(found, y[100:], strict=True)])
        )
    assert errors[KernelRidge] < 0.3 * errors[Ridge]
