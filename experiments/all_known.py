"""Whether a search needs no training at all, for strategies that would not notice."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from experiments.config import ExperimentConfig
from nas.choices import Choice, Genotype, sample
from nas.trials import ESTIMATED, CandidateError, Readings

HINT = (
    "all objectives are known before training: with strategy: {kind: guided} nothing would be "
    "trained to search"
)

_TRIES = 5


def hint(
    config: ExperimentConfig, choices: Sequence[Choice], known: Callable[[Genotype], Readings]
) -> str:
    """What to say to whoever trains for nothing; empty where nobody does.

    Args:
        config: of the search.
        choices: of its space.
        known: what is known of a candidate before training.
    """
    if config.strategy.kind == "guided":
        return ""
    wanted = {each.metric for each in config.objectives_parsed()}
    wanted |= {each.metric for each in config.constraints_parsed()}
    rng = random.Random(config.seed)
    for _ in range(_TRIES):
        try:
            found = known(sample(choices, rng))
        except CandidateError:
            continue
        sure = {
            n for n in found if n in found.provenance or f"{ESTIMATED}{n}" not in found.provenance
        }
        return HINT if wanted <= sure else ""
    return ""
