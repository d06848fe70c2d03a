"""Latencies of a front measured a second time, and what they say about the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from nas.trials import Provenance, Trial

META = "remeasured"
"""The ledger's note: ``{alias: {"trials": {number: latency_ms}, "error": line}}``."""
OUTSIDE = "outside its calibration"
"""How a part of a method begins, see `evaluators.unseen`: that takes torch to import."""
_LATENCY = "latency_ms."


def widened(trials: Iterable[Trial], notes: Mapping[str, Any] | None) -> tuple[Trial, ...]:
    """Trials whose error bars hold what a second look has shown, where there was one.

    The value stays as it was recorded.

    Args:
        trials: some.
        notes: of the ledger, see `META`.
    """
    again = {f"{_LATENCY}{alias}": note["trials"] for alias, note in (notes or {}).items()}
    return tuple(_widened(trial, again) for trial in trials)


def _widened(trial: Trial, again: Mapping[str, Mapping[str, float]]) -> Trial:
    number, changed = str(trial.number), {}
    for metric, seen in again.items():
        origin = trial.provenance.get(metric)
        if origin is not None and number in seen and origin.source == "measured":
            changed[metric] = _with(origin, trial.metrics[metric], seen[number])
    return replace(trial, provenance={**trial.provenance, **changed}) if changed else trial


def _with(origin: Provenance, first: float, second: float) -> Provenance:
    low = first if origin.low is None else origin.low
    high = first if origin.high is None else origin.high
    method = f"{origin.method}, measured again: {second:.3g} ms"
    return replace(origin, low=min(low, second), high=max(high, second), method=method)
