"""A device as a value: what it can do, each figure with its source."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hw_profiles import limits

KINDS = ("cpu", "gpu", "tpu", "fpga")
LOWERINGS = ("onnxruntime", "onnxruntime-nchwc8", "tflite", "xla", "dataflow", "eager", "dpu")
GROUPS = (
    "bandwidth_bytes_s",
    "memory_bytes",
    "overhead_s",
    "efficiency",
    "parts",
    "energy_j",
    "power_w",
)
"""The fields of a profile that hold figures by name; ``peak_ops_s`` has one more level."""


@dataclass(frozen=True)
class Figure:
    """One number of a device and where it comes from.

    Args:
        value: in the unit that the field's name says; finite, not negative.
        source: a data sheet, a manual, a derivation, or ``assumption: ...`` with its reason.
    """

    value: float
    source: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))
        if not math.isfinite(self.value) or self.value < 0:
            raise ValueError(f"a figure must be finite and not negative, but got {self.value}")
        if not self.source.strip():
            raise ValueError("a figure needs a source, but got ''")


@dataclass(frozen=True, eq=False)
class HardwareProfile:
    """A device: what a latency model has to know of it.

    Args:
        name: as in ``load(name)``.
        title: for reports, for example ``NVIDIA A100-SXM4-40GB``.
        kind: ``cpu``, ``gpu``, ``tpu`` or ``fpga``.
        lowering: how a network becomes kernels there, see `evaluators.workload.trace`.
        dtype: of weights and activations where a device entry names none.
        clock_hz: of the compute units.
        uncertainty: the factor u of the error bar [t / u, t * u] while nothing is calibrated.
        peak_ops_s: operations a second (a multiply-accumulate is 2) by engine (``matrix`` for
            dense convolutions and products, ``vector`` for everything else), then by dtype;
            of one thread (cpu) or one core (tpu), which is what runs one call.
        bandwidth_bytes_s: ``memory``, and ``cache`` where kernels that fit there profit.
        memory_bytes: sizes of ``memory`` and ``cache``.
        overhead_s: ``call``: once a call; ``op``: once a kernel; ``call_int8`` and the like where
            it differs for a dtype.
        efficiency: the attainable share of a peak, of ``matrix``, ``vector`` and ``memory``;
            ``vector_int8`` and the like where it differs for a dtype.
        parts: what only this kind has, for example ``tile_channels`` or ``dsp``.
        energy_j: joules of one ``mac_float32`` and the like (a multiply-accumulate) and of one
            ``byte`` of memory traffic; may be empty.
        power_w: ``idle`` and ``max``; may be empty.
        calibration: what a calibration has learned, kept as it is.
        identity: of a detected machine, what makes it this one.
        sibling: the name of a profile whose calibration this one's starts from; ``""``: none.
        chip: what a vendor's compiler calls it, for example ``v5e``; ``""``: none knows it.

    Raises:
        ValueError: naming the figure that is missing, absurd or wrong.
    """

    name: str
    title: str
    kind: str
    lowering: str
    dtype: str
    clock_hz: Figure
    uncertainty: Figure
    peak_ops_s: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)
    bandwidth_bytes_s: Mapping[str, Figure] = field(default_factory=dict)
    memory_bytes: Mapping[str, Figure] = field(default_factory=dict)
    overhead_s: Mapping[str, Figure] = field(default_factory=dict)
    efficiency: Mapping[str, Figure] = field(default_factory=dict)
    parts: Mapping[str, Figure] = field(default_factory=dict)
    energy_j: Mapping[str, Figure] = field(default_factory=dict)
    power_w: Mapping[str, Figure] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    identity: str = ""
    sibling: str = ""
    chip: str = ""

    def __post_init__(self) -> None:
        for what, value, known in (
            ("kind", self.kind, KINDS),
            ("lowering", self.lowering, LOWERINGS),
        ):
            if value not in known:
                raise ValueError(f"{what} must be one of {', '.join(known)}, but got {value!r}")
        if not self.name or not self.dtype:
            raise ValueError(
                f"a profile needs name and dtype, but got {self.name!r}, {self.dtype!r}"
            )
        if self.sibling == self.name:
            raise ValueError(f"sibling must be another profile, but got {self.sibling!r} itself")
        figures = dict(self.figures())
        for path in limits.needed(self.kind, self.lowering, self.dtype):
            if ".".join(path) not in figures:
                raise ValueError(f"figure {'.'.join(path)} is missing")
        limits.check(figures.items())
        limits.check_power(self.power_w)

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """All figures with their dotted names, for example ``overhead_s.op``."""
        yield "clock_hz", self.clock_hz
        yield "uncertainty", self.uncertainty
        for engine, by_dtype in self.peak_ops_s.items():
            for dtype, figure in by_dtype.items():
                yield f"peak_ops_s.{engine}.{dtype}", figure
        for group in GROUPS:
            for name, figure in getattr(self, group).items():
                yield f"{group}.{name}", figure

    def peak(self, engine: str, dtype: str) -> float:
        """Operations a second of an engine.

        Raises:
            ValueError: when the profile has no such figure.
        """
        by_dtype = self.peak_ops_s.get(engine, {})
        if dtype not in by_dtype:
            raise ValueError(
                f"{self.name} has no peak of its {engine} engine for {dtype} "
                f"(known: {', '.join(sorted(by_dtype))})"
            )
        return by_dtype[dtype].value

    def part(self, name: str, default: float | None = None) -> float:
        """A figure of ``parts``.

        Raises:
            ValueError: when it is missing and there is no default.
        """
        if name in self.parts:
            return self.parts[name].value
        if default is None:
            raise ValueError(f"{self.name} has no figure parts.{name}")
        return default

    def fingerprint(self) -> str:
        """12 hexadecimal digits: latencies of different fingerprints are not comparable.

        Of a detected machine: its identity. Otherwise: all figures and the calibration.
        """
        text = self.identity or self._canonical
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @cached_property
    def _canonical(self) -> str:
        """Everything that the profile says, as text."""
        plain = {
            "figures": {name: [figure.value, figure.source] for name, figure in self.figures()},
            "about": [self.name, self.title, self.kind, self.lowering, self.dtype, self.identity],
            "sibling": self.sibling,
            "chip": self.chip,
            "calibration": self.calibration,
        }
        return json.dumps(plain, sort_keys=True, default=str)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HardwareProfile):
            return NotImplemented
        return self is other or self._canonical == other._canonical

    def __hash__(self) -> int:
        return hash(self._canonical)
