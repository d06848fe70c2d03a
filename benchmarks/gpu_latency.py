"""How well the latency model fits a GPU that is here: random networks, half of them to calibrate.

    python -m benchmarks.gpu_latency [--networks 60] [--shots 30] [--batches 1,64] [--json FILE]

Each network of the spaces ``mobile`` and ``convnet`` is timed in float16, channels last, by CUDA
events: eager, and with all its kernels replayed as one CUDA graph. Needs torch with CUDA, numpy,
scipy and PyYAML, nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from scipy.stats import kendalltau

import hw_profiles
import search_spaces
from evaluators import timing
from evaluators.calibration import calibrate, choose
from evaluators.measured import GPU_RULES, model_of
from evaluators.modeled import estimate_many
from evaluators.runtimes.cuda_session import bound, memory_format
from evaluators.runtimes.gpu import Gpu, GpuWatch, TorchGpu, gpu_clocks, gpu_name
from evaluators.timing import SystemClock, Timed
from evaluators.workload import Workload, trace
from hw_profiles import HardwareProfile
from nas.choices import sample
from nas.task import Task

SPACES = ("mobile", "convnet")
MODES = ("eager", "graph")
DTYPE = "float16"
TASK = Task("images", "classification", (3, 224, 224), 1000, "accuracy", "noise")
_WITHIN = 0.1
_LAUNCHES = 1000


@dataclass(frozen=True)
class Timing:
    """A network at a batch size.

    Args:
        network: its space and number.
        batch: examples a call.
        eager_ms: p25 of the events around a call, kernels launched one by one.
        graph_ms: the same of a replayed CUDA graph.
        kernels: that the eager lowering counts.
    """

    network: str
    batch: int
    eager_ms: float
    graph_ms: float
    kernels: int

    @property
    def launch_us(self) -> float:
        """What launching costs a kernel beyond running it, in microseconds."""
        return 1e3 * (self.eager_ms - self.graph_ms) / self.kernels


def profile_of(gpu: str) -> HardwareProfile:
    """The shipped profile of a GPU; one for any GPU where there is none."""
    known = [hw_profiles.load(name) for name in hw_profiles.names()]
    fitting = [p for p in known if p.kind == "gpu" and model_of(p.title) == model_of(gpu)]
    return fitting[0] if fitting else hw_profiles.load("generic-gpu")


def draw(count: int, seed: int, lowering: str) -> list[tuple[str, torch.nn.Module, Workload]]:
    """Random untrained networks with their kernels at batch 1, the spaces in turns."""
    rng, found = random.Random(seed), []
    spaces = {name: search_spaces.create(name) for name in SPACES}
    for number in range(count):
        name = SPACES[number % len(SPACES)]
        module = spaces[name].build(sample(spaces[name].choices, rng), TASK).eval()
        workload = trace(module, (1, *TASK.input_shape), lowering)
        found.append((f"{name}-{number}", module.requires_grad_(False), workload))
    return found


def placed(module: torch.nn.Module, batch: int, gpu: Gpu) -> tuple[torch.nn.Module, torch.Tensor]:
    """A network and inputs of noise on the GPU."""
    dtype: torch.dtype = getattr(torch, DTYPE)
    memory = memory_format(dtype)
    shape = (batch, *TASK.input_shape)
    inputs = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    on_gpu = module.to(device=gpu.device, dtype=dtype, memory_format=memory)  # type: ignore[call-overload]
    return on_gpu, inputs.to(device=gpu.device, dtype=dtype).contiguous(memory_format=memory)


def time_network(
    name: str, module: torch.nn.Module, workload: Workload, batch: int, gpu: Gpu
) -> Timing:
    """Time a network in all modes, in turns.

    Raises:
        ValueError: when the GPU is out of memory.
    """
    watch = GpuWatch(gpu, SystemClock().wall_ns)
    with gpu.clear_errors():
        network, inputs = placed(module, batch, gpu)
        calls = [bound(network.forward, inputs, gpu, mode == "graph") for mode in MODES]
        subjects = [Timed(call, watch.busy_ns, watch.wall_ns, paced=False) for call in calls]
        samples = timing.interleave(subjects, rules=GPU_RULES)
        network.to("cpu")
    eager, graph = (timing.quantile(seen.busy_ns, 0.25) / 1e6 for seen in samples)
    return Timing(name, batch, eager, graph, sum(kernel.count for kernel in workload.kernels))


def launch_us(gpu: Gpu) -> float:
    """Microseconds a launch, of a chain of kernels too small to take longer themselves."""
    value = torch.zeros(1, device=gpu.device)
    watch = GpuWatch(gpu, SystemClock().wall_ns)

    def chain() -> None:
        for _ in range(_LAUNCHES):
            value.add_(1.0)

    chain()
    times = []
    for _ in range(9):
        begin_ns = watch.busy_ns()
        chain()
        times.append((watch.busy_ns() - begin_ns) / _LAUNCHES / 1e3)
    return statistics.median(times)


def fit(
    profile: HardwareProfile,
    workloads: Sequence[Workload],
    measured_ms: Sequence[float],
    shots: int,
    batch: int,
    seed: int = 0,
) -> dict[str, float]:
    """Calibrate on some of the networks and predict the others, beside what the data sheet says.

    Returns:
        ``w10`` (the share within +-10 %), ``mape`` and ``kendall``, each also with ``datasheet_``.
    """
    chosen = set(choose(workloads, profile, shots, seed))
    others = [i for i in range(len(workloads)) if i not in chosen]
    known = sorted(chosen)
    calibrated = calibrate(
        profile,
        [workloads[i] for i in known],
        [measured_ms[i] for i in known],
        batch=batch,
        dtype=DTYPE,
        check_unit=False,
    )
    true = [measured_ms[i] for i in others]
    result: dict[str, float] = {}
    for prefix, model in (("", calibrated), ("datasheet_", replace(profile, calibration=None))):
        found = estimate_many([workloads[i] for i in others], model, batch, DTYPE)
        quality = compare([latency.latency_ms for latency in found], true)
        result |= {f"{prefix}{name}": value for name, value in quality.items()}
    return result


def compare(predicted: Sequence[float], true: Sequence[float]) -> dict[str, float]:
    """How good predictions are: share within +-10 %, mean error, rank correlation."""
    errors = [abs(p / t - 1) for p, t in zip(predicted, true, strict=True)]
    return {
        "w10": sum(error <= _WITHIN for error in errors) / len(errors),
        "mape": statistics.fmean(errors),
        "kendall": float(kendalltau(predicted, true).statistic),
    }


def evaluate(
    timings: Sequence[Timing],
    workloads: Mapping[str, Workload],
    profile: HardwareProfile,
    shots: int,
) -> list[dict[str, Any]]:
    """One row a batch size and mode."""
    rows = []
    for batch in sorted({t.batch for t in timings}):
        mine = [t for t in timings if t.batch == batch]
        ratio = statistics.median(t.graph_ms / t.eager_ms for t in mine)
        launch = statistics.median(t.launch_us for t in mine)
        for mode in MODES:
            measured_ms = [t.eager_ms if mode == "eager" else t.graph_ms for t in mine]
            networks = [workloads[t.network] for t in mine]
            rows.append(
                {
                    "batch": batch,
                    "mode": mode,
                    "networks": len(mine),
                    "shots": shots,
                    "median_ms": statistics.median(measured_ms),
                    **fit(profile, networks, measured_ms, shots, batch),
                    "graph_over_eager": ratio,
                    "launch_us_a_kernel": launch,
                }
            )
    return rows


def run(
    options: argparse.Namespace, gpu: Gpu, say: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """Everything, as one JSON-able record.

    Args:
        options: of the command line.
        gpu: that computes.
        say: gets a line for each network that cannot be timed.
    """
    name = gpu_name()
    profile = profile_of(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        networks = draw(options.networks, options.seed, profile.lowering)
    timings = []
    for label, module, workload in networks:
        for batch in options.batches:
            try:
                timings.append(time_network(label, module, workload, batch, gpu))
            except ValueError as error:
                say(f"{label} at batch {batch} is left out: {error}")
    return {
        "gpu": name,
        "profile": profile.name,
        "torch": torch.__version__,
        "dtype": DTYPE,
        "clocks": gpu_clocks(),
        "launch_us": launch_us(gpu),
        "rows": evaluate(timings, {n: w for n, _, w in networks}, profile, options.shots),
        "timings": [asdict(t) for t in timings],
    }


def table(record: Mapping[str, Any]) -> str:
    """The record as text."""
    lines = [
        f"{record['gpu']}, profile {record['profile']}, torch {record['torch']}, "
        f"{record['dtype']}, {record['clocks'] or 'clocks unknown'}",
        f"a launch of a tiny kernel: {record['launch_us']:.2f} us",
        f"{'batch':>5s} {'mode':>6s} {'median':>10s} {'w10':>6s} {'MAPE':>7s} {'Kendall':>8s} "
        f"{'graph/eager':>12s} {'launch a kernel':>16s}   uncalibrated w10, Kendall",
    ]
    lines += [
        f"{row['batch']:5d} {row['mode']:>6s} {row['median_ms']:7.3f} ms "
        f"{100 * row['w10']:5.0f}% {100 * row['mape']:6.1f}% {row['kendall']:8.3f} "
        f"{row['graph_over_eager']:12.2f} {row['launch_us_a_kernel']:13.2f} us "
        f"{100 * row['datasheet_w10']:7.0f}%, {row['datasheet_kendall']:.3f}"
        for row in record["rows"]
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", type=int, default=60)
    parser.add_argument("--shots", type=int, default=30, help="networks to calibrate with")
    parser.add_argument(
        "--batches", type=lambda text: [int(part) for part in text.split(",")], default=[1, 64]
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write all rows")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("there is no CUDA GPU here that torch can use: nothing is measured", file=sys.stderr)
        return 1
    record = run(options, TorchGpu(), lambda line: print(line, file=sys.stderr))
    print(table(record))
    if options.json:
        options.json.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
