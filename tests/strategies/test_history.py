from __future__ import annotations

import math

import numpy as np
import pytest

from nas.choices import enumerate_genotypes
from strategies.history import INACTIVE, History, Observation, completed, scaled
from strategies.toys import TINY

PLAIN = {"kind": "plain", "width": 8}
INVERTED = {"kind": "inverted", "expansion": 4, "width": 16}
NONE = {"kind": "none"}


@pytest.fixture
def history() -> History:
    return History(TINY, objectives=2)


def test_codes_are_the_indices_of_the_options(history: History) -> None:
    assert history.encode(PLAIN) == (0, INACTIVE, 0)
    assert history.encode(INVERTED) == (1, 1, 1)
    assert history.encode(NONE) == (2, INACTIVE, INACTIVE)


def test_codes_can_be_read_back(history: History) -> None:
    for genotype in enumerate_genotypes(TINY):
        assert history.decode(history.encode(genotype)) == genotype


def test_a_result(history: History) -> None:
    observation = history.tell(PLAIN, (0.5, 3), 0.25)
    assert observation == Observation((0, INACTIVE, 0), (0.5, 3.0), 0.25)
    assert observation.complete_costs == (0.5, 3.0)
    assert history.observations == [observation]
    assert history.told == 1


def test_repeated_results_are_averaged_where_they_are_known(history: History) -> None:
    history.tell(NONE, (9.0, 9.0), 0.0)
    history.tell(PLAIN, (None, 3.0), 0.5)
    history.tell(PLAIN, None, 0.0)
    history.tell(INVERTED, None, 0.0)
    observation = history.tell(PLAIN, (0.25, 4.0), 0.0)
    assert observation.costs == (0.25, 3.5)
    assert observation.violation == 0.25
    assert history.observations[1] == observation
    assert [o.code[0] for o in history.observations] == [2, 0, 1]
    assert history.told == 5


@pytest.mark.parametrize(
    "cost", [None, math.nan, math.inf, -math.inf, 1e308, -1e101, 10**400, -(10**400)]
)
def test_a_cost_that_is_not_finite_is_unknown(history: History, cost: float | None) -> None:
    observation = history.tell(PLAIN, (cost, 1.0), 0.0)
    assert observation.costs == (None, 1.0)
    assert observation.complete_costs is None


def test_a_failure_violates_more_than_anything(history: History) -> None:
    observation = history.tell(PLAIN, None, 0.0)
    assert observation.costs is None
    assert observation.complete_costs is None
    assert observation.violation == math.inf


def test_pending_until_told(history: History) -> None:
    history.expect(INVERTED)
    history.expect(PLAIN)
    history.expect(PLAIN)
    assert history.pending == 2
    assert history.knows(history.encode(PLAIN))
    assert not history.knows(history.encode(NONE))
    history.tell(PLAIN, None, 0.0)
    assert history.pending == 1
    assert history.knows(history.encode(PLAIN))


def test_refuses_what_is_none_of_the_space_and_stays_as_it_was(history: History) -> None:
    with pytest.raises(ValueError, match="is no choice of this space"):
        history.expect({**PLAIN, "depth": 3})
    with pytest.raises(ValueError, match="lacks 'width'"):
        history.tell({"kind": "plain"}, (1.0, 1.0), 0.0)
    with pytest.raises(ValueError, match="2 costs, one an objective, but got .1.0."):
        history.tell(PLAIN, (1.0,), 0.0)
    with pytest.raises(ValueError, match="violation must be at least 0, but got -1"):
        history.tell(PLAIN, (1.0, 1.0), -1.0)
    for costs in (["1", "2"], "12", [1.0, [2.0]]):
        with pytest.raises(ValueError, match="costs must be numbers or None, but got"):
            history.tell(PLAIN, costs, 0.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2 costs, one an objective, but got 5"):
        history.tell(PLAIN, 5, 0.0)  # type: ignore[arg-type]
    for violation in (None, "0"):
        with pytest.raises(
            ValueError, match=f"violation must be at least 0, but got {violation!r}"
        ):
            history.tell(PLAIN, (1.0, 1.0), violation)  # type: ignore[arg-type]
    assert history.pending == 0
    assert not history.observations
    assert history.told == 0


def test_unknown_costs_become_the_worst_known_ones() -> None:
    assert completed([(1.0, None), (None, 2.0), (3.0, 1.0)]) == [(1.0, 2.0), (3.0, 2.0), (3.0, 1.0)]
    assert completed([(None, 1.0)]) == [(0.0, 1.0)]
    assert completed([]) == []


def test_scaled_costs_span_zero_to_one() -> None:
    assert scaled([(5.0, 1.0), (10.0, 1.0), (6.0, 1.0)]) == [(0.0, 0.0), (1.0, 0.0), (0.2, 0.0)]
    assert scaled([]) == []


@pytest.mark.parametrize(("factor", "shift"), [(0.1, 0.0), (3.0, 1e3), (1e-9, -7e-9), (1e12, 1.0)])
def test_scaled_costs_forget_unit_and_zero(factor: float, shift: float) -> None:
    rows = [(0.1 * i % 0.7, 1.0) for i in range(50)]
    changed = [(cost * factor + shift, other) for cost, other in rows]
    assert scaled(changed) == scaled(rows)


def test_numbers_of_numpy_are_numbers(history: History) -> None:
    observation = history.tell(PLAIN, np.array([0.5, 2], np.float32), np.float64(0.25))  # type: ignore[arg-type]
    assert observation == Observation((0, INACTIVE, 0), (0.5, 2.0), 0.25)


@pytest.mark.parametrize(("told", "kept"), [(1e300, 1e100), (10**400, 1e100), (math.inf, math.inf)])
def test_a_violation_can_be_summed_up(history: History, told: float, kept: float) -> None:
    assert history.tell(PLAIN, (0.5, 3), told).violation == kept
    assert history.tell(PLAIN, (0.5, 3), told).violation == kept
