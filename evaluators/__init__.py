"""What a candidate is worth, and the steps to find out.

An evaluator declares its stage, the metrics that it gives and the device that it needs, and turns
a candidate into readings; see `nas.protocols.Evaluator`.
"""

from __future__ import annotations

from typing import Any

from nas.protocols import Evaluator
from nas.registry import Registry

_REGISTRY = Registry(
    "evaluator",
    {
        "accuracy": "evaluators.scoring:Accuracy",
        "complexity": "evaluators.complexity:Complexity",
        "file_size": "evaluators.file_size:FileSize",
        "fpga_dataflow": "evaluators.dataflow.evaluator:FpgaDataflow",
        "fpga_rtl": "evaluators.rtl.latency:FpgaRtl",
        "measured_latency": "evaluators.measured:MeasuredLatency",
        "modeled_latency": "evaluators.modeled:ModeledLatency",
        "proxies": "evaluators.proxies:ZeroCostProxies",
        "robustness": "evaluators.scoring:Robustness",
        "size": "evaluators.scoring:Size",
        "tpu_analytic": "evaluators.modeled:ModeledLatency",
        "tpu_xla": "evaluators.tpu.evaluator:TpuXla",
    },
    "hwnas.evaluators",
)


def names() -> list[str]:
    """All known evaluators."""
    return _REGISTRY.names()


def create(name: str, **options: Any) -> Evaluator:
    """Make an evaluator by its name.

    Args:
        name: one of `names`.
        options: of that evaluator, for example ``data`` or ``device``.

    Raises:
        ValueError: for an unknown name, or options that are missing, unknown or wrong.
    """
    evaluator: Evaluator = _REGISTRY.create(name, **options)
    return evaluator
