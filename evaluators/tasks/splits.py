"""Cutting a data set into train, validation and test, the same way every time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SEED = 20261101
"""Of the split, never of the search: what is held out must not depend on who looks."""


def _every(order: NDArray[np.intp], share: float) -> NDArray[np.bool_]:
    """Marks a share of an order, evenly spread along it."""
    steps = np.ceil(np.round(np.arange(len(order) + 1) * share, 9))
    marks: NDArray[np.bool_] = np.diff(steps) > 0
    return marks


def stratified(
    labels: ArrayLike, validation: float = 0.2, test: float = 0.2
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Indices of train, validation and test, with the same mix of classes in each.

    The split depends on the labels alone. Each class is shuffled and dealt out evenly: its share
    of a split is right to within two examples.

    Args:
        labels: (n,), of any type that can be sorted.
        validation: share of all examples.
        test: share of all examples.

    Raises:
        ValueError: for shares that leave nothing to train on, or fewer than 3 examples.
    """
    values = np.asarray(labels)
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise ValueError(
            f"shares must be above 0 and leave some to train on, "
            f"but got validation={validation} and test={test}"
        )
    if values.ndim != 1 or len(values) < 3:
        raise ValueError(
            f"a split needs labels of at least 3 examples, but got shape {values.shape}"
        )
    shuffled = np.random.default_rng(_SEED).permutation(len(values))
    order = shuffled[np.argsort(values[shuffled], kind="stable")]
    tested = _every(order, test)
    rest = order[~tested]
    validated = _every(rest, validation / (1 - test))
    return np.sort(rest[~validated]), np.sort(rest[validated]), np.sort(order[tested])
