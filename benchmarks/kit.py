"""A kit there and back: what a profile predicts that was calibrated on networks measured elsewhere.

    python -m benchmarks.kit [--python VENV/bin/python] [--space mobile] [--networks 20]
        [--others 30] [--input 3x96x96] [--dtype float32] [--json FILE]

Two kits are written, one for calibration and one of other networks, and both are measured by their
own script with the interpreter that is named; by default in a new virtual environment that has
onnxruntime and numpy only, which pip fetches. The first is imported, the second predicted.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.host_latency import Prediction, figures
from evaluators.modeled import estimate
from experiments.calibrating import calibrate_profile
from experiments.calibrating_networks import Networks, Plan
from experiments.kit import write_kit
from experiments.kit_results import KitResults, read_results
from hw_profiles import HardwareProfile, host

GOAL_W10 = 80.0


def empty_environment(folder: Path) -> Path:
    """The interpreter of a new environment with onnxruntime and numpy of our versions."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    wanted = [f"{name}=={importlib.metadata.version(name)}" for name in ("onnxruntime", "numpy")]
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", *wanted], check=True)
    return python


def there_and_back(folder: Path, plan: Plan, python: Path) -> KitResults:
    """Write a kit, have it measured by its script, and read what came back."""
    write_kit(folder, plan)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([str(python), "measure.py"], cwd=folder, env=environment, check=True)
    return read_results(folder)


def without(other: KitResults, first: KitResults) -> KitResults:
    """Only the networks that the first kit did not have."""
    known = {sample.network.key for sample in first.samples}
    return replace(other, samples=tuple(s for s in other.samples if s.network.key not in known))


def rows(
    profile: HardwareProfile, kit: KitResults, others: KitResults, method: str
) -> list[dict[str, object]]:
    """How well the calibrated profile predicts the others, by dtype."""
    calibrated = calibrate_profile(profile, kit.samples, kit.setting, method).profile
    networks, found = Networks(profile.lowering), []
    for dtype in dict.fromkeys(sample.dtype for sample in others.samples):
        floating = "" if dtype == "int8" else dtype  # what is not quantized stays in float
        tested = [sample for sample in others.samples if sample.dtype == dtype]
        guesses = [
            estimate(networks.workload(sample.network, dtype=dtype), calibrated, dtype=floating)
            for sample in tested
        ]
        prediction = Prediction(
            np.array([guess.latency_ms for guess in guesses]),
            np.array([guess.low for guess in guesses]),
            np.array([guess.high for guess in guesses]),
        )
        measured = np.array([sample.latency_ms for sample in tested])
        about = {"dtype": dtype, "model": method, "n_test": len(tested)}
        found.append({**about, **figures(prediction, measured)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", type=Path, help="of an environment with onnxruntime and numpy")
    parser.add_argument("--space", default="mobile")
    parser.add_argument("--networks", type=int, default=20, help="for calibration")
    parser.add_argument("--others", type=int, default=30, help="that are predicted")
    parser.add_argument("--input", default="3x96x96")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    arguments = parser.parse_args()
    profile, shape = host.detect(), tuple(int(size) for size in arguments.input.split("x"))
    plan = Plan(profile, arguments.space, shape, arguments.networks, (*arguments.dtype.split(","),))
    with tempfile.TemporaryDirectory() as scratch:
        python = arguments.python or empty_environment(Path(scratch) / "venv")
        kit = there_and_back(Path(scratch) / "kit", plan, python.absolute())
        other_plan = replace(plan, networks=arguments.others, seed=1)
        others = there_and_back(Path(scratch) / "others", other_plan, python.absolute())
    found = [
        row
        for method in ("physical", "lookup")
        for row in rows(profile, kit, without(others, kit), method)
    ]
    for row in found:
        goal = f"  goal {GOAL_W10:g}" if row["model"] == "physical" else ""
        print(
            f"{row['dtype']:<8} {row['model']:<9} {row['n_test']:>3} networks  "
            f"w10 {row['w10']:5.1f}{goal}  MAPE {row['mape']:5.1f}  Kendall {row['kendall']:.3f}  "
            f"coverage {row['coverage90']:5.1f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
