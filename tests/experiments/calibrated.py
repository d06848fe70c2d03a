"""Small networks, and a machine on which they take as long as a formula says."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence

from experiments.calibrating import Sample
from experiments.calibrating_networks import Network, Networks

SHAPE = (1, 16, 16)


@functools.cache
def networks_16() -> Networks:
    return Networks()


@functools.cache
def small_networks(count: int) -> Sequence[Network]:
    """Convolutional networks for images of 16 x 16, always the same."""
    return networks_16().draw(count, "convnet", SHAPE, seed=3, options={"stages": 2})


def true_ms(network: Network, dtype: str = "float32") -> float:
    """A machine of 20 Gmac/s with 3 us a call and 2 us a kernel; twice as fast in int8."""
    workload = networks_16().workload(network)
    kernels = sum(kernel.count for kernel in workload.kernels)
    speed = 2.0 if dtype == "int8" else 1.0
    return 3e-3 + 2e-3 * kernels + workload.macs / (speed * 20e6)


def samples(count: int, dtype: str = "float32", noise: float = 0.01) -> list[Sample]:
    """Measured there, with a little noise."""
    rng = random.Random(0)
    return [
        Sample(network, dtype, true_ms(network, dtype) * (1 + noise * rng.uniform(-1, 1)))
        for network in small_networks(count)
    ]
