"""``nas calibrate``: a latency model of one's own device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

import hw_profiles
from evaluators.devices import Device
from evaluators.measured import check_measurable
from experiments.calibrating import Calibrated, Sample, Setting, calibrate_profile, save_calibrated
from experiments.calibrating_host import Progress, measure_here, profile_here
from experiments.calibrating_networks import Plan
from experiments.calibrating_tpu import compile_all
from experiments.commands.output import FINE, Output
from experiments.kit import write_kit
from experiments.kit_results import read_results
from experiments.known_error import KNOWN_ERROR, error_text, in_words
from hw_profiles import host
from hw_profiles.files import is_shipped, keep_old
from hw_profiles.home import profiles_folder

_HOST: Mapping[str, Any] = {"space": "convnet", "networks": 30, "shape": "1x32x32"}
_TPU: Mapping[str, Any] = {"space": "convnet", "networks": 20, "shape": "1x16x16"}
_KIT: Mapping[str, Any] = {
    "space": "mobile",
    "networks": 20,
    "shape": "3x96x96",
    "profile": "generic-cpu",
}

_GENERIC = (
    "What is not measured is taken from {profile}: for a phone, a board or a GPU name the nearest "
    "one, such as --profile generic-phone (see nas devices)."
)


@dataclass(frozen=True)
class Request:
    """What was typed; empty where nothing was.

    Args:
        profile: of the device.
        kit: folder of a kit to write.
        results: of a kit, to import.
        name: of the new profile.
        space: of the networks.
        networks: how many; None: as usual.
        shape: of one example, for example ``3x96x96``.
        dtype: one or more, separated by commas; of an import: in which the device computed the
            float32 networks.
        runtime: of this machine.
        batch: examples a call.
        threads: of the runtime.
        method: of calibration.
        seed: of the draw.
        allow_missing: import what is there.
    """

    profile: str = ""
    kit: Path | None = None
    results: Path | None = None
    name: str = ""
    space: str = ""
    networks: int | None = None
    shape: str = ""
    dtype: str = ""
    runtime: str = "onnxruntime"
    batch: int = 1
    threads: int = 1
    method: str = "physical"
    seed: int = 0
    allow_missing: bool = False


def run(typed: Mapping[str, Any]) -> int:
    """Calibrate this machine, or a TPU on its compiler; write a kit, or import what came back.

    Args:
        typed: see `Request`.

    Raises:
        ValueError: for a request that does not fit together or cannot be carried out.
    """
    request = Request(**typed)
    if request.kit is not None and request.results is not None:
        raise ValueError("--kit and --import cannot be given together")
    if request.name and (Path(request.name).name != request.name or request.name.startswith(".")):
        raise ValueError(f"--name is the name of a profile, not a path, but got {request.name!r}")
    if request.kit is not None:
        return _kit(request, request.kit)
    if request.results is not None:
        return _import(request, request.results)
    profile = profile_here(request.profile)
    return _tpu(request, profile) if profile.kind == "tpu" else _host(request, profile)


def _plan(request: Request, profile: hw_profiles.HardwareProfile, usual: Mapping[str, Any]) -> Plan:
    return Plan(
        profile=profile,
        space=request.space or usual["space"],
        input_shape=_shape(request.shape or usual["shape"]),
        networks=usual["networks"] if request.networks is None else request.networks,
        dtypes=_dtypes(request.dtype or "float32"),
        batch=request.batch,
        seed=request.seed,
    )


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.lower().split("x")
    if not all(size.isdecimal() for size in sizes):
        raise ValueError(f"--input looks like 3x96x96 (without the batch), but got {text!r}")
    return tuple(int(size) for size in sizes)


def _dtypes(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def _host(request: Request, profile: hw_profiles.HardwareProfile) -> int:
    plan = _plan(request, profile, _HOST)
    _check_here(request, profile)
    name = request.name or profile.name
    file = profiles_folder() / f"{name}.measured.json"
    try:
        with _bar() as progress:
            samples, setting = measure_here(plan, request.runtime, request.threads, file, progress)
    except KeyboardInterrupt:
        if file.is_file():
            Output().line("What was measured is kept: type the same again to go on.")
        raise
    _finish(request, profile, samples, setting, name)
    file.unlink(missing_ok=True)
    return FINE


def _check_here(request: Request, profile: hw_profiles.HardwareProfile) -> None:
    """Say how another machine is measured."""
    device = Device(
        profile.name, profile, "measured", request.runtime, "", request.batch, request.threads
    )
    try:
        check_measurable(device)
    except ValueError as error:
        if profile.kind == "fpga" or profile.fingerprint() == host.detect().fingerprint():
            raise
        how = f"nas calibrate --kit DIR --profile {profile.name}"
        raise ValueError(f"{error}; to measure it where it is: {how}") from None


def _tpu(request: Request, profile: hw_profiles.HardwareProfile) -> int:
    """The compiler's estimates instead of measurements."""
    plan = _plan(replace(request, dtype=""), profile, _TPU)
    with _bar() as progress:
        samples, setting = compile_all(plan, request.dtype, progress=progress)
    return _finish(request, profile, samples, setting, request.name or profile.name)


