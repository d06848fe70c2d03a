"""The arrays of a task: splits, how inputs are normalized, and what identifies them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.task import Task

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    view = np.ascontiguousarray(array).view()
    view.setflags(write=False)
    return view


@dataclass(frozen=True, eq=False)
class Split:
    """Examples and their classes; the arrays are read-only.

    Args:
        inputs: raw, (n, channels, height, width) or (n, features), float32.
        labels: (n,), int64, counting from 0.

    Raises:
        ValueError: for shapes that do not fit, labels that are no whole numbers, or values that
            are not finite.
    """

    inputs: Floats
    labels: Labels

    def __post_init__(self) -> None:
        inputs, labels = np.asarray(self.inputs), np.asarray(self.labels)
        if inputs.ndim not in (2, 4):
            hint = "; give images a channel axis" if inputs.ndim == 3 else ""
            raise ValueError(
                f"inputs must be (n, channels, height, width) or (n, features), "
                f"but got shape {inputs.shape}{hint}"
            )
        if inputs.dtype.kind not in "fiub":
            raise ValueError(f"inputs must be numbers, but got dtype {inputs.dtype}")
        if labels.dtype.kind not in "iu":
            raise ValueError(f"labels must be integers, but got dtype {labels.dtype}")
        if labels.ndim != 1 or len(labels) != len(inputs) or not len(inputs):
            raise ValueError(
                f"there must be one label an example and at least one example, "
                f"but got inputs {inputs.shape} and labels {labels.shape}"
            )
        # As float32, so that a value beyond its range counts as not finite too.
        with np.errstate(over="ignore"):
            inputs = inputs.astype(np.float32)
        if not np.isfinite(inputs).all():
            raise ValueError(
                f"inputs must be finite, but {int((~np.isfinite(inputs)).sum())} values are not"
            )
        object.__setattr__(self, "inputs", _frozen(inputs))
        object.__setattr__(self, "labels", _frozen(labels.astype(np.int64)))

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Preprocessing:
    """``(x - mean) / std`` by channel (or feature); it goes into the artifact.

    Raises:
        ValueError: for lengths that differ, or values that are not finite, or a std below 1e-6.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(
                f"mean and std must have one value a channel, but got {self.mean} and {self.std}"
            )
        if not np.isfinite(self.mean).all() or not np.isfinite(self.std).all():
            raise ValueError(f"mean and std must be finite, but got {self.mean} and {self.std}")
        if min(self.std) < 1e-6:
            raise ValueError(f"std must be at least 1e-6, but got {self.std}")

    @classmethod
    def of(cls, inputs: Floats) -> Preprocessing:
        """What brings these inputs to mean 0 and std 1; a constant channel keeps its scale.

        One value a channel of images (n, channels, height, width), one a column of (n, features).
        """
        axes = (0, 2, 3) if inputs.ndim == 4 else (0,)
        mean = inputs.mean(axis=axes, dtype=np.float64)
        std = inputs.std(axis=axes, dtype=np.float64)
        # Rounded, so that the last bits of a sum do not decide the identity of the data.
        return cls(
            tuple(float(f"{m:.6g}") for m in mean),
            tuple(float(f"{s:.6g}") if s >= 1e-6 else 1.0 for s in std),
        )

    def shaped(self, dimensions: int) -> tuple[Floats, Floats]:
        """Mean and 1 / std, to be broadcast over inputs of so many dimensions, batch included."""
        shape = (1, len(self.mean)) + (1,) * (dimensions - 2)
        mean = np.array(self.mean, np.float32).reshape(shape)
        return mean, (1.0 / np.array(self.std, np.float64)).astype(np.float32).reshape(shape)

    def apply(self, inputs: Floats) -> Floats:
        """The normalized inputs, computed as in the artifact: ``(x - mean) * (1 / std)``."""
        mean, scale = self.shaped(inputs.ndim)
        normalized: Floats = (inputs - mean) * scale
        return normalized


def content_hash(preprocessing: Preprocessing, *splits: Split) -> str:
    """32 hexadecimal digits that say everything about the arrays and how they are split."""
    digest = hashlib.sha256(repr((preprocessing.mean, preprocessing.std)).encode())
    for split in splits:
        digest.update(repr(split.inputs.shape).encode())
        digest.update(split.inputs.astype("<f4").tobytes())
        digest.update(split.labels.astype("<i8").tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class TaskData:
    """A task with its arrays.

    A search works on `without_test`; the test split is for the export alone.

    Args:
        task: what the rest of the project knows of it.
        train: what networks learn from, and what quantizers are calibrated on.
        validation: what candidates are scored and chosen by.
        preprocessing: the normalization that goes into the artifact.
        held_out: the test split, see `test`.

    Raises:
        ValueError: when splits and task do not fit together.
    """

    task: Task
    train: Split
    validation: Split
    preprocessing: Preprocessing
    held_out: Split | None = None

    def __post_init__(self) -> None:
        for name in ("train", "validation", "held_out"):
            split: Split | None = getattr(self, name)
            if split is not None:
                _check_split("test" if name == "held_out" else name, split, self.task)
        channels = self.task.input_shape[0]
        if len(self.preprocessing.mean) != channels:
            raise ValueError(
                f"preprocessing must have one mean and std for each of {channels} channels, "
                f"but got {len(self.preprocessing.mean)}"
            )

    @property
    def test(self) -> Split:
        """The test split.

        Raises:
            LookupError: when it was taken away, as it is for everything that searches.
        """
        if self.held_out is None:
            raise LookupError("the test split is not here: a search works without it")
        return self.held_out

    def without_test(self) -> TaskData:
        """The same task with nothing in it that a search must not see."""
        return replace(self, held_out=None)


def _check_split(name: str, split: Split, task: Task) -> None:
    if split.inputs.shape[1:] != task.input_shape:
        raise ValueError(
            f"the {name} inputs must have shape {task.input_shape} each, "
            f"but got {split.inputs.shape[1:]}"
        )
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= task.outputs:
        raise ValueError(
            f"the {name} labels must lie in 0..{task.outputs - 1}, but got {low}..{high}"
        )


def as_split(name: str, pair: object) -> Split:
    """A split from what a user gave.

    Raises:
        ValueError: naming the split and what is wrong with it.
    """
    if isinstance(pair, Split):
        return pair
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"{name} must be a pair (inputs, labels), but got {type(pair).__name__}")
    inputs: ArrayLike = pair[0]
    labels: ArrayLike = pair[1]
    try:
        return Split(np.asarray(inputs), np.asarray(labels))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
