"""How well latencies are measured on this machine: repeat variation, and agreement with others.

    python -m benchmarks.measurement [--networks 20] [--repeats 5] [--json FILE]

Random convolutional networks of 0.2 ms and more are measured again and again, first on the machine
as it is, then with every core busy. Beside them: smaller networks, and the floor of a call. The
same networks are timed by ONNX Runtime's own profiler and by OpenVINO's benchmark_app.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import hw_profiles
import search_spaces
from benchmarks.measurement_others import benchmark_app_ms, profile
from evaluators.devices import Device
from evaluators.measured import measure
from evaluators.pace import pace
from evaluators.packaging import package
from evaluators.tasks.data import Preprocessing, Split, TaskData
from evaluators.timing import FEWEST, Rules, SystemClock
from nas.choices import sample
from nas.task import Task

SMALLEST_MS, LARGEST_MS = 0.2, 5.0
GOALS = {"as it is": 0.02, "all cores busy": 0.03}
AGREEMENT_GOAL = 0.05
_SMALL = 5
_PROFILED, _PROFILED_BATCH = 10, 32
_WATCH_S = 15.0
_GLANCE = Rules(min_blocks=8, max_blocks=8, patience_s=0.3)
_BUSY = "import numpy\na = numpy.random.rand(300, 300)\nwhile True: a @ a"


@dataclass(frozen=True)
class Network:
    """A packed network.

    Args:
        path: of its file.
        latency_ms: as first measured.
    """

    path: Path
    latency_ms: float


def data_of(side: int) -> TaskData:
    """A task on square images; its examples are noise."""
    task = Task(f"noise-{side}", "classification", (3, side, side), 10, "accuracy", "noise")
    inputs = np.random.default_rng(0).random((3, 3, side, side), dtype=np.float32)
    split = Split(inputs, np.zeros(3, np.int64))
    return TaskData(task, split, split, Preprocessing((0.5,) * 3, (0.25,) * 3))


def draw(folder: Path, count: int, device: Device, seed: int = 0) -> tuple[list[Network], ...]:
    """Random untrained networks, packed: so many of at least 0.2 ms, and a few smaller ones."""
    space, rng = search_spaces.create("convnet"), random.Random(seed)
    large: list[Network] = []
    small: list[Network] = []
    for number in range(100 * count):
        genotype, data = sample(space.choices, rng), data_of((32, 64)[number % 2])
        with torch.random.fork_rng():
            torch.manual_seed(number)
            module = space.build(genotype, data.task)
        artifact = package(module, data, folder / f"{number}.onnx")
        found = Network(Path(artifact.path), measure(artifact, device, rules=_GLANCE).latency_ms)
        if SMALLEST_MS <= found.latency_ms <= LARGEST_MS:
            large.append(found)
        elif found.latency_ms < SMALLEST_MS and len(small) < _SMALL:
            small.append(found)
        if len(large) == count:
            break
    return large, small


@contextlib.contextmanager
def busy_cores(count: int | None = None) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that multiply matrices, one a core, for as long as the context lasts."""
    count = count or len(os.sched_getaffinity(0))
    running = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        time.sleep(1.0)  # until they are past their imports
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def watch(seconds: float) -> None:
    """Find out how fast this machine is when nothing disturbs it."""
    found, end = pace(SystemClock()), time.monotonic() + seconds
    while time.monotonic() < end:
        found.watch()
        time.sleep(2.0)


def repeat(
    networks: Sequence[Network], device: Device, repeats: int, load: str
) -> list[dict[str, Any]]:
    """Measure each network again and again, all of them in each pass; a row a network."""
    seen: list[list[Any]] = [[] for _ in networks]
    for _ in range(repeats):
        for network, latencies in zip(networks, seen, strict=True):
            latencies.append(measure(network.path, device))
    rows = []
    for network, latencies in zip(networks, seen, strict=True):
        times = [latency.latency_ms for latency in latencies]
        calm = [latency.latency_ms for latency in latencies if not latency.noisy]
        rows.append(
            {
                "what": "variation",
                "load": load,
                "network": network.path.stem,
                "latency_ms": statistics.median(times),
                "variation": variation(times),
                "calm_variation": variation(calm) if len(calm) > 1 else None,
                "wall_variation": variation([found.wall_p50_ms for found in latencies]),
                "disturbed": sum(found.noisy for found in latencies),
                "repeats": len(times),
            }
        )
    return rows


def variation(times: Sequence[float]) -> float:
    """The standard deviation as a share of the mean."""
    return statistics.stdev(times) / statistics.fmean(times)


def agree(networks: Sequence[Network], device: Device, openvino: Device) -> list[dict[str, Any]]:
    """Time the same networks by what the runtimes themselves bring; a row a network and tool."""
    rows = []
    for network in sorted(networks, key=lambda each: each.latency_ms)[:_PROFILED]:
        ours = measure(network.path, device, _PROFILED_BATCH)
        theirs = profile(network.path, _PROFILED_BATCH)
        noisy = ours.noisy or theirs.quiet < FEWEST
        tool = f"onnxruntime profiler, batch {_PROFILED_BATCH}"
        rows.append(_agreement(network, tool, ours.latency_ms, theirs.run_ms, noisy))
        tool = f"{tool}, nodes alone"
        rows.append(_agreement(network, tool, ours.latency_ms, theirs.nodes_ms, noisy))
    for network in networks[:_PROFILED]:
        app_ms = benchmark_app_ms(network.path)
        ours = measure(network.path, openvino)
        if app_ms is not None:
            tool = "openvino benchmark_app"
            rows.append(_agreement(network, tool, ours.latency_ms, app_ms, ours.noisy))
    return rows


