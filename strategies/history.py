"""What a strategy was told and what it waits for, with genotypes as tuples of option indices."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from numbers import Real

from nas.choices import Choice, Genotype, Value, check_choices, validate

Code = tuple[int, ...]
"""A genotype: the index of each choice's option, `INACTIVE` where the choice is not made."""

INACTIVE = -1

Costs = tuple[float | None, ...]

LARGEST = 1e100
"""Of a cost or a violation; what is beyond is no measurement, and sums and products overflow."""

DIGITS = 9
"""Of scaled costs; what rounding does to a metric that was scaled or shifted is far below."""


@dataclass(frozen=True)
class Observation:
    """All that is known about one genotype, repeated results averaged.

    Args:
        code: the genotype.
        costs: one an objective, lower is better, None where no result told it; None at all where
            every result was a failure.
        violation: of the constraints, averaged over the results that are no failures; infinite
            where all are.
        results: how many of the results are no failures.
    """

    code: Code
    costs: Costs | None
    violation: float
    results: int = 1

    @property
    def complete_costs(self) -> tuple[float, ...] | None:
        """The costs where all of them are known."""
        if self.costs is None:
            return None
        known = tuple(cost for cost in self.costs if cost is not None)
        return known if len(known) == len(self.costs) else None

    @property
    def is_comparable(self) -> bool:
        """Whether it has a rank: no failure, and feasible only with all costs known."""
        return self.costs is not None and (self.violation > 0 or self.complete_costs is not None)


class History:
    """Results in the order in which genotypes were first told, and what is pending.

    Args:
        choices: the space.
        objectives: how many costs a result has.

    Raises:
        ValueError: for choices that do not form a space.
    """

    def __init__(self, choices: Sequence[Choice], objectives: int) -> None:
        check_choices(choices)
        self.choices = tuple(choices)
        self._objectives = objectives
        self._indices = [{option: i for i, option in enumerate(c.options)} for c in self.choices]
        self._results: dict[Code, list[tuple[Costs, float] | None]] = {}
        self._observations: dict[Code, Observation] = {}
        self._pending: set[Code] = set()
        self._told = 0

    @property
    def told(self) -> int:
        """The number of results, repeated ones included."""
        return self._told

    @property
    def observations(self) -> list[Observation]:
        """One a genotype, in the order of their first results."""
        return list(self._observations.values())

    @property
    def distinct(self) -> int:
        """The number of genotypes with a result."""
        return len(self._observations)

    @property
    def pending(self) -> int:
        """The number of genotypes that were asked for and are not told yet."""
        return len(self._pending)

    @property
    def pending_codes(self) -> list[Code]:
        """What is pending, sorted."""
        return sorted(self._pending)

    def encode(self, genotype: Genotype) -> Code:
        """The code of a canonical genotype."""
        return tuple(
            index[genotype[choice.name]] if choice.name in genotype else INACTIVE
            for choice, index in zip(self.choices, self._indices, strict=True)
        )

    def decode(self, code: Code) -> dict[str, Value]:
        """The genotype of a code."""
        pairs = zip(self.choices, code, strict=True)
        return {choice.name: choice.options[i] for choice, i in pairs if i != INACTIVE}

    def knows(self, code: Code) -> bool:
        """Whether a genotype was told or is pending."""
        return code in self._observations or code in self._pending

    def expect(self, genotype: Genotype) -> None:
        """Mark a genotype as pending.

        Raises:
            ValueError: when it is none of this space.
        """
        validate(self.choices, genotype)
        self._pending.add(self.encode(genotype))

    def tell(
        self, genotype: Genotype, costs: Sequence[float | None] | None, violation: float
    ) -> Observation:
        """Add a result; see `nas.protocols.Strategy.tell`.

        A cost that is not finite, or beyond `LARGEST`, is nothing to compare by and counts as
        unknown.

        Raises:
            ValueError: for a genotype that is none of this space, for another number of costs than
                of objectives, for costs that are no numbers, for a violation that is none or
                negative or NaN.
        """
        validate(self.choices, genotype)
        self._check_costs(costs)
        if not isinstance(violation, Real) or not violation >= 0:
            raise ValueError(f"violation must be at least 0, but got {violation!r:.60}")
        code, result = self.encode(genotype), None
        if costs is not None:
            most = math.inf if violation == math.inf else min(_float(violation), LARGEST)
            result = (tuple(None if c is None else _measured(c) for c in costs), most)
        self._results.setdefault(code, []).append(result)
        self._observations[code] = self._summary(code)
        self._pending.discard(code)
        self._told += 1
        return self._observations[code]

    def _check_costs(self, costs: object) -> None:
        if costs is None:
            return
        if not isinstance(costs, Collection) or len(costs) != self._objectives:
            raise ValueError(
                f"there must be {self._objectives} costs, one an objective, but got {costs!r:.60}"
            )
        for cost in costs:
            if cost is not None and not isinstance(cost, Real):
                raise ValueError(f"costs must be numbers or None, but got {cost!r:.60}")

    def _summary(self, code: Code) -> Observation:
        results = [result for result in self._results[code] if result is not None]
        if not results:
            return Observation(code, None, math.inf, 0)
        columns = zip(*(costs for costs, _ in results), strict=True)
        means = tuple(_mean([c for c in column if c is not None]) for column in columns)
        violation = math.fsum(v for _, v in results) / len(results)
        return Observation(code, means, violation, len(results))


def _float(value: float) -> float:
    """As a float, infinite where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _measured(cost: float) -> float | None:
    """As a float, None where it is no measurement."""
    value = _float(cost)
    return value if abs(value) <= LARGEST else None


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def completed(rows: Sequence[Costs]) -> list[tuple[float, ...]]:
    """Costs with the worst one known of an objective in place of each unknown one.

    Args:
        rows: (observations, objectives).
    """
    columns = []
    for column in zip(*rows, strict=True):
        worst = max((cost for cost in column if cost is not None), default=0.0)
        columns.append([worst if cost is None else cost for cost in column])
    return list(zip(*columns, strict=True))


def scaled(rows: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """Costs with each objective over [0, 1], so that its unit and zero do not matter.

    Args:
        rows: (observations, objectives), finite.
    """
    columns = []
    for column in zip(*rows, strict=True):
        low = min(column)
        span = (max(column) - low) or 1.0
        columns.append([round((cost - low) / span, DIGITS) for cost in column])
    return list(zip(*columns, strict=True))
