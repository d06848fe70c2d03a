"""Modeled latency: what a device that is not there would take.

Of a calibrated profile by the model that its calibration describes, with the error bar that held
for networks left out of it. Of any other one zero-shot: nothing has been measured, every figure is
one of the profile, and the error bar is its `uncertainty`. Either is labeled ``modeled``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from evaluators import calibrated, lookup
from evaluators.calibrated import Calibrated, Prediction
from evaluators.components import engine_of
from evaluators.devices import Device
from evaluators.kernel_table import KernelTable, components_of, tabulate, zero_shot_ms
from evaluators.latency import Latency
from evaluators.lookup import Lookup
from evaluators.modeled_dataflow import Dataflow
from evaluators.modeled_roofline import Roofline
from evaluators.workload import (
    QUANTIZED,
    Kernel,
    Workload,
    converted,
    workload_of,
)
from evaluators.workload_values import peak_bytes
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
    _check(workload, profile, batch)
    model = _model(profile, batch, dtype or profile.dtype)
    note = ""
    if isinstance(model, Calibrated | Lookup):
        latency_ms, low, high, kernels, binds, note = model.noted(workload.kernels)
    else:
        latency_ms, low, high, kernels, binds = model.times(workload.kernels)
    return Latency(
        latency_ms=latency_ms,
        low=low,
        high=high,
        source="modeled",
        kernels=kernels,
        binds=binds,
        method=", ".join(filter(None, [model.method, note])),
        energy_mj=energy_mj(workload, profile, latency_ms, batch, dtype),
        memory_kb=_memory_kb(workload, batch, dtype or profile.dtype),
    )


def estimate_many(
    workloads: Sequence[Workload], profile: HardwareProfile, batch: int = 1, dtype: str = ""
) -> list[Latency]:
    """The same as `estimate` for many workloads at once, without breakdown by kernel.

    Args:
        workloads: see `estimate`.
        profile: of the device.
        batch: examples a call.
        dtype: see `estimate`.

    Raises:
        ValueError: see `estimate`.
    """
    for workload in workloads:
        _check(workload, profile, batch)
    if profile.lowering == "dataflow" or not workloads:
        return [estimate(workload, profile, batch, dtype) for workload in workloads]
    found = predict(tabulate(workloads), profile, batch, dtype)
    method = _model(profile, batch, dtype or profile.dtype).method
    notes = found.notes or ("",) * len(workloads)
    ends = zip(workloads, found.latency_ms, found.low_ms, found.high_ms, notes, strict=True)
    return [
        Latency(
            latency_ms=float(latency_ms),
            low=float(low),
            high=float(high),
            source="modeled",
            method=", ".join(filter(None, [method, note])),
            energy_mj=energy_mj(workload, profile, float(latency_ms), batch, dtype),
            memory_kb=_memory_kb(workload, batch, dtype or profile.dtype),
        )
        for workload, latency_ms, low, high, note in ends
    ]


def predict(
    table: KernelTable, profile: HardwareProfile, batch: int = 1, dtype: str = ""
) -> Prediction:
    """The latencies of workloads that are tabulated already.

    Args:
        table: of workloads lowered for a device that runs kernels one after the other.
        profile: of the device.
        batch: examples a call.
        dtype: see `estimate`.
    """
    dtype = dtype or profile.dtype
    model = _model(profile, batch, dtype)
    if isinstance(model, Calibrated | Lookup):
        return model.predict(table)
    total = zero_shot_ms(table, components_of(table, engine_of(profile, batch, dtype)))
    bar = profile.uncertainty.value
    return Prediction(total, total / bar, total * bar)


def energy_mj(
    workload: Workload, profile: HardwareProfile, latency_ms: float, batch: int = 1, dtype: str = ""
) -> float | None:
    """The energy of one call: multiply-accumulates, bytes moved, and the idle power meanwhile.

    Args:
        workload: traced at batch 1.
        profile: of the device.
        latency_ms: of the call.
        batch: examples a call.
        dtype: see `estimate`.

    Returns:
        Millijoules; None where the profile has no figures for it.
    """
    joules = 0.0
    for kernel in workload.kernels:
        each = _energy_j(kernel, profile, batch, dtype or profile.dtype)
        if each is None:
            return None
        joules += each * kernel.count
    idle = profile.power_w.get("idle")
    return 1e3 * joules + (idle.value * latency_ms if idle else 0.0)


def _memory_kb(workload: Workload, batch: int, dtype: str) -> float | None:
    """The peak of activations in this dtype; None where it is not known."""
    if not workload.peak_memory_bytes:
        return None
    return peak_bytes(workload, dtype) * batch / 1024


@lru_cache(maxsize=1 << 14)
def _energy_j(kernel: Kernel, profile: HardwareProfile, batch: int, dtype: str) -> float | None:
    one = converted(kernel, dtype)
    known = profile.energy_j
    if "byte" not in known or (kernel.macs and f"mac_{one.dtype}" not in known):
        return None
    moved = (one.input_bytes + one.output_bytes) * batch + one.weight_bytes
    multiplied = one.macs * batch * known[f"mac_{one.dtype}"].value if one.macs else 0.0
    return multiplied + moved * known["byte"].value


def _check(workload: Workload, profile: HardwareProfile, batch: int) -> None:
    if workload.lowering not in (profile.lowering, QUANTIZED.get(profile.lowering)):
        raise ValueError(
            f"{profile.name} needs a workload lowered for {profile.lowering!r}, "
            f"but got one for {workload.lowering!r}"
        )
    if batch < 1:
        raise ValueError(f"batch must be at least 1, but got {batch}")
    if not workload.kernels:
        raise ValueError(f"{profile.name} needs a workload with kernels, but it has none")


@lru_cache(maxsize=64)
def _model(
    profile: HardwareProfile, batch: int, dtype: str
) -> Roofline | Dataflow | Calibrated | Lookup:
    method = (profile.calibration or {}).get("method")
    if method == calibrated.METHOD:
        return Calibrated(profile, batch, dtype)
    if method == lookup.METHOD:
        return Lookup(profile, batch, dtype)
    if profile.calibration:
        raise ValueError(f"{profile.name} is calibrated by an unknown method {method!r}")
    kind = Dataflow if profile.lowering == "dataflow" else Roofline
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
        has_energy = "byte" in device.profile.energy_j
        self._energy = f"energy_mj.{device.alias}" if has_energy else ""
        self.provides = tuple(filter(None, (device.modeled_metric, self._energy)))

    def evaluate(self, candidate: Candidate) -> Readings:
        """The metric ``latency_ms.<alias>``, or ``estimated_latency_ms.<alias>``, and the energy.

        ``energy_mj.<alias>`` is there where the profile has figures for it in this dtype.

        Raises:
            CandidateError: the candidate carries no workload for this device.
        """
        device = self._device
        dtype, lowering = dtype_on(candidate, device), lowering_on(candidate, device)
        carried = candidate.workload if isinstance(candidate.workload, Mapping) else {}
        if lowering != device.lowering and lowering in carried:
            workload = workload_of(candidate, lowering)  # what is not quantized stays in float
            latency = estimate(workload, device.profile, device.batch, device.profile.dtype)
        else:
            workload = workload_of(candidate, device.lowering)
            latency = estimate(workload, device.profile, device.batch, dtype)
        runtime = device.lowering.partition("-")[0]  # without its variant
        provenance = latency.provenance(device, runtime, dtype)
        # The peaks of a CPU are those of one thread.
        provenance = replace(provenance, threads=1 if device.profile.kind == "cpu" else None)
        values, known = {device.modeled_metric: latency.latency_ms}, {}
        known[device.modeled_metric] = provenance
        if self._energy and latency.energy_mj is not None:
            values[self._energy] = latency.energy_mj
            about = "energy an operation and a byte, idle power"
            known[self._energy] = replace(provenance, method=about, low=None, high=None)
        return Readings(values, known)


def lowering_on(candidate: Candidate, device: Device) -> str:
    """The lowering that `ModeledLatency` asks a candidate for, one of `LOWERINGS`."""
    is_int8 = dtype_on(candidate, device) == "int8"
    return QUANTIZED.get(device.lowering, device.lowering) if is_int8 else device.lowering


def dtype_on(candidate: Candidate, device: Device) -> str:
    """The dtype in which a device computes a candidate.

    Statically quantized candidates are int8 on a CPU and as a circuit. A GPU and a TPU compute in
    the dtype of their entry whatever the file's own is.
    """
    static = candidate.genotype.get("quantize.scheme") == "static"
    if static and device.profile.kind in ("cpu", "fpga"):
        return "int8"
    return device.dtype or device.profile.dtype
