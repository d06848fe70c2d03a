from __future__ import annotations

import pytest

from nas.front import costs_of, front_of, legal_costs
from nas.objectives import Constraint, Objective
from nas.trials import Status, Trial

BOTH = (Objective("accuracy", "maximize"), Objective("latency_ms.cpu", "minimize"))
FAST = (Constraint.parse("latency_ms.cpu <= 2"),)


def trial(number: int, status: Status = "done", **metrics: float) -> Trial:
    named = {name.replace("latency", "latency_ms.cpu"): value for name, value in metrics.items()}
    return Trial(number, {"x": number}, f"t{number}", f"c{number}", status, named)


def test_costs_are_lower_the_better() -> None:
    assert costs_of(trial(0, accuracy=0.9, latency=1.5), BOTH) == (-0.9, 1.5)


@pytest.mark.parametrize("status", ["failed", "rejected", "stopped"])
def test_what_is_not_done_or_not_known_has_none(status: Status) -> None:
    assert costs_of(trial(0, status, accuracy=0.9, latency=1.5), BOTH) is None
    assert costs_of(trial(0, accuracy=0.9), BOTH) is None


def test_a_violated_constraint_rules_out_an_unknown_metric_does_not() -> None:
    assert legal_costs(trial(0, accuracy=0.9, latency=1.5), BOTH, FAST) == (-0.9, 1.5)
    assert legal_costs(trial(0, accuracy=0.9, latency=2.5), BOTH, FAST) is None
    assert legal_costs(trial(0, accuracy=0.9), BOTH[:1], FAST) == (-0.9,)


def test_the_front_is_of_legal_trials() -> None:
    trials = [
        trial(0, accuracy=0.9, latency=1.0),
        trial(1, accuracy=0.8, latency=1.5),
        trial(2, accuracy=0.95, latency=1.9),
        trial(3, accuracy=0.99, latency=2.5),
        trial(4, "stopped", accuracy=0.99, latency=0.1),
    ]
    assert front_of(trials, BOTH, FAST).front == {0: (-0.9, 1.0), 2: (-0.95, 1.9)}
    assert [*front_of(trials, BOTH, ()).front] == [0, 2, 3]
