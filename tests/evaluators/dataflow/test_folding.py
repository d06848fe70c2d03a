"""The folding search: within the budget, as fast as can be, trimmed, and FINN's own rule."""

import itertools
import math
import random
import time

import numpy as np
import pytest

from benchmarks.fpga_designs import cnv, mlp
from evaluators.dataflow import cycles
from evaluators.dataflow.folding import (
    budget_of,
    divisors,
    fold,
    fold_to,
    fold_within,
    foldings,
    options_of,
)
from evaluators.dataflow.resources import NAMES
from evaluators.dataflow.units import INPUT, Circuit, Unit
from hw_profiles import load
from tests.evaluators.dataflow.circuits import conv, linear, perceptron, residual
from tests.hw_profiles.profiles import circuit as made_up

ROOMY = dict.fromkeys(NAMES, 1e9)


def shortest_period(circuit: Circuit, budget: dict[str, float]) -> float:
    """Of all foldings, multipliers and memories of a small circuit."""
    options = options_of(circuit)
    limits = np.array([budget[name] for name in NAMES])
    ends = [*options.starts[1:], len(options.cycles)]
    best = math.inf
    ranges = [range(a, b) for a, b in zip(options.starts, ends, strict=True)]
    for choice in itertools.product(*ranges):
        slowest = max(options.cycles[i] for i in choice)
        if slowest < best and (options.use[list(choice)].sum(axis=0) <= limits).all():
            best = slowest
    return float(best)


@pytest.mark.parametrize("seed", range(12))
def test_no_folding_is_more_than_a_tenth_faster(seed: int) -> None:
    dice = random.Random(seed)
    sizes = [dice.choice([2, 3, 4, 6]) for _ in range(3)]
    circuit = perceptron(*sizes, bits=dice.randint(1, 5))
    smallest = options_of(circuit)
    least = np.add.reduce(np.minimum.reduceat(smallest.use, smallest.starts))
    budget = {
        name: float(amount) * dice.uniform(1.05, 1.6) + dice.choice([0, 2, 20])
        for name, amount in zip(NAMES, least, strict=True)
    }
    best = shortest_period(circuit, budget)
    if math.isinf(best):
        with pytest.raises(ValueError, match="does not fit the device at any folding"):
            fold_within(circuit, budget)
        return
    found = fold_within(circuit, budget)
    assert best <= found.period_cycles <= 1.1 * best
    assert all(found.used[name] <= math.ceil(budget[name]) for name in NAMES)


@pytest.mark.parametrize("device", ["pynq-z2", "ultra96", "zcu104", "alveo-u250"])
@pytest.mark.parametrize("bits", [1, 2])
def test_cnv_is_within_the_budget_and_found_at_once(device: str, bits: int) -> None:
    profile = load(device)
    began = time.perf_counter()
    found = fold(cnv((bits, bits)), profile)
    assert time.perf_counter() - began < 2
    assert all(found.used[name] <= found.budget[name] for name in NAMES)
    assert found.period_cycles == cycles.period(found.circuit)
    assert found.period_cycles <= 40000


def test_what_is_used_is_what_the_chosen_units_cost() -> None:
    from evaluators.dataflow import resources

    found = fold(cnv((1, 1)), load("pynq-z2"))
    total = np.zeros(len(NAMES))
    for unit, multipliers, memory in zip(
        found.circuit.units, found.multipliers, found.memories, strict=True
    ):
        one = np.array([float(unit.pe)]), np.array([float(unit.simd)])
        total += np.ceil(np.array(resources.of_unit(unit, *one, multipliers, memory)).ravel())
    assert [found.used[name] for name in NAMES] == total.tolist()


def test_what_is_not_the_bottleneck_is_trimmed() -> None:
    """The second layer must not be faster than the first one at its widest."""
    slow = conv(2, 2, 40, pe=1, simd=1)
    pooled = Unit("global_pool", (0,), (2, 38, 38), (2, 1, 1), in_bits=2)
    circuit = Circuit((slow, pooled, linear(2, 64, 1)), (2, 40, 40))
    found = fold_within(circuit, ROOMY)
    assert (found.circuit.units[2].pe, found.circuit.units[2].simd) == (1, 1)
    smallest = perceptron(2, 64).folded([(1, 1)])
    assert cycles.period(smallest) < found.period_cycles


def test_more_room_is_never_slower() -> None:
    circuit = residual(8, 12)
    tight = budget_of(load("pynq-z2"))
    periods = []
    for share in (0.2, 0.4, 0.8, 1.6, 6.4):
        budget = {name: amount * share for name, amount in tight.items()}
        periods.append(fold_within(circuit, budget).period_cycles)
    assert periods == sorted(periods, reverse=True)
    assert periods[0] > 4 * periods[-1]


def test_fifos_of_a_shortcut_are_paid_for() -> None:
    options = options_of(residual(64, 32))
    assert len(options.starts) == 4 + 2
    least = np.minimum.reduceat(options.use[:, NAMES.index("lut")], options.starts)
    assert (least[4:] > 0).all()


def test_a_network_that_is_too_large_is_one_line() -> None:
    with pytest.raises(ValueError, match="does not fit pynq-z2 at any folding") as caught:
        fold(cnv((8, 8)), load("pynq-z2"))
    assert "bram18 of 224" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_budget_is_the_usable_share_of_the_device() -> None:
    assert budget_of(load("pynq-z2")) == {
        "lut": 37240.0, "ff": 53200.0, "bram18": 224.0, "uram": 0.0, "dsp": 176.0
    }  # fmt: skip
    assert budget_of(load("zcu104"))["uram"] == 76  # of 76.8
    assert budget_of(made_up())["dsp"] == 100


def test_foldings_divide_and_fill_channels_before_the_window() -> None:
    assert divisors(12) == [1, 2, 3, 4, 6, 12]
    lanes = sorted({simd for _, simd in foldings(conv(4, 6, 8))})
    assert lanes == [1, 2, 4, 12, 36]
    depthwise = Unit("depthwise", (INPUT,), (4, 8, 8), (4, 6, 6), window=(3, 3))
    assert foldings(depthwise) == [(1, 1), (2, 1), (4, 1), (4, 3), (4, 9)]
    wide = foldings(linear(1024, 1024, weight_bits=8))
    assert max(pe * simd * 8 for pe, simd in wide) <= 8191


class TestTarget:
    """SetFolding of FINN, by hand."""

    def test_lanes_come_first_up_to_the_width_of_the_weights(self) -> None:
        """MLPerf Tiny's keywords: 200,000 frames a second at 100 MHz are 500 cycles."""
        found = fold_to(mlp((490, 256, 256, 256, 12), (3, 3), 8), 500)
        assert [(unit.pe, unit.simd) for unit in found.units] == [
            (32, 10), (32, 8), (32, 8), (1, 8)
        ]  # fmt: skip
        assert max(cycles.frame_cycles(found)) < 500

    def test_a_target_that_cannot_be_met_ends_at_the_widest(self) -> None:
        found = fold_to(perceptron(8, 4), 0.5)
        assert (found.units[0].pe, found.units[0].simd) == (4, 8)

    def test_units_without_weights_and_depthwise_ones(self) -> None:
        shape = (8, 10, 10)
        add = Unit("add", (INPUT, INPUT), shape, shape)
        depthwise = Unit("depthwise", (0,), shape, (8, 8, 8), window=(3, 3))
        found = fold_to(Circuit((add, depthwise), shape), 300)
        assert (found.units[0].pe, found.units[0].simd) == (4, 1)
        assert (found.units[1].pe, found.units[1].simd) == (8, 3)
