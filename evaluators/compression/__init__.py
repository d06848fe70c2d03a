"""Smaller and faster versions of a trained network: pruned, then packaged, then quantized.

A configuration says what (`PruneConfig`, `QuantizeConfig`), a registered function says how.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from evaluators.compression.choices import (
    QAT,
    Bits,
    PruneConfig,
    QuantizeConfig,
    compression_choices,
    kept_width,
    split,
)
from evaluators.compression.methods import (
    PRUNERS,
    QUANTIZED_SHAPES,
    QUANTIZERS,
    RESHAPERS,
    TRAINED_QUANTIZERS,
    Train,
)
from nas.task import Task

__all__ = [
    "PRUNERS",
    "QAT",
    "QUANTIZED_SHAPES",
    "QUANTIZERS",
    "RESHAPERS",
    "TRAINED_QUANTIZERS",
    "Bits",
    "PruneConfig",
    "QuantizeConfig",
    "Train",
    "compression_choices",
    "kept_width",
    "prune",
    "quantize",
    "quantize_in_training",
    "quantized_shape",
    "reshape",
    "split",
]


def prune(module: Any, config: PruneConfig, task: Task, train: Train) -> Any:
    """Prune a trained module and fine-tune what is left.

    Args:
        module: a `torch.nn.Module`, (batch, *task.input_shape) -> (batch, task.outputs); it stays
            as it is.
        config: what to prune; its method is one of `PRUNERS`.
        task: what the module is for.
        train: fine-tunes a module in place; not called where nothing is pruned.

    Returns:
        A new module.

    Raises:
        ValueError: for an unknown method.
        CandidateError: when this module cannot be pruned.
    """
    return PRUNERS.get(config.method)(module, config, task, train)


def reshape(module: Any, config: PruneConfig, task: Task) -> Any:
    """The module with the shapes that `prune` leaves, whatever its weights.

    This is how stored weights of a pruned network are loaded again: build, reshape, load.

    Returns:
        A new module.

    Raises:
        CandidateError: when this module cannot be pruned.
    """
    if config.method not in RESHAPERS.names():
        return copy.deepcopy(module)
    return RESHAPERS.get(config.method)(module, config, task)


def quantize_in_training(module: Any, config: QuantizeConfig, inputs: Any, train: Train) -> Any:
    """Quantize a module before it is packed, as far as the scheme does so, and train it on.

    Args:
        module: a trained, perhaps pruned `torch.nn.Module`; it stays as it is. Weights that are
            exactly zero stay zero.
        config: how to quantize; schemes that quantize the packed file leave the module alone.
        inputs: of the training split, normalized, (n, *input_shape).
        train: trains a module in place.

    Returns:
        A new module.

    Raises:
        CandidateError: when this module cannot be quantized.
    """
    if config.scheme not in TRAINED_QUANTIZERS.names():
        return module
    return TRAINED_QUANTIZERS.get(config.scheme)(module, config, inputs, train)


def quantized_shape(module: Any, config: QuantizeConfig) -> Any:
    """The module with the layers that `quantize_in_training` leaves, whatever its weights.

    Raises:
        CandidateError: when this module cannot be quantized.
    """
    if config.scheme not in QUANTIZED_SHAPES.names():
        return module
    return QUANTIZED_SHAPES.get(config.scheme)(module, config)


def quantize(onnx_path: Path, config: QuantizeConfig, calibration: Any, out_path: Path) -> Path:
    """Quantize a packaged network.

    Args:
        onnx_path: the float network.
        config: how to quantize; its scheme is one of `QUANTIZERS`.
        calibration: examples of the training data, as that scheme takes them.
        out_path: where to write.

    Returns:
        The path of the quantized network.

    Raises:
        ValueError: for an unknown scheme.
        CandidateError: when this network cannot be quantized.
    """
    quantized: Path = QUANTIZERS.get(config.scheme)(onnx_path, config, calibration, out_path)
    return quantized
