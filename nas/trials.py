"""Candidates, what was read off them, and the record of a trial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any, Literal, get_args

from nas.choices import Genotype
from nas.objectives import Constraint

Source = Literal["measured", "modeled", "scored", "counted"]
_SOURCES = get_args(Source)
Status = Literal["done", "failed", "rejected", "stopped"]

ESTIMATED = "estimated_"
"""Before the name of a metric that will be measured: what a model says of it."""

Curve = Mapping[str, tuple[float, ...]]
"""A training by epoch: ``loss`` and ``accuracy``, as many of each as epochs were finished."""

_END = NormalDist().inv_cdf(0.95)
"""How many deviations the end of a 90 % error bar is away."""


class CandidateError(Exception):
    """A candidate cannot be built, trained, packed or scored: recorded, and the search goes on.

    Attributes:
        epochs: of the training that it ended.
    """

    epochs: int = 0


class Exhausted(Exception):  # noqa: N818 - the name is part of the public seam
    """Raised by ``Strategy.ask`` when every genotype has been asked for."""


@dataclass(frozen=True)
class Provenance:
    """Where a number comes from.

    Args:
        source: ``measured`` (timed on the device), ``modeled`` (computed from a profile),
            ``scored`` (accuracy and the like, by running the artifact) or ``counted``
            (exact: operations, parameters, bytes).
        device: the profile's name, or ``host``.
        runtime: what ran the artifact, for example ``onnxruntime 1.32.0``.
        dtype: of the weights and activations, for example ``float32``, ``int8``, ``bfloat16``.
        batch: examples a call.
        threads: of the runtime.
        method: how, in a few words, for example ``roofline, datasheet`` or ``p25 of CPU time``.
        low: lower end of the spread or error bar, in the metric's unit.
        high: its upper end.
    """

    source: Source
    device: str = ""
    runtime: str = ""
    dtype: str = ""
    batch: int | None = None
    threads: int | None = None
    method: str = ""
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.source not in _SOURCES:
            raise ValueError(f"source is one of {_SOURCES}, but got {self.source!r}")

    def to_json(self) -> dict[str, Any]:
        """The fields that say something."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}


class Readings(dict[str, float]):
    """Metrics by name, each with its provenance where the evaluator gives one.

    Args:
        metrics: finite values by metric name.
        provenance: a provenance for all of them, or one by metric name.

    Raises:
        CandidateError: for a value that is not finite: nobody can rank by it.
    """

    def __init__(
        self,
        metrics: Mapping[str, float] | None = None,
        provenance: Provenance | Mapping[str, Provenance] | None = None,
    ) -> None:
        super().__init__({name: float(value) for name, value in (metrics or {}).items()})
        for name, value in self.items():
            if not math.isfinite(value):
                raise CandidateError(f"{name} is {value}, which is no finite number")
        if isinstance(provenance, Provenance):
            provenance = dict.fromkeys(self, provenance)
        self.provenance: dict[str, Provenance] = dict(provenance or {})

    def merged(self, other: Mapping[str, float]) -> Readings:
        """These readings and the other ones, which win."""
        theirs = other.provenance if isinstance(other, Readings) else {}
        return Readings({**self, **other}, {**self.provenance, **theirs})

    def __reduce__(self) -> tuple[Any, ...]:
        return Readings, (dict(self), self.provenance)


def sure_violation(constraint: Constraint, screened: Mapping[str, float]) -> float:
    """How far what is known before training violates a constraint for sure; 0.0 if it may not.

    A metric that is itself known (counted, or modeled for a modeled device) decides alone. Where
    `Readings` say that it is an estimate of what comes later (there is a provenance of
    ``estimated_<metric>``, and none of the metric), it does so if the probability of a violation is
    above ``constraint.reject_above``: an estimate that is a little off must not close a part of the
    space. By default that is where even the near end of the 90 % error bar violates.
    """
    metric, estimated = constraint.metric, f"{ESTIMATED}{constraint.metric}"
    provenance = screened.provenance if isinstance(screened, Readings) else {}
    if estimated not in provenance or metric in provenance:
        return constraint.violation(screened) or 0.0
    at_most = constraint.operator == "<="
    share = 1 - constraint.reject_above if at_most else constraint.reject_above
    value = screened.get(metric, screened.get(estimated))
    near = None if value is None else _quantile(value, provenance[estimated], share)
    return 0.0 if near is None else constraint.violation({metric: near}) or 0.0


