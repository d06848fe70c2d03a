"""Writes a network of a run as Verilog, simulated against the file and synthesized."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluators import runtimes
from evaluators.rtl import circuit as logic
from evaluators.rtl.circuit import Circuit
from evaluators.rtl.latency import checked_circuit
from evaluators.rtl.simulation import Simulated, simulate, write_bench
from evaluators.rtl.synthesis import Synthesized, synthesize
from evaluators.rtl.tools import check_tools
from evaluators.scoring import predict
from experiments.verification import Check, passed

if TYPE_CHECKING:
    from evaluators.devices import Device
    from evaluators.tasks import TaskData
    from nas.trials import Artifact, Trial

RTL, BENCH, REPORT = "rtl", "testbench", "report.json"


def circuit_device(devices: Iterable[Device]) -> Device:
    """The device that a run unrolls its networks for, once all tools are here.

    Raises:
        ValueError: when there is none.
        ToolError: when Verilator or yosys is not installed.
    """
    found = [device for device in devices if device.method == "fpga_rtl"]
    if not found:
        raise ValueError("the format verilog needs a run with a device of the method fpga_rtl")
    check_tools()
    return found[0]


def write_verilog(
    folder: Path, trial: Trial, artifact: Artifact, device: Device, data: TaskData
) -> list[Check]:
    """Write ``rtl/*.v``, ``testbench/`` and ``report.json``.

    The circuit is simulated on every validation and test example, where it must give what ONNX
    Runtime gives, bit by bit, after as many cycles as was recorded.

    Args:
        folder: of the export.
        trial: the record.
        artifact: the file in the folder.
        device: of `circuit_device`.
        data: the task with its test split.

    Returns:
        What was compared with the record; all of it passed.

    Raises:
        VerificationError: naming the first thing that does not come out as recorded.
        ToolError: when a tool is not here or fails.
        CandidateError: when the file cannot be unrolled.
    """
    splits = [data.validation, *([data.held_out] if data.held_out is not None else [])]
    inputs = np.concatenate([split.inputs for split in splits])
    program, circuit = checked_circuit(artifact, device, inputs)
    with runtimes.load(artifact.path) as session:
        outputs = predict(session, inputs)
    rtl, bench = folder / RTL, folder / BENCH
    rtl.mkdir()
    bench.mkdir()
    sources = circuit.write(rtl)
    write_bench(circuit, program.integers(inputs), outputs, bench)
    simulated = simulate(bench, sources)
    checks = passed(trial, _checks(trial, device, circuit, simulated))
    with tempfile.TemporaryDirectory() as scratch:
        synthesized = synthesize(sources, Path(scratch))
    report = _report(artifact, device, circuit, simulated, synthesized)
    (folder / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    off = circuit.lut / synthesized.lut - 1
    rule = f"look-up tables by yosys' synth_xilinx; the estimate is {off:+.1%} off"
    return [*checks, Check("LUTs", circuit.lut, synthesized.lut, True, rule)]


def _checks(trial: Trial, device: Device, circuit: Circuit, simulated: Simulated) -> list[Check]:
    lut, cycles = (int(trial.metrics[f"{name}.{device.alias}"]) for name in ("lut", "cycles"))
    wrong, vectors = simulated.mismatches, simulated.vectors
    return [
        Check("estimated LUTs", lut, circuit.lut, lut == circuit.lut, "equal"),
        Check("mismatches", 0, wrong, simulated.bit_exact, f"none in {vectors} simulated vectors"),
        Check("cycles", cycles, simulated.cycles, cycles == simulated.cycles, "equal, simulated"),
    ]


def _report(
    artifact: Artifact,
    device: Device,
    circuit: Circuit,
    simulated: Simulated,
    synthesized: Synthesized,
) -> dict[str, Any]:
    clock = device.profile.clock_hz
    return {
        "bit_exact": simulated.bit_exact,
        "vectors": simulated.vectors,
        "cycles": simulated.cycles,
        "lut_estimate": circuit.lut,
        "lut_yosys": synthesized.lut,
        "ff_estimate": circuit.ff,
        "ff_yosys": synthesized.ff,
        "cells_yosys": dict(sorted(synthesized.cells.items())),
        "device": device.name,
        "clock_hz": clock.value,
        "clock_source": clock.source,
        "latency_ms": simulated.cycles / clock.value * 1e3,
        "module": f"{logic.TOP}_wrapper",
        "inputs": vars(circuit.inputs),
        "outputs": vars(circuit.outputs),
        "made_by": f"{logic.version()} (its modules in {RTL}/ are LGPL-3)",
        "artifact_sha256": artifact.sha256,
        "not_known": "no place and route: the clock is an assumption",
    }
