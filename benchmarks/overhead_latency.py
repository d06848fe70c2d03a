"""What the latency models cost: rows of benchmarks/overhead.py."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np
from torch import nn

import hw_profiles
import search_spaces
from evaluators.calibration import calibrate
from evaluators.modeled import estimate
from evaluators.workload import BlockCache, Workload, trace
from nas.choices import sample
from nas.task import Task

GOALS = {"trace": 30.0, "estimate": 2.0, "calibrate": 5.0}
"""Milliseconds, and seconds for a calibration."""


def timed(call: Callable[[], object], repeats: int, unit_s: float) -> list[float]:
    """How long a call takes, again and again, after two that do not count."""
    times = []
    for number in range(repeats + 2):
        began = time.perf_counter()
        call()
        if number >= 2:
            times.append((time.perf_counter() - began) / unit_s)
    return times


def network(layers: int = 60) -> nn.Module:
    """Sixty convolutions with batch norm and ReLU."""
    parts: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1)]
    for _ in range(layers - 1):
        parts += [nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*parts).eval()


def networks(count: int, seed: int = 0) -> list[Workload]:
    """Random networks of the space mobile."""
    space, rng = search_spaces.create("mobile"), random.Random(seed)
    task = Task("images", "classification", (3, 64, 64), 10, "accuracy", "none")
    if space.blocks is None:
        raise ValueError("mobile must describe its networks by blocks")
    cache = BlockCache()
    return [cache.workload(space.blocks(sample(space.choices, rng), task)) for _ in range(count)]


def latency_costs() -> list[tuple[str, list[float], float, str]]:
    """What, samples, goal and unit of each row."""
    profile = hw_profiles.load("nvidia-a100")
    known, fresh = networks(100), networks(30, seed=1)
    noise = np.random.default_rng(0).normal(1, 0.05, len(known))
    measured = [estimate(w, profile).latency_ms * n for w, n in zip(known, noise, strict=True)]
    calibrated = calibrate(profile, known, measured)
    module, queue = network(), iter(fresh * 4)
    return [
        (
            "trace of 60 convolutions",
            timed(lambda: trace(module, (1, 3, 32, 32)), 30, 1e-3),
            GOALS["trace"],
            "ms",
        ),
        (
            "estimate, data sheet",
            timed(lambda: estimate(next(queue), profile), 58, 1e-3),
            GOALS["estimate"],
            "ms",
        ),
        (
            "estimate, calibrated on 100 networks",
            timed(lambda: estimate(next(queue), calibrated), 58, 1e-3),
            GOALS["estimate"],
            "ms",
        ),
        (
            "calibrate on 100 networks",
            timed(lambda: calibrate(profile, known, measured), 3, 1.0),
            GOALS["calibrate"],
            "s",
        ),
    ]
