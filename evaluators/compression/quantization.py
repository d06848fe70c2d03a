"""Post-training quantization to int8 by ONNX Runtime.

Static: QDQ with unsigned activations and signed weights, per channel, which is what ONNX Runtime
runs fast on x86; ranges are calibrated on training data (MinMax). Dynamic: weights of linear
layers only, since convolutions with dynamic ranges are several times slower than float.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from evaluators.compression.choices import QuantizeConfig
from evaluators.packaging import INPUT, PRODUCER, read_metadata, save, tidy, write_metadata
from evaluators.tasks.data import Floats
from nas.trials import CandidateError

LINEAR = ("MatMul", "Gemm")
_BATCH = 32


class _Examples:
    """Training examples as ONNX Runtime's calibrators read them."""

    def __init__(self, inputs: Floats) -> None:
        self._batches = iter(
            [{INPUT: inputs[i : i + _BATCH]} for i in range(0, len(inputs), _BATCH)]
        )

    def get_next(self) -> dict[str, Floats] | None:
        """The next batch, None at the end."""
        return next(self._batches, None)


_PRODUCTS = ("Conv", "Gemm", "MatMul")
_OF_TRANSFORMERS = ("LayerNormalization", "Softmax")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


def calibration_examples(inputs: Floats, count: int) -> Floats:
    """So many of the training inputs, evenly spread over them."""
    picked = np.linspace(0, len(inputs) - 1, min(count, len(inputs))).astype(int)
    return np.ascontiguousarray(inputs[picked])


def _normalization(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes that normalize the input: what reads it, and what reads that.

    They stay in float: quantized, they cost accuracy and two more conversions.
    """
    nodes, reached = [], {INPUT}
    for kind in ("Sub", "Mul"):
        found = [n for n in model.graph.node if n.op_type == kind and n.input[0] in reached]
        nodes += [node.name for node in found]
        reached = {output for node in found for output in node.output}
    return nodes


def _types(model: onnx.ModelProto) -> list[str] | None:
    """The types of operators to quantize; None for all that can be.

    In a transformer only products gain: the sums, softmaxes and transposes between them, which
    would save a convolutional network conversions, are slower and less accurate on integers.
    """
    is_transformer = any(node.op_type in _OF_TRANSFORMERS for node in model.graph.node)
    return list(_PRODUCTS) if is_transformer else None


def _static(source: Path, target: Path, examples: Floats) -> None:
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    model = onnx.load(source)
    quantize_static(
        str(source),
        str(target),
        _Examples(examples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        op_types_to_quantize=_types(model),
        nodes_to_exclude=_normalization(model),
    )


def _dynamic(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        str(source),
        str(target),
        op_types_to_quantize=list(LINEAR),
        weight_type=QuantType.QInt8,
        per_channel=True,
    )


def quantize(onnx_path: Path, config: QuantizeConfig, calibration: Any, out_path: Path) -> Path:
    """Quantize a float network.

    Args:
        onnx_path: the float network.
        config: with scheme ``static`` or ``dynamic``.
        calibration: raw training inputs, (n, *input_shape) float32; ``static`` takes
            ``calibration_samples`` of them.
        out_path: where to write.

    Returns:
        ``out_path``.

    Raises:
        CandidateError: when ONNX Runtime cannot quantize this network, or it has nothing to
            quantize.
    """
    metadata = read_metadata(onnx.load(onnx_path))
    with tempfile.TemporaryDirectory(dir=Path(out_path).parent) as folder:
        target = Path(folder) / "int8.onnx"
        try:
            with _quiet():
                if config.scheme == "static":
                    examples = calibration_examples(calibration, config.calibration_samples)
                    _static(Path(onnx_path), target, examples)
                else:
                    _dynamic(Path(onnx_path), target)
        except (RuntimeError, ValueError, KeyError, IndexError) as error:
            why = " ".join(str(error).split())[:200]
            raise CandidateError(f"cannot be quantized ({config.scheme}): {why}") from error
        model = onnx.load(target)
    if not any("QuantizeLinear" in node.op_type for node in model.graph.node):
        raise CandidateError(f"nothing to quantize ({config.scheme}): no layer of a kind it takes")
    tidy(model)
    model.producer_name = PRODUCER
    write_metadata(model, {**metadata, "dtype": "int8", "quantization": config.to_json()})
    save(model, out_path)
    return Path(out_path)
