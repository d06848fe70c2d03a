"""Early stopping in a worker: what was known when a candidate was asked for decides.

It is read from the ledger, so that a resumed search decides alike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.config import ExperimentConfig
from experiments.ledger import SqliteLedger
from nas.trials import Candidate, Curve, Readings

if TYPE_CHECKING:
    from nas.stopping import Stopper


class Watch:
    """Follows one training.

    Args:
        stopper: decides; None: nothing is stopped.
        seen: the curve of an earlier training of the same network, as far as that went. It is
            replayed, and a stop that it gives reason for costs no training.
    """

    def __init__(self, stopper: Stopper | None, seen: Curve) -> None:
        self._stopper, self.stopped = stopper, ""
        self._values: dict[str, list[float]] = {"loss": [], "accuracy": []}
        for epoch in range(len(seen.get("accuracy", ())) if stopper else 0):
            if not self.report(epoch, {name: values[epoch] for name, values in seen.items()}):
                break
        if not self.stopped:
            self._values = {"loss": [], "accuracy": []}

    @property
    def curve(self) -> Curve:
        """What was reported."""
        return {name: tuple(values) for name, values in self._values.items()}

    @property
    def estimates(self) -> Readings:
        """What a stopped training would probably have come to."""
        return self._stopper.estimates(self.curve) if self._stopper else Readings()

    def report(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """See `evaluators.training.Report`; ``stopped`` says why, once it is False."""
        for name, values in self._values.items():
            values.append(metrics[name])
        if self._stopper is not None:
            self.stopped = self._stopper.why_stop(self.curve)
        return not self.stopped


def watch(
    config: ExperimentConfig,
    ledger: Path,
    candidate: Candidate,
    known: Mapping[str, float],
    seen: Curve,
) -> Watch:
    """Whoever decides about the training of a candidate.

    Repetitions of a training are there to be averaged, so they are never stopped.

    Args:
        config: of the search.
        ledger: of the search.
        candidate: about to be trained.
        known: of it before training.
        seen: see `Watch`.
    """
    settings = config.early_stopping
    if settings.rule == "none" or candidate.repeat:
        return Watch(None, {})
    from nas.stopping import Stopper, StoppingRule

    with contextlib.closing(SqliteLedger(ledger, read_only=True)) as known_so_far:
        past = known_so_far.told_before(candidate.candidate_key)
    rule = StoppingRule(settings.rule, settings.confidence, settings.grace, settings.reduction)
    return Watch(
        Stopper(
            rule,
            config.objectives_parsed(),
            config.constraints_parsed(),
            past,
            candidate.genotype,
            known,
            config.training.epochs,
        ),
        seen,
    )
