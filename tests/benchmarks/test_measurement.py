from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from statistics import fmean, stdev

import onnx
import pytest

import hw_profiles
from benchmarks import measurement
from benchmarks.measurement import Network, busy_cores, draw, repeat, summary, table, variation
from benchmarks.measurement_others import app_latency_ms, benchmark_app_ms, calls_us, profile
from evaluators.devices import Device
from evaluators.latency import Latency
from tests.evaluators import onnx_nets

CPU = Device("cpu", hw_profiles.load("host-cpu"), "measured")


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    onnx.save(onnx_nets.chain(40), tmp_path / "chain.onnx")
    return tmp_path / "chain.onnx"


def test_variation_is_relative() -> None:
    times = [1.0, 1.1, 1.2]
    assert variation(times) == pytest.approx(stdev(times) / fmean(times))
    assert variation([2 * t for t in times]) == pytest.approx(variation(times))


def test_every_network_is_measured_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def measured(path: Path, _: Device) -> Latency:
        asked.append(path.stem)
        ms = {"a": 1.0, "b": 2.0}[path.stem] * (1 + 0.1 * (len(asked) > 2))
        return Latency(ms, ms, ms, "measured", wall_p50_ms=ms, noisy=path.stem == "b")

    monkeypatch.setattr(measurement, "measure", measured)
    rows = repeat([Network(Path(f"{n}.onnx"), 1.0) for n in "ab"], CPU, 2, "as it is")
    assert asked == ["a", "b", "a", "b"]
    assert [row["disturbed"] for row in rows] == [0, 2]
    assert [row["variation"] for row in rows] == pytest.approx([variation([1.0, 1.1])] * 2)
    assert [row["calm_variation"] for row in rows] == [rows[0]["variation"], None]


def rows_of(load: str, *variations: float) -> list[dict[str, object]]:
    return [
        {
            "what": "variation",
            "load": load,
            "variation": value,
            "calm_variation": value / 2 if value < 0.05 else None,
            "wall_variation": 0.2,
            "disturbed": 0,
        }
        for value in variations
    ]


def test_summary_says_whether_the_goals_are_met() -> None:
    rows = rows_of("as it is", *[0.01] * 19, 0.5) + rows_of("all cores busy", 0.025, 0.09)
    differences = [(0.04, False), (-0.045, False), (0.9, True)]
    rows += [
        {"what": "agreement", "tool": "other", "difference": value, "disturbed": disturbed}
        for value, disturbed in differences
    ]
    lines = {str(line["what"]): line for line in summary(rows)}
    assert lines["variation, as it is"]["met"] is True
    assert lines["variation, as it is"]["worst"] == 0.5
    assert lines["variation, all cores busy"]["met"] is False
    assert lines["undisturbed measurements, all cores busy"]["networks"] == 1
    assert lines["undisturbed measurements, as it is"]["worst"] == 0.005
    assert lines["variation of wall p50, as it is"]["met"] is None
    assert (lines["difference, other"]["networks"], lines["difference, other"]["met"]) == (2, True)
    text = table(list(lines.values()))
    assert "MISSED" in text.splitlines()[4]
    assert text.count("met") == 2


def stop(running: list[subprocess.Popen[bytes]]) -> None:
    assert [process.poll() for process in running] == [None, None]
    raise RuntimeError("stop")


def test_busy_processes_end() -> None:
    started: list[subprocess.Popen[bytes]] = []
    with contextlib.suppress(RuntimeError), busy_cores(2) as running:
        started += running
        stop(running)
    running = started
    assert [process.returncode for process in running] == [-9, -9]
    for process in running:
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


def test_networks_are_drawn_by_their_latency(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = iter([0.1, 0.3, 9.0, 0.4, 0.2])

    def measured(*_: object, **__: object) -> Latency:
        ms = next(found)
        return Latency(ms, ms, ms, "measured")

    monkeypatch.setattr(measurement, "measure", measured)
    large, small = draw(tmp_path, 2, CPU)
    assert [network.latency_ms for network in large] == [0.3, 0.4]
    assert [network.latency_ms for network in small] == [0.1]
    assert all(network.path.exists() for network in [*large, *small])


def test_calls_in_a_profile() -> None:
    events = [
        {"name": "session_initialization", "dur": 900},
        {"name": "conv_kernel_time", "dur": 30},
        {"name": "relu_kernel_time", "dur": 5},
        {"name": "SequentialExecutor::Execute", "dur": 40},
        {"name": "model_run", "dur": 50},
        {"name": "conv_kernel_time", "dur": 31},
        {"name": "model_run", "dur": 52},
    ]
    assert calls_us(events) == {"run": [50.0, 52.0], "nodes": [35.0, 31.0]}


def test_the_profiler_of_onnx_runtime(chain: Path) -> None:
    found = profile(chain, batch=4, runs=5)
    assert 0 < found.nodes_ms <= found.run_ms < 100
    assert 0 <= found.quiet <= 5


@pytest.mark.parametrize(
    ("line", "latency_ms"),
    [
        ("[ INFO ]    25 percentile:     161.59 us", 0.16159),
        ("[ INFO ]    25 percentile:     0.64 ms", 0.64),
        ("error: no such model", None),
    ],
)
def test_what_benchmark_app_says(line: str, latency_ms: float | None) -> None:
    assert app_latency_ms(f"[ INFO ] Latency:\n{line}\n") == latency_ms


@pytest.mark.slow
def test_benchmark_app(chain: Path) -> None:
    found = benchmark_app_ms(chain)
    assert found is not None
    assert 1e-3 < found < 10.0
