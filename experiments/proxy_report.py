"""How the zero-cost proxies of a search rank the networks that were trained so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.proxy_names import PREFIX, PROXIES
from nas.ranks import chance, kendall, spearman
from nas.trials import Trial

ACCURACY = "float_accuracy"
"""Of the network as it was trained: proxies know nothing of compression."""

FEWEST = 5
"""Networks below which a rank correlation says nothing."""

LATEST = 500
"""Networks that correlations are taken of, at most."""


@dataclass(frozen=True)
class Standing:
    """Rank correlations with the accuracy of trained networks; not a number where constant.

    Args:
        name: of the proxy, or ``macs`` and ``params`` to compare with.
        kendall: tau-b.
        spearman: rho.
        networks: that have both, each training once.
    """

    name: str
    kendall: float
    spearman: float
    networks: int

    @property
    def is_chance(self) -> bool:
        """Whether unrelated figures would often correlate as much."""
        return not abs(self.kendall) > chance(self.networks)


def standings(trials: Iterable[Trial]) -> list[Standing]:
    """Of each proxy that is known of enough networks, then of MACs and parameters.

    Empty where there is none. Compressed variants of a network count once.
    """
    trained = {t.training_key: t for t in trials if ACCURACY in t.metrics}
    latest = list(trained.values())[-LATEST:]
    found = [_standing(latest, name, f"{PREFIX}{name}") for name in PROXIES]
    found = [standing for standing in found if standing.networks >= FEWEST]
    return [*found, *(_standing(latest, name, name) for name in ("macs", "params") if found)]


def _standing(trials: Sequence[Trial], name: str, metric: str) -> Standing:
    pairs = [(t.metrics[metric], t.metrics[ACCURACY]) for t in trials if metric in t.metrics]
    values, accuracies = np.array(pairs, dtype=float).reshape(-1, 2).T
    return Standing(name, kendall(values, accuracies), spearman(values, accuracies), len(pairs))


def summary(found: Sequence[Standing]) -> str:
    """One part of a line: ``naswot .37, synflow .36 (macs .39, params .27)``; Kendall's tau."""
    shown = [f"{standing.name} {short(standing.kendall)}" for standing in found]
    proxies, others = shown[:-2], shown[-2:]
    return f"{', '.join(proxies)} ({', '.join(others)})" if proxies else ""


def short(value: float) -> str:
    """A correlation with two digits, without a leading 0."""
    return "-" if math.isnan(value) else f"{value:.2f}".replace("0.", ".", 1)
