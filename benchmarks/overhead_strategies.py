"""What a strategy costs: the medians of ask + tell after 200, 1,000 and 10,000 results.

    python -m benchmarks.overhead_strategies [--strategies genetic,local] [--json FILE]

A space of 25 choices, a third of them conditional; the results told are random.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import strategies
from nas.choices import Choice, sample
from nas.objectives import Objective

TOLD = (200, 1000, 10_000)
GOALS_MS = {"genetic": 5.0}
VARIANTS = ("genetic:algorithm=nsga3", "genetic:algorithm=ageing")

Row = tuple[str, list[float], float | None, str]


def space_of_25() -> list[Choice]:
    """25 choices, a third of them conditional."""
    choices = [Choice(f"block{i}", ("conv", "separable", "inverted")) for i in range(8)]
    choices += [Choice(f"width{i}", (8, 16, 24, 32, 48, 64), ordered=True) for i in range(9)]
    return choices + [
        Choice(f"expansion{i}", (2, 4, 6), ordered=True, when={f"block{i}": ["inverted"]})
        for i in range(8)
    ]


def parsed(kind: str) -> tuple[str, dict[str, str | int]]:
    """``genetic:algorithm=nsga3/population=20`` as a name and options."""
    name, _, options = kind.partition(":")
    pairs = (option.partition("=")[::2] for option in options.split("/") if option)
    return name, {key: int(value) if value.isdigit() else value for key, value in pairs}


def strategy_costs(
    kinds: Sequence[str] = (),
    told: Sequence[int] = TOLD,
    repeats: int = 30,
    objectives: int = 2,
) -> Iterator[Row]:
    """(what, samples, goal or None, unit) of each strategy at each number of results.

    Args:
        kinds: strategies, see `parsed`; all that there are, and variants, where empty.
        told: numbers of results, rising.
        repeats: asks that are timed at each.
        objectives: how many costs a result has.
    """
    for kind in kinds or (*strategies.names(), *VARIANTS):
        name, options = parsed(kind)
        wanted = [Objective(f"cost{i}", "minimize") for i in range(objectives)]
        choices, rng, count = space_of_25(), random.Random(0), 0
        strategy = strategies.create(name, choices, wanted, 0, **options)
        for target in told:
            for _ in range(target - count):
                strategy.tell(sample(choices, rng), [rng.random() for _ in wanted])
            times = []
            for _ in range(repeats):
                costs, began = [rng.random() for _ in wanted], time.perf_counter()
                strategy.tell(strategy.ask(), costs)
                times.append(1e3 * (time.perf_counter() - began))
            count = target + repeats
            yield f"ask + tell at {target} results, {kind}", times, GOALS_MS.get(name), "ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strategies", default="", help="names, with commas; all where empty")
    parser.add_argument("--results", default=",".join(map(str, TOLD)), help="with commas")
    parser.add_argument("--objectives", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--json", type=Path, help="write the medians there too")
    arguments = parser.parse_args()
    kinds = [kind for kind in arguments.strategies.split(",") if kind]
    told = [int(number) for number in arguments.results.split(",")]
    medians = {}
    for what, samples, goal, unit in strategy_costs(
        kinds, told, arguments.repeats, arguments.objectives
    ):
        medians[what] = round(statistics.median(samples), 3)
        verdict = "" if goal is None else f"goal {goal}"
        print(f"{what:<60} {medians[what]:>9} {unit} {verdict}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(medians, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
