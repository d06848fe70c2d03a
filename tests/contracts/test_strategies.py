"""Every shipped strategy keeps the contract."""

from __future__ import annotations

from typing import ClassVar

import strategies
from strategies.testing import LearningContract, StrategyContract


class TestBayesian(LearningContract):
    name = "bayesian"


class TestGenetic(LearningContract):
    name = "genetic"


class TestNsga3(LearningContract):
    name = "genetic"
    options: ClassVar = {"algorithm": "nsga3"}


class TestAgeing(LearningContract):
    name = "genetic"
    options: ClassVar = {"algorithm": "ageing"}
    regret = 0.95  # it does not hold on to what is good


class TestRandom(StrategyContract):
    name = "random"


def test_no_strategy_is_left_out() -> None:
    tested = {contract.name for contract in (TestBayesian, TestGenetic, TestRandom)}
    assert tested >= set(strategies.names())
