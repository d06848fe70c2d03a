"""Guided search that begins with earlier results."""

import numpy as np
import pytest

import strategies
from nas.choices import Choice, enumerate_genotypes
from nas.objectives import Objective
from strategies.guided.prior import ENOUGH

CHOICES = [Choice(f"c{i}", (0, 1, 2)) for i in range(6)]
OBJECTIVES = (Objective("accuracy", "maximize"), Objective("latency_ms.device", "minimize"))
EVERYTHING = list(enumerate_genotypes(CHOICES))


def error(genotype):
    values = list(genotype.values())
    return 1 - sum(v * (1 + i % 3) for i, v in enumerate(values)) / 24 - 0.1 * (values[0] == 1)


def screen(genotype):
    values = list(genotype.values())
    cost = 1.0 + sum((v == 1) * 1.0 + (v == 2) * (2.5 - i % 2) for i, v in enumerate(values))
    return {"latency_ms.device": cost, "macs": cost**1.1}


def costs(genotype):
    return error(genotype), screen(genotype)["latency_ms.device"]


def earlier(number=40, scale=1.0, shift=0.0):
    places = np.random.default_rng(0).permutation(len(EVERYTHING))[:number]
    return [(EVERYTHING[i], (scale * error(EVERYTHING[i]) + shift, None)) for i in places]


def strategy(seed=0, **options):
    return strategies.create("guided", CHOICES, OBJECTIVES, seed, screen=screen, **options)


def asked(made, number):
    found = []
    for _ in range(number):
        found.append(made.ask())
        made.tell(found[-1], costs(found[-1]))
    return found


def quality(genotypes):
    """The mean of what is left of the best error at a cost, lower is better."""
    front = {}
    for genotype in EVERYTHING:
        e, c = costs(genotype)
        front[c] = min(e, front.get(c, 9.0))
    at = [
        9.0 if not (b := [e for e, k in map(costs, genotypes) if k <= c]) else min(b) for c in front
    ]
    return float(np.mean(np.minimum(at, 1.0)))


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.1, 7.0)])
def test_earlier_results_help_whatever_their_scale(scale, shift):
    with_prior = [quality(asked(strategy(s, prior=earlier(40, scale, shift)), 10)) for s in (0, 1)]
    without = [quality(asked(strategy(s), 10)) for s in (0, 1)]
    assert np.mean(with_prior) < np.mean(without)


def test_without_a_screen_the_first_are_the_best_that_is_predicted():
    def first(**options):
        made = strategies.create("guided", CHOICES, OBJECTIVES, 0, **options)
        return [error(genotype) for genotype in asked(made, 10)]

    assert np.mean(sorted(first(prior=earlier()))[:4]) < np.mean(sorted(first())[:4]) - 0.05


def test_scale_and_zero_of_earlier_results_do_not_matter():
    one = asked(strategy(prior=earlier()), 14)
    other = asked(strategy(prior=earlier(40, 4.0, 0.5)), 14)
    assert one == other


def test_asks_depend_on_what_was_told_and_the_prior_only():
    first = strategy(prior=earlier())
    asked(first, 13)
    again = strategy(prior=earlier())
    for genotype in asked(strategy(prior=earlier()), 13):
        again.tell(genotype, costs(genotype))
    assert again.ask() == first.ask()
    assert asked(strategy(prior=earlier(12)), 8) != asked(strategy(prior=earlier(40)), 8)


def test_earlier_results_are_not_told_ones():
    made = strategy(prior=earlier(len(EVERYTHING)))
    assert len(asked(made, 3)) == 3
    with pytest.raises(ValueError, match="a surrogate needs"):
        made.expected_costs(EVERYTHING[:1])


@pytest.mark.parametrize("prior", [earlier(ENOUGH - 1), [(g, (0.5, None)) for g, _ in earlier()]])
def test_too_little_to_learn_from_changes_nothing(prior):
    assert asked(strategy(prior=prior), 12) == asked(strategy(), 12)


def test_shuffled_results_are_found_out():
    errors = [c for _, c in earlier()]
    order = np.random.default_rng(1).permutation(len(errors))
    shuffled = [(g, errors[i]) for (g, _), i in zip(earlier(), order, strict=True)]
    harmed = [quality(asked(strategy(s, prior=shuffled), 25)) for s in (0, 1)]
    without = [quality(asked(strategy(s), 25)) for s in (0, 1)]
    assert np.mean(harmed) < np.mean(without) + 0.02


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ([({"c0": 9}, (0.1, None))], "prior: "),
        ([(EVERYTHING[0], (0.1,))], "prior: there must be 2 costs"),
        ([(EVERYTHING[0], ("high", None))], "prior: costs must be numbers"),
    ],
)
def test_bad_priors(prior, message):
    with pytest.raises(ValueError, match=message):
        strategy(prior=prior)
