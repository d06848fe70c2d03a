"""Are the resources of a streaming circuit those that a synthesis gave?

    python -m benchmarks.fpga_resources

One design whose folding and synthesis are both public: FINN's CNV of 1 bit on a Zynq-7020. The
resources are those after synthesis without the shell (github.com/Xilinx/finn, pull request 209,
September 2020, before and after its change), the folding is that of the repository's test of this
design (``test_zynqbuild_end2end_cnv_w1a1.py``). Nothing is fitted to it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from benchmarks.fpga_designs import cnv
from evaluators.dataflow.resources import MULTIPLIERS, NAMES, of_unit
from evaluators.dataflow.units import Circuit, Unit

FOLDING = ((16, 3), (32, 32), (16, 32), (16, 32), (4, 32), (1, 32), (1, 4), (1, 8), (5, 1))
"""(PE, SIMD) of each matrix unit."""
PUBLISHED: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"lut": (26487, 21135), "ff": (34031, 31517), "bram18": (2 * 94 + 73, 2 * 98 + 9)}
)
"""Before and after; a block RAM of 36 Kb is two of 18 Kb."""
_DEEP = 128
"""Words from which on weights lie in block RAM here; the design leaves that to the synthesis."""


def main() -> int:
    """The command."""
    found = estimated(design())
    print(f"{'resource':<10} {'before':>8} {'after':>8} {'estimate':>9} {'off the latter':>15}")
    for name, (before, after) in PUBLISHED.items():
        off = found[name] / after - 1
        print(f"{name:<10} {before:>8,.0f} {after:>8,.0f} {found[name]:>9,.0f} {off:>15.0%}")
    return 0


def design() -> Circuit:
    """The design as it was folded; pooling takes all channels at a time."""
    circuit = cnv((1, 1))
    pairs = iter(FOLDING)
    folds = [(unit.mh, 1) if unit.op == "pool" else next(pairs) for unit in circuit.units]
    return circuit.folded(folds)


def estimated(circuit: Circuit) -> dict[str, float]:
    """What a folded circuit needs of each resource, without FIFOs."""
    total = sum(_cost(unit) for unit in circuit.units)
    return dict(zip(NAMES, np.asarray(total).tolist(), strict=True))


def _cost(unit: Unit) -> np.ndarray:
    pe, simd = np.array([float(unit.pe)]), np.array([float(unit.simd)])
    memory = "block" if unit.weights >= _DEEP * unit.pe * unit.simd else "distributed"
    cost = of_unit(unit, pe, simd, MULTIPLIERS[0], memory)
    return np.array([float(np.asarray(each).ravel()[0]) for each in cost])


if __name__ == "__main__":
    sys.exit(main())
