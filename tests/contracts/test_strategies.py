"""Every shipped strategy keeps the contract."""

from __future__ import annotations

import strategies
from strategies.testing import LearningContract, StrategyContract


class TestBayesian(LearningContract):
    name = "bayesian"


class TestGenetic(LearningContract):
    name = "genetic"


class TestRandom(StrategyContract):
    name = "random"


def test_no_strategy_is_left_out() -> None:
    tested = {contract.name for contract in (TestBayesian, TestGenetic, TestRandom)}
    assert tested >= set(strategies.names())
