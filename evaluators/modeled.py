"""Latency from a data sheet: what a device that is not there would take.

This is the zero-shot model: nothing has been measured, every figure is one of the profile, and the
error bar is the profile's `uncertainty`. The result is labeled ``modeled``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from evaluators.devices import Device
from evaluators.latency import Latency
from evaluators.modeled_dataflow import Dataflow
from evaluators.modeled_roofline import Roofline
from evaluators.workload import Workload, workload_of
from hw_profiles import HardwareProfile
from nas.trials import Candidate, Readings


def estimate(
    workload: Workload, profile: HardwareProfile, batch: int = 1, dtype: str = ""
) -> Latency:
    """The modeled time of one call.

    Args:
        workload: lowered for this device, traced at batch 1.
        profile: of the device.
        batch: examples a call.
        dtype: in which floating-point kernels are computed; ``""``: the profile's. Kernels that
            are integer already stay as they are.

    Returns:
        The latency with its error bar. The kernels of a processor run one after the other, and
        their times with the overhead of the call add up to the latency; those of a streaming
        circuit run at the same time, and theirs are a frame each.

    Raises:
        ValueError: the workload is lowered for another device, or the device cannot compute in
            that dtype.
    """
    if workload.lowering != profile.lowering:
        raise ValueError(
            f"{profile.name} needs a workload lowered for {profile.lowering!r}, "
            f"but got one for {workload.lowering!r}"
        )
    if batch < 1:
        raise ValueError(f"batch must be at least 1, but got {batch}")
    if not workload.kernels:
        raise ValueError(f"{profile.name} needs a workload with kernels, but it has none")
    model = _model(profile, batch, dtype or profile.dtype)
    latency_ms, kernels, binds = model.times(workload.kernels)
    bar = profile.uncertainty.value
    return Latency(
        latency_ms=latency_ms,
        low=latency_ms / bar,
        high=latency_ms * bar,
        source="modeled",
        kernels=kernels,
        binds=binds,
        method=model.method,
    )


@lru_cache(maxsize=64)
def _model(profile: HardwareProfile, batch: int, dtype: str) -> Roofline | Dataflow:
    kind = Dataflow if profile.kind == "fpga" else Roofline
    return kind(profile, batch, dtype)


class ModeledLatency:
    """The evaluator ``modeled_latency``: a device's latency from its profile.

    Where the device itself is measured, this is the estimate that stands in for it before.

    Args:
        device: which, and with what batch and dtype.
    """

    stage = "screen"
    needs = ""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.provides = (device.modeled_metric,)

    def evaluate(self, candidate: Candidate) -> Readings:
        """The metric ``latency_ms.<alias>``, or ``estimated_latency_ms.<alias>``.

        Raises:
            CandidateError: the candidate carries no workload for this device.
        """
        device = self._device
        workload = workload_of(candidate, device.lowering)
        dtype = dtype_on(candidate, device)
        latency = estimate(workload, device.profile, device.batch, dtype)
        provenance = latency.provenance(device, device.lowering, dtype)
        threads = 1 if device.profile.kind == "cpu" else None  # the peaks are those of one thread
        return Readings(
            {device.modeled_metric: latency.latency_ms}, replace(provenance, threads=threads)
        )


def dtype_on(candidate: Candidate, device: Device) -> str:
    """The dtype in which a device computes a candidate.

    Statically quantized candidates are int8 on a CPU and as a circuit. A GPU and a TPU compute in
    the dtype of their entry whatever the file's own is.
    """
    static = candidate.genotype.get("quantize.scheme") == "static"
    if static and device.profile.kind in ("cpu", "fpga"):
        return "int8"
    return device.dtype or device.profile.dtype
