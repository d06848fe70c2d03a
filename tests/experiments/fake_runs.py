"""Runs whose ledgers are filled without searching, and MLflow stores to write them to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.config import load_config
from experiments.ledger import SqliteLedger
from experiments.runs import Run, create_run
from nas.pareto import reference_point
from nas.protocols import Ask
from nas.trials import Artifact, Trial
from tests.experiments.fake_trials import OBJECTIVES, fake_trials


class Clock:
    """A time of day that goes on by two seconds each time somebody looks."""

    def __init__(self, first: int = 0) -> None:
        self.now = 1_800_000_000.0 + 10 * first

    def __call__(self) -> float:
        self.now += 2.0
        return self.now


def fill(run: Run, trials: Sequence[Trial]) -> None:
    """Write trials into a run's ledger, as a search does."""
    ledger = SqliteLedger(run.ledger_path, now=Clock(trials[0].number if trials else 0))
    with ledger:
        for trial in trials:
            ledger.asked(Ask(trial.number, trial.genotype, trial.training_key, trial.candidate_key))
            ledger.done(with_file(run, trial), 10.0 * trial.number)
        costs = [
            tuple(float(o.cost(t.metrics) or 0) for o in OBJECTIVES)
            for t in trials
            if t.status == "done"
        ]
        if ledger.reference_point is None and len(costs) >= 5:
            ledger.fix_reference_point(reference_point(costs))


def with_file(run: Run, trial: Trial) -> Trial:
    """The trial with an artifact that is really there; it is no network, but bytes."""
    if trial.status != "done":
        return trial
    data = f"not really ONNX, trial {trial.number}".encode()
    sha256 = hashlib.sha256(data).hexdigest()
    path = run.artifacts_dir / f"{sha256}.onnx"
    path.write_bytes(data)
    return replace(trial, artifact=Artifact(str(path), sha256))


def fake_run(
    home: Path,
    name: str = "digits-cpu",
    count: int = 12,
    seed: int = 0,
    status: str = "finished",
    overrides: Sequence[str] = (),
    **options: Any,
) -> Run:
    """A run of a shipped experiment with made-up trials."""
    run = create_run(home, load_config(name, overrides))
    fill(run, fake_trials(count, seed, **options))
    run.set_state(status)  # type: ignore[arg-type]
    return run
