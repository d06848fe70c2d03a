"""Every shipped strategy keeps the contract."""

from __future__ import annotations

import strategies
from strategies.testing import StrategyContract


class TestBayesian(StrategyContract):
    name = "bayesian"


class TestGenetic(StrategyContract):
    name = "genetic"


class TestRandom(StrategyContract):
    name = "random"
    learns = False


def test_no_strategy_is_left_out() -> None:
    tested = {contract.name for contract in StrategyContract.__subclasses__()}
    assert tested >= set(strategies.names())
