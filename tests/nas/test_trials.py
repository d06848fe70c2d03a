import json
import math
import pickle
import random

import pytest

from nas.objectives import Constraint
from nas.trials import Artifact, CandidateError, Provenance, Readings, Trial, sure_violation

AT_MOST_2 = Constraint.parse("latency_ms.cpu <= 2")
MEASURED = Provenance("measured", device="host-cpu", batch=1, threads=1, low=0.9, high=1.1)


def test_readings_carry_their_provenance_through_merging_and_pickling():
    counted = Readings({"macs": 10}, Provenance("counted"))
    both = counted.merged(Readings({"latency_ms.cpu": 1.0}, MEASURED))
    copy = pickle.loads(pickle.dumps(both))
    assert copy == {"macs": 10.0, "latency_ms.cpu": 1.0}
    assert copy.provenance == {"macs": Provenance("counted"), "latency_ms.cpu": MEASURED}


def test_later_readings_win():
    merged = Readings({"a": 1}, Provenance("modeled")).merged(Readings({"a": 2}, MEASURED))
    assert merged == {"a": 2.0}
    assert merged.provenance["a"] is MEASURED
    assert Readings({"a": 1}).merged({"a": 3}) == {"a": 3.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nobody_ranks_by_nan(value):
    with pytest.raises(CandidateError, match="accuracy is"):
        Readings({"accuracy": value})


def test_a_trial_goes_through_json():
    trial = Trial(
        number=3,
        genotype={"width": 8, "block": "conv", "ratio": 0.5},
        training_key="t",
        candidate_key="c",
        status="done",
        metrics={"latency_ms.cpu": 1.0},
        provenance={"latency_ms.cpu": MEASURED},
        artifact=Artifact("a.onnx", "0" * 64),
        seconds={"train": 1.5},
    )
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial


def test_a_failed_trial_goes_through_json():
    trial = Trial(0, {"a": 1}, "t", "c", "failed", error="train: loss is nan")
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial


def test_words_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="status is one of"):
        Trial(0, {}, "t", "c", "finished")
    with pytest.raises(ValueError, match="source is one of"):
        Provenance("guessed")


def estimate(low, high):
    bar = Provenance("modeled", low=low, high=high)
    metrics = {"latency_ms.cpu": (low + high) / 2, "estimated_latency_ms.cpu": (low + high) / 2}
    return Readings(metrics, {"estimated_latency_ms.cpu": bar})


def test_a_known_metric_decides_by_itself():
    assert sure_violation(AT_MOST_2, {"latency_ms.cpu": 3.0}) == 0.5
    assert sure_violation(AT_MOST_2, {"latency_ms.cpu": 2.0}) == 0
    assert sure_violation(AT_MOST_2, {"macs": 1e9}) == 0


def test_what_was_found_out_exactly_outweighs_its_estimate():
    readings = estimate(1.0, 6.0).merged(
        Readings({"latency_ms.cpu": 3.0}, Provenance("modeled", low=1.5, high=6.0))
    )
    assert sure_violation(AT_MOST_2, readings) == 0.5


def test_an_estimate_decides_by_the_near_end_of_its_error_bar():
    assert sure_violation(AT_MOST_2, estimate(1.9, 6.0)) == 0
    assert sure_violation(AT_MOST_2, estimate(3.0, 6.0)) == 0.5
    at_least_2 = Constraint.parse("latency_ms.cpu >= 2")
    assert sure_violation(at_least_2, estimate(0.5, 2.1)) == 0
    assert sure_violation(at_least_2, estimate(0.5, 1.0)) == 0.5


@pytest.mark.parametrize("value", [1.2, 3.0])
def test_the_default_is_the_near_end_of_the_bar_wherever_the_estimate_lies(value):
    """Only the end of the bar decides, so 5 % of the cases are below it."""
    bar = Provenance("modeled", low=1.0, high=9.0)
    readings = Readings({"estimated_latency_ms.cpu": value}, bar)
    for bound, violates in ((0.99, True), (1.01, False)):
        assert bool(sure_violation(Constraint("latency_ms.cpu", "<=", bound), readings)) == violates


@pytest.mark.parametrize("operator", ["<=", ">="])
def test_the_probability_of_a_violation_is_that_of_a_log_normal(operator):
    """Of 4 ms within a factor of 2 nine times in ten, against drawing from that."""
    bar = Provenance("modeled", low=2.0, high=8.0)
    readings = Readings({"estimated_latency_ms.cpu": 4.0}, bar)
    rng = random.Random(0)
    draws = [4 * math.exp(rng.gauss(0, math.log(2) / 1.6449)) for _ in range(20_000)]
    for bound in (1.5, 3.0, 4.1, 7.0, 10.0):
        share = sum(d > bound if operator == "<=" else d < bound for d in draws) / len(draws)
        for above in (share - 0.02, share + 0.02):
            if 0 < above < 1:
                constraint = Constraint("latency_ms.cpu", operator, bound, above)
                assert bool(sure_violation(constraint, readings)) == (above < share)


def test_each_side_of_the_bar_has_its_own_spread():
    bar = Provenance("modeled", low=0.1, high=1.1)
    readings = Readings({"estimated_latency_ms.cpu": 1.0}, bar)
    at_most = Constraint("latency_ms.cpu", "<=", 0.2, 0.9)
    assert sure_violation(at_most, readings) == 0
    at_least = Constraint("latency_ms.cpu", ">=", 1.11, 0.9)
    assert sure_violation(at_least, readings) > 0


def test_an_estimate_never_decides_where_that_is_wished_for():
    never = Constraint.parse("latency_ms.cpu <= 2", reject_above=1)
    assert sure_violation(never, estimate(300, 600)) == 0
    assert sure_violation(never, {"latency_ms.cpu": 3.0}) == 0.5


def test_an_estimate_without_an_error_bar_is_never_sure():
    readings = Readings(
        {"latency_ms.cpu": 3.0}, {"estimated_latency_ms.cpu": Provenance("modeled")}
    )
    assert sure_violation(AT_MOST_2, readings) == 0
