"""The paths through a network: how many layers with weights, and poolings, data passes on its way.

Accuracy hangs on them beyond what operations and parameters say: networks of the same size may be
deep or shallow, and have short cuts or not (Veit, Wilber and Belongie 2016: residual networks
behave like ensembles of their paths).
"""

from __future__ import annotations

from evaluators.workload_recorder import INPUT, Recording
from evaluators.workload_simplify import reaching, without_zeros
from evaluators.workload_values import Paths

_OF_ROLE = {"mac": Paths(1, 1, 1)}
_OF_OP = dict.fromkeys(("pool", "global_pool"), Paths(pools=1))


def paths_of(recording: Recording) -> Paths:
    """The paths of a network, or of a part of one; what is multiplied by 0 is on none."""
    recording = without_zeros(recording)
    nodes = recording.nodes
    known = {INPUT: Paths()}
    for n in sorted(reaching(recording, recording.outputs)):
        found = _side_by_side([known[source] for source in nodes[n].inputs])
        own = _OF_ROLE.get(nodes[n].role) or _OF_OP.get(nodes[n].op)
        known[n] = Paths.in_sequence([found, own]) if own else found
    return _side_by_side([known[n] for n in recording.outputs])


def _side_by_side(found: list[Paths]) -> Paths:
    if len(found) == 1:
        return found[0]
    found = [paths for paths in found if paths.number]
    return Paths(
        longest=max([paths.longest for paths in found], default=0),
        shortest=min([paths.shortest for paths in found], default=0),
        layers=sum([paths.layers for paths in found]),
        number=sum([paths.number for paths in found]),
        pools=sum([paths.pools for paths in found]),
    )