def _kit(request: Request, folder: Path) -> int:
    plan = _plan(request, hw_profiles.load(request.profile or _KIT["profile"]), _KIT)
    with _bar() as progress:
        count = write_kit(folder, plan, lambda done, count: progress("packing", done, count))
    output = Output()
    output.line(f"{folder} holds {count} networks and measure.py; README.txt says what to do.")
    if not request.profile:
        output.line(_GENERIC.format(profile=plan.profile.name))
    output.line(
        f"Then: nas calibrate --import {folder} --profile {plan.profile.name} --name my-device"
    )
    return FINE


def _import(request: Request, path: Path) -> int:
    found = read_results(path, request.allow_missing)
    profile = hw_profiles.load(request.profile or found.profile)
    name = request.name or profile.name
    if name == host.NAME:
        raise ValueError(
            f"{name} is this machine, which `nas calibrate {name}` measures: name the other one by "
            "--profile (see nas devices) or --name"
        )
    if found.missing:
        Output().line(f"Without {len(found.missing)} networks that have no latency.")
    if not request.profile and profile.name == _KIT["profile"]:
        Output().line(_GENERIC.format(profile=profile.name))
    elsewhere = replace(profile, identity="")
    if profile.name.startswith("generic-") and found.setting.machine:
        elsewhere = replace(elsewhere, title=f"{found.setting.machine}, by a kit ({profile.name})")
    samples = [
        replace(sample, dtype=request.dtype or "float32") if sample.dtype == "float32" else sample
        for sample in found.samples
    ]
    return _finish(request, elsewhere, samples, found.setting, name)


def _finish(
    request: Request,
    profile: hw_profiles.HardwareProfile,
    samples: list[Sample],
    setting: Setting,
    name: str,
) -> int:
    calibrated = calibrate_profile(profile, samples, setting, request.method, name)
    kept = keep_old(name)
    path, picture = save_calibrated(calibrated)
    _report(Output(), calibrated, setting)
    output = Output()
    output.line(f"Profile: {path}")
    if kept is not None:
        output.line(f"It replaces your own {name} of before, which is kept as {kept}.")
    elif is_shipped(name):
        output.line(f"It comes before the shipped {name} as long as that file is there.")
    output.line(f"Picture: {picture}")
    output.line(f"Searches that name {name} use it from now on; nas devices {name} shows it.")
    return FINE


def _report(output: Output, calibrated: Calibrated, setting: Setting) -> None:
    count, errors = len(calibrated.points), calibrated.errors()
    output.line(
        f"{calibrated.profile.name}: calibrated on {count} measurements "
        f"({setting.runtime}, batch {setting.batch})."
    )
    output.line(f"{KNOWN_ERROR}: {error_text(calibrated.profile)}")
    if len(errors) > 1:
        for dtype, (mape, w10) in errors.items():
            output.line(f"  {dtype}: {in_words(mape, w10)}")


@contextmanager
def _bar() -> Iterator[Progress]:
    """Progress on standard error: a bar on a terminal, elsewhere a line each tenth of the way."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda what, done, count: shown.update(
            task, description=what, completed=done, total=count
        )


def _lines(console: Console) -> Progress:
    said = {0}

    def tell(what: str, done: int, count: int) -> None:
        if 10 * done // count not in said:
            said.add(10 * done // count)
            console.print(f"nas: {what} {done}/{count}", markup=False)

    return tell
