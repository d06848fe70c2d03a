"""The XLA:TPU compiler, distilled: how well does a model predict it that saw 20 networks?

    python -m benchmarks.tpu_distill [--profile tpu-v5e] [--space convnet] [--batch 32]
        [--input 1x16x16] [--networks 20] [--tests 30] [--draws 3] [--cache DIR] [--json FILE]

For each draw 20 networks are chosen and compiled, the analytic model is calibrated on them, and
predicts 30 other networks, whose truth is the compiler too.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats

import hw_profiles
from evaluators.modeled import estimate
from evaluators.tpu.xla import XlaCompiler
from experiments.calibrating import calibrate_profile
from experiments.calibrating_networks import Network, Networks, Plan
from experiments.calibrating_tpu import compile_all, compiled_ms
from hw_profiles import HardwareProfile

_TESTS_SEED = 1000


@dataclass(frozen=True)
class Score:
    """How well the compiler is predicted.

    Args:
        spearman: rank correlation.
        w10: percent within 10 %.
        mape: mean absolute error in percent.
        each_ms: milliseconds that one prediction takes where its blocks are known, as in a search.
    """

    spearman: float
    w10: float
    mape: float
    each_ms: float

    def __str__(self) -> str:
        return (
            f"w10 {self.w10:5.1f} %, Spearman {self.spearman:.3f}, mean error {self.mape:.1f} %, "
            f"{self.each_ms:.2f} ms a network"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _options(arguments)
    try:
        scores = _run(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        records = {name: asdict(found) for name, found in scores.items()}
        options.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    return 0


def scored(
    profile: HardwareProfile, tests: Sequence[Network], truth_ms: Sequence[float], batch: int
) -> Score:
    """Predict networks.

    Args:
        profile: calibrated or not.
        tests: the networks.
        truth_ms: of each.
        batch: examples a call.
    """
    networks, dtype = Networks(profile.lowering), profile.dtype
    for _ in range(2):
        start = time.perf_counter()
        found = [
            estimate(networks.workload(each, dtype=dtype), profile, batch).latency_ms
            for each in tests
        ]
        seconds = time.perf_counter() - start
    truth, predicted = np.array(truth_ms), np.array(found)
    errors = np.abs(predicted / truth - 1)
    return Score(
        spearman=float(stats.spearmanr(predicted, truth)[0]),
        w10=float(100 * (errors <= 0.1).mean()),
        mape=float(100 * errors.mean()),
        each_ms=1e3 * seconds / len(tests),
    )


def _run(options: argparse.Namespace) -> dict[str, Score]:
    profile = hw_profiles.load(options.profile)
    shape = tuple(int(size) for size in options.input.split("x"))
    compiler = XlaCompiler(options.cache)
    try:
        tests = Networks(profile.lowering).draw(options.tests, options.space, shape, _TESTS_SEED)
        start = time.monotonic()
        truth = [compiled_ms(each, profile, options.batch, "", compiler) for each in tests]
        print(f"{len(tests)} networks compiled in {time.monotonic() - start:.1f} s", flush=True)
        found = {"zero-shot": scored(profile, tests, truth, options.batch)}
        print(f"zero-shot  {found['zero-shot']}")
        for seed in range(options.draws):
            plan = Plan(
                profile, options.space, shape, options.networks, batch=options.batch, seed=seed
            )
            samples, setting = compile_all(plan, "", compiler)
            fitted = calibrate_profile(profile, samples, setting).profile
            found[f"draw {seed}"] = scored(fitted, tests, truth, options.batch)
            print(f"draw {seed}     {found[f'draw {seed}']}", flush=True)
    finally:
        compiler.close()
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profile", default="tpu-v5e", help="of a chip that the compiler knows")
    parser.add_argument("--space", default="convnet", help="of the networks")
    parser.add_argument("--batch", type=int, default=32, help="examples a call")
    parser.add_argument("--input", default="1x16x16", help="of one example")
    parser.add_argument("--networks", type=int, default=20, help="to calibrate on")
    parser.add_argument("--tests", type=int, default=30, help="to predict")
    parser.add_argument("--draws", type=int, default=3, help="of the former")
    parser.add_argument("--cache", type=Path, help="folder of compiled programs")
    parser.add_argument("--json", type=Path, help="write the scores here")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
