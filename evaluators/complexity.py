"""What a candidate is wherever it runs: operations, parameters, memory of activations, paths."""

from __future__ import annotations

import math

from evaluators.workload import workload_of
from nas.trials import Candidate, Provenance, Readings

PATHS = ("longest_path", "shortest_path", "mean_path", "log2_paths", "mean_pools")


class Complexity:
    """The evaluator ``complexity``: exact counts, after structured pruning."""

    stage = "screen"
    needs = ""
    provides = ("macs", "params", "memory_kb", *PATHS)

    def evaluate(self, candidate: Candidate) -> Readings:
        """The metrics ``macs``, ``params``, ``memory_kb`` and those of paths.

        ``memory_kb`` is the peak of the activations that must be kept at the same time, of one
        example in float32, without weights and workspace; all kernels run in the order of the
        network.
        ``longest_path``, ``shortest_path`` and ``mean_path`` are layers with weights on the paths
        from input to output, ``log2_paths`` the logarithm of how many there are, ``mean_pools``
        how many poolings are on one in the mean; see `evaluators.workload.Paths`.

        Raises:
            CandidateError: the candidate carries no workload.
        """
        workload = workload_of(candidate)
        counted = Provenance(source="counted", method="trace of the network", batch=1)
        memory_kb = workload.peak_memory_bytes / 1024
        values = {"macs": workload.macs, "params": workload.params, "memory_kb": memory_kb}
        if workload.paths:
            paths = workload.paths
            number = math.log2(max(1, paths.number))
            found = (paths.longest, paths.shortest, paths.mean, number, paths.mean_pools)
            values.update(zip(PATHS, found, strict=True))
        return Readings(values, counted)
