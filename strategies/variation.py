"""Steps through a space, large and small, that stay legal where choices depend on each other."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from nas.choices import Choice, Genotype, Value

NEAR_SHARE = 0.8
"""Of the steps of an ordered choice, those to an option near by."""

REACH = 8
"""Near is the next option up or down; of more than that many options an eighth of them."""


def _step(choice: Choice, value: Value, rng: random.Random) -> Value:
    """Another option: of an ordered choice mostly one near by, else any."""
    index, reach = choice.options.index(value), max(1, len(choice.options) // REACH)
    others = [i for i in range(len(choice.options)) if i != index]
    if choice.ordered and rng.random() < NEAR_SHARE:
        others = [i for i in others if abs(i - index) <= reach]
    return choice.options[rng.choice(others)]


def mutate(
    choices: Sequence[Choice], genotype: Genotype, rng: random.Random, steps: int = 1
) -> dict[str, Value]:
    """The genotype with some active choices changed.

    Args:
        choices: the space.
        genotype: canonical.
        rng: of all randomness.
        steps: how many are changed, at most; one that another change makes inactive is gone.

    Returns:
        A canonical genotype: choices that become active are drawn at random. The same one where
        no active choice has a second option.
    """
    free = [c.name for c in choices if c.name in genotype and len(c.options) > 1]
    changed = rng.sample(free, min(steps, len(free)))
    mutant: dict[str, Value] = {}
    for choice in choices:
        if not choice.is_active(mutant):
            continue
        if choice.name not in genotype:
            mutant[choice.name] = rng.choice(choice.options)
        elif choice.name in changed:
            mutant[choice.name] = _step(choice, genotype[choice.name], rng)
        else:
            mutant[choice.name] = genotype[choice.name]
    return mutant


def neighbours(choices: Sequence[Choice], genotype: Genotype) -> Iterator[dict[str, Value]]:
    """All genotypes that are one step away: an active choice takes another option.

    An ordered choice goes to the next option up or down, any other one to each of its options.
    A choice that becomes active takes the option in the middle.

    Args:
        choices: the space.
        genotype: canonical.
    """
    for changed in choices:
        if changed.name not in genotype:
            continue
        index = changed.options.index(genotype[changed.name])
        for other, option in enumerate(changed.options):
            if other == index or (changed.ordered and abs(other - index) > 1):
                continue
            wanted, neighbour = {**genotype, changed.name: option}, dict[str, Value]()
            for choice in choices:
                if choice.is_active(neighbour):
                    middle = choice.options[(len(choice.options) - 1) // 2]
                    neighbour[choice.name] = wanted.get(choice.name, middle)
            yield neighbour


def cross(
    choices: Sequence[Choice], one: Genotype, other: Genotype, rng: random.Random
) -> dict[str, Value]:
    """A child with each choice from either parent (uniform crossover).

    Args:
        choices: the space.
        one: a canonical genotype.
        other: another one.
        rng: of all randomness.

    Returns:
        A canonical genotype; a choice that only it makes is drawn at random.
    """
    child: dict[str, Value] = {}
    for choice in choices:
        if choice.is_active(child):
            offers = [parent[choice.name] for parent in (one, other) if choice.name in parent]
            child[choice.name] = rng.choice(offers or choice.options)
    return child
