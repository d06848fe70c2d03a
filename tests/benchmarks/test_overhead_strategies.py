from __future__ import annotations

import pytest

import strategies
from benchmarks.overhead_strategies import VARIANTS, parsed, space_of_25, strategy_costs
from nas.choices import check_choices


def test_kinds_carry_options() -> None:
    assert parsed("random") == ("random", {})
    options = {"algorithm": "nsga3", "population": 20}
    assert parsed("genetic:algorithm=nsga3/population=20") == ("genetic", options)


def test_the_space_has_25_choices_a_third_conditional() -> None:
    space = space_of_25()
    check_choices(space)
    assert (len(space), sum(bool(choice.when) for choice in space)) == (25, 8)


def test_every_strategy_is_timed_at_every_number_of_results() -> None:
    rows = list(strategy_costs(told=(12, 20), repeats=2))
    kinds = [*strategies.names(), *VARIANTS]
    assert [what for what, *_ in rows] == [
        f"ask + tell at {told} results, {kind}" for kind in kinds for told in (12, 20)
    ]
    assert all(len(samples) == 2 and min(samples) > 0 for _, samples, _, _ in rows)


def test_strategies_and_objectives_can_be_chosen() -> None:
    rows = list(strategy_costs(["genetic:algorithm=ageing"], (15,), 3, objectives=4))
    assert [(what, len(samples), goal) for what, samples, goal, _ in rows] == [
        ("ask + tell at 15 results, genetic:algorithm=ageing", 3, 5.0)
    ]
    with pytest.raises(ValueError, match="unknown strategy 'genetics'"):
        next(strategy_costs(["genetics"]))
