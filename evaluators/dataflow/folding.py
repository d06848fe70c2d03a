"""How parallel each unit can be on a device: the fastest circuit within its budget.

A unit has options: every PE that divides its outputs and SIMD that divides its weights, multipliers
of LUTs or DSP slices, weights in LUTs, block RAMs or UltraRAMs. The period is found by bisection
over the cycles that options have. Whether options for all units fit together is answered by prices:
each unit takes its cheapest option among those that are fast enough, and what is over the budget
gets dearer, until all is within it; where prices do not settle it, a small integer program does
(`evaluators.dataflow.combining`). Then every unit that is not the slowest is made as small as the
period allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.dataflow import cycles, resources, stream
from evaluators.dataflow.combining import combined
from evaluators.dataflow.resources import MEMORIES, MULTIPLIERS, NAMES, Numbers
from evaluators.dataflow.units import INPUT, MATRIX, Circuit, Unit
from hw_profiles import HardwareProfile

_ROUNDS = 40
"""Of prices, before options are given up."""
_STEP = 0.6
_NODES = 200
"""Of the integer program's tree; a number, not a time, so that the answer is always the same."""
_WIDEST = 8191
"""Bits of a stream of weights: the widest word that Vitis HLS synthesizes."""


@dataclass(frozen=True)
class Folding:
    """A circuit that fits a device.

    Args:
        circuit: folded.
        period_cycles: between two frames.
        used: of each resource, by name.
        budget: what the device has of each.
        multipliers: of each unit, one of `evaluators.dataflow.resources.MULTIPLIERS`.
        memories: of the weights of each unit, one of `evaluators.dataflow.resources.MEMORIES`.
    """

    circuit: Circuit
    period_cycles: float
    used: Mapping[str, float]
    budget: Mapping[str, float]
    multipliers: tuple[str, ...]
    memories: tuple[str, ...]


class Options(NamedTuple):
    """All options of all units, those of a unit one after the other.

    Attributes:
        cycles: (options,) a frame.
        use: (options, resources).
        pe: (options,).
        simd: (options,).
        styles: (options, 2), numbers of `MULTIPLIERS` and `MEMORIES`.
        starts: (units + fifos,) the first option of each.
    """

    cycles: Numbers
    use: Numbers
    pe: NDArray[np.int64]
    simd: NDArray[np.int64]
    styles: NDArray[np.int64]
    starts: NDArray[np.int64]

    @property
    def owner(self) -> NDArray[np.int64]:
        """(options,) the unit of each."""
        ends = np.append(self.starts[1:], len(self.cycles))
        return np.repeat(np.arange(len(self.starts)), ends - self.starts)


def budget_of(profile: HardwareProfile) -> dict[str, float]:
    """The resources of a device that a circuit may use, by name.

    Raises:
        ValueError: for a profile without them.
    """
    shares = {"bram18": "usable_bram"}
    found = {}
    for name in NAMES:
        there = profile.part(name, 0.0 if name == "uram" else None)
        share = profile.part(shares.get(name, f"usable_{name}"), 0.0 if name == "uram" else None)
        found[name] = float(math.floor(there * share + 1e-6))
    return found


def fold(circuit: Circuit, profile: HardwareProfile) -> Folding:
    """The fastest folding that fits, and no larger than that takes.

    Raises:
        ValueError: the circuit does not fit at any folding.
    """
    return fold_within(circuit, budget_of(profile), profile.name)


def fold_within(
    circuit: Circuit, budget: Mapping[str, float], device: str = "the device"
) -> Folding:
    """The same for a budget by resource, see `budget_of`.

    Raises:
        ValueError: the circuit does not fit at any folding.
    """
    options = options_of(circuit)
    limits = np.array([budget[name] for name in NAMES])
    search = _Search(options, limits)
    slowest = np.maximum.reduceat(options.cycles, options.starts).max()
    chosen = search.within(slowest)
    if chosen is None:
        raise ValueError(_too_large(search, slowest, limits, device))
    periods = np.unique(options.cycles)
    floor = np.minimum.reduceat(options.cycles, options.starts).max()
    low, high = int(np.searchsorted(periods, floor)), len(periods) - 1
    while low < high:
        middle = (low + high) // 2
        found = search.within(periods[middle])
        if found is None:
            low = middle + 1
        else:
            high, chosen = middle, found
    chosen = search.trimmed(chosen, float(options.cycles[chosen].max()))
    return _folding(circuit, options, chosen, budget)


