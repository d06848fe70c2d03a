"""Random networks as plain kernels, and devices whose coefficients are known."""

import random
from collections.abc import Mapping, Sequence

import numpy as np

from evaluators.calibration_fit import Array
from evaluators.components import engine_of
from evaluators.kernel_table import CALL, components_of, tabulate
from evaluators.workload import Kernel, Workload
from evaluators.workload_values import merged
from hw_profiles import HardwareProfile
from tests.hw_profiles.profiles import fig, processor

TRUE = {
    "conv.compute": 1.9,
    "pointwise.compute": 1.3,
    "stem.compute": 4.0,
    "depthwise3.compute": 3.0,
    "depthwise5.compute": 2.2,
    "dense.memory": 1.2,
    "depthwise.memory": 2.0,
    "add.memory": 1.6,
    "pool.memory": 2.5,
    "weights": 0.9,
    "overhead": 2.4,
    CALL: 1.5,
}
"""Coefficients of the device that the tests measure."""


def device(**changes: object) -> HardwareProfile:
    """A processor that moves data and computes in times of the same order."""
    return processor(bandwidth_bytes_s={"memory": fig(20e9)}, **changes)


def convolution(inputs: int, outputs: int, window: int, size: int, op: str = "conv") -> Kernel:
    depth = 1 if op == "depthwise" else inputs
    macs = size * size * outputs * depth * window**2
    weights = 4 * (outputs * depth * window**2 + outputs)
    image = 4 * size * size
    shapes = (1, inputs, size, size), (1, outputs, size, size)
    return Kernel(op, *shapes, "float32", macs, image * inputs, image * outputs, weights)


def moved(op: str, width: int, size: int, reads: int = 1) -> Kernel:
    """An operation without products."""
    shape, image = (1, width, size, size), 4 * size * size * width
    made = (1, width, 1, 1) if op == "global_pool" else shape
    written = 4 * width if op == "global_pool" else image
    return Kernel(op, shape, made, "float32", 0, reads * image, written, 0)


def dense(inputs: int, outputs: int, rows: int = 1) -> Kernel:
    sizes = 4 * rows * inputs, 4 * rows * outputs, 4 * (inputs + 1) * outputs
    shapes, macs = ((rows, inputs), (rows, outputs)), rows * inputs * outputs
    return Kernel("linear", *shapes, "float32", macs, *sizes)


def network(seed: int, lowering: str = "onnxruntime") -> Workload:
    """A stem, up to twelve blocks of three kinds, a head."""
    draw = random.Random(seed)
    size, width = draw.choice([16, 32, 64]), draw.choice([16, 24, 32, 48])
    kernels = [convolution(3, width, 3, size)]
    for _ in range(draw.randint(2, 12)):
        kind, outputs = draw.randrange(3), draw.choice([16, 24, 32, 48, 64, 96])
        if kind == 0:
            kernels += [convolution(width, outputs, draw.choice([1, 3]), size)]
        elif kind == 1:
            window, wide = draw.choice([3, 5]), width * draw.choice([2, 4])
            kernels += [convolution(width, wide, 1, size)]
            kernels += [convolution(wide, wide, window, size, "depthwise")]
            kernels += [convolution(wide, outputs, 1, size)]
        else:
            kernels += [convolution(width, width, 3, size), moved("add", width, size, 2)]
            outputs = width
        width = outputs
        if draw.random() < 0.3 and size > 8:
            kernels += [moved("pool", width, size)]
    kernels += [moved("global_pool", width, size), dense(width, 10)]
    macs = sum(kernel.macs for kernel in kernels)
    return Workload(merged(kernels), macs, macs // 50, lowering, 1 << 16)


def networks(count: int, seed: int = 0, lowering: str = "onnxruntime") -> list[Workload]:
    return [network(1000 * seed + number, lowering) for number in range(count)]


def latencies(
    workloads: Sequence[Workload],
    profile: HardwareProfile,
    coefficients: Mapping[str, float] = TRUE,
    noise: float = 0.0,
    seed: int = 0,
) -> Array:
    """Milliseconds on a device that weighs the components so; others count 1."""
    table = tabulate(workloads)
    parts = components_of(table, engine_of(profile, 1, profile.dtype))
    weights = np.array([coefficients.get(name, 1.0) for name in parts.names])
    total = table.counts @ (parts.each @ weights) + parts.call_ms * coefficients[CALL]
    errors = 1 + noise * np.random.default_rng(seed).standard_normal(len(workloads))
    result: Array = total * np.maximum(errors, 0.5)
    return result
