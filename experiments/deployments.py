"""What serves a candidate, runtime and dtype, where the search may choose them.

``deploy.<alias>.runtime`` and ``deploy.<alias>.dtype`` are choices like those of compression: part
of a candidate, not of its training.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from evaluators import runtimes
from evaluators.compression.choices import DEPLOY
from evaluators.devices import Device
from experiments.config import ConfigError, ExperimentConfig
from experiments.config_sections import DeviceConfig
from nas.choices import Choice, Genotype


class Deployment(NamedTuple):
    """What runs a file, and what it computes in where the file says float32."""

    runtime: str = "onnxruntime"
    dtype: str = ""


def deployment_choices(config: ExperimentConfig) -> list[Choice]:
    """The choices of a device entry that lists runtimes or dtypes; none without one.

    Raises:
        ConfigError: for an unknown runtime, or a dtype that none of them has.
    """
    choices = []
    for alias, entry in config.devices.items():
        try:
            choices += _choices(alias, entry)
        except ValueError as error:
            raise ConfigError(f"devices.{alias}: {error}", ("devices", alias)) from error
    return choices


def _choices(alias: str, entry: DeviceConfig) -> list[Choice]:
    choices = []
    if len(entry.runtimes) > 1:
        choices.append(Choice(_name(alias, "runtime"), entry.runtimes))
        for runtime in entry.runtimes:
            if runtime.startswith("torch"):
                raise ValueError(f"runtime lists those that run the ONNX file, not {runtime}")
    if len(entry.dtypes) > 1:
        able = tuple(runtime for runtime in entry.runtimes if _has_all(runtime, entry.dtypes))
        if not able:
            raise ValueError(
                f"dtype lists {', '.join(entry.dtypes)}, which none of the runtimes has "
                f"({', '.join(entry.runtimes)})"
            )
        when = {} if len(entry.runtimes) == 1 else {_name(alias, "runtime"): able}
        choices.append(Choice(_name(alias, "dtype"), entry.dtypes, when=when))
    return choices


def _name(alias: str, what: str) -> str:
    return f"{DEPLOY}{alias}.{what}"


def _has_all(runtime: str, dtypes: tuple[str, ...]) -> bool:
    """Whether a runtime has all dtypes; else it must have float32 alone, and is run in that."""
    has = [dtype for dtype in dtypes if dtype in runtimes.dtypes(runtime)]
    if len(has) < len(dtypes) and has != ["float32"]:
        raise ValueError(
            f"dtype lists {', '.join(dtypes)}: {runtime} must have all of them, or float32 alone, "
            f"but has {' and '.join(has) or 'none'}"
        )
    return len(has) == len(dtypes)


def deployed(device: Device, genotype: Genotype) -> Device:
    """The device with the runtime and the dtype that a genotype chooses for it."""
    runtime = genotype.get(_name(device.alias, "runtime"), device.runtime)
    dtype = genotype.get(_name(device.alias, "dtype"), device.dtype)
    if (runtime, dtype) == (device.runtime, device.dtype):
        return device
    return replace(device, runtime=str(runtime), dtype=str(dtype))


def serving(devices: Iterable[Device], genotype: Genotype) -> Deployment:
    """What a candidate's file is scored through: what serves it on the measured CPU devices.

    Where they differ, where none is measured, and where it is served from another file (torch) or
    on a GPU, which training workers leave alone, it is ONNX Runtime in float32.
    """
    measured = (deployed(d, genotype) for d in devices if d.method == "measured")
    found = {Deployment(device.runtime, device.dtype) for device in measured}
    one = found.pop() if len(found) == 1 else Deployment()
    elsewhere = one.runtime.startswith("torch") or runtimes.accelerator(one.runtime) != "cpu"
    return Deployment() if elsewhere else one
