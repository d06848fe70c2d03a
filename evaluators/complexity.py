"""What a candidate costs wherever it runs: multiply-accumulates and parameters."""

from __future__ import annotations

from evaluators.workload import workload_of
from nas.trials import Candidate, Provenance, Readings


class Complexity:
    """The evaluator ``complexity``: exact counts, after structured pruning."""

    stage = "screen"
    needs = ""
    provides = ("macs", "params")

    def evaluate(self, candidate: Candidate) -> Readings:
        """The metrics ``macs`` (of one example) and ``params``.

        Raises:
            CandidateError: the candidate carries no workload.
        """
        workload = workload_of(candidate)
        counted = Provenance(source="counted", method="trace of the network", batch=1)
        return Readings({"macs": workload.macs, "params": workload.params}, counted)
