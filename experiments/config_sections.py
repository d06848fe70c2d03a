"""The sections of an experiment's configuration, each with its rules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_serializer,
    model_validator,
)

from evaluators.compression.choices import QAT, Bits
from evaluators.devices import METHODS
from evaluators.proxy_names import check_proxies
from nas.objectives import REJECT_ABOVE, Objective
from nas.registry import unknown

RESULTS_PER_REJECTED = 10

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Widths = tuple[int, ...]
_BITS = ("weight_bits", "activation_bits", "input_bits")


class Section(BaseModel):
    """Knows its keys and refuses all others."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class KindConfig(Section):
    """A named implementation and its options, which the implementation itself checks."""

    model_config = ConfigDict(extra="allow", frozen=True, ser_json_inf_nan="constants")

    kind: str

    @property
    def options(self) -> dict[str, Any]:
        """All keys but ``kind``."""
        return dict(self.__pydantic_extra__ or {})


class ObjectiveConfig(Section):
    """``{maximize: accuracy}`` or ``{minimize: latency_ms.cpu}``."""

    maximize: str | None = None
    minimize: str | None = None

    @model_validator(mode="after")
    def _one_direction(self) -> ObjectiveConfig:
        if (self.maximize is None) == (self.minimize is None):
            raise ValueError("an objective is either {maximize: METRIC} or {minimize: METRIC}")
        self.parsed()
        return self

    @model_serializer
    def _as_written(self) -> dict[str, str]:
        objective = self.parsed()
        return {objective.direction: objective.metric}

    def parsed(self) -> Objective:
        """As the search takes it."""
        if self.maximize is not None:
            return Objective(self.maximize, "maximize")
        return Objective(self.minimize or "", "minimize")


class CompressionConfig(Section):
    """What joint search may choose from; ``[none]`` switches a kind of compression off.

    Attributes:
        prune: methods.
        quantize: schemes.
        align: channels left by structured pruning are a multiple of it.
        calibration_samples: of the training split, for ``static`` and ``qat``.
        weight_bits: of ``qat``, 1 to 8, a choice a stage.
        activation_bits: of what the layers read, likewise.
        input_bits: of the network's own input, likewise but one choice.
    """

    prune: tuple[Literal["none", "structured", "magnitude", "unstructured"], ...] = ("none",)
    quantize: tuple[Literal["none", "dynamic", "static", "qat"], ...] = ("none",)
    align: Count = 8
    calibration_samples: Count = 64
    weight_bits: Widths = Bits().weight
    activation_bits: Widths = Bits().activation
    input_bits: Widths = Bits().input

    @field_validator("prune", "quantize")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError(f"lists at least one method, each once, but got {list(value)}")
        return value

    @model_validator(mode="after")
    def _bits_of_qat(self) -> CompressionConfig:
        named = [name for name in _BITS if name in self.model_fields_set]
        if named and self.bits != Bits() and QAT not in self.quantize:
            raise ValueError(f"{named[0]} is of the scheme qat, but quantize does not list it")
        return self

    @property
    def bits(self) -> Bits:
        """The bit-widths that ``qat`` may choose from."""
        return Bits(self.weight_bits, self.activation_bits, self.input_bits)


