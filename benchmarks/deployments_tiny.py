"""The one network that benchmarks/deployments_tiny.yaml deploys in all ways."""

from __future__ import annotations

from torch import nn

from nas.choices import Choice, Genotype
from nas.task import Task

CHOICES = [Choice("width", (16,))]


def build(genotype: Genotype, task: Task) -> nn.Module:
    """Two convolutions: about 10 us a call in ONNX Runtime, most of them overhead.

    (batch, channels, height, width) -> (batch, outputs).
    """
    width = int(genotype["width"])
    return nn.Sequential(
        nn.Conv2d(task.input_shape[0], width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * -(-task.input_shape[1] // 4) * -(-task.input_shape[2] // 4), 10),
    )
