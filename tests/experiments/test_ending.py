"""Why a search ended, and how long it may take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.config import ConfigError, load_config
from experiments.ending import budget_of, ending_of, nearest_rejected, note_ending
from experiments.experiment import Experiment
from experiments.fronts import run_front
from experiments.report import write_report
from nas.objectives import Constraint
from nas.protocols import Progress
from nas.search import Outcome
from tests.experiments.builders import make_run, trial
from tests.experiments.commands.conftest import Nas, home, nas  # noqa: F401
from tests.experiments.small import small_config

LITTLE = Outcome("improvement", Progress(), "0.1 is expected")
TOLD = "too little improvement is expected: 0.1 is expected"


def test_it_is_kept_until_the_search_goes_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", [trial(0, 0.9, 0.1)])
    with run.ledger(write=True) as ledger:
        assert ending_of(ledger) == ""
        note_ending(ledger, LITTLE)
        assert ending_of(ledger) == TOLD
        note_ending(ledger, None)
        assert ending_of(ledger) == ""


def test_status_and_the_report_say_it(home: Path, nas: Nas) -> None:  # noqa: F811
    run = make_run(home, [trial(0, 0.9, 0.1)])
    assert "ended" not in nas("status", run.id).out
    with run.ledger(write=True) as ledger:
        note_ending(ledger, LITTLE)
    said = nas("status", run.id).out
    assert f"ended        {TOLD}" in said
    assert "unfinished" not in said
    front = run_front(run)
    page = write_report(run, front, front.trials)[0]
    assert f"The search ended: {TOLD}." in page.read_text()


def test_a_budget_of_epochs_reserves_what_a_candidate_may_take() -> None:
    config = load_config("digits-cpu", ["budget={epochs: 300}"])
    budget = budget_of(config)
    assert (budget.trials, budget.epochs, budget.epochs_each) == (None, 300, 12 + 4)
    assert (budget.max_rejected, budget.improvement_per_minute) == (10_000, None)


def test_a_strategy_that_cannot_say_what_it_expects_is_refused(tmp_path: Path) -> None:
    config = small_config("budget.improvement_per_minute=0.001")
    with pytest.raises(ConfigError, match=r"needs a strategy that says .*\(guided\), but got bay"):
        Experiment(config, tmp_path)
    guided = small_config("budget.improvement_per_minute=0.001", "strategy={kind: guided}")
    assert Experiment(guided, tmp_path).config.budget.improvement_per_minute == 0.001


@pytest.mark.parametrize(
    "wrong",
    ["budget.epochs=0", "budget.improvement_per_minute=0", "budget={rejected: 3}"],
)
def test_a_wrong_budget_is_one_line(home: Path, nas: Nas, wrong: str) -> None:  # noqa: F811
    typed = nas("search", "smoke", "--set", wrong)
    assert typed.code == 2
    assert len(typed.err.splitlines()) == 1
    assert "budget" in typed.err
    assert not home.exists()


def test_the_nearest_of_what_a_worker_rejected_is_named() -> None:
    trials = [trial(n, status="rejected", macs=100.0 * n) for n in (3, 2, 5)]
    bounds = [Constraint.parse("macs <= 100"), Constraint.parse("params <= 1")]
    assert nearest_rejected(trials, bounds) == (
        "no candidate satisfies macs <= 100 and params <= 1; the nearest of 3 screened violates "
        "macs <= 100 by 100.00%"
    )
    assert nearest_rejected([trial(0, 0.9, 0.1)], bounds) == ""


def test_the_command_line_is_a_module_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "experiments.cli", "serch"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("nas: ")
    assert "Did you mean 'search'?" in done.stderr
