"""The recipe of a training; without torch, so that a config can be checked at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from nas.registry import unknown

Device = Literal["auto", "cpu", "cuda"]
Optimizer = Literal["sgd"]


@dataclass(frozen=True)
class TrainingConfig:
    """How networks are trained.

    Args:
        epochs: passes over the training split.
        batch_size: examples a step.
        optimizer: ``sgd``.
        learning_rate: the highest; a cosine brings it to zero.
        momentum: of SGD, in [0, 1).
        nesterov: whether momentum looks ahead.
        weight_decay: of weights with two or more dimensions; norms and biases have none.
        gradient_clip: the largest norm of all gradients together.
        warmup_epochs: in which the learning rate rises linearly, before the cosine.
        label_smoothing: share of the target spread over all classes, in [0, 1).
        fine_tune_epochs: after pruning, and quantization-aware.
        fine_tune_learning_rate: likewise.
        device: ``auto`` takes a CUDA GPU where there is one.

    Raises:
        ValueError: naming the setting that is wrong.
    """

    epochs: int = 12
    batch_size: int = 32
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.2
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    gradient_clip: float = 1.0
    warmup_epochs: float = 2.0
    label_smoothing: float = 0.1
    fine_tune_epochs: int = 4
    fine_tune_learning_rate: float = 0.1
    device: Device = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "fine_tune_epochs"):
            self._check_integer(name)
        for name in ("learning_rate", "gradient_clip", "fine_tune_learning_rate"):
            self._check_number(name, lambda value: value > 0, "above 0")
        for name in ("weight_decay", "warmup_epochs"):
            self._check_number(name, lambda value: value >= 0, "at least 0")
        for name in ("momentum", "label_smoothing"):
            self._check_number(name, lambda value: 0 <= value < 1, "in [0, 1)")
        if self.optimizer not in get_args(Optimizer):
            raise ValueError(
                f"optimizer must be one of {get_args(Optimizer)}, but got {self.optimizer!r}"
            )
        if self.device not in get_args(Device):
            raise ValueError(f"device must be one of {get_args(Device)}, but got {self.device!r}")
        if not isinstance(self.nesterov, bool):
            raise ValueError(f"nesterov must be true or false, but got {self.nesterov!r}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, but got 0")

    def _check_integer(self, name: str) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, but got {value!r}")

    def _check_number(self, name: str, holds: Any, rule: str) -> None:
        value = getattr(self, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not holds(value):
            raise ValueError(f"{name} must be a number {rule}, but got {value!r}")

    def to_json(self) -> dict[str, Any]:
        """Everything that decides the outcome, for the training key; so not the device."""
        values = asdict(self)
        del values["device"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """The config with these settings; those that are not named have their defaults.

        Raises:
            ValueError: for a setting that is wrong or does not exist.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(unknown("training setting", name, known))
        return cls(**values)
