import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.choices import (
    Choice,
    canonical,
    check_choices,
    count,
    enumerate_genotypes,
    sample,
    validate,
)

BLOCK = Choice("block", ("conv", "inverted"))
EXPANSION = Choice("expansion", (2, 4), ordered=True, when={"block": ["inverted"]})
SQUEEZE = Choice("squeeze", ("no", "yes"), when={"expansion": [4]})
WIDTH = Choice("width", (8, 16, 24), ordered=True)
SPACE = [BLOCK, EXPANSION, SQUEEZE, WIDTH]


@pytest.mark.parametrize(
    ("name", "options", "when", "message"),
    [
        ("", (1,), {}, "needs a name"),
        ("a", (), {}, "at least one option"),
        ("a", (1, 1.0), {}, "options must differ"),
        ("a", (True, False), {}, "ints, floats or strings"),
        ("a", (1, None), {}, "ints, floats or strings"),
        ("a", (float("nan"),), {}, "finite"),
        ("a", (1,), {"b": "xy"}, "lists the values"),
        ("a", (1,), {"b": []}, "lists the values"),
        ("a", (1,), {"b": 3}, "lists the values"),
        (3, (1,), {}, "needs a name, a string, but got 3"),
        ("a", "abc", {}, "options must be a list of values, but got 'abc'"),
        ("a", 3, {}, "options must be a list of values, but got 3"),
        ("a", None, {}, "options must be a list of values, but got None"),
        ("a", (1,), ["b"], "when must be a mapping of names to values, but got"),
        ("a", (1,), None, "when must be a mapping of names to values, but got None"),
    ],
)
def test_a_choice_refuses_what_cannot_be_chosen(name, options, when, message):
    with pytest.raises(ValueError, match=message) as caught:
        Choice(name, options, when=when)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ordered", ["yes", 1, None])
def test_ordered_is_yes_or_no(ordered):
    with pytest.raises(
        ValueError, match=f"'a': ordered must be True or False, but got {ordered!r}"
    ):
        Choice("a", (1, 2), ordered)


def test_choices_are_values():
    assert Choice("a", [1, 2]) == Choice("a", (1, 2))
    assert len({Choice("a", (1, 2), when={"b": [1]}), Choice("a", (1, 2), when={"b": (1,)})}) == 1


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([WIDTH, WIDTH], "there twice"),
        ([EXPANSION, BLOCK], "must come before"),
        ([BLOCK, Choice("x", (1,), when={"block": ["pool"]})], "'pool', which is none of"),
    ],
)
def test_a_space_is_checked(choices, message):
    with pytest.raises(ValueError, match=message):
        check_choices(choices)


def test_inactive_choices_are_absent_and_deactivate_their_children():
    values = {"width": 8, "squeeze": "yes", "expansion": 4, "block": "conv"}
    assert canonical(SPACE, values) == {"block": "conv", "width": 8}
    assert list(canonical(SPACE, {**values, "block": "inverted"})) == [c.name for c in SPACE]


def test_canonical_gives_the_option_itself():
    genotype = canonical([WIDTH], {"width": 8.0})
    assert json.dumps(genotype) == '{"width": 8}'


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        ({"block": "conv"}, "lacks 'width'"),
        ({"block": "conv", "width": 9}, "width must be one of"),
        ({"block": "conv", "width": True}, "width must be one of"),
        ({"block": "conv", "width": 8, "expansion": 2}, "'expansion' is not active"),
        ({"block": "conv", "width": 8, "colour": 2}, "'colour' is no choice"),
    ],
)
def test_validate_names_what_is_wrong(genotype, message):
    with pytest.raises(ValueError, match=message):
        validate(SPACE, genotype)


def test_every_genotype_is_enumerated_once_and_legal():
    genotypes = list(enumerate_genotypes(SPACE))
    assert len({json.dumps(g) for g in genotypes}) == len(genotypes) == count(SPACE)
    for genotype in genotypes:
        validate(SPACE, genotype)
    # conv: 3 widths; inverted: expansion 2 (1) or 4 (2 squeezes), times 3 widths.
    assert count(SPACE) == 3 + 3 * (1 + 2)


def test_count_is_exact_where_a_parent_is_a_child_too():
    deep = [Choice(f"c{i}", (0, 1, 2), when={f"c{i - 1}": [1, 2]} if i else {}) for i in range(30)]
    expected = 1
    for _ in range(30):
        expected = 1 + 2 * expected
    assert count(deep) == expected


@given(st.integers(0, 10_000))
def test_samples_are_legal_and_repeatable(seed):
    genotype = sample(SPACE, random.Random(seed))
    validate(SPACE, genotype)
    assert genotype == sample(SPACE, random.Random(seed))


def test_samples_reach_everything():
    rng = random.Random(0)
    seen = {json.dumps(sample(SPACE, rng)) for _ in range(500)}
    assert len(seen) == count(SPACE)


def test_conditions_on_two_parents_must_all_hold():
    both = Choice("both", (0, 1), when={"a": [1], "b": [1]})
    space = [Choice("a", (0, 1)), Choice("b", (0, 1)), both]
    active = [g for g in enumerate_genotypes(space) if "both" in g]
    assert {(g["a"], g["b"]) for g in active} == {(1, 1)}
    assert len(active) == 2
    assert count(space) == len(list(itertools.product((0, 1), repeat=2))) + 1


def test_count_takes_no_longer_where_parents_come_first():
    parents = [Choice(f"kind{i}", ("a", "b", "c")) for i in range(40)]
    children = [Choice(f"size{i}", (1, 2), when={f"kind{i}": ["a"]}) for i in range(40)]
    assert count([*parents, *children]) == 4**40
    depth = Choice("depth", tuple(range(30)))
    deeper = [{"depth": range(i + 1, 30)} for i in range(29)]
    kinds = [Choice(f"kind{i}", ("a", "b"), when=when) for i, when in enumerate(deeper)]
    sizes = [Choice(f"size{i}", (1, 2), when={f"kind{i}": ["a"]}) for i in range(29)]
    assert count([depth, *kinds, *sizes]) == sum(3**made for made in range(30))
    tied = Choice("tied", (1, 2), when={"kind0": ["a"], "kind1": ["a"]})
    assert count([*parents[:2], *children[:2], tied]) == 4 * 4 + 2 * 2
