"""A device as a search uses it: a profile, and how its latency is found."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hw_profiles import HardwareProfile
from nas.trials import ESTIMATED

METHODS = (
    *("measured", "modeled", "tpu_analytic", "tpu_xla"),
    *("fpga_dataflow", "fpga_dpu", "fpga_rtl"),
)
ESTIMATED_FIRST = ("measured", "tpu_xla", "fpga_dataflow")
"""Methods that work on the network as it will be; before it is there, a model stands in."""
_LOWERED = {
    "tpu_analytic": "xla",
    "tpu_xla": "xla",
    "fpga_dataflow": "dataflow",
    "fpga_dpu": "dpu",
}
"""How a profile must be lowered for a method."""
FIXED_POINT = ("int8", "int16", "int32")
"""What the quick model of a streaming circuit computes in."""
_COMPUTED = ("modeled", "tpu_analytic", "fpga_dpu")
"""Methods that need nothing but the profile, and its figures for a dtype."""


@dataclass(frozen=True)
class Device:
    """An entry of ``devices`` in a config.

    Args:
        alias: what the config calls it; the last part of metric names such as ``latency_ms.cpu``.
        profile: what is known of the hardware.
        method: ``measured`` (timed on it), ``modeled`` (computed from its profile; of a TPU also
            called ``tpu_analytic``, of a convolution engine ``fpga_dpu``), ``tpu_xla`` (compiled
            for it, see `evaluators.tpu`), ``fpga_dataflow`` (a streaming circuit that is folded for
            it) or ``fpga_rtl`` (the file as an unrolled circuit, see `evaluators.rtl`).
        runtime: that runs the artifact, or is assumed to.
        dtype: ``""``: of the profile where it is modeled, of the artifact where it is measured;
            else what float32 is computed in, for example ``bfloat16`` with ``openvino``.
        batch: examples a call.
        threads: of the runtime.

    Raises:
        ValueError: naming the field that is wrong.
    """

    alias: str
    profile: HardwareProfile
    method: str
    runtime: str = "onnxruntime"
    dtype: str = ""
    batch: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_\-]+", self.alias):
            raise ValueError(
                f"the alias of a device is made of letters, digits, _ and -, but got {self.alias!r}"
            )
        if self.method not in METHODS:
            raise ValueError(
                f"the method of device {self.alias} must be one of {', '.join(METHODS)}, "
                f"but got {self.method!r}"
            )
        lowered = _LOWERED.get(self.method, self.profile.lowering)
        if self.profile.lowering != lowered:
            raise ValueError(
                f"the method {self.method} of device {self.alias} needs a profile lowered as "
                f"{lowered}, but {self.profile.name} is a {self.profile.kind} lowered as "
                f"{self.profile.lowering}"
            )
        for what, value in (("batch", self.batch), ("threads", self.threads)):
            if value < 1:
                raise ValueError(
                    f"{what} of device {self.alias} must be at least 1, but got {value}"
                )
        self._check_dtype()

    def _check_dtype(self) -> None:
        profile = self.profile
        known = {"dataflow": FIXED_POINT, "dpu": (profile.dtype,)}.get(
            profile.lowering, tuple(sorted(profile.peak_ops_s.get("matrix", {})))
        )
        if self.method in _COMPUTED and self.dtype not in ("", *known) and not profile.calibration:
            raise ValueError(
                f"the dtype of device {self.alias} must be one of {', '.join(known)} "
                f"({profile.name}), but got {self.dtype!r}"
            )

    @property
    def name(self) -> str:
        """The profile's name."""
        return self.profile.name

    @property
    def lowering(self) -> str:
        """How networks become kernels there."""
        return self.profile.lowering

    @property
    def metric(self) -> str:
        """The metric that is the latency on it, for example ``latency_ms.cpu``."""
        return f"latency_ms.{self.alias}"

    @property
    def modeled_metric(self) -> str:
        """The metric that a model gives: an estimate where the latency itself comes later."""
        prefix = ESTIMATED if self.method in ESTIMATED_FIRST else ""
        return f"{prefix}latency_ms.{self.alias}"


def computed_in(file: str, dtype: str) -> str:
    """What runs: a file's own dtype, but for the float32 in it that a runtime converts.

    Args:
        file: ``float32`` or ``int8``.
        dtype: what the runtime computes in where the file says float32; ``""`` is float32.
    """
    if dtype in ("", "float32"):
        return file
    return dtype if file == "float32" else f"{file}, {dtype}"
