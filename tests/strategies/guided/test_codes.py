"""Rows of option indices: legal, varied, placed."""

from __future__ import annotations

import random

import numpy as np
import pytest

from nas.choices import Choice, sample, validate
from strategies.guided.codes import CodeSpace
from strategies.history import INACTIVE, History
from strategies.toys import TINY, TOY

SPACE, HISTORY = CodeSpace(TOY), History(TOY, 2)


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def check_legal(codes: np.ndarray) -> None:
    for code in codes.tolist():
        validate(TOY, HISTORY.decode(tuple(code)))


def test_random_ones_are_legal_and_as_often_as_sampled() -> None:
    codes = SPACE.random(4000, generator())
    rng = random.Random(0)
    sampled = np.array([HISTORY.encode(sample(TOY, rng)) for _ in range(4000)])

    check_legal(codes[:200])
    for column, other in zip(codes.T, sampled.T, strict=True):
        for value in np.unique(other):
            assert (column == value).mean() == pytest.approx((other == value).mean(), abs=0.05)


def test_neighbours_are_all_that_differ_in_one_active_choice() -> None:
    code = SPACE.random(1, generator())[0].tolist()
    near = SPACE.neighbours(code, generator())

    check_legal(near)
    active = [i for i, index in enumerate(code) if index != INACTIVE]
    assert len(near) == sum(len(TOY[i].options) - 1 for i in active)
    for row in near.tolist():
        changed = [i for i in active if row[i] not in (code[i], INACTIVE)]
        assert len(changed) == 1


def test_children_are_legal_and_differ_in_a_choice_or_two() -> None:
    parent = SPACE.random(1, generator())
    children = SPACE.varied(parent, 300, generator())

    check_legal(children)
    unconditional = [i for i, choice in enumerate(TOY) if not choice.when]
    changed = (children != parent)[:, unconditional].sum(axis=1)
    assert changed.max() == 2
    assert (changed > 0).mean() > 0.8


def test_children_of_two_parents_mix_them() -> None:
    choices = [Choice(f"c{i}", tuple(range(5))) for i in range(10)]
    parents = np.array([[0] * 10, [4] * 10])
    children = CodeSpace(choices).varied(parents, 400, generator())

    mixed = ((children == 0).sum(axis=1) > 2) & ((children == 4).sum(axis=1) > 2)
    assert 0.05 < mixed.mean() < 0.3


def test_ordered_choices_often_take_one_step() -> None:
    choices = [Choice(f"width{i}", tuple(range(20)), ordered=True) for i in range(8)]
    children = CodeSpace(choices).varied(np.full((1, 8), 10), 500, generator())
    steps = np.abs(children - 10)[children != 10]

    assert (steps == 1).mean() > 0.4
    assert steps.max() > 5


def test_a_choice_of_one_option_does_not_hinder() -> None:
    space = CodeSpace([Choice("only", (1,)), Choice("free", (1, 2))])

    assert space.varied(np.array([[0, 0]]), 20, generator()).max() == 1
    assert space.placed(np.array([[0, 0]])).shape == (1, 2)


def test_distances_of_options() -> None:
    space = CodeSpace(
        [Choice("kind", ("a", "b", "c")), Choice("width", (1, 2, 3, 4, 5), ordered=True)]
    )
    places = space.placed(np.array([[0, 0], [1, 0], [2, 0], [0, 1], [0, 4]]))
    squares = ((places[:, None] - places[None]) ** 2).sum(axis=2)

    assert squares[0, 1] == pytest.approx(1)
    assert squares[1, 2] == pytest.approx(1)
    assert squares[0, 4] == pytest.approx(1)
    assert squares[0, 3] == pytest.approx(1 / 16)


def test_what_is_not_made_lies_amid_its_options() -> None:
    history, space = History(TINY, 1), CodeSpace(TINY)
    codes = np.array(
        [
            history.encode({"kind": "plain", "width": 8}),
            history.encode({"kind": "none"}),
            history.encode({"kind": "plain", "width": 16}),
        ]
    )
    places = space.placed(codes)[:, space.groups == 2]

    assert places[1] == pytest.approx((places[0] + places[2]) / 2)
