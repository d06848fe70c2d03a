"""What comes back of a kit: read, checked, and turned into measured networks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.calibrating import Sample, Setting
from experiments.calibrating_networks import Network, macs_of
from experiments.kit import FORMAT, MANIFEST, RESULTS
from nas.trials import CandidateError

Record = Mapping[str, Any]


@dataclass(frozen=True)
class KitResults:
    """The networks that were measured elsewhere.

    Args:
        samples: with their latencies.
        setting: in which they were measured.
        profile: that the kit was made for.
        missing: names of networks without a latency.
    """

    samples: tuple[Sample, ...]
    setting: Setting
    profile: str
    missing: tuple[str, ...]


def read_results(path: Path, allow_missing: bool = False) -> KitResults:
    """Read the results of a kit.

    Args:
        path: of a ``results.json``, or of the folder of a kit that holds one. A ``manifest.json``
            beside it must be that of the same kit.
        allow_missing: go on with the networks that have a latency.

    Raises:
        ValueError: for results that cannot be read or are of another kit, networks that are
            missing, and latencies that are no positive numbers; the first one and how many.
    """
    file = path / RESULTS if path.is_dir() else path
    record = _json(file)
    try:
        kit, found, setting = record["kit"], dict(record["networks"]), dict(record["setting"])
        if kit["format"] != FORMAT:
            raise ValueError(f"{file} has format {kit['format']}, but this reads {FORMAT}")
        entries = list(kit["networks"])
        _check_hashes(file, entries, found)
        _check_latencies(file, found)
        missing = [e["name"] for e in entries if "latency_ms" not in found.get(e["name"], {})]
        if missing and not allow_missing:
            raise ValueError(_missing(file, missing, entries, found))
        samples = [_sample(kit, e, found) for e in entries if e["name"] not in missing]
        _check_space(file, [e for e in entries if e["name"] not in missing], samples)
        measured_in = Setting(
            runtime=str(setting["runtime"]),
            batch=int(kit["batch"]),
            threads=setting["threads"],
            date=str(record["date"]),
            machine=str(setting["machine"]["processor"]),
        )
        return KitResults(tuple(samples), measured_in, str(kit["profile"]), tuple(missing))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is no result of a kit: {error!r}") from None


def _json(path: Path) -> Record:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path} is no result of a kit")
    return record


def _check_hashes(file: Path, entries: Sequence[Record], found: Mapping[str, Record]) -> None:
    """Every latency must be of the file that is in the kit."""
    known = {entry["name"]: entry["sha256"] for entry in entries}
    manifest = file.with_name(MANIFEST)
    if manifest.is_file():
        beside = {entry["name"]: entry["sha256"] for entry in _json(manifest)["networks"]}
        if beside != known:
            raise ValueError(f"{file} is of another kit than {manifest}")
    wrong = [name for name, each in found.items() if each["sha256"] != known.get(name)]
    if wrong:
        raise ValueError(
            f"{file}: {wrong[0]} has another hash than in the kit ({_count(wrong)} in all)"
        )


def _check_latencies(file: Path, found: Mapping[str, Record]) -> None:
    known = {name: each["latency_ms"] for name, each in found.items() if "latency_ms" in each}
    wrong = [name for name, value in known.items() if not _is_positive(value)]
    if wrong:
        raise ValueError(
            f"{file}: the latency of {wrong[0]} must be a positive number of milliseconds, "
            f"but got {known[wrong[0]]} ({_count(wrong)} in all)"
        )


def _is_positive(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(float(str(value))) and float(str(value)) > 0


def _missing(
    file: Path, missing: Sequence[str], entries: Sequence[Record], found: Mapping[str, Record]
) -> str:
    why = found.get(missing[0], {}).get("error", "it was not measured")
    return (
        f"{file}: {len(missing)} of {len(entries)} networks have no latency, the first is "
        f"{missing[0]} ({why}); start measure.py again, or give --allow-missing"
    )


def _sample(kit: Record, entry: Record, found: Mapping[str, Record]) -> Sample:
    network = Network(kit["space"], entry["genotype"], tuple(kit["input_shape"]), kit["options"])
    return Sample(network, entry["dtype"], float(found[entry["name"]]["latency_ms"]))


def _check_space(file: Path, entries: Sequence[Record], samples: Sequence[Sample]) -> None:
    """A genotype must still mean the network that was measured."""
    wrong = []
    for entry, sample in zip(entries, samples, strict=True):
        try:
            same = macs_of(sample.network) == entry["macs"]
        except CandidateError:
            same = False
        if not same:
            wrong.append(entry["name"])
    if wrong:
        raise ValueError(
            f"{file}: {wrong[0]} is another network in the space as it is now "
            f"({_count(wrong)} in all): make a new kit"
        )


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} network{'s' * (len(names) != 1)}"
