"""Trials as a search on digits finds them, made up without training anything."""

from __future__ import annotations

import math
import random

from nas.objectives import Objective
from nas.trials import Artifact, Provenance, Trial

OBJECTIVES = (
    Objective("accuracy", "maximize"),
    Objective("latency_ms.cpu", "minimize"),
    Objective("size_kb", "minimize"),
)
SLOWDOWN = {"gpu": 3.5, "tpu": 2.2, "fpga": 14.0}
PROFILES = {"gpu": "nvidia-a100", "tpu": "tpu-v3", "fpga": "pynq-z2"}


def provenance(latencies: dict[str, float]) -> dict[str, Provenance]:
    """Measured for `cpu`, modeled with error bars for everything else."""
    cpu = latencies["latency_ms.cpu"]
    said = {
        "latency_ms.cpu": Provenance(
            "measured", "host-cpu", "onnxruntime 1.32.0", "float32", 1, 1, "p25 of CPU time",
            cpu * 0.99, cpu * 1.02,
        )
    }  # fmt: skip
    for alias, profile in PROFILES.items():
        name = f"latency_ms.{alias}"
        low, high = latencies[name] * 0.7, latencies[name] * 1.4
        said[name] = Provenance(
            "modeled", profile, "", "float16", 1, None, "roofline, datasheet", low, high
        )
    return said


def fake_trial(number: int, rng: random.Random, shift: float = 0.0) -> Trial:
    """A done trial; a later, bigger network is slower and better, with luck."""
    size = math.exp(rng.uniform(0.5, 5.0))
    scheme = rng.choice(["none", "static", "dynamic"])
    cpu = 0.004 + size / 1500 * rng.uniform(0.8, 2.0)
    latencies = {"latency_ms.cpu": cpu}
    latencies |= {
        f"latency_ms.{a}": 0.01 + cpu * f * rng.uniform(0.3, 1) for a, f in SLOWDOWN.items()
    }
    accuracy = 0.985 - 0.25 * math.exp(-size / 9) - rng.expovariate(40) + shift
    metrics = {
        "accuracy": round(accuracy, 4),
        "accuracy_noise": round(accuracy - 0.03, 4),
        "accuracy_impulse": round(accuracy - 0.08, 4),
        "size_kb": size / (4 if scheme == "static" else 1),
        "size_kb_compressed": size * 0.9,
        "macs": round(size * 3000),
        "params": round(size * 250),
        **latencies,
    }
    genotype = {
        "stem.width": rng.choice([8, 16, 32]),
        "stage1.depth": rng.choice([1, 2, 3]),
        "stage1.block": rng.choice(["conv", "separable", "inverted"]),
        "prune.method": "none",
        "quantize.scheme": scheme,
    }
    artifact = Artifact(f"artifacts/{number}.onnx", f"{number:064x}")
    return Trial(
        number, genotype, f"t{number}", f"c{number}", "done", metrics, provenance(latencies),
        artifact, seconds={"train": 2.5, "score": 0.2},
    )  # fmt: skip


def fake_trials(count: int, seed: int = 0, shift: float = 0.0) -> list[Trial]:
    """Done trials, every tenth failed or rejected."""
    rng = random.Random(seed)
    trials = []
    for number in range(count):
        trial = fake_trial(number, rng, shift)
        if number % 10 == 7:
            status = "failed" if number % 20 == 7 else "rejected"
            trial = Trial(
                number, trial.genotype, trial.training_key, trial.candidate_key,
                "failed" if status == "failed" else "rejected", error=f"it was {status}",
            )  # fmt: skip
        trials.append(trial)
    return trials
