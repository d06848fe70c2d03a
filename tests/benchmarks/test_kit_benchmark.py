"""The benchmark of a kit, measured by the interpreter that runs the tests."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.kit import rows, there_and_back, without
from experiments.calibrating import Setting
from experiments.calibrating_networks import Plan
from experiments.kit_results import KitResults
from hw_profiles import host
from tests.experiments.calibrated import SHAPE, samples

PROFILE = host.detect()
SETTING = Setting("formula 1.0")


def test_networks_of_the_first_kit_are_not_tested() -> None:
    first = KitResults(tuple(samples(16)), SETTING, "host-cpu", ())
    others = KitResults(tuple(samples(24)), SETTING, "host-cpu", ())
    tested = without(others, first)
    assert len(tested.samples) == 8
    (row,) = rows(PROFILE, first, tested, "physical")
    assert row["n_test"] == 8
    assert 0 <= float(str(row["mape"])) < 40


@pytest.mark.slow
def test_there_and_back(tmp_path: Path) -> None:
    plan = Plan(PROFILE, "convnet", SHAPE, 6, options={"stages": 1})
    found = there_and_back(tmp_path / "kit", plan, Path(sys.executable))
    assert len(found.samples) == 6
    measured = json.loads((tmp_path / "kit" / "results.json").read_text())
    assert len(measured["networks"]) == 6
    assert replace(found, missing=()) == found
