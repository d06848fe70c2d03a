"""What can be decided about a candidate: choices, conditions between them, and genotypes."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

Value = int | float | str
Genotype = Mapping[str, Value]

_NO_CONDITION: Mapping[str, Collection[Value]] = MappingProxyType({})


def _check_option(name: str, option: object) -> None:
    if isinstance(option, bool) or not isinstance(option, int | float | str):
        raise ValueError(
            f"choice {name!r}: options must be ints, floats or strings, but got {option!r}"
        )
    if isinstance(option, float) and not math.isfinite(option):
        raise ValueError(f"choice {name!r}: options must be finite, but got {option!r}")


def _is_collection(values: object) -> bool:
    return isinstance(values, Collection) and not isinstance(values, str | bytes)


@dataclass(frozen=True)
class Choice:
    """One decision.

    Args:
        name: unique in its space, for example ``stage1.width``.
        options: the distinct ints, floats or strings to choose from.
        ordered: whether neighbours in ``options`` are alike (widths are, block types are not).
        when: the values that other choices must have for this one to be made at all; all must
            hold. An inactive choice is absent from the genotype and deactivates its children.

    Raises:
        ValueError: for an empty name, no options, options that are equal, and anything of another
            type than it says here.
    """

    name: str
    options: tuple[Value, ...]
    ordered: bool = False
    when: Mapping[str, Collection[Value]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        self._check_types()
        object.__setattr__(self, "options", tuple(self.options))
        if not self.options:
            raise ValueError(f"choice {self.name!r} needs at least one option, but got none")
        for option in self.options:
            _check_option(self.name, option)
        if len(set(self.options)) != len(self.options):
            raise ValueError(f"choice {self.name!r}: options must differ, but got {self.options}")
        for parent, values in self.when.items():
            if not _is_collection(values) or not len(values):
                raise ValueError(
                    f"choice {self.name!r}: `when` lists the values that {parent!r} must have, "
                    f"but got {values!r}"
                )
        object.__setattr__(self, "when", {p: tuple(v) for p, v in self.when.items()})

    def _check_types(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a choice needs a name, a string, but got {self.name!r:.60}")
        for what, value, right, wanted in (
            ("options", self.options, _is_collection(self.options), "a list of values"),
            ("ordered", self.ordered, isinstance(self.ordered, bool), "True or False"),
            ("when", self.when, isinstance(self.when, Mapping), "a mapping of names to values"),
        ):
            if not right:
                raise ValueError(
                    f"choice {self.name!r}: {what} must be {wanted}, but got {value!r:.60}"
                )

    def is_active(self, genotype: Genotype) -> bool:
        """Whether this choice is to be made, given the choices made before it."""
        return all(p in genotype and genotype[p] in values for p, values in self.when.items())


def check_choices(choices: Sequence[Choice]) -> None:
    """Check that names differ, parents come first and conditions name real options.

    Raises:
        ValueError: naming the choice and what is wrong with it.
    """
    known: dict[str, Choice] = {}
    for choice in choices:
        if choice.name in known:
            raise ValueError(f"choice {choice.name!r} is there twice; names must differ")
        for parent, values in choice.when.items():
            if parent not in known:
                raise ValueError(
                    f"choice {choice.name!r} depends on {parent!r}, which must come before it"
                )
            strange = [v for v in values if v not in known[parent].options]
            if strange:
                raise ValueError(
                    f"choice {choice.name!r} depends on {parent!r} being {strange[0]!r}, "
                    f"which is none of its options {known[parent].options}"
                )
        known[choice.name] = choice


def canonical(choices: Sequence[Choice], values: Mapping[str, Value]) -> dict[str, Value]:
    """The genotype that ``values`` mean: inactive choices left out, in the order of ``choices``.

    Raises:
        ValueError: when an active choice is missing or has a value that is none of its options.
    """
    genotype: dict[str, Value] = {}
    for choice in choices:
        if not choice.is_active(genotype):
            continue
        if choice.name not in values:
            raise ValueError(f"the genotype lacks {choice.name!r}, which is active")
        value = values[choice.name]
        if isinstance(value, bool) or value not in choice.options:
            raise ValueError(
                f"{choice.name} must be one of {list(choice.options)}, but got {value!r}"
            )
        # The option itself, so that 1.0 given for 1 has the same key.
        genotype[choice.name] = choice.options[choice.options.index(value)]
    return genotype


def validate(choices: Sequence[Choice], genotype: Genotype) -> None:
    """Check that a genotype makes exactly the active choices, each with a legal value.

    Raises:
        ValueError: naming the choice that is missing, illegal, inactive or unknown.
    """
    legal = canonical(choices, genotype)
    strange = [name for name in genotype if name not in legal]
    if strange:
        known = any(choice.name == strange[0] for choice in choices)
        why = "is not active in this genotype" if known else "is no choice of this space"
        raise ValueError(f"{strange[0]!r} {why}")


def sample(choices: Sequence[Choice], rng: random.Random) -> dict[str, Value]:
    """A random genotype: every active choice uniformly, parents first."""
    genotype: dict[str, Value] = {}
    for choice in choices:
        if choice.is_active(genotype):
            genotype[choice.name] = rng.choice(choice.options)
    return genotype


def enumerate_genotypes(choices: Sequence[Choice]) -> Iterator[dict[str, Value]]:
    """Every genotype once, the last choice changing fastest."""

    def extend(index: int, genotype: dict[str, Value]) -> Iterator[dict[str, Value]]:
        if index == len(choices):
            yield dict(genotype)
        elif choices[index].is_active(genotype):
            for option in choices[index].options:
                yield from extend(index + 1, {**genotype, choices[index].name: option})
        else:
            yield from extend(index + 1, genotype)

    return extend(0, {})


def count(choices: Sequence[Choice]) -> int:
    """The number of distinct genotypes, exact with conditions too."""
    choices = _near_parents(choices)
    parents_later = [
        frozenset(parent for later in choices[i:] for parent in later.when)
        for i in range(len(choices) + 1)
    ]

    @functools.cache
    def below(index: int, relevant: tuple[tuple[str, Value], ...]) -> int:
        if index == len(choices):
            return 1
        choice, made = choices[index], dict(relevant)

        def rest(values: dict[str, Value]) -> int:
            kept = {n: v for n, v in values.items() if n in parents_later[index + 1]}
            return below(index + 1, tuple(sorted(kept.items())))

        if not choice.is_active(made):
            return rest(made)
        if choice.name not in parents_later[index + 1]:
            return len(choice.options) * rest(made)
        return sum(rest({**made, choice.name: option}) for option in choice.options)

    return below(0, ())


def _near_parents(choices: Sequence[Choice]) -> list[Choice]:
    """The same, each as soon after what its conditions name as it can be."""
    found: list[Choice] = []
    placed: set[str] = set()

    def place(choice: Choice) -> None:
        found.append(choice)
        placed.add(choice.name)
        for child in choices:
            waits = child.name not in placed and choice.name in child.when
            if waits and placed.issuperset(child.when):
                place(child)

    for choice in choices:
        if choice.name not in placed:
            place(choice)
    return found
