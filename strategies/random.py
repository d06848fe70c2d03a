"""Random search, the baseline: every choice uniformly, nothing twice."""

from __future__ import annotations

import random
from collections.abc import Iterator

from nas.choices import Genotype
from strategies.base import BaseStrategy


class RandomStrategy(BaseStrategy):
    """Draws every active choice uniformly, parents first, and asks for no genotype twice.

    That is what every strategy does where it has nothing to propose.
    """

    def _propose(self, rng: random.Random) -> Iterator[Genotype]:
        return iter(())
