from __future__ import annotations

import random
from collections import Counter

import pytest

from nas.choices import Choice, sample, validate
from strategies.toys import TINY, TOY
from strategies.variation import NEAR_SHARE, cross, mutate, neighbours

LADDER = Choice("width", (8, 16, 24, 32, 40), ordered=True)


def test_mutants_are_legal_and_differ_in_one_decision() -> None:
    rng = random.Random(0)
    for _ in range(500):
        genotype = sample(TOY, rng)
        mutant = mutate(TOY, genotype, rng)
        validate(TOY, mutant)
        made = [name for name in genotype if genotype[name] != mutant.get(name)]
        changed = [name for name in made if name in mutant]
        assert len(changed) == 1
        # What else is gone was a choice that only the changed one had called for.
        assert all(name.endswith("expansion") for name in made if name not in mutant)


def test_ordered_choices_mostly_move_to_neighbours() -> None:
    rng = random.Random(0)
    moves = Counter(mutate([LADDER], {"width": 24}, rng)["width"] for _ in range(4000))
    assert set(moves) == {8, 16, 32, 40}
    near = (moves[16] + moves[32]) / 4000
    # A step that need not be to a neighbour goes to one of them half the time.
    assert near == pytest.approx(NEAR_SHARE + (1 - NEAR_SHARE) / 2, abs=0.03)
    assert moves[16] == pytest.approx(moves[32], rel=0.2)


def test_at_the_end_of_a_ladder_the_only_neighbour_is_inside() -> None:
    rng = random.Random(0)
    moves = Counter(mutate([LADDER], {"width": 40}, rng)["width"] for _ in range(1000))
    assert moves[32] > 700
    assert moves[40] == 0


def test_on_a_long_ladder_near_is_further() -> None:
    rng, long = random.Random(0), Choice("size", tuple(range(40)), ordered=True)
    moves = Counter(mutate([long], {"size": 20}, rng)["size"] for _ in range(4000))
    near = sum(moves[i] for i in range(15, 26))
    assert near == pytest.approx(4000 * (NEAR_SHARE + (1 - NEAR_SHARE) * 10 / 39), rel=0.05)
    assert min(moves[i] for i in range(15, 26) if i != 20) > 200


def test_unordered_choices_move_anywhere() -> None:
    rng, kind = random.Random(0), Choice("kind", ("a", "b", "c", "d"))
    moves = Counter(mutate([kind], {"kind": "a"}, rng)["kind"] for _ in range(3000))
    assert sorted(moves) == ["b", "c", "d"]
    assert min(moves.values()) > 900


def test_choices_that_become_active_are_drawn() -> None:
    rng = random.Random(0)
    seen = Counter(
        mutant.get("expansion")
        for _ in range(2000)
        if (mutant := mutate(TINY, {"kind": "none"}, rng))["kind"] == "inverted"
    )
    assert set(seen) == {2, 4, 6}
    assert min(seen.values()) > 250


def test_without_a_second_option_nothing_changes() -> None:
    assert mutate([Choice("only", (1,))], {"only": 1}, random.Random(0)) == {"only": 1}
    assert mutate([], {}, random.Random(0)) == {}


def test_children_are_legal_and_take_after_their_parents() -> None:
    rng = random.Random(0)
    for _ in range(500):
        one, other = sample(TOY, rng), sample(TOY, rng)
        child = cross(TOY, one, other, rng)
        validate(TOY, child)
        for name, value in child.items():
            assert value in (one.get(name, value), other.get(name, value))


def test_a_child_takes_about_half_from_each_parent() -> None:
    rng = random.Random(0)
    space = [Choice(f"c{i}", (0, 1)) for i in range(1000)]
    zeros, ones = ({choice.name: i for choice in space} for i in (0, 1))
    assert 430 < sum(int(v) for v in cross(space, zeros, ones, rng).values()) < 570


def test_a_choice_that_neither_parent_made_is_drawn() -> None:
    rng = random.Random(0)
    space = [
        Choice("a", (0, 1)),
        Choice("b", (0, 1)),
        Choice("c", ("x", "y"), when={"a": [1], "b": [1]}),
    ]
    children = [cross(space, {"a": 1, "b": 0}, {"a": 0, "b": 1}, rng) for _ in range(400)]
    drawn = Counter(child["c"] for child in children if "c" in child)
    assert drawn["x"] > 25
    assert drawn["y"] > 25


def test_several_steps_change_several_choices() -> None:
    rng = random.Random(0)
    space = [Choice(f"c{i}", (0, 1, 2)) for i in range(6)]
    start = dict.fromkeys((c.name for c in space), 0)
    for steps in (0, 1, 3, 6, 9):
        mutant = mutate(space, start, rng, steps)
        assert sum(value != 0 for value in mutant.values()) == min(steps, 6)


def test_neighbours_are_one_step_away() -> None:
    assert list(neighbours([LADDER], {"width": 24})) == [{"width": 16}, {"width": 32}]
    assert list(neighbours([LADDER], {"width": 40})) == [{"width": 32}]
    assert list(neighbours(TINY, {"kind": "plain", "width": 8})) == [
        {"kind": "inverted", "expansion": 4, "width": 8},
        {"kind": "none"},
        {"kind": "plain", "width": 16},
    ]
    assert list(neighbours(TINY, {"kind": "none"}))[0] == {"kind": "plain", "width": 8}
    assert list(neighbours([Choice("only", (1,))], {"only": 1})) == []


def test_neighbours_are_legal() -> None:
    rng = random.Random(0)
    for _ in range(50):
        genotype = sample(TOY, rng)
        around = list(neighbours(TOY, genotype))
        assert len(around) == len({tuple(sorted(each.items())) for each in around}) > 7
        for each in around:
            validate(TOY, each)
            assert each != genotype
