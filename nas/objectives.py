"""What a search wants (objectives) and what it must not break (constraints)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Direction = Literal["maximize", "minimize"]

REJECT_ABOVE = 0.95
"""The probability of a violation that is sure enough: the near end of a 90 % error bar violates."""

METRIC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_\-]+)*")
_CONSTRAINT = re.compile(
    rf"\s*(?P<metric>{METRIC_NAME.pattern})\s*(?P<operator><=|>=)\s*(?P<bound>\S+)\s*"
)


_COST = re.compile(r"[a-z]+(_[a-z]+)*_(ms|mj|kb)(_[a-z]+)?(\..*)?")


def is_share(metric: str) -> bool:
    """Whether it is a share of examples that are answered right, from 0 to 1."""
    return metric.startswith("accuracy") or metric == "float_accuracy"


def _check_metric(metric: str) -> None:
    if not METRIC_NAME.fullmatch(metric):
        raise ValueError(f"a metric is named like 'latency_ms.cpu', but got {metric!r}")


@dataclass(frozen=True)
class Objective:
    """A metric to maximize or to minimize.

    Raises:
        ValueError: for a direction or a metric name that cannot be, less accuracy, and more
            milliseconds, millijoules or kilobytes.
    """

    metric: str
    direction: Direction

    def __post_init__(self) -> None:
        _check_metric(self.metric)
        if self.direction not in get_args(Direction):
            raise ValueError(
                f"the direction of {self.metric!r} is 'maximize' or 'minimize', "
                f"but got {self.direction!r}"
            )
        wanted = "maximize" if is_share(self.metric) else "minimize"
        if self.direction != wanted and (is_share(self.metric) or _COST.fullmatch(self.metric)):
            raise ValueError(
                f"{self.metric!r} is something to {wanted}, but got {self.direction!r}"
            )

    def cost(self, metrics: Mapping[str, float]) -> float | None:
        """The metric as a cost, lower is better; None where it is not known."""
        value = metrics.get(self.metric)
        if value is None:
            return None
        return -value if self.direction == "maximize" else value

    def value(self, cost: float) -> float:
        """The metric behind a cost."""
        return -cost if self.direction == "maximize" else cost


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric, for example ``latency_ms.cpu <= 1.5``.

    Args:
        metric: by name.
        operator: ``<=`` or ``>=``.
        bound: in the metric's unit.
        reject_above: while there is only an estimate of the metric, the probability of a violation
            above which a candidate is rejected, in (0, 1]; 1: never by an estimate.

    Raises:
        ValueError: for a bound that cannot be, a share above 1 too.
    """

    metric: str
    operator: Literal["<=", ">="]
    bound: float
    reject_above: float = REJECT_ABOVE

    def __post_init__(self) -> None:
        _check_metric(self.metric)
        if self.operator not in ("<=", ">="):
            raise ValueError(f"a constraint uses <= or >=, but got {self.operator!r}")
        if not math.isfinite(self.bound):
            raise ValueError(f"the bound of {self.metric!r} must be finite, but got {self.bound}")
        if is_share(self.metric) and not 0 <= self.bound <= 1:
            raise ValueError(
                f"{self.metric!r} is a share, its bound is from 0 to 1, but got {self.bound:g}"
            )
        if not 0 < self.reject_above <= 1:
            raise ValueError(
                f"reject_above must be a probability above 0, but got {self.reject_above}"
            )

    @classmethod
    def parse(cls, text: str, reject_above: float = REJECT_ABOVE) -> Constraint:
        """Read ``METRIC <= NUMBER`` or ``METRIC >= NUMBER``.

        Raises:
            ValueError: when the text is not of that form.
        """
        match = _CONSTRAINT.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            bound = float(match["bound"])
        except ValueError:
            raise ValueError(
                f"a constraint looks like 'latency_ms.cpu <= 1.5' (with <= or >=), but got {text!r}"
            ) from None
        operator: Literal["<=", ">="] = "<=" if match["operator"] == "<=" else ">="
        return cls(match["metric"], operator, bound, reject_above)

    def violation(self, metrics: Mapping[str, float]) -> float | None:
        """How far the bound is exceeded.

        Returns:
            0.0 where it is met, the excess relative to the bound (absolute where the bound is 0),
            or None where the metric is not known yet.
        """
        value = metrics.get(self.metric)
        if value is None:
            return None
        excess = value - self.bound if self.operator == "<=" else self.bound - value
        return max(0.0, excess) / (abs(self.bound) or 1.0)

    def __str__(self) -> str:
        return f"{self.metric} {self.operator} {self.bound:g}"


def total_violation(constraints: Sequence[Constraint], metrics: Mapping[str, float]) -> float:
    """The sum of all violations that are known."""
    return sum(c.violation(metrics) or 0.0 for c in constraints)


def excesses(violations: Iterable[tuple[Constraint, float]]) -> str:
    """By how much each bound is exceeded, as `Constraint.violation` says: ``A <= 2 by 50.00%``.

    Those that are kept are left out; empty where all are.
    """
    return " and ".join(f"{c} by {_excess(c, value)}" for c, value in violations if value)


def _excess(constraint: Constraint, violation: float) -> str:
    if not constraint.bound:
        return f"{violation:g}"
    return "less than 0.01%" if violation < 1e-4 else f"{violation:.2%}"