def fold_to(circuit: Circuit, target_cycles: float, widest_bits: int = 36) -> Circuit:
    """The folding that FINN's own heuristic finds for a target, whatever it costs.

    Each unit by itself: SIMD grows until the target is met or the weights of one output are wider
    than ``widest_bits``, then PE until it is met (FINN, transformation SetFolding).

    Args:
        circuit: as it may be folded already; that does not matter.
        target_cycles: that each unit shall be below.
        widest_bits: of the weights of one output.
    """
    return circuit.folded([_to_target(unit, target_cycles, widest_bits) for unit in circuit.units])


def options_of(circuit: Circuit) -> Options:
    """The options of all units and of the FIFOs where branches meet."""
    parts = [_unit_options(_bare(unit)) for unit in circuit.units]
    parts += [_fifo_options(bits) for bits in _fifo_bits(circuit)]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    sizes = [len(part[0]) for part in parts]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return Options(columns[0], columns[1], columns[2], columns[3], columns[4], starts)


class _Search:
    """Looks for options, one a unit, that fit together."""

    def __init__(self, options: Options, limits: Numbers) -> None:
        self._options, self._limits = options, limits
        known = np.maximum(limits, 1e-9)
        self._share = options.use / known
        self._owner = options.owner

    def within(self, period: float) -> NDArray[np.int64] | None:
        """(units,) options whose cycles are at most the period, or None where none were found."""
        slow = self._options.cycles > period
        prices = np.ones(len(self._limits))
        if self._least(~slow).max() > 1 + 1e-9:
            return None
        for _ in range(_ROUNDS):
            chosen = self._cheapest(prices, slow)
            over = self._share[chosen].sum(axis=0)
            if over.max() <= 1 + 1e-9:
                return chosen
            prices = prices * np.exp(_STEP * np.clip(over - 1, -1, 2))
            prices /= prices.max()
        return combined(self._share, self._owner, np.flatnonzero(~slow), _NODES)

    def _least(self, fast: NDArray[np.bool_]) -> Numbers:
        """(resources,) what is needed of each one at the very least."""
        share = np.where(fast[:, None], self._share, np.inf)
        least: Numbers = np.minimum.reduceat(share, self._options.starts).sum(axis=0)
        return least

    def least_over(self, period: float) -> Numbers:
        """(resources,) what the cheapest options of this period need, in shares of the budget."""
        chosen = self._cheapest(np.ones(len(self._limits)), self._options.cycles > period)
        needed: Numbers = self._share[chosen].sum(axis=0)
        return needed

    def trimmed(self, chosen: NDArray[np.int64], period: float) -> NDArray[np.int64]:
        """The same period with less: each unit by itself as cheap as what it leaves free allows."""
        chosen = chosen.copy()
        fast = self._options.cycles <= period
        cost = self._share.sum(axis=1)
        total = self._share[chosen].sum(axis=0)
        ends = np.append(self._options.starts[1:], len(cost))
        for unit, (start, end) in enumerate(zip(self._options.starts, ends, strict=True)):
            others = total - self._share[chosen[unit]]
            fits = (others + self._share[start:end] <= 1 + 1e-9).all(axis=1) & fast[start:end]
            best = start + int(np.argmin(np.where(fits, cost[start:end], np.inf)))
            if cost[best] < cost[chosen[unit]]:
                chosen[unit] = best
                total = others + self._share[best]
        return chosen

    def _cheapest(self, prices: Numbers, slow: NDArray[np.bool_]) -> NDArray[np.int64]:
        cost = np.where(slow, np.inf, self._share @ prices + 1e-12 * self._options.cycles)
        least = np.minimum.reduceat(cost, self._options.starts)
        first = np.flatnonzero(cost == least[self._owner])
        return first[np.unique(self._owner[first], return_index=True)[1]]


def _too_large(search: _Search, period: float, limits: Numbers, device: str) -> str:
    needed = search.least_over(period) * np.maximum(limits, 1e-9)
    over = [
        f"{need:,.0f} {name} of {limit:,.0f}"
        for name, need, limit in zip(NAMES, needed, limits, strict=True)
        if need > limit
    ]
    wanted = ", ".join(over) or "more than is free together"
    return f"the network does not fit {device} at any folding: the smallest one needs {wanted}"


def _folding(
    circuit: Circuit, options: Options, chosen: NDArray[np.int64], budget: Mapping[str, float]
) -> Folding:
    units = chosen[: len(circuit.units)]
    pairs = [(int(options.pe[i]), int(options.simd[i])) for i in units]
    used = options.use[chosen].sum(axis=0)
    return Folding(
        circuit=circuit.folded(pairs),
        period_cycles=float(options.cycles[chosen].max()),
        used={name: float(amount) for name, amount in zip(NAMES, used, strict=True)},
        budget=dict(budget),
        multipliers=tuple([MULTIPLIERS[options.styles[i, 0]] for i in units]),
        memories=tuple([MEMORIES[options.styles[i, 1]] for i in units]),
    )


