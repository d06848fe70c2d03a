"""Searches gone through again with a rule that stops trainings."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from benchmarks import stopping_replay
from benchmarks.stopping_replay import Replay
from experiments.ledger import SqliteLedger
from experiments.pipeline import CandidatePipeline, Parts
from experiments.runs import Run, create_run
from nas.choices import sample
from nas.protocols import Ask
from nas.stopping import StoppingRule
from nas.trials import Trial
from tests.experiments.small import small_config

EPOCHS = 8
GOOD = 0.98
OBJECTIVES = "objectives=[{maximize: accuracy}, {minimize: params}]"


def curve(final: float, rng: random.Random) -> dict[str, tuple[float, ...]]:
    """Approaches its end."""
    accuracy = [final * (1 - math.exp(-(e + 1) / 2)) + rng.gauss(0, 0.003) for e in range(EPOCHS)]
    accuracy[-1] = final
    return {"accuracy": tuple(accuracy), "loss": tuple(2.0 - a for a in accuracy)}


def made_up(home: Path, finals: list[float], *overrides: str, shared: bool = False) -> Run:
    """A search whose networks come to these accuracies; a training takes 10 s, the rest 5 s.

    Args:
        home: of the run.
        finals: accuracies.
        overrides: of the configuration.
        shared: whether every second candidate shares the training of the one before.
    """
    config = small_config("devices={}", OBJECTIVES, f"training.epochs={EPOCHS}", *overrides)
    run, parts, rng = create_run(home, config), Parts.of(config), random.Random(0)
    pipeline = CandidatePipeline(parts, home / "scratch", 60.0)
    with SqliteLedger(run.ledger_path) as ledger:
        for number, final in enumerate(finals):
            candidate = pipeline.candidate(sample(parts.choices, rng))
            key = f"training {number // 2 if shared else number}"
            first = not (shared and number % 2)
            metrics = {**pipeline.screen(candidate), "accuracy": final}
            seconds = {"train": 10.0 if first else 0.01, "score": 5.0}
            ledger.asked(Ask(number, candidate.genotype, key, candidate.candidate_key))
            trial = Trial(
                number, candidate.genotype, key, candidate.candidate_key, "done", metrics,
                seconds=seconds, curve=curve(final, random.Random(number // (1 + shared))),
            )  # fmt: skip
            ledger.done(trial, 15.0 * number)
    return run


def finals(pairs: int) -> list[float]:
    """Good and bad ones in turn."""
    rng = random.Random(1)
    return [
        value
        for _ in range(pairs)
        for value in (rng.uniform(GOOD - 0.01, GOOD), rng.uniform(0.3, 0.6))
    ]


def test_without_a_rule_nothing_is_saved(tmp_path: Path) -> None:
    found = Replay(made_up(tmp_path, finals(8)), StoppingRule())()
    assert (found.trials, found.trainings, found.stopped) == (16, 16, 0)
    assert (found.epochs_saved, found.training_saved, found.later_saved) == (0, 0, 0)
    assert found.same_front


def test_trainings_that_lead_nowhere_are_stopped_and_not_paid_for(tmp_path: Path) -> None:
    run = made_up(tmp_path, finals(12))
    found = Replay(run, StoppingRule("prediction", 0.975, grace=0.25))()
    assert found.stopped >= 4
    assert found.epochs_saved == pytest.approx(found.stopped * 6 / (24 * EPOCHS))
    assert found.training_saved == pytest.approx(found.epochs_saved)
    assert found.later_saved == pytest.approx(found.stopped / 24)
    assert (found.same_front, found.kept, found.wrong) == (True, 1.0, 0)


def test_a_variant_of_a_stopped_network_is_stopped_for_nothing(tmp_path: Path) -> None:
    run = made_up(tmp_path, [final for final in finals(12) for _ in range(2)], shared=True)
    found = Replay(run, StoppingRule("prediction", 0.975, grace=0.25))()
    assert found.trainings == 24
    assert found.stopped >= 8
    trainings = math.ceil(found.stopped / 2)
    assert found.epochs_saved == pytest.approx(trainings * 6 / (24 * EPOCHS), abs=0.02)


def test_a_stop_of_a_member_of_the_front_is_wrong(tmp_path: Path) -> None:
    """Late bloomers: as bad as the others in the epochs that the rule sees."""
    run = made_up(tmp_path, [*finals(12), 0.999])
    with SqliteLedger(run.ledger_path, read_only=True) as ledger:
        last = ledger.trials()[-1]
    bad = curve(0.4, random.Random(5))
    late = {name: (*bad[name][:6], *last.curve[name][6:]) for name in bad}
    replay = Replay(run, StoppingRule("prediction", 0.975, grace=0.25))
    replay._trials[-1] = Trial(**{**vars(last), "curve": late})
    found = replay()
    assert found.wrong == 1
    assert not found.same_front
    assert found.kept < 0.9


def test_the_command_says_what_is_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = made_up(tmp_path, finals(12)), tmp_path / "found.json"
    assert stopping_replay.main([str(run.path), f"--json={file}"]) == 0
    said = capsys.readouterr().out
    assert "of the training time saved" in said
    assert "35 % saved" in said or "goals met" in said
    assert json.loads(file.read_text())[0]["trials"] == 24


def test_runs_that_cannot_be_replayed_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stopping_replay.main(["nowhere", f"--home={tmp_path}"]) == 2
    assert "nowhere" in capsys.readouterr().err
    run = made_up(tmp_path, finals(2), "early_stopping.rule=rungs")
    assert stopping_replay.main([str(run.path)]) == 2
    assert "its curves are not whole" in capsys.readouterr().err
