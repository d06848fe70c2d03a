"""How well the latency model predicts this machine: networks measured here, some for calibration.

    python -m benchmarks.host_latency [--networks 120] [--shots 30] [--seeds 5]
        [--draw 0] [--apart 240] [--measured FILE] [--files DIR] [--json FILE]

Random networks of `convnet`, `mobile` and `transformer`, in float32 and int8, at 32 x 32 to
96 x 96, timed in three passes that begin four minutes apart, since a shared machine may be slower
for minutes. ``--measured`` keeps the latencies, so that the models can be studied without measuring
again. Each figure is the mean over the seeds; networks used for fitting are never tested.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.stats import kendalltau

from benchmarks.host_networks import Measured, draw, latencies, measure_all, read
from evaluators.calibration import calibrate, choose
from evaluators.modeled import estimate_many
from evaluators.workload import Workload
from experiments.calibrating_networks import DTYPES, Networks
from hw_profiles import HardwareProfile, host

GOALS = {"float32": {"w10": 85.0, "kendall": 0.96}, "int8": {"w10": 75.0, "kendall": 0.92}}
CONVOLUTIONAL = ("convnet", "mobile")

Floats = npt.NDArray[np.float64]
Model = Callable[[Sequence[Workload], Floats, Sequence[Workload]], "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """Latencies of the tested networks, and their error bars where there are any."""

    ms: Floats
    low: Floats | None = None
    high: Floats | None = None


@dataclass(frozen=True)
class Data:
    """Networks in one dtype: (n,) each."""

    families: list[str]
    workloads: list[Workload]
    ms: Floats

    def where(self, families: Sequence[str]) -> list[int]:
        """The indexes of these families."""
        return [i for i, family in enumerate(self.families) if family in families]


def data_of(networks: Sequence[Measured], dtype: str, lowering: str) -> Data:
    described = Networks(lowering)
    return Data(
        [each.family for each in networks],
        [described.workload(each.network, dtype=dtype) for each in networks],
        np.array(latencies(networks, dtype)),
    )


def macs_affine(train: Sequence[Workload], ms: Floats, test: Sequence[Workload]) -> Prediction:
    """``a + b * MACs`` with a, b >= 0, least squares of the relative error."""

    def design(workloads: Sequence[Workload]) -> Floats:
        return np.array([[1.0, workload.macs / 1e6] for workload in workloads])

    weights, _ = nnls(design(train) / ms[:, None], np.ones(len(ms)))
    return Prediction(design(test) @ weights)


def modeled(profile: HardwareProfile, dtype: str, method: str) -> Model:
    """The model of the project, by a method of `calibrate`; ``""`` for the data sheet alone."""
    floating = "" if dtype == "int8" else dtype  # what is not quantized stays in float

    def predict(train: Sequence[Workload], ms: Floats, test: Sequence[Workload]) -> Prediction:
        fitted = calibrate(profile, list(train), list(ms), method) if method else profile
        found = estimate_many(list(test), fitted, dtype=floating)
        return Prediction(
            np.array([latency.latency_ms for latency in found]),
            np.array([latency.low for latency in found]),
            np.array([latency.high for latency in found]),
        )

    return predict


def figures(found: Prediction, ms: Floats) -> dict[str, float]:
    """How good a prediction is: shares in percent, Kendall's tau-b."""
    error = np.abs(found.ms / ms - 1)
    result = {
        "w10": 100 * float(np.mean(error <= 0.10)),
        "mape": 100 * float(np.mean(error)),
        "kendall": float(kendalltau(found.ms, ms).statistic),
        "coverage90": float("nan"),
    }
    if found.low is not None and found.high is not None:
        inside = (found.low <= ms) & (ms <= found.high)
        result["coverage90"] = 100 * float(np.mean(inside))
    return result


def splits(
    data: Data, profile: HardwareProfile, shots: int, seeds: int
) -> dict[str, list[tuple[list[int], list[int]]]]:
    """(train, test) for each seed, by the name of what is asked."""

    def chosen(pool: Sequence[int], seed: int) -> list[int]:
        picked = choose([data.workloads[i] for i in pool], profile, min(shots, len(pool)), seed)
        return [pool[i] for i in picked]

    everything, found = range(len(data.ms)), {}
    found["all"] = [
        (train, [i for i in everything if i not in set(train)])
        for train in (chosen(everything, seed) for seed in range(seeds))
    ]
    convolutional, transformers = data.where(CONVOLUTIONAL), data.where(("transformer",))
    if convolutional and transformers:
        found["convolutional -> transformer"] = [
            (chosen(convolutional, seed), transformers) for seed in range(seeds)
        ]
        found["transformer -> convolutional"] = [
            (chosen(transformers, seed), convolutional) for seed in range(seeds)
        ]
    return {name: tests for name, tests in found.items() if all(test for _, test in tests)}


def rows(
    networks: Sequence[Measured], profile: HardwareProfile, shots: int, seeds: int
) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for dtype in DTYPES:
        data = data_of(networks, dtype, profile.lowering)
        models = {
            "physical": modeled(profile, dtype, "physical"),
            "lookup": modeled(profile, dtype, "lookup"),
            "MACs, affine": macs_affine,
            "data sheet": modeled(profile, dtype, ""),
        }
        for split, parts in splits(data, profile, shots, seeds).items():
            for name, model in models.items():
                each = [_tested(data, model, train, test) for train, test in parts]
                mean = {key: float(np.mean([row[key] for row in each])) for key in each[0]}
                counts = {"shots": len(parts[0][0]), "n_test": len(parts[0][1]), "seeds": seeds}
                found.append({"dtype": dtype, "split": split, "model": name, **counts, **mean})
    return found


def _tested(data: Data, model: Model, train: list[int], test: list[int]) -> dict[str, float]:
    found = model(
        [data.workloads[i] for i in train], data.ms[train], [data.workloads[i] for i in test]
    )
    return figures(found, data.ms[test])


def line(row: dict[str, object]) -> str:
    """A row of the table, with the goals that it has."""
    text = (
        f"{row['dtype']:<8} {row['split']:<29} {row['model']:<13} {row['shots']:>3} "
        f"{row['n_test']:>4}  w10 {row['w10']:5.1f}  MAPE {row['mape']:6.1f}  "
        f"Kendall {row['kendall']:.3f}  coverage {row['coverage90']:5.1f}"
    )
    if (row["split"], row["model"]) != ("all", "physical"):
        return text
    missed = [f"{name} >= {goal:g}" for name, goal in GOALS[str(row["dtype"])].items()
              if float(str(row[name])) < goal]  # fmt: skip
    return f"{text}  {'MISSED: ' + ', '.join(missed) if missed else 'goals met'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=120, help="of all families together")
    parser.add_argument("--shots", type=int, default=30, help="networks for calibration")
    parser.add_argument("--seeds", type=int, default=5, help="of the choice of those")
    parser.add_argument("--draw", type=int, default=0, help="seed of the networks themselves")
    parser.add_argument("--apart", type=float, default=240.0, help="seconds between two passes")
    parser.add_argument("--measured", type=Path, help="keep the latencies there, and use them")
    parser.add_argument("--files", type=Path, help="keep the ONNX files in this folder")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    arguments = parser.parse_args()
    profile = host.detect()
    if arguments.measured is not None and arguments.measured.is_file():
        networks = read(arguments.measured)
    else:
        networks = draw(arguments.networks, arguments.draw, profile)
    measure_all(networks, arguments.measured, arguments.files, arguments.apart)
    found = rows(networks, profile, arguments.shots, arguments.seeds)
    for row in found:
        print(line(row))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
