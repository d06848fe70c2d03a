"""What a candidate costs wherever it runs: operations, parameters, and memory of activations."""

from __future__ import annotations

from evaluators.workload import workload_of
from nas.trials import Candidate, Provenance, Readings


class Complexity:
    """The evaluator ``complexity``: exact counts, after structured pruning."""

    stage = "screen"
    needs = ""
    provides = ("macs", "params", "memory_kb")

    def evaluate(self, candidate: Candidate) -> Readings:
        """The metrics ``macs``, ``params`` and ``memory_kb``.

        The last is the peak of the activations that must be kept at the same time, of one example
        in float32, without weights and workspace; all kernels run in the order of the network.

        Raises:
            CandidateError: the candidate carries no workload.
        """
        workload = workload_of(candidate)
        counted = Provenance(source="counted", method="trace of the network", batch=1)
        memory_kb = workload.peak_memory_bytes / 1024
        values = (workload.macs, workload.params, memory_kb)
        return Readings(dict(zip(self.provides, values, strict=True)), counted)
