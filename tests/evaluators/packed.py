"""Small tasks and networks that are trained and packed within a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from evaluators import tasks
from evaluators.packaging import package
from evaluators.tasks import Preprocessing, TaskData
from evaluators.training import TrainingConfig, seeded, train
from nas.trials import Artifact, Candidate


def convolutions(width: int = 8, seed: int = 0, size: int = 8, outputs: int = 10) -> nn.Module:
    """Two convolutions with batch norm, and a linear head."""
    with seeded(seed):
        return nn.Sequential(
            nn.Conv2d(1, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * (size // 4) ** 2, outputs),
        )


def perceptron(features: int, outputs: int, seed: int = 0) -> nn.Module:
    """One hidden layer."""
    with seeded(seed):
        return nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, outputs))


def digits() -> TaskData:
    """As a search sees them."""
    return tasks.create("digits", size=8).without_test()


def blobs(n: int = 60, features: int = 5, classes: int = 3, seed: int = 0) -> TaskData:
    """Points around a centre for each class, columns of very different scale."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    inputs = rng.normal(size=(n, features)) + 4 * np.eye(classes, features)[labels]
    return tasks.classification_by_split("blobs", inputs * 10.0 ** np.arange(features), labels)


def colours(n: int = 40, seed: int = 0) -> TaskData:
    """Small images of three channels with a normalization of their own."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, 3, 8, 8)).astype(np.float32)
    return tasks.classification_by_split(
        "colours",
        inputs,
        np.arange(n) % 2,
        preprocessing=Preprocessing((0.1, 0.2, 0.3), (0.5, 1.0, 2.0)),
    )


def trained(data: TaskData, epochs: int = 2, width: int = 8, seed: int = 0) -> nn.Module:
    """A network that knows more than chance."""
    module = convolutions(width, seed, data.task.input_shape[-1], data.task.outputs)
    train(module, data, TrainingConfig(epochs=epochs), seed)
    return module


def packed(module: nn.Module, data: TaskData, folder: Path, name: str = "net.onnx") -> Artifact:
    """The file of a network."""
    return package(module, data, folder / name, {"genotype": {"width": 8}})


def candidate(artifact: Artifact | None) -> Candidate:
    """A candidate as the scoring evaluators get it."""
    return Candidate({"width": 8}, "t", "c", artifact=artifact)


def logits_of(module: nn.Module, data: TaskData, inputs: np.ndarray) -> np.ndarray:
    """What the module answers to raw inputs, normalized by numpy."""
    with torch.no_grad():
        return module.eval()(torch.tensor(data.preprocessing.apply(inputs))).numpy()