def divisors(number: int) -> list[int]:
    """Ascending."""
    return [each for each in range(1, number + 1) if number % each == 0]


def foldings(unit: Unit) -> list[tuple[int, int]]:
    """All (PE, SIMD) of a unit.

    SIMD takes a share of the input channels, or whole channels for a share of the window; of a
    depthwise unit first all channels work, then elements of the window.
    """
    if unit.op not in MATRIX:
        return [(pe, 1) for pe in divisors(unit.mh)]
    if unit.op == "depthwise":
        inner = [(unit.mh, simd) for simd in divisors(unit.mw)[1:]]
        return [(pe, 1) for pe in divisors(unit.mh)] + inner
    channels = unit.mw // (unit.window[0] * unit.window[1])
    lanes = divisors(channels)
    lanes += [channels * more for more in divisors(unit.mw // channels)[1:]]
    pairs = [(pe, simd) for pe in divisors(unit.mh) for simd in lanes]
    return [(pe, simd) for pe, simd in pairs if pe * simd * unit.weight_bits <= _WIDEST] or pairs[
        :1
    ]


_Columns = tuple[Numbers, Numbers, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@lru_cache(maxsize=1 << 12)
def _unit_options(unit: Unit) -> _Columns:
    """The columns of `Options` for one unit, without those that another one beats in everything."""
    pairs = np.array(foldings(unit))
    pe, simd = pairs[:, 0], pairs[:, 1]
    frame = cycles.of_frame(unit, pe, simd)
    styles = [(0, 0)]
    if unit.op in MATRIX:
        styles = [(m, s) for m in range(len(MULTIPLIERS)) for s in range(len(MEMORIES))]
    tables = []
    for multipliers, memory in styles:
        cost = resources.of_unit(
            unit, pe.astype(float), simd.astype(float), MULTIPLIERS[multipliers], MEMORIES[memory]
        )
        tables.append(np.ceil(np.column_stack([np.broadcast_to(each, len(pe)) for each in cost])))
    count = len(styles)
    chosen = np.repeat(np.array(styles), len(pe), axis=0)
    return (
        np.tile(frame, count),
        np.concatenate(tables),
        np.tile(pe, count),
        np.tile(simd, count),
        chosen,
    )


def _fifo_options(bits: float) -> _Columns:
    parts = [
        np.ceil(np.column_stack(resources.fifo(bits, in_blocks))) for in_blocks in (False, True)
    ]
    ones = np.ones(2, dtype=np.int64)
    return np.zeros(2), np.concatenate(parts), ones, ones, np.zeros((2, 2), dtype=np.int64)


def _fifo_bits(circuit: Circuit) -> list[float]:
    """Of the FIFOs that hold more than a few words."""
    found = []
    for (place, number), pixels in stream.fifo_depths(circuit).items():
        source = circuit.units[place].inputs[number]
        channels = circuit.input_shape[0] if source == INPUT else circuit.units[source].out_shape[0]
        found.append(float((pixels + 2) * channels * circuit.units[place].in_bits))
    return found


def _bare(unit: Unit) -> Unit:
    """What the options of a unit depend on."""
    return Unit(
        op=unit.op,
        inputs=(INPUT,),
        in_shape=unit.in_shape,
        out_shape=unit.out_shape,
        window=unit.window,
        stride=unit.stride,
        padding=unit.padding,
        groups=unit.groups,
        weight_bits=unit.weight_bits,
        in_bits=unit.in_bits,
        out_bits=unit.out_bits,
    )


def _to_target(unit: Unit, target: float, widest_bits: int) -> tuple[int, int]:
    simd = 1
    if unit.op in MATRIX and unit.op != "depthwise":
        for wider in divisors(unit.mw):
            if unit.weight_bits * wider > widest_bits:
                break
            simd = wider
            if cycles.of_frame(unit, 1, simd) < target:
                break
    pe = _first_below(divisors(unit.mh), lambda each: cycles.of_frame(unit, each, simd), target)
    if unit.op == "depthwise" and pe == unit.mh:
        simd = _first_below(divisors(unit.mw), lambda each: cycles.of_frame(unit, pe, each), target)
    return pe, simd


def _first_below(values: Sequence[int], cost: Callable[[int], object], target: float) -> int:
    """The first value with a cost below the target, or the last one."""
    return next((each for each in values if float(cost(each)) < target), values[-1])  # type: ignore[arg-type]
