"""The shipped task: 1,797 real handwritten digits."""

from __future__ import annotations

import functools
import random

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.data import Floats, TaskData
from evaluators.tasks.user import classification_by_split

SIZES = (8, 16, 32, 64)


def _interpolation(size: int, source: int) -> NDArray[np.float64]:
    """Weights (size, source) of bilinear resizing with pixel centres at half-integers.

    As `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`.
    """
    centres = (np.arange(size) + 0.5) * source / size - 0.5
    centres = centres.clip(0, source - 1)
    left = np.minimum(np.floor(centres).astype(int), source - 2)
    weights = np.zeros((size, source))
    weights[np.arange(size), left] = 1 - (centres - left)
    weights[np.arange(size), left + 1] = centres - left
    return weights


def resized(images: Floats, size: int) -> Floats:
    """Square images (n, height, height) brought to (n, size, size), bilinear.

    For the shipped sizes all weights are multiples of 1/64, so that every value is exact and the
    content hash is the same on every machine.
    """
    weights = _interpolation(size, images.shape[-1])
    scaled: NDArray[np.float64] = weights @ images.astype(np.float64) @ weights.T
    return scaled.astype(np.float32)


def digits(size: int = 16) -> TaskData:
    """scikit-learn's digits (UCI, Alpaydin and Kaynak 1998), 60/20/20 stratified.

    Args:
        size: 8 (as they are), 16, 32 or 64; inputs are raw, (1, size, size), 0 to 16.

    Raises:
        ValueError: for another size.
    """
    if isinstance(size, bool) or size not in SIZES:
        raise ValueError(f"the size of digits is one of {SIZES}, but got {size!r}")
    return _digits(size)


@functools.lru_cache(maxsize=2)
def _digits(size: int) -> TaskData:
    state = random.getstate()  # the import draws from it
    try:
        from sklearn.datasets import load_digits  # 1 s, and only this task needs it
    finally:
        random.setstate(state)
    images, labels = load_digits(return_X_y=True)
    inputs = resized(images.reshape(-1, 8, 8), size)[:, None]
    return classification_by_split(f"digits-{size}", inputs, labels)
