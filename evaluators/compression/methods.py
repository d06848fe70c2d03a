"""The registered ways to prune a trained network and to quantize a packaged one."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.registry import Registry
from nas.task import Task

if TYPE_CHECKING:
    from evaluators.compression.choices import PruneConfig, QuantizeConfig

PRUNERS = Registry(
    "pruning method",
    {
        "magnitude": "evaluators.compression.magnitude:prune",
        "none": "evaluators.compression.methods:prune_nothing",
        "structured": "evaluators.compression.structured:prune",
    },
    "hwnas.pruners",
)
RESHAPERS = Registry(
    "pruning method",
    {"structured": "evaluators.compression.structured:reshape"},
    "hwnas.reshapers",
)
"""``(module, config, task) -> module`` of those pruning methods that change shapes."""

QUANTIZERS = Registry(
    "quantization scheme",
    {
        "dynamic": "evaluators.compression.quantization:quantize",
        "none": "evaluators.compression.methods:quantize_nothing",
        "qat": "evaluators.compression.qat_file:quantize",
        "static": "evaluators.compression.quantization:quantize",
    },
    "hwnas.quantizers",
)

TRAINED_QUANTIZERS = Registry(
    "quantization scheme",
    {"qat": "evaluators.compression.qat:quantize"},
    "hwnas.trained_quantizers",
)
"""``(module, config, inputs, train) -> module`` of those schemes that go before packing."""
QUANTIZED_SHAPES = Registry(
    "quantization scheme",
    {"qat": "evaluators.compression.qat:shaped"},
    "hwnas.quantized_shapes",
)
"""``(module, config) -> module`` of the same, whatever the weights."""

Train = Callable[[Any], None]
"""Fine-tunes a `torch.nn.Module` in place."""


def prune_nothing(module: Any, config: PruneConfig, task: Task, train: Train) -> Any:
    """A copy of the module, not trained any further."""
    return copy.deepcopy(module)


def quantize_nothing(
    onnx_path: Path, config: QuantizeConfig, calibration: Any, out_path: Path
) -> Path:
    """A copy of the file."""
    return Path(shutil.copyfile(onnx_path, out_path))