def _agreement(
    network: Network, tool: str, ours_ms: float, theirs_ms: float, disturbed: bool
) -> dict[str, Any]:
    return {
        "what": "agreement",
        "tool": tool,
        "network": network.path.stem,
        "latency_ms": ours_ms,
        "other_ms": theirs_ms,
        "difference": ours_ms / theirs_ms - 1,
        "disturbed": disturbed,
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a load and a tool: median, 90 % quantile and worst, the goal, and whether it holds.

    A goal on variation is met by the 90 % quantile over the networks, one on agreement by the
    median of the differences over the networks that were timed undisturbed.
    """
    found = []
    for load in dict.fromkeys(row["load"] for row in rows if row["what"] == "variation"):
        mine = [row for row in rows if row["what"] == "variation" and row["load"] == load]
        goal = GOALS.get(load)
        values = [row["variation"] for row in mine]
        found.append(_line(f"variation, {load}", values, goal, float(np.quantile(values, 0.9))))
        found[-1]["disturbed"] = sum(row["disturbed"] for row in mine)
        calm = [row["calm_variation"] for row in mine if row["calm_variation"] is not None]
        if calm:
            found.append(_line(f"undisturbed measurements, {load}", calm, None, 0.0))
        walls = [row["wall_variation"] for row in mine]
        found.append(_line(f"variation of wall p50, {load}", walls, None, 0.0))
    agreements = [row for row in rows if row["what"] == "agreement" and not row["disturbed"]]
    for tool in dict.fromkeys(row["tool"] for row in agreements):
        values = [abs(row["difference"]) for row in agreements if row["tool"] == tool]
        goal = None if "alone" in tool else AGREEMENT_GOAL
        found.append(_line(f"difference, {tool}", values, goal, statistics.median(values)))
    return found


def _line(what: str, values: Sequence[float], goal: float | None, judged: float) -> dict[str, Any]:
    return {
        "what": what,
        "networks": len(values),
        "median": round(statistics.median(values), 4),
        "p90": round(float(np.quantile(values, 0.9)), 4),
        "worst": round(max(values), 4),
        "goal": goal,
        "met": None if goal is None else judged <= goal,
    }


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """The summary as text."""
    text = [f"{'':48s} {'median':>8s} {'p90':>8s} {'worst':>8s} {'goal':>8s}"]
    for line in lines:
        shares = [f"{100 * line[name]:7.2f}%" for name in ("median", "p90", "worst")]
        goal = "" if line["goal"] is None else f"{100 * line['goal']:7.2f}%"
        verdict = "" if line["met"] is None else ("  met" if line["met"] else "  MISSED")
        text.append(f"{line['what']:48s} {' '.join(shares)} {goal:>8s}{verdict}")
    return "\n".join(text)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, as one JSON-able record."""
    here = hw_profiles.load("host-cpu")
    device = Device("cpu", here, "measured")
    openvino = Device("openvino", here, "measured", "openvino")
    rows: list[dict[str, Any]] = []
    loads: dict[str, list[float]] = {}

    def note(stage: str) -> None:
        loads[stage] = list(os.getloadavg())
        print(f"{stage}: done after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    began = time.monotonic()
    watch(options.watch)
    with tempfile.TemporaryDirectory() as name:
        large, small = draw(Path(name), options.networks, device, options.seed)
        floor = Network(_empty(Path(name)), 0.0)
        note("networks")
        rows += repeat(large, device, options.repeats, "as it is")
        note("as it is")
        rows += repeat([*small, floor], device, options.repeats, "below 0.2 ms")
        rows += agree(large, device, openvino)
        note("agreement")
        with busy_cores():
            rows += repeat(large, device, options.repeats, "all cores busy")
            note("all cores busy")
    floors = [row["latency_ms"] for row in rows if row.get("network") == "floor"]
    return {
        "machine": here.title,
        "load_averages": loads,
        "call_floor_us": round(1e3 * floors[0], 2),
        "clock_grain_ns": _grain_ns(),
        "summary": summary(rows),
        "rows": rows,
    }


def _empty(folder: Path) -> Path:
    """A network of one operator on one number: what a call costs at least."""
    import onnx
    from onnx import TensorProto, helper

    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1])
        for name in ("input", "logits")
    ]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["input"], ["logits"])], "floor", values[:1], values[1:]
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "floor.onnx")
    return folder / "floor.onnx"


def _grain_ns() -> int:
    """The smallest step of the thread's CPU clock that is seen here."""
    clock = SystemClock()
    times = [clock.cpu_ns() for _ in range(2000)]
    return min(b - a for a, b in zip(times, times[1:], strict=False) if b > a)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--watch", type=float, default=_WATCH_S, help="seconds before it begins")
    parser.add_argument("--json", type=Path, help="where to write all rows")
    options = parser.parse_args(arguments)
    record = run(options)
    print(record["machine"])
    for when, averages in record["load_averages"].items():
        print(f"load averages, {when}: {', '.join(f'{value:.1f}' for value in averages)}")
    print(f"floor of a call: {record['call_floor_us']} us, clock: {record['clock_grain_ns']} ns")
    print(table(record["summary"]))
    if options.json:
        options.json.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
