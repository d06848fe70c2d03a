"""Counts of operations and parameters as an evaluator."""

import pytest

from evaluators.complexity import Complexity
from evaluators.workload import trace
from nas.trials import Candidate, CandidateError
from tests.evaluators.workload_nets import lenet


def test_counts_are_exact_and_say_so() -> None:
    workload = trace(lenet(), (1, 1, 32, 32), "xla")
    candidate = Candidate({}, "training", "candidate", workload={"xla": workload})
    readings = Complexity().evaluate(candidate)
    # Six maps of 28 x 28, with the 6 of 14 x 14 into which they are pooled
    memory_kb = 4 * (6 * 28 * 28 + 6 * 14 * 14) / 1024
    counts = {"macs": 416520.0, "params": 61706.0, "memory_kb": memory_kb}
    paths = {"longest_path": 5.0, "shortest_path": 5.0, "mean_path": 5.0, "log2_paths": 0.0}
    assert readings == {**counts, **paths, "mean_pools": 2.0}
    assert readings.provenance["macs"].source == "counted"
    assert tuple(readings) == Complexity.provides
    assert (Complexity().stage, Complexity().needs) == ("screen", "")


def test_a_candidate_without_a_workload_is_refused() -> None:
    with pytest.raises(CandidateError, match="the candidate carries no workload$"):
        Complexity().evaluate(Candidate({}, "training", "candidate"))
