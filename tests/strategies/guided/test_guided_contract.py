"""Guided search keeps the contract of all strategies."""

from __future__ import annotations

from strategies.testing import LearningContract


class TestGuided(LearningContract):
    name = "guided"
    options = {"pool": 200}
