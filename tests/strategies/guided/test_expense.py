"""What a training is expected to take."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas.choices import Genotype
from strategies.guided.expense import CHEAPEST, FEWEST, Expense
from strategies.guided.screened import Screened

WIDTHS = [(width,) for width in range(1, 101)]


def expense(*names: str) -> Expense:
    def screen(genotype: Genotype) -> dict[str, float]:
        width = float(genotype["width"])
        known = {"macs": width**2, "longest_path": width, "latency_ms.cpu": 1.0}
        return {name: known[name] for name in names}

    known = Screened(screen, [], lambda code: {"width": code[0]})
    for code in WIDTHS:
        known(code)
    return Expense(known, lambda: WIDTHS)


def seconds(code: tuple[int, ...]) -> float:
    return 3.0 + 0.01 * code[0] ** 2 + 0.2 * code[0]


def test_all_are_alike_until_enough_is_told() -> None:
    learned = expense("macs", "longest_path")
    for code in WIDTHS[: FEWEST - 1]:
        learned.took(code, seconds(code))
    assert learned(WIDTHS).tolist() == [1.0] * 100
    learned.took(WIDTHS[-1], seconds(WIDTHS[-1]))
    assert learned(WIDTHS)[-1] > 1.0


def test_it_learns_what_time_is_made_of() -> None:
    learned, told = expense("macs", "longest_path"), WIDTHS[::10]
    for code in told:
        learned.took(code, seconds(code))
    mean = np.mean([seconds(code) for code in told])
    expected = [seconds(code) / mean for code in WIDTHS]
    assert learned(WIDTHS) == pytest.approx(np.maximum(expected, CHEAPEST), rel=0.01)


def test_variants_that_took_next_to_nothing_do_not_spoil_it() -> None:
    """Compressed variants of one network share its training."""
    learned = expense("macs", "longest_path")
    for code in WIDTHS[::4]:
        learned.took(code, 0.02 if code[0] % 3 == 0 else seconds(code))
    found = learned(WIDTHS)
    assert found[99] / found[4] == pytest.approx(seconds((100,)) / seconds((5,)), rel=0.3)
    assert (found >= CHEAPEST).all()


def test_time_never_falls_with_size() -> None:
    learned = expense("macs", "longest_path")
    for code in WIDTHS[::10]:
        learned.took(code, 100.0 - code[0])
    assert (np.diff(learned(WIDTHS)) >= 0).all()


def test_the_first_time_counts_and_only_what_took_time() -> None:
    learned, other = expense("macs"), expense("macs")
    for code in WIDTHS[::10]:
        learned.took(code, seconds(code))
        other.took(code, seconds(code))
        other.took(code, 1e6)
    for nothing in (0.0, math.nan, math.inf):
        other.took((7,), nothing)
    assert learned(WIDTHS).tolist() == other(WIDTHS).tolist()


def test_where_nothing_says_what_it_takes_all_are_alike() -> None:
    learned = expense("latency_ms.cpu")
    for code in WIDTHS[:20]:
        learned.took(code, seconds(code))
    assert learned(WIDTHS).tolist() == [1.0] * 100
    assert learned.is_modest(WIDTHS).all()


def test_what_is_never_known_spoils_nothing() -> None:
    def screen(genotype: Genotype) -> dict[str, float]:
        return {"macs": math.nan, "params": 1000.0 * float(genotype["width"])}

    known = Screened(screen, [], lambda code: {"width": code[0]})
    for code in WIDTHS:
        known(code)
    assert Expense(known, lambda: WIDTHS).is_modest([(1,), (50,)]).all()


def test_a_search_begins_with_nothing_huge() -> None:
    modest = expense("macs").is_modest([(50,), (99,), (100,)])
    assert modest.tolist() == [True, True, True]  # up to four times the median
    known = Screened(lambda g: {"macs": 10.0 ** float(g["width"])}, [], lambda c: {"width": c[0]})
    codes = [(width,) for width in range(5)]
    for code in codes:
        known(code)
    modest = Expense(known, lambda: codes).is_modest(codes)
    assert modest.tolist() == [True, True, True, False, False]
