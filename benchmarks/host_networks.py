"""Random networks of three families, measured on this machine; a JSON file keeps what is known."""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluators.devices import Device
from evaluators.modeled import estimate
from experiments.calibrating_networks import DTYPES, Network, Networks, pack
from experiments.calibrating_timing import Seen, time_all
from hw_profiles import HardwareProfile, host
from nas.keys import seed_of

FAMILIES: dict[str, dict[str, Any]] = {"convnet": {"stages": 4}, "mobile": {}, "transformer": {}}
"""The options of the spaces that networks are drawn from."""
SIDES = (32, 48, 64, 80, 96)
RANGE_MS = (0.05, 20.0)
"""Of the latency as the data sheet says it; others are not drawn."""


@dataclass
class Measured:
    """A network with its measurements by dtype."""

    network: Network
    seen: dict[str, Seen] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The space that it is of."""
        return self.network.space

    @property
    def name(self) -> str:
        """For files and tables."""
        return f"{self.family}-{self.network.key}"


def draw(count: int, seed: int, profile: HardwareProfile) -> list[Measured]:
    """So many networks, equally many of each family and of each size of image."""
    networks, found = Networks(profile.lowering), []

    def accept(network: Network) -> bool:
        guess = estimate(networks.workload(network), profile).latency_ms
        return RANGE_MS[0] <= guess <= RANGE_MS[1]

    cells = [(family, side) for side in SIDES for family in FAMILIES]
    for index, (family, side) in enumerate(cells):
        wanted = count * (index + 1) // len(cells) - count * index // len(cells)
        own = seed_of(f"{family} {side} {seed}", "draw")
        shape = (3, side, side)
        found += networks.draw(wanted, family, shape, own, FAMILIES[family], accept)
    return [Measured(network) for network in found]


def latencies(networks: Sequence[Measured], dtype: str) -> list[float]:
    """Milliseconds of each network, in order."""
    return [each.seen[dtype]["latency_ms"] for each in networks]


def read(path: Path) -> list[Measured]:
    """The networks of a file of `write`."""
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["machine"] != host.detect().fingerprint():
        print(f"note: {path} was measured on another machine: {record['title']}", file=sys.stderr)
    return [Measured(Network(**row["network"]), row["seen"]) for row in record["networks"]]


def write(networks: Sequence[Measured], path: Path) -> None:
    """Keep what was measured, in one step."""
    here = host.detect()
    rows = [{"network": each.network.record(), "seen": each.seen} for each in networks]
    record = {"machine": here.fingerprint(), "title": here.title, "networks": rows}
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(record), encoding="utf-8")
    os.replace(partial, path)


def measure_all(
    networks: Sequence[Measured],
    file: Path | None = None,
    files: Path | None = None,
    apart_s: float = 0.0,
) -> None:
    """Measure what is missing.

    Args:
        networks: get their measurements.
        file: that keeps what is known.
        files: folder to keep the ONNX files in.
        apart_s: between passes over all networks.
    """
    device = Device("cpu", host.detect(), "measured")
    jobs = {f"{each.name}.{dtype}": (each, dtype) for each in networks for dtype in DTYPES}
    known = {name: each.seen[dtype] for name, (each, dtype) in jobs.items() if dtype in each.seen}
    with tempfile.TemporaryDirectory() as scratch:
        folder = files or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)

        def packed(name: str) -> Path:
            path = folder / f"{name}.onnx"
            if not path.is_file():
                pack(jobs[name][0].network, path, jobs[name][1])
            return path

        waiting = {name: functools.partial(packed, name) for name in jobs}
        for done, count in time_all(waiting, device, known, apart_s):
            for name, seen in known.items():
                jobs[name][0].seen[jobs[name][1]] = seen
            if done % 20 == 0 or done == count:
                print(f"{done} of about {count} measurements", file=sys.stderr)
                if file is not None:
                    write(networks, file)
    if file is not None:
        write(networks, file)
