"""Many networks timed on this machine, as the script of a kit does it on another one.

In passes over all of them, in turns with the reference network; see `experiments.kit_measure`.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evaluators import runtimes
from evaluators.devices import Device
from evaluators.measured import check_measurable, measure
from evaluators.reference_net import reference_model
from experiments import kit_measure
from experiments.kit_measure import COMMAND_CLOCK, MOST_PASSES, PASSES

Call = Callable[[], object]
Now = Callable[[], int]
Seen = dict[str, Any]
"""``rounds_ms`` (of the reference and of the network), ``passes``, ``latency_ms``."""
_CLOCKS: Mapping[str, Now] = {
    "thread": time.thread_time_ns,
    "process": time.process_time_ns,
    "wall": time.perf_counter_ns,
}


def time_all(
    files: Mapping[str, Callable[[], Path]],
    device: Device,
    known: dict[str, Seen],
    apart_s: float = 0.0,
) -> Iterator[tuple[int, int]]:
    """Time networks in passes, each in another order, until all are settled or it is enough.

    Args:
        files: how to get the file of each network, by name.
        device: of this machine.
        known: gets what is seen by name; what it holds already counts.
        apart_s: seconds from the beginning of one of the first passes to the next one, at least: a
            machine may be slower for minutes.

    Yields:
        After each measurement: how many were made, and how many it will be as far as is known.

    Raises:
        ValueError: for a device that is not here, and a file that cannot be run.
    """
    check_measurable(device)
    on_cpu = device.profile.kind == "cpu"
    clock = "of this process" if on_cpu else COMMAND_CLOCK  # a GPU is timed by its own events
    results = {"setting": {"clock": clock}, "networks": known}
    look = _bound(runtimes.load(reference_model()), 1) if on_cpu else None
    done, count = 0, (PASSES if on_cpu else 1) * len(files)
    began_s = -math.inf
    for number in range(MOST_PASSES):
        if number < PASSES:
            time.sleep(max(0.0, began_s + apart_s - time.monotonic()))
        began_s = time.monotonic()
        names = [name for name in files if not kit_measure.is_settled(results, name)]
        random.Random(number).shuffle(names)
        count = max(count, done + len(names))
        for name in names:
            rounds = _rounds(files[name](), device, look)
            seen = known.setdefault(name, {"rounds_ms": [], "passes": 0})
            seen["rounds_ms"] += rounds
            seen["passes"] += 1
            done += 1
            kit_measure.conclude(results)
            yield done, count


def _rounds(path: Path, device: Device, look: Call | None) -> list[tuple[float, float]]:
    """Milliseconds of the reference and of a network, side by side."""
    if look is None:
        return [(0.0, measure(path, device).latency_ms)]
    with runtimes.load(path, device.runtime, device.threads, device.dtype) as session:
        now = _CLOCKS[session.one_thread if device.threads == 1 else "wall"]
        return kit_measure.in_turns(look, _bound(session, device.batch), now, kit_measure.ROUNDS)


def _bound(session: runtimes.Session, batch: int) -> Call:
    shape = (batch, *session.input_shape)
    return session.bind(np.random.default_rng(0).random(shape, dtype=np.float32))
