"""Why a search ended, in words, kept in its ledger for whoever asks later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from experiments.config import ExperimentConfig
from experiments.ledger import SqliteLedger
from nas.budget import Budget, Reason
from nas.objectives import Constraint, excesses
from nas.search import Outcome
from nas.trials import Readings, Trial, sure_violation

META = "ended"
"""The ledger's note: one line; empty while the search is running, and where it broke off."""

ENDED: Mapping[Reason, str] = {
    "trials": "the budget of trials is spent",
    "minutes": "the time is up",
    "epochs": "the budget of training epochs is spent",
    "improvement": "too little improvement is expected",
    "rejected": "too many candidates were rejected before training",
    "exhausted": "there is nothing left to try",
}


def ending(outcome: Outcome) -> str:
    """Why a search ended, in one line."""
    return ENDED[outcome.reason] + (f": {outcome.detail}" if outcome.detail else "")


def note_ending(ledger: SqliteLedger, outcome: Outcome | None) -> None:
    """Keep it for `ending_of`; None: the search goes on."""
    ledger.set_meta(META, "" if outcome is None else ending(outcome))


def ending_of(ledger: SqliteLedger) -> str:
    """Why the search of a ledger ended; empty where it did not."""
    return str(ledger.get_meta(META) or "")


def nearest_rejected(trials: Iterable[Trial], constraints: Sequence[Constraint]) -> str:
    """How near the nearest candidate came that was rejected before training; empty without any."""
    worst: list[tuple[float, int, str]] = []
    for trial in trials:
        known = Readings(trial.metrics, trial.provenance)
        broken = [(c, sure_violation(c, known)) for c in constraints]
        if trial.status == "rejected" and (said := excesses(broken)):
            worst.append((sum(violation for _, violation in broken), trial.number, said))
    if not worst:
        return ""
    wanted = " and ".join(map(str, constraints))
    said = min(worst)[2]
    return f"no candidate satisfies {wanted}; the nearest of {len(worst)} screened violates {said}"


def budget_of(config: ExperimentConfig) -> Budget:
    """The budget of a search as the loop takes it."""
    budget, training, compression = config.budget, config.training, config.compression
    tunings = (compression.prune != ("none",)) + ("qat" in compression.quantize)
    return Budget(
        trials=budget.trials,
        minutes=budget.minutes or float("inf"),
        rejected=budget.rejected_cap,
        epochs=budget.epochs,
        epochs_each=training.epochs + tunings * training.fine_tune_epochs,
        improvement_per_minute=budget.improvement_per_minute,
        confirm=budget.confirm,
    )
