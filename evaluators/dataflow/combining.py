"""Whether options of all units fit into a budget together: a small integer program."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

INFEASIBLE = 2
"""The status of `scipy.optimize.milp` for what cannot be."""


def combined(
    share: Numbers, owner: Places, allowed: Places, nodes: int, limit_s: float = math.inf
) -> Places | None:
    """One option a unit, so that no resource is used up; the cheapest that is found.

    Args:
        share: (options, resources) what each needs, in shares of the budget.
        owner: (options,) the unit of each, ascending.
        allowed: the options to choose from.
        nodes: of the search tree, after which it gives up.
        limit_s: seconds after which it gives up.

    Returns:
        (units,) the chosen options, or None where none were found.

    Raises:
        TimeoutError: it gave up, so that nothing is known; only where ``limit_s`` is given.
    """
    kept = allowed[_undominated(share[allowed], owner[allowed])]
    units = int(owner[-1]) + 1
    one_each = csr_array((np.ones(len(kept)), (owner[kept], np.arange(len(kept)))))
    answer = milp(
        c=share[kept].sum(axis=1),
        integrality=np.ones(len(kept)),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(one_each, np.ones(units), np.ones(units)),
            LinearConstraint(share[kept].T, -np.inf, 1),
        ],
        options={"node_limit": nodes, "mip_rel_gap": 0.05, "time_limit": limit_s},
    )
    if answer.x is None:
        if math.isfinite(limit_s) and answer.status != INFEASIBLE:
            raise TimeoutError("no answer in time")
        return None
    chosen = kept[answer.x > 0.5]
    return chosen if share[chosen].sum(axis=0).max() <= 1 + 1e-9 else None


def _undominated(share: Numbers, owner: Places) -> NDArray[np.bool_]:
    """(options,) whether no other option of the same unit needs as little of everything."""
    kept = np.ones(len(share), dtype=bool)
    for unit in np.unique(owner):
        members = np.flatnonzero(owner == unit)
        order = members[np.argsort(share[members].sum(axis=1), kind="stable")]
        front: list[int] = []
        for member in order:
            if front and (share[front] <= share[member]).all(axis=1).any():
                kept[member] = False
            else:
                front.append(int(member))
    return kept
