"""What a search space may know of the task."""

from __future__ import annotations

from dataclasses import dataclass

METRICS = ("accuracy",)
KINDS = ("classification",)


@dataclass(frozen=True)
class Task:
    """The shape of a task; its arrays, splits and loaders stay with the evaluators.

    Args:
        name: for reports, for example ``digits-16``.
        kind: ``"classification"``.
        input_shape: of one example, without the batch: (channels, height, width) or (features,).
        outputs: the number of classes.
        metric: what the quality of a network is called, ``"accuracy"``, a share in [0, 1].
        data_hash: the content hash of all arrays and of the splits.

    Raises:
        ValueError: naming the field that is wrong.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    outputs: int
    metric: str
    data_hash: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        if not self.name:
            raise ValueError("a task needs a name, but got ''")
        if self.kind not in KINDS:
            raise ValueError(f"the kind of a task is one of {KINDS}, but got {self.kind!r}")
        if not self.input_shape or any(size < 1 for size in self.input_shape):
            raise ValueError(
                f"input_shape must be sizes of at least 1 without the batch, "
                f"but got {self.input_shape}"
            )
        if self.outputs < 2:
            raise ValueError(f"a classification has at least 2 outputs, but got {self.outputs}")
        if self.metric not in METRICS:
            raise ValueError(f"the metric of a task is one of {METRICS}, but got {self.metric!r}")
