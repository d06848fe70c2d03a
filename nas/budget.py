"""When a search ends: trials, minutes, training epochs, or too little left to expect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from nas.protocols import Progress

Reason = Literal["trials", "minutes", "epochs", "improvement", "rejected", "exhausted"]

REJECTED_A_TRIAL, REJECTED_AT_MOST = 20, 20_000
"""Candidates that may be rejected where nothing else is said: by trial, and without a budget of
trials."""


@dataclass(frozen=True)
class Budget:
    """When a search ends: with the first of these that is spent. None: no such limit.

    Args:
        trials: candidates scored, failed ones included.
        minutes: of search time, earlier runs of the same search included; running candidates are
            finished.
        rejected: candidates refused before training, at most; 20 times ``trials`` where None.
        failures: the search is given up when it begins with this many failures in a row.
        epochs: of training, fine-tuning included, as they were really run: a training that is
            shared or stopped early costs what it took. Candidates in work count with
            ``epochs_each``; the last one is finished.
        epochs_each: what a candidate takes at most.
        improvement_per_minute: the least hypervolume that must be expected of another minute, as a
            share of the present one; needs a strategy with ``expected_improvement``.
        confirm: trainings that each member of the front has in the end, see `nas.repeats`. What
            goes beyond the first is no part of the other limits.

    Raises:
        ValueError: without any of trials, minutes and epochs, or for one that is not positive.
    """

    trials: int | None = None
    minutes: float = math.inf
    rejected: int | None = None
    failures: int = 10
    epochs: int | None = None
    epochs_each: int = 0
    improvement_per_minute: float | None = None
    confirm: int = 1

    def __post_init__(self) -> None:
        if self.trials is not None and self.trials < 1:
            raise ValueError(f"the budget must be at least 1 trial, but got {self.trials}")
        if not self.minutes > 0:
            raise ValueError(f"the budget must be more than 0 minutes, but got {self.minutes}")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"the budget must be at least 1 epoch, but got {self.epochs}")
        if self.trials is None and self.epochs is None and math.isinf(self.minutes):
            raise ValueError("the budget must be in trials, minutes or epochs, but got none")
        if self.confirm < 1:
            raise ValueError(f"confirm must be at least 1 training, but got {self.confirm}")
        least = self.improvement_per_minute
        if least is not None and not 0 < least < math.inf:
            raise ValueError(f"improvement_per_minute must be a number above 0, but got {least}")

    @property
    def max_rejected(self) -> int:
        """The cap on rejected candidates."""
        if self.rejected is not None:
            return self.rejected
        return REJECTED_AT_MOST if self.trials is None else REJECTED_A_TRIAL * self.trials

    def spent(self, progress: Progress) -> Reason | None:
        """What is spent, None as long as another candidate may be asked for."""
        running = progress.running - progress.confirming
        if self.trials is not None and progress.scored + running >= self.trials:
            return "trials"
        if progress.elapsed_s >= 60 * self.minutes:
            return "minutes"
        reserved = progress.epochs + running * self.epochs_each
        if self.epochs is not None and reserved >= self.epochs:
            return "epochs"
        return "rejected" if progress.rejected >= self.max_rejected else None


def improvement_per_minute(gain: float | None, seconds: float, scored: int) -> float | None:
    """The share of the hypervolume that another minute is expected to add.

    Args:
        gain: expected of the next candidate, as a share of the hypervolume; None: nobody knows.
        seconds: of search time that were spent.
        scored: candidates, in that time.

    Returns:
        None where it cannot be said, before the first candidate for example.
    """
    if gain is None or scored < 1 or seconds <= 0:
        return None
    return gain * scored / (seconds / 60)
