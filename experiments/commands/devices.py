"""``nas devices``: the device profiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

import hw_profiles
from experiments.commands.output import FINE, Output, lines
from experiments.known_error import KNOWN_ERROR, error_text
from hw_profiles import HardwareProfile, host
from hw_profiles.files import is_shipped, own_file
from hw_profiles.home import profiles_folder
from hw_profiles.profile import KINDS

_HEADS = ("profile", "peak op/s", "bytes/s", "lowering", "calibrated", "error", "dtype", "device")
_ROOM = 120
"""Characters in a line below which the last two columns are left out."""
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"))
_FEW = 12
"""Entries of a calibration that are shown one by one; more are counted."""
_JOINED = {"range_ms": " to ", "input_shape": "x"}
"""Entries whose values are shown, and what stands between them."""
_LONG = 200
"""Characters of a text from which on it is packed data."""
_ASSUMED = "not calibrated: the error is that of the data sheet model, within the factor"


def run(name: str, probe: bool = False) -> int:
    """Print all profiles, or the figures of one with their sources.

    Args:
        name: of the profile; ``""``: all.
        probe: measure this machine first; the profile is ``host-cpu`` then.

    Raises:
        ValueError: for a profile that does not exist or cannot be probed.
    """
    output = Output()
    if probe:
        if name != host.NAME:
            raise ValueError(f"only {host.NAME} can be probed, but got {name or 'no name'!r}")
        _one(output, host.run_probe(), is_stored=False)
        if hw_profiles.load(name).calibration:
            output.line(f"A calibrated {name} lies in your own profiles and comes before this one.")
    elif name:
        _one(output, hw_profiles.load(name))
    else:
        _all(output)
    return FINE


def _all(output: Output) -> None:
    """A table a kind, then what could not be read."""
    profiles, failed = [], []
    for name in hw_profiles.names():
        try:
            profiles.append((name, hw_profiles.load(name)))
        except ValueError as error:
            failed.append(f"{name}: {error}")
    heads = _HEADS if output.width >= _ROOM else _HEADS[:-2]
    for kind in KINDS:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=kind, title_justify="left")
        for head in heads:
            number = head.endswith("/s")
            table.add_column(head, justify="right" if number else "left", no_wrap=head == _HEADS[0])
        for name, profile in profiles:
            if profile.kind == kind:
                mine = f"{name} *" if own_file(name) else name
                table.add_row(*[Text(cell) for cell in (mine, *_row(profile))[: len(heads)]])
        output.show(table)
    own = [name for name, _ in profiles if own_file(name)]
    if own:
        hidden = ", ".join(filter(is_shipped, own))
        also = f"; in place of shipped ones: {hidden}" if hidden else ""
        output.line(f"* your own, in {profiles_folder()}{also}")
    if failed:
        output.line("Not readable:")
        lines(output, failed)


def _row(profile: HardwareProfile) -> tuple[str, ...]:
    memory = profile.bandwidth_bytes_s["memory"].value
    return (
        _short(peak_ops_s(profile)),
        _short(memory),
        profile.lowering,
        _calibrated(profile.calibration),
        error_text(profile),
        profile.dtype,
        profile.title,
    )


def peak_ops_s(profile: HardwareProfile) -> float:
    """Operations a second of its dense engine in its own dtype; all multipliers of a circuit."""
    if profile.kind != "fpga":
        return profile.peak("matrix", profile.dtype)
    if profile.lowering == "dpu":
        sides = ("pixel", "input_channel", "output_channel")
        products = 1.0
        for side in sides:
            products *= profile.part(f"{side}_parallelism")
    else:
        products = profile.part("dsp") * profile.part("usable_dsp")
    return 2 * products * profile.clock_hz.value


def _peak_from(profile: HardwareProfile) -> str:
    """Which of the figures below it is."""
    if profile.kind != "fpga":
        return f"the figure peak_ops_s.matrix.{profile.dtype}"
    if profile.lowering == "dpu":
        return "2 x the three parallelisms x clock_hz"
    return "2 x parts.dsp x parts.usable_dsp x clock_hz"


def _calibrated(calibration: Mapping[str, Any] | None) -> str:
    """How, and with how many networks."""
    if not calibration:
        return "no"
    method, networks = calibration.get("method", "yes"), calibration.get("networks")
    return f"{method}, {_plain(networks)} networks" if networks is not None else str(method)


def _one(output: Output, profile: HardwareProfile, is_stored: bool = True) -> None:
    output.line(f"{profile.name}: {profile.title} ({profile.kind}, {profile.dtype})")
    peak = f"{_short(peak_ops_s(profile))} op/s in {profile.dtype}, {_peak_from(profile)}"
    notes = [f"lowering: {profile.lowering}", f"peak: {peak}"]
    own = own_file(profile.name) if is_stored else None
    if own is not None:
        hides = ", in place of the shipped one" if is_shipped(profile.name) else ""
        notes.insert(0, f"your own: {own}{hides}")
    if profile.sibling:
        notes.append(f"sibling, whose calibration one of this starts from: {profile.sibling}")
    if profile.calibration:
        notes.append(f"{KNOWN_ERROR[0].lower()}{KNOWN_ERROR[1:]}: {error_text(profile)}")
        notes += (f"calibration {name}: {text}" for name, text in _entries(profile.calibration))
    else:
        notes.append(f"{_ASSUMED} {profile.uncertainty.value:g}")
    lines(output, notes)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("source")
    for name, figure in profile.figures():
        table.add_row(name, f"{figure.value:.4g}", Text(figure.source))
    output.show(table)


def _entries(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """What a calibration says, with dotted names; long tables are only counted."""
    for name, value in values.items():
        if isinstance(value, Mapping) and len(value) <= _FEW:
            yield from _entries(value, f"{prefix}{name}.")
        elif name in _JOINED and isinstance(value, Sequence):
            yield f"{prefix}{name}", _JOINED[name].join(map(_plain, value))
        else:
            yield f"{prefix}{name}", _plain(value)


def _plain(value: Any) -> str:
    """A value in a few characters; of a long text, which is packed data, only how long it is."""
    if isinstance(value, str) and len(value) > _LONG:
        return f"{len(value)} characters of packed data"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str)):
        return f"{len(value)} values"
    return str(value)


def _short(value: float) -> str:
    """Three digits and a prefix: ``312 T``."""
    for size, prefix in _PREFIXES:
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g}"
