"""How good is the folding search?

    python -m benchmarks.folding [--devices A,B,C] [--networks A,B] [--no-optimum] [--limit 20]

Six networks on three devices: the period and the resources of the folding that is found, how long
that takes, and the shortest period that there is, by integer programming (bisection over the
periods, each time the question whether options of all units fit together).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.folding_networks import NETWORKS, Network
from evaluators.dataflow.combining import combined
from evaluators.dataflow.folding import Folding, Options, budget_of, fold, options_of
from evaluators.dataflow.model import timing
from evaluators.dataflow.resources import NAMES, Numbers
from hw_profiles import HardwareProfile, load

DEVICES = ("pynq-z2", "zcu104", "alveo-u250")
_NODES = 1_000_000


@dataclass(frozen=True)
class Optimum:
    """The shortest period.

    Args:
        period: cycles that can be reached.
        bound: cycles below which nothing can be reached; the same where all questions were
            answered in time.
    """

    period: float
    bound: float


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _options(arguments)
    print(_HEAD)
    for network in NETWORKS:
        if options.networks and network.name not in options.networks:
            continue
        for name in options.devices:
            print(_line(network, load(name), options), flush=True)
    return 0


def optimal_period(options: Options, limits: Sequence[float], limit_s: float) -> Optimum:
    """The shortest period for which options of all units fit together.

    Args:
        options: of a circuit.
        limits: of each resource.
        limit_s: seconds for each question; what is not answered by then counts as no, and its
            period only as a bound.
    """
    periods = np.unique(options.cycles)
    low = int(np.searchsorted(periods, np.minimum.reduceat(options.cycles, options.starts).max()))
    high = len(periods) - 1
    bound = low
    while low < high:
        middle = (low + high) // 2
        fits = _fits(options, np.asarray(limits), periods[middle], limit_s)
        if fits:
            high = middle
        else:
            low = middle + 1
            bound = bound if fits is None else low
    return Optimum(float(periods[high]), float(periods[bound]))


def _fits(options: Options, limits: Numbers, period: float, limit_s: float) -> bool | None:
    """Whether options of this period fit together; None when there was no answer in time."""
    share = options.use / np.maximum(limits, 1e-9)
    fast = np.flatnonzero(options.cycles <= period)
    try:
        return combined(share, options.owner, fast, _NODES, limit_s) is not None
    except TimeoutError:
        return None


_HEAD = (
    f"{'network':<16} {'device':<12} {'cycles':>9} {'optimum':>9} {'ratio':>6} {'frames/s':>10} "
    f"{'first ms':>9} {'seconds':>7}  share of the budget used"
)


def _line(network: Network, profile: HardwareProfile, options: argparse.Namespace) -> str:
    circuit = network.circuit()
    began = time.perf_counter()
    try:
        found = fold(circuit, profile)
    except ValueError as error:
        return f"{network.name:<16} {profile.name:<12} {error}"
    seconds = time.perf_counter() - began
    told, ratio = "-", "-"
    if not options.no_optimum:
        limits = list(budget_of(profile).values())
        best = optimal_period(options_of(circuit), limits, options.limit)
        told = f"{best.period:,.0f}" if best.period == best.bound else f">{best.bound:,.0f}"
        ratio = f"{found.period_cycles / best.bound:.3f}"
    clocked = timing(found.circuit, profile)
    return (
        f"{network.name:<16} {profile.name:<12} {found.period_cycles:>9,.0f} {told:>9} {ratio:>6} "
        f"{clocked.throughput_fps:>10,.0f} {clocked.latency_ms():>9.4g} {seconds:>7.2f}  "
        f"{_shares(found)}"
    )


def _shares(found: Folding) -> str:
    known = [name for name in NAMES if found.budget[name]]
    return ", ".join(
        f"{name} {100 * found.used[name] / found.budget[name]:.0f} %" for name in known
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=_names, default=DEVICES, help="profiles, by comma")
    parser.add_argument("--networks", type=_names, default=(), help="by comma; all")
    parser.add_argument("--no-optimum", action="store_true", help="the search only")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds for each question")
    return parser.parse_args(arguments)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


if __name__ == "__main__":
    sys.exit(main())
