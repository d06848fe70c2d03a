"""Every shipped strategy keeps the contract."""

from __future__ import annotations

from typing import Any, ClassVar

import optuna
import pytest

import strategies
from strategies.testing import LearningContract, StrategyContract
from tests.strategies.guided import test_guided_contract as guided


class TestBayesian(LearningContract):
    name = "bayesian"


class _Hasty(optuna.samplers.GPSampler):
    """Looks for the best proposal less long."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._n_preliminary_samples, self._n_local_search = 64, 2
        self._n_qmc_samples_ehvi = 16


class TestGaussianProcess(StrategyContract):
    name = "bayesian"
    options: ClassVar = {"sampler": "gp", "startup": 4}
    asks = 5

    @pytest.fixture(autouse=True)
    def _hurry(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        if "another_process" not in request.node.name:
            monkeypatch.setattr(optuna.samplers, "GPSampler", _Hasty)

    @pytest.mark.parametrize(("hash_seed", "objectives"), [("1", 2)])
    def test_another_process_with_another_hash_seed_asks_the_same(
        self, hash_seed: str, objectives: int
    ) -> None:
        """Not in haste there, so not for four objectives as well."""
        super().test_another_process_with_another_hash_seed_asks_the_same(hash_seed, objectives)


class TestGenetic(LearningContract):
    name = "genetic"


class TestLocal(LearningContract):
    name = "local"


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
    here = (TestBayesian, TestGenetic, TestLocal, TestRandom)
    tested = {contract.name for contract in (*here, guided.TestGuided)}
    assert tested >= set(strategies.names())
