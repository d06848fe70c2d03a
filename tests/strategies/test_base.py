from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

import pytest

import strategies.base
from nas.choices import Choice, Genotype
from nas.objectives import Constraint, Objective
from nas.trials import CandidateError, Exhausted
from strategies.base import BaseStrategy
from strategies.toys import TINY

OBJECTIVES = [Objective("error", "minimize")]
AT_MOST_2 = Constraint.parse("latency_ms.cpu <= 2")
NUMBERS = [Choice("number", tuple(range(1000)), ordered=True)]


class Upwards(BaseStrategy):
    """Proposes the smallest numbers first."""

    def _propose(self, rng: random.Random) -> Iterator[Genotype]:
        return ({"number": number} for number in range(20))


def test_proposals_come_first_and_in_order() -> None:
    strategy = Upwards(NUMBERS, OBJECTIVES, 0)
    strategy.pending({"number": 1})
    strategy.tell({"number": 2}, (1.0,))
    assert [strategy.ask()["number"] for _ in range(18)] == [0, *range(3, 20)]
    assert 20 <= int(strategy.ask()["number"]) < 1000


def test_each_genotype_is_screened_once() -> None:
    screened: list[int] = []

    def screen(genotype: Genotype) -> Mapping[str, float]:
        screened.append(int(genotype["number"]))
        return {"latency_ms.cpu": float(screened[-1] % 3)}

    strategy = Upwards(NUMBERS, OBJECTIVES, 0, screen, [Constraint.parse("latency_ms.cpu <= 0")])
    assert [strategy.ask()["number"] for _ in range(7)] == [0, 3, 6, 9, 12, 15, 18]
    assert screened == list(range(19))


def test_screening_an_ask_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategies.base, "SCREENED_AN_ASK", 10)
    monkeypatch.setattr(strategies.base, "SCREENED_AT_MOST", 30)
    screened: list[int] = []

    def screen(genotype: Genotype) -> Mapping[str, float]:
        screened.append(int(genotype["number"]))
        return {"latency_ms.cpu": 1100.0 - screened[-1]}

    strategy = Upwards(NUMBERS, OBJECTIVES, 0, screen, [AT_MOST_2])
    with pytest.raises(Exhausted, match="satisfies latency_ms.cpu <= 2; the nearest of 30 scree"):
        strategy.ask()
    assert screened[:10] == list(range(10))
    # The last one is the nearest again, for the message.
    assert len(set(screened)) == len(screened) - 1 == 30


def test_the_way_to_what_fits_leads_down_the_violation() -> None:
    screened: list[int] = []

    def screen(genotype: Genotype) -> Mapping[str, float]:
        screened.append(int(genotype["a"]) + int(genotype["b"]))
        return {"latency_ms.cpu": float(screened[-1])}

    steps = [Choice(name, tuple(range(99, -1, -1)), ordered=True) for name in ("a", "b")]
    strategy = strategies.create("random", steps, OBJECTIVES, 0, screen, [AT_MOST_2])
    assert sum(int(v) for v in strategy.ask().values()) <= 2
    # By chance it takes some 1,700 of the 10,000.
    assert len(screened) < 600


def test_what_cannot_be_built_is_never_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def screen(genotype: Genotype) -> Mapping[str, float]:
        raise CandidateError("too small")

    strategy = Upwards(NUMBERS, OBJECTIVES, 0, screen, [AT_MOST_2])
    with pytest.raises(Exhausted, match="no candidate can be built: too small"):
        strategy.ask()
    strategy.tell({"number": 3}, (1.0,))
    with pytest.raises(Exhausted, match="all candidates that can be built have been asked for"):
        strategy.ask()


def test_several_constraints_are_named_with_what_is_missing() -> None:
    def screen(genotype: Genotype) -> Mapping[str, float]:
        return {"latency_ms.cpu": 3.0, "macs": 5.0, "size_kb": 0.25}

    bounds = [Constraint.parse(text) for text in ("macs >= 9", "size_kb <= 0")]
    strategy = Upwards(NUMBERS, OBJECTIVES, 0, screen, [AT_MOST_2, *bounds])
    strategy.tell({"number": 3}, (1.0,))
    wanted = (
        "no further candidate satisfies latency_ms.cpu <= 2 and macs >= 9 and size_kb <= 0; the "
        "nearest of 999 screened violates latency_ms.cpu <= 2 by 50.00% and macs >= 9 by 44.44% "
        "and size_kb <= 0 by 0.25"
    )
    with pytest.raises(Exhausted) as caught:
        strategy.ask()
    assert str(caught.value) == wanted


def test_other_errors_of_the_screen_are_not_swallowed() -> None:
    def screen(genotype: Genotype) -> Mapping[str, float]:
        raise KeyError("a mistake in the program")

    with pytest.raises(KeyError, match="mistake"):
        Upwards(NUMBERS, OBJECTIVES, 0, screen).ask()


def test_after_many_random_misses_the_rest_of_the_space_is_found() -> None:
    rare = [Choice("a", tuple(range(30))), Choice("b", tuple(range(30)), when={"a": [7]})]
    strategy = strategies.create("random", rare, OBJECTIVES, 0)
    asked = [strategy.ask() for _ in range(59)]
    assert {genotype.get("b", "no") for genotype in asked} == {"no", *range(30)}


def test_the_enumeration_does_not_favour_the_first_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategies.base, "RANDOM_TRIES", 0)
    first = {
        str(strategies.create("random", TINY, OBJECTIVES, seed).ask()["kind"]) for seed in range(30)
    }
    assert first == {"plain", "inverted", "none"}
