"""What is read off the artifact by running it: accuracy, robustness; and its size."""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.devices import computed_in
from evaluators.runtimes import Session, load
from evaluators.tasks.data import Floats, Labels, TaskData
from nas.keys import seed_of
from nas.trials import Artifact, Candidate, CandidateError, Provenance, Readings

_BATCH = 1024
_BATCH_VALUES = 2**22

Serving = Callable[[Candidate], tuple[str, str]]
"""The runtime that serves a candidate, and what it computes in where the file says float32."""


def by_default(candidate: Candidate) -> tuple[str, str]:
    """ONNX Runtime, in the file's own dtype."""
    return "onnxruntime", ""


def batch_of(input_shape: Sequence[int]) -> int:
    """Examples a call when scoring inputs of this shape: 1,024, fewer where that is over 16 MiB.

    Small splits are one batch. With dynamic quantization activations are scaled by the range of
    their batch, so there accuracy belongs to a batch size.
    """
    return max(1, min(_BATCH, _BATCH_VALUES // math.prod(input_shape)))


def predict(session: Session, inputs: Floats, batch_size: int | None = None) -> NDArray[np.float32]:
    """The outputs (n, outputs) for raw inputs (n, *input_shape), a batch at a time.

    Args:
        session: of `evaluators.runtimes.load`.
        inputs: at least one.
        batch_size: None for `batch_of`. It is part of the result: another one may change the last
            bits.
    """
    size = batch_of(inputs.shape[1:]) if batch_size is None else batch_size
    chunks = [session.run(inputs[i : i + size]) for i in range(0, len(inputs), size)]
    return np.concatenate(chunks).astype(np.float32, copy=False)


def accuracy_of(logits: NDArray[np.float32], labels: Labels) -> float:
    """The share of examples whose highest output is their class.

    Raises:
        CandidateError: when an output is not finite: such a network has no opinion.
    """
    if not np.isfinite(logits).all():
        raise CandidateError("the artifact's outputs are not finite")
    return float((logits.argmax(axis=1) == labels).mean())


def _by_channel(values: NDArray[Any], dimensions: int) -> Floats:
    """Values a channel, to be broadcast over inputs of so many dimensions."""
    shape = (1, -1) + (1,) * (dimensions - 2)
    return values.astype(np.float32).reshape(shape)


def gaussian(inputs: Floats, std: NDArray[Any], seed: int) -> Floats:
    """Inputs with Gaussian noise added.

    Args:
        inputs: (n, channels, height, width) or (n, features).
        std: of the noise, one a channel or feature.
        seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(inputs.shape, dtype=np.float32)
    noisy: Floats = inputs + _by_channel(std, inputs.ndim) * noise
    return noisy


def impulse(
    inputs: Floats, share: float, low: NDArray[Any], high: NDArray[Any], seed: int
) -> Floats:
    """Inputs with outliers: a share of the values is replaced by an extreme, one as often as other.

    Args:
        inputs: (n, channels, height, width) or (n, features).
        share: of the values that are hit.
        low: the lowest value, one a channel or feature.
        high: the highest value, likewise.
        seed: of the outliers.
    """
    rng = np.random.default_rng(seed)
    hit, up = rng.random(inputs.shape) < share, rng.random(inputs.shape) < 0.5
    extremes = np.where(up, _by_channel(high, inputs.ndim), _by_channel(low, inputs.ndim))
    return np.where(hit, extremes, inputs)


def _artifact(candidate: Candidate) -> Artifact:
    if candidate.artifact is None:
        raise CandidateError("nothing to score: the candidate has not been packed")
    return candidate.artifact


def _served(candidate: Candidate, serving: Serving) -> Session:
    """The artifact in the runtime and the dtype that will serve it."""
    runtime, dtype = serving(candidate)
    try:
        return load(_artifact(candidate).path, runtime, dtype=dtype)
    except ValueError as error:
        raise CandidateError(str(error)) from error


def _scored(
    session: Session, candidate: Candidate, serving: Serving, inputs: Floats, method: str
) -> Provenance:
    return Provenance(
        "scored",
        device="host",
        runtime=session.name,
        dtype=computed_in(_artifact(candidate).dtype, serving(candidate)[1]),
        batch=min(len(inputs), batch_of(inputs.shape[1:])),
        threads=1,
        method=method,
    )


class Accuracy:
    """``accuracy`` of the artifact on the validation split.

    Args:
        data: of the task.
        serving: what runs the artifact.
    """

    stage, provides, needs = "score", ("accuracy",), ""

    def __init__(self, data: TaskData, serving: Serving = by_default) -> None:
        self._split, self._serving = data.validation, serving

    def evaluate(self, candidate: Candidate) -> Readings:
        """Run the artifact; see `nas.protocols.Evaluator`."""
        inputs, method = self._split.inputs, f"{len(self._split)} validation examples"
        with _served(candidate, self._serving) as session:
            accuracy = accuracy_of(predict(session, inputs), self._split.labels)
            origin = _scored(session, candidate, self._serving, inputs, method)
            return Readings({"accuracy": accuracy}, origin)


class Robustness:
    """Accuracy under noise: ``accuracy_noise`` (Gaussian) and ``accuracy_impulse`` (outliers).

    The noise depends on the data alone, so that all candidates see the same. Its size is taken
    from the training split, by channel: its standard deviation, its lowest and highest value.

    Args:
        data: of the task.
        noise: standard deviation as a share of that of the inputs, above 0.
        impulses: share of the values that are replaced, in (0, 1).
        draws: how often each example is scored, with other noise.
        serving: what runs the artifact.

    Raises:
        ValueError: for a strength that cannot be.
    """

    stage, provides, needs = "score", ("accuracy_noise", "accuracy_impulse"), ""

    def __init__(
        self,
        data: TaskData,
        noise: float = 0.5,
        impulses: float = 0.05,
        draws: int = 3,
        serving: Serving = by_default,
    ) -> None:
        if not noise > 0:
            raise ValueError(f"noise must be above 0, but got {noise}")
        if not 0 < impulses < 1:
            raise ValueError(f"impulses must be a share in (0, 1), but got {impulses}")
        if draws < 1:
            raise ValueError(f"draws must be at least 1, but got {draws}")
        self._noise, self._impulses, self._draws = noise, impulses, draws
        self._split, self._key = data.validation, data.task.data_hash
        self._serving = serving
        seen = data.train.inputs
        axes = (0, 2, 3) if seen.ndim == 4 else (0,)
        self._std = noise * seen.std(axis=axes, dtype=np.float64)
        self._low, self._high = seen.min(axis=axes), seen.max(axis=axes)

    @functools.cached_property
    def _cases(self) -> dict[str, tuple[str, list[Floats]]]:
        """By metric: what was done to the inputs, and the inputs of each draw."""
        inputs = self._split.inputs

        def seeds(purpose: str) -> list[int]:
            return [seed_of(self._key, f"{purpose} {draw}") for draw in range(self._draws)]

        return {
            "accuracy_noise": (
                f"Gaussian noise of {self._noise:g} standard deviations",
                [gaussian(inputs, self._std, seed) for seed in seeds("gaussian")],
            ),
            "accuracy_impulse": (
                f"outliers in {100 * self._impulses:g} % of the values",
                [
                    impulse(inputs, self._impulses, self._low, self._high, seed)
                    for seed in seeds("impulse")
                ],
            ),
        }

    def evaluate(self, candidate: Candidate) -> Readings:
        """Run the artifact; see `nas.protocols.Evaluator`."""
        readings = Readings()
        with _served(candidate, self._serving) as session:
            for name, (what, draws) in self._cases.items():
                accuracies = [accuracy_of(predict(session, x), self._split.labels) for x in draws]
                method = f"{len(self._split)} validation examples, {what}, {len(draws)} draws"
                origin = _scored(session, candidate, self._serving, self._split.inputs, method)
                found = Readings({name: float(np.mean(accuracies))}, origin)
                readings = readings.merged(found)
        return readings


class Size:
    """``size_kb`` of the artifact, and ``size_kb_compressed``, where zeros of weights show.

    A KB is 1,024 bytes; compressed is by zlib at level 9.
    """

    stage, provides, needs = "score", ("size_kb", "size_kb_compressed"), ""

    def evaluate(self, candidate: Candidate) -> Readings:
        """Weigh the artifact; see `nas.protocols.Evaluator`."""
        artifact = _artifact(candidate)
        content = Path(artifact.path).read_bytes()

        def counted(method: str) -> Provenance:
            return Provenance("counted", dtype=artifact.dtype, method=method)

        return Readings(
            {
                "size_kb": len(content) / 1024,
                "size_kb_compressed": len(zlib.compress(content, 9)) / 1024,
            },
            {"size_kb": counted("the file"), "size_kb_compressed": counted("zlib level 9")},
        )
