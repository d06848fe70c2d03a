"""A folder of networks to be measured on a machine that has nothing of ours."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import kit_measure
from experiments.calibrating_networks import Network, Networks, Plan, choose_networks, macs_of, pack

FORMAT = 1
MANIFEST, RESULTS, SCRIPT, REFERENCE = "manifest.json", "results.json", "measure.py", "reference"
_README = """Networks to be measured on another machine
==========================================

Copy this folder to the machine (a phone, a board, a server) that latencies are wanted of. It needs
Python 3.8 or newer with onnxruntime and numpy:

    python3 -m pip install onnxruntime numpy
    python3 measure.py

That takes about {minutes:.0f} minutes on a machine like a laptop. Let the machine do nothing else
meanwhile. It may be stopped at any time, and goes on where it was when it is started again.
`python3 measure.py --help` says how to measure with other runtimes (TensorRT, TFLite) by their own
command lines, on more threads, or through another execution provider.

Then bring results.json back and type, where this folder was made:

    nas calibrate --import {results} --profile {profile} --name my-device

There are {count} networks of the space {space}, for inputs of {shape}, batch {batch}. Their weights
are random: the files are good for nothing but measuring.
"""


def write_kit(
    folder: Path, plan: Plan, progress: Callable[[int, int], None] = lambda done, count: None
) -> int:
    """Write a kit; returns how many files it holds.

    Args:
        folder: new or empty.
        plan: what goes into it.
        progress: is told the files that are written, and how many there will be.

    Raises:
        ValueError: for a folder that holds other things, or a plan that cannot be carried out.
        CandidateError: a network cannot be exported or quantized.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"the folder of a kit must be new or empty, but {folder} is not")
    chosen = choose_networks(Networks(plan.profile.lowering), plan)
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = []
    count = len(chosen) * len(plan.dtypes)
    for index, network in enumerate(chosen):
        for dtype in plan.dtypes:
            name = f"{plan.space}-{index + 1:0{len(str(len(chosen)))}}-{dtype}"
            entries.append(_entry(folder, network, name, dtype))
            progress(len(entries), count)
    _write_rest(folder, plan, entries)
    return count


def _entry(folder: Path, network: Network, name: str, dtype: str) -> dict[str, Any]:
    artifact = pack(network, folder / f"{name}.onnx", dtype)
    return {
        "name": name,
        "file": f"{name}.onnx",
        "sha256": artifact.sha256,
        "dtype": dtype,
        "macs": macs_of(network),
        "genotype": dict(network.genotype),
    }


def _write_rest(folder: Path, plan: Plan, entries: Sequence[Mapping[str, Any]]) -> None:
    """Everything but the networks."""
    from evaluators.packaging import sha256_of
    from evaluators.reference_net import reference_model

    (folder / f"{REFERENCE}.onnx").write_bytes(reference_model())
    manifest = {
        "format": FORMAT,
        "made": time.strftime("%Y-%m-%d"),
        "space": plan.space,
        "options": dict(plan.options),
        "input_shape": list(plan.input_shape),
        "batch": plan.batch,
        "profile": plan.profile.name,
        "reference": {
            "file": f"{REFERENCE}.onnx",
            "sha256": sha256_of(folder / f"{REFERENCE}.onnx"),
            "input_shape": [1, 16, 16],
        },
        "networks": list(entries),
    }
    text = _README.format(
        minutes=max(1.0, len(entries) / 40),
        results=RESULTS,
        profile=plan.profile.name,
        count=len(entries),
        space=plan.space,
        shape="x".join(str(size) for size in plan.input_shape),
        batch=plan.batch,
    )
    (folder / "README.txt").write_text(text, encoding="utf-8")
    shutil.copyfile(Path(kit_measure.__file__), folder / SCRIPT)
    # The manifest comes last: a kit without one is none.
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
