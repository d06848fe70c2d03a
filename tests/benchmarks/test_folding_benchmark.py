"""The folding search against integer programming."""

import numpy as np
import pytest

from benchmarks import folding
from benchmarks.folding_networks import NETWORKS
from evaluators.dataflow.folding import budget_of, fold, options_of
from evaluators.dataflow.resources import NAMES
from evaluators.dataflow.units import MATRIX
from hw_profiles import load

BY_NAME = {network.name: network for network in NETWORKS}


@pytest.mark.parametrize("name", ["mlp-w3a3", "signal-w4a4"])
def test_the_search_is_within_a_tenth_of_the_optimum(name: str) -> None:
    circuit, profile = BY_NAME[name].circuit(), load("pynq-z2")
    limits = list(budget_of(profile).values())
    best = folding.optimal_period(options_of(circuit), limits, 20.0)
    found = fold(circuit, profile)
    assert best.bound <= found.period_cycles <= 1.1 * best.bound
    assert all(found.used[each] <= found.budget[each] for each in NAMES)


def test_without_limits_the_optimum_is_the_widest() -> None:
    options = options_of(BY_NAME["mlp-w3a3"].circuit())
    best = folding.optimal_period(options, [1e12] * len(NAMES), 20.0)
    assert best.period == best.bound == np.minimum.reduceat(options.cycles, options.starts).max()


def test_the_networks_are_of_the_kinds_that_are_promised() -> None:
    circuits = {name: network.circuit() for name, network in BY_NAME.items()}
    assert [unit.op for unit in circuits["resnet8-w4a4"].units].count("add") == 3
    assert sum(unit.op == "depthwise" for unit in circuits["mobilenet-w4a4"].units) == 13
    assert all(unit.op == "linear" for unit in circuits["mlp-w3a3"].units)
    assert {unit.out_shape[2] for unit in circuits["signal-w4a4"].units} == {1}
    bits = {
        name: {u.weight_bits for u in c.units if u.op in MATRIX} for name, c in circuits.items()
    }
    assert bits["cnv-w1a1"] == {1}
    assert bits["resnet8-w4a4"] == {4}


def test_the_command_prints_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    told = ["--devices", "pynq-z2,zcu104", "--networks", "mlp-w3a3", "--no-optimum"]
    assert folding.main(told) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "lut" in lines[1]
