"""Toy spaces with known best fronts, and the steps of a strategy put to the test on them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from nas.choices import Choice, Genotype, enumerate_genotypes
from nas.pareto import hypervolume, reference_point
from nas.protocols import Strategy

Evaluate = Callable[[Genotype], Sequence[float | None] | None]


def _stage(name: str) -> list[Choice]:
    return [
        Choice(f"{name}.depth", (1, 2, 3), ordered=True),
        Choice(f"{name}.width", (16, 32, 64, 96), ordered=True),
        Choice(f"{name}.kind", ("plain", "separable", "inverted")),
        Choice(
            f"{name}.expansion", (2, 3, 4, 6), ordered=True, when={f"{name}.kind": ["inverted"]}
        ),
    ]


TOY = (
    Choice("stem", (8, 16, 32), ordered=True),
    *_stage("stage1"),
    *_stage("stage2"),
    Choice("scheme", ("none", "static")),
)
"""31,104 toy networks, some of whose choices depend on others."""

HILLS = tuple(Choice(f"place{i}", tuple(range(8)), ordered=True) for i in range(8))
"""16,777,216 places, for `hill_costs`."""

NESTED = (
    Choice("kind", ("plain", "inverted")),
    Choice("expansion", (2, 4, 6), ordered=True, when={"kind": ["inverted"]}),
    Choice("squeeze", (0.0, 0.25), ordered=True, when={"expansion": [4, 6]}),
    Choice("gate", ("relu", "hard"), when={"squeeze": [0.25], "kind": ["inverted"]}),
)
"""Eight toy networks, conditions upon conditions."""

TINY = (
    Choice("kind", ("plain", "inverted", "none")),
    Choice("expansion", (2, 4, 6), ordered=True, when={"kind": ["inverted"]}),
    Choice("width", (8, 16), ordered=True, when={"kind": ["plain", "inverted"]}),
)
"""Nine toy networks."""


def toy_costs(genotype: Genotype) -> tuple[float, float]:
    """Error (a share) and latency (ms) of a genotype of `TOY`: two costs that are at odds."""
    channels, power, latency_ms = float(genotype["stem"]), 0.0, 2.0
    for stage, pixels in (("stage1", 256), ("stage2", 64)):
        depth, width = int(genotype[f"{stage}.depth"]), float(genotype[f"{stage}.width"])
        kind, expansion = genotype[f"{stage}.kind"], float(genotype.get(f"{stage}.expansion", 1))
        quality = {"plain": 1.0, "separable": 0.6, "inverted": 0.5 + 0.1 * expansion}[str(kind)]
        power += quality * math.sqrt(depth) * math.log(width / 4)
        for _ in range(depth):
            if kind == "plain":
                macs = 9 * channels * width
            else:
                macs = expansion * channels * (9 + width + (channels if expansion > 1 else 0))
            latency_ms += 0.5 + pixels * macs * 2e-6
            channels = width
    error = 0.01 + 0.5 * math.exp(-0.5 * power)
    if genotype["scheme"] == "static":
        return error * 1.1, latency_ms * 0.7
    return error, latency_ms


def many_costs(genotype: Genotype, objectives: int) -> list[float]:
    """One to four costs of a genotype of `TOY`: error, latency (ms), size (kB), energy (mJ)."""
    error, latency_ms = toy_costs(genotype)
    size_kb, byte = float(genotype["stem"]), 1.0 if genotype["scheme"] == "static" else 4.0
    for stage in ("stage1", "stage2"):
        weights = float(genotype[f"{stage}.width"]) * float(genotype.get(f"{stage}.expansion", 1))
        size_kb += 0.5 * byte * weights * int(genotype[f"{stage}.depth"])
    return [error, latency_ms, size_kb, 0.2 * latency_ms + size_kb / 300][:objectives]


def hill_costs(genotype: Genotype, objectives: int) -> list[float]:
    """The distances of a place of `HILLS` to as many tops, shares of the longest way."""
    places = [int(place) for place in genotype.values()]
    return [
        sum(abs(place - (6 if i == top else 2)) for i, place in enumerate(places)) / 56
        for top in range(objectives)
    ]


@functools.cache
def _toy_front() -> tuple[tuple[float, ...], float]:
    """The reference point and the hypervolume of the best front of `TOY`, by trying everything."""
    points = [toy_costs(genotype) for genotype in enumerate_genotypes(TOY)]
    reference = reference_point(points[::50])
    return reference, hypervolume(points, reference)


def regret(genotypes: Sequence[Genotype]) -> float:
    """The share of the best hypervolume of `TOY` that these genotypes miss."""
    reference, best = _toy_front()
    return 1 - hypervolume([toy_costs(genotype) for genotype in genotypes], reference) / best


def play(
    strategy: Strategy,
    asks: int,
    evaluate: Evaluate = toy_costs,
    violation: Callable[[Genotype], float] = lambda genotype: 0.0,
) -> list[Genotype]:
    """Ask and tell in turn; returns what was asked for.

    Args:
        strategy: in whatever state.
        asks: how many.
        evaluate: the costs of a genotype.
        violation: of the constraints, by a genotype.
    """
    asked = []
    for _ in range(asks):
        genotype = strategy.ask()
        asked.append(genotype)
        strategy.tell(genotype, evaluate(genotype), violation(genotype))
    return asked


Step = list[Any]
"""``["tell", genotype, costs, violation]``, ``["pending", genotype]`` or ``["ask"]``; JSON-able."""


def follow(strategy: Strategy, steps: Sequence[Step]) -> list[Genotype]:
    """Take the steps; returns the answers to the asks."""
    answers = []
    for call, *arguments in steps:
        result = getattr(strategy, call)(*arguments)
        if call == "ask":
            answers.append(result)
    return answers
