"""Files of small quantized networks, not trained, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from evaluators import runtimes
from evaluators.compression import QuantizeConfig, quantize, quantize_in_training
from evaluators.packaging import package, sha256_of
from evaluators.scoring import predict
from evaluators.tasks import TaskData
from evaluators.training import seeded
from nas.trials import Artifact
from tests.evaluators.packed import digits

DATA = digits()


def mlp(hidden: int = 12, seed: int = 0) -> nn.Module:
    """Of one hidden layer, for digits of 8 x 8."""
    with seeded(seed):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def fixed(
    module: nn.Module,
    folder: Path,
    weights: int = 3,
    activations: int = 3,
    inputs: int = 4,
    data: TaskData = DATA,
) -> Artifact:
    """The file of a module, quantized but not trained on."""
    config = QuantizeConfig("qat", 64, {"all": weights}, {"all": activations}, inputs)
    examples = torch.from_numpy(data.preprocessing.apply(data.train.inputs[:64]))
    quantized = quantize_in_training(module, config, examples, lambda _: None)
    package(quantized, data, folder / "float.onnx")
    path = quantize(folder / "float.onnx", config, None, folder / "fixed.onnx")
    return Artifact(str(path), sha256_of(path), "fixed")


def answers(artifact: Artifact, inputs: np.ndarray) -> np.ndarray:
    """What ONNX Runtime gives."""
    with runtimes.load(artifact.path) as session:
        return predict(session, inputs)
