"""Random networks of all shipped search spaces."""

import random
from collections.abc import Mapping
from typing import Any

import search_spaces
from nas.choices import sample
from nas.task import Task

SPACES = [name for name in search_spaces.names() if name != "python"]
TASK = Task("images", "classification", (3, 16, 16), 10, "accuracy", "data")


def drawn(name: str, seed: int) -> tuple[Any, Mapping[str, Any]]:
    """A space and a random genotype of it."""
    space = search_spaces.create(name)
    return space, sample(space.choices, random.Random(seed))
