"""The timings that the runtimes themselves bring, to hold ours against."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from evaluators.pace import pace
from evaluators.timing import Rules, SystemClock, level

_RUNS = 40
_APP_S, _APP_STARTS = 1, 3
_APP = (
    # Without its telemetry, which reports every import over the network.
    "import sys; sys.modules['openvino_telemetry'] = None; "
    "from openvino.tools.benchmark.main import main; main()"
)


@dataclass(frozen=True)
class Profile:
    """What ONNX Runtime's profiler says of a call.

    Args:
        run_ms: p25 of whole calls, wall time.
        nodes_ms: p25 of the sum of the operators, without what is between them.
        quiet: in how many calls the machine was as fast as usual; those alone count, if there are
            some.
    """

    run_ms: float
    nodes_ms: float
    quiet: int


def profile(path: Path, batch: int, runs: int = _RUNS) -> Profile:
    """Let ONNX Runtime profile calls of a network.

    It takes some 5 us an operator to write down what it sees, so it is of use for long calls only.
    """
    reference, clock = pace(SystemClock()), SystemClock()
    looks, waits = [], []
    with tempfile.TemporaryDirectory() as folder:
        session = _profiled(path, folder)
        inputs = session.get_inputs()[0]
        shape = (batch, *inputs.shape[1:])
        feed = {inputs.name: np.random.default_rng(0).random(shape, dtype=np.float32)}
        for _ in range(runs):
            before = reference.look()
            session.run(None, feed)  # warm
            wall_ns, cpu_ns = clock.wall_ns(), clock.cpu_ns()
            session.run(None, feed)
            waits.append((clock.wall_ns() - wall_ns) / max(clock.cpu_ns() - cpu_ns, 1))
            looks.append(max(before, reference.look()))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    rules = Rules()
    limit_ns = rules.slower * level(looks) if reference.is_usual(level(looks)) else 0.0
    quiet = [look <= limit_ns and wait <= 1.05 for look, wait in zip(looks, waits, strict=True)]
    p25_ms = {}
    for what, times_us in calls_us(events).items():
        timed = times_us[1::2]
        kept = [time for time, is_quiet in zip(timed, quiet, strict=True) if is_quiet] or timed
        p25_ms[what] = float(np.quantile(kept, 0.25)) / 1e3
    return Profile(p25_ms["run"], p25_ms["nodes"], sum(quiet))


def _profiled(path: Path, folder: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_profiling = True
    options.profile_file_prefix = f"{folder}/profile"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def calls_us(events: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Microseconds of each call, in order, from the events of a profile: as a whole, and of nodes.

    Events of operators come before that of the call that they are of.
    """
    runs: list[float] = []
    nodes: list[float] = []
    sum_us = 0.0
    for event in events:
        name = str(event.get("name", ""))
        if name.endswith("_kernel_time"):
            sum_us += float(event["dur"])
        elif name == "model_run":
            runs.append(float(event["dur"]))
            nodes.append(sum_us)
            sum_us = 0.0
    return {"run": runs, "nodes": nodes}


def benchmark_app_ms(path: Path) -> float | None:
    """p25 of what OpenVINO's benchmark_app says, one thread, float32; None: it is not there.

    The fastest of a few starts: it does not know when the machine is disturbed.
    """
    dimensions = onnx.load(str(path)).graph.input[0].type.tensor_type.shape.dim
    shape = [1, *(dimension.dim_value for dimension in dimensions[1:])]
    command = [
        *(sys.executable, "-c", _APP, "-m", str(path), "-d", "CPU", "-api", "sync"),
        *("-hint", "none", "-nstreams", "1", "-nthreads", "1", "-infer_precision", "f32"),
        *("-latency_percentile", "25", "-t", str(_APP_S)),
        *("-shape", str(shape).replace(" ", "")),
    ]
    found = []
    for _ in range(_APP_STARTS):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        found.append(app_latency_ms(done.stdout))
    return min((latency_ms for latency_ms in found if latency_ms is not None), default=None)


def app_latency_ms(output: str) -> float | None:
    """The latency at the percentile that was asked for, in the output of benchmark_app."""
    found = re.search(r"25 percentile:\s*([\d.]+)\s*(ms|us)", output)
    if not found:
        return None
    return float(found[1]) / (1.0 if found[2] == "ms" else 1e3)