class DeviceConfig(Section):
    """A device entry: which profile, how its numbers are made, and in which setting."""

    profile: str
    method: str
    runtime: str | tuple[str, ...] = "onnxruntime"
    dtype: str | tuple[str, ...] = ""
    batch: Count = 1
    threads: Count = 1

    @property
    def runtimes(self) -> tuple[str, ...]:
        """What the search may choose from; one where there is no choice."""
        return (self.runtime,) if isinstance(self.runtime, str) else self.runtime

    @property
    def dtypes(self) -> tuple[str, ...]:
        """What the search may choose from; one where there is no choice."""
        return (self.dtype,) if isinstance(self.dtype, str) else self.dtype

    @property
    def is_chosen(self) -> bool:
        """Whether the search chooses runtime or dtype."""
        return len(self.runtimes) > 1 or len(self.dtypes) > 1

    @field_validator("runtime", "dtype")
    @classmethod
    def _distinct(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not isinstance(value, str) and (not value or len(set(value)) != len(value)):
            raise ValueError(f"lists at least one name, each once, but got {list(value)}")
        return value

    @model_validator(mode="after")
    def _measured_if_chosen(self) -> DeviceConfig:
        if self.is_chosen and self.method != "measured":
            name = "runtime" if len(self.runtimes) > 1 else "dtype"
            raise ValueError(
                f"{name} may be a list only where the method is measured, but it is {self.method}"
            )
        return self

    @model_validator(mode="after")
    def _has_bits_of_its_own(self) -> DeviceConfig:
        if self.method == "fpga_dataflow" and self.dtypes not in (("",), ("int8",)):
            raise ValueError(
                "dtype must be left out where the method is fpga_dataflow, whose bit-widths are "
                f"those of the network, but got {self.dtype!r}"
            )
        return self

    @field_validator("method")
    @classmethod
    def _available(cls, method: str) -> str:
        if method not in METHODS:
            raise ValueError(unknown("method", method, METHODS))
        return method


class ScreeningConfig(Section):
    """What is decided before training.

    Attributes:
        reject_above: a candidate is rejected when the probability that it violates a constraint on
            a measured latency is above this, by the model's estimate and its error bar; 1: never.
    """

    reject_above: Annotated[float, Field(gt=0, le=1)] = REJECT_ABOVE


class ProxiesConfig(Section):
    """What an untrained network says of itself.

    Attributes:
        names: the zero-cost proxies computed for each candidate before it is trained; how they
            rank the trained ones is reported.
        features: whether the strategy ``guided`` may use them, as long as they help.
    """

    names: tuple[str, ...] = ()
    features: bool = False

    @field_validator("names")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return check_proxies(names)

    @model_validator(mode="after")
    def _some(self) -> ProxiesConfig:
        if self.features and not self.names:
            raise ValueError("features needs the names of proxies, but there are none")
        return self


class EarlyStoppingConfig(Section):
    """When a training is stopped that cannot get onto the front; see `nas.stopping`.

    Attributes:
        rule: ``none``; ``prediction``: of the final accuracy, from the curve so far; ``rungs``:
            successive halving by hypervolume contribution.
        confidence: of the prediction; the higher, the fewer are stopped, and the fewer wrongly.
        grace: epochs before any is stopped, as a share of all.
        reduction: one in so many goes on from a rung to the next, which is so many times as far.
    """

    rule: Literal["none", "prediction", "rungs"] = "none"
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    grace: Annotated[float, Field(gt=0, lt=1)] = 0.08
    reduction: Annotated[int, Field(ge=2)] = 3


class BudgetConfig(Section):
    """When a search ends: with the first of these that is spent; None: no such limit.

    Attributes:
        trials: candidates to score.
        minutes: search time, earlier sessions included.
        epochs: of training and fine-tuning, as they were really run: what is shared counts once.
        improvement_per_minute: the least that another minute must be expected to add, as a share
            of the present hypervolume; for strategies that know (guided).
        rejected: candidates that may be rejected before training; None: ten a trial, and 10,000
            without a budget of trials.
        confirm: trainings that each point of the front has in the end, the first one included;
            they come after the search and count neither as trials nor in its minutes or epochs.
    """

    trials: Count | None = None
    minutes: Positive | None = None
    epochs: Count | None = None
    improvement_per_minute: Positive | None = None
    rejected: Annotated[int, Field(ge=0)] | None = None
    confirm: Annotated[int, Field(ge=1, le=100)] = 1

    @model_validator(mode="after")
    def _has_a_limit(self) -> BudgetConfig:
        if self.trials is None and self.minutes is None and self.epochs is None:
            raise ValueError("needs trials, minutes or epochs, but got none of them")
        return self

    @property
    def rejected_cap(self) -> int:
        """How many candidates may be rejected before the search ends."""
        return (
            RESULTS_PER_REJECTED * (self.trials or 1000) if self.rejected is None else self.rejected
        )


class TrackingConfig(Section):
    """MLflow.

    Attributes:
        enabled: False: nothing is logged there.
        uri: None: ``MLFLOW_TRACKING_URI``, or SQLite beside the folder of runs.
        experiment: searches of one MLflow experiment are shown overlaid; ``""``: the name.
    """

    enabled: bool = True
    uri: str | None = None
    experiment: str = ""