def _quantile(value: float, bar: Provenance, share: float) -> float | None:
    """What an estimated quantity is below with a probability of ``share``, None where unknown.

    It is log-normal around the estimate: a time is positive, and models are wrong by factors. On
    either side of the estimate its deviation is the one that the 90 % bar has there, since bars
    need not be symmetric.
    """
    if not 0 < share < 1:
        return None
    deviations = NormalDist().inv_cdf(share)
    end = bar.low if deviations < 0 else bar.high
    if end is None or min(value, end) <= 0:
        return end
    power: float = (end / value) ** (abs(deviations) / _END - 1)
    return end * power


@dataclass(frozen=True)
class Artifact:
    """The file that would ship.

    Args:
        path: of the file.
        sha256: of its bytes, 64 hexadecimal digits.
        dtype: ``float32``, ``int8`` (static or dynamic), ``fixed`` (point, of few bits).
    """

    path: str
    sha256: str
    dtype: str = "float32"


@dataclass(frozen=True)
class Candidate:
    """One network on its way through the stages, which fill in what they make.

    Args:
        genotype: all active choices, those of compression included.
        training_key: what was trained; shared by the compressed variants of one network.
        candidate_key: the candidate itself.
        repeat: 0, or the number of an independent repetition.
        module: the torch module, where a stage has built it.
        workload: the kernels that the runtime would execute.
        artifact: the packed file.
    """

    genotype: Genotype
    training_key: str
    candidate_key: str
    repeat: int = 0
    module: Any = field(default=None, compare=False)
    workload: Any = field(default=None, compare=False)
    artifact: Artifact | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Trial:
    """The record of one candidate.

    Args:
        number: counts asks from 0.
        genotype: as asked for, canonical.
        training_key: see `Candidate`.
        candidate_key: see `Candidate`.
        status: ``done``; ``failed`` (see ``error``); ``rejected``: it surely violates a
            constraint and was not trained; ``stopped``: its training was stopped early.
        metrics: all that is known, by name.
        provenance: where each number comes from.
        artifact: the packed file, of done trials.
        error: one line, of failed, rejected and stopped trials.
        seconds: wall time by stage.
        curve: of its training, shared by the trials with its training key.


        epochs: of training, by the key of the stage that ran them: trials that share a training
            name the same epochs.


        repeat: 0, or the number of an independent repetition, see `nas.repeats`.
    """

    number: int
    genotype: Genotype
    training_key: str
    candidate_key: str
    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    artifact: Artifact | None = None
    error: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    curve: Curve = field(default_factory=dict)

    epochs: Mapping[str, int] = field(default_factory=dict)

    repeat: int = 0

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise ValueError(f"status is one of {get_args(Status)}, but got {self.status!r}")

    def to_json(self) -> dict[str, Any]:
        """A JSON-able record, read back by `from_json`."""
        record = asdict(self)
        record["provenance"] = {name: p.to_json() for name, p in self.provenance.items()}
        if not self.curve:
            del record["curve"]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Trial:
        """The trial behind a record of `to_json`."""
        artifact = record["artifact"]
        provenance = {n: Provenance(**p) for n, p in record["provenance"].items()}
        changed = {
            "provenance": provenance,
            "artifact": artifact and Artifact(**artifact),
            "curve": {name: tuple(values) for name, values in record.get("curve", {}).items()},
        }
        return cls(**{**record, **changed})
