"""How large the file of a network will be, before it is trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from evaluators.compression import QuantizeConfig
from evaluators.workload import Kernel, Workload, workload_of
from nas.trials import ESTIMATED, Candidate, Provenance, Readings

_LAYERS = frozenset({"conv", "depthwise", "grouped_conv", "transposed_conv", "linear"})
_TRANSFORMERS = frozenset({"layer_norm", "softmax"})
_NOT_IN_FILES = frozenset({"reorder", "quantize", "dequantize"})
"""What ONNX Runtime puts between the kernels of a file."""

_A_LAYER = 100.0
"""Bytes for each layer by which a size may be off besides the factor of its format."""

_SHARED = 1.05
"""Times more weights in layers than in the network, from which some are taken to be shared."""


class _Format(NamedTuple):
    """What a file holds beside weights and metadata, in bytes.

    Least squares over the files of 125 networks with random weights: of seven shipped spaces for
    images of 8, 16 and 32 pixels, and narrow ones of up to 31 equal layers.

    Attributes:
        file: for every file.
        layer: for each convolution.
        linear: for each linear layer.
        kernel: for each other kernel.
        function: for each function that is fused and costs something.
        factor: by which the size may be off.
    """

    file: float
    layer: float
    linear: float
    kernel: float
    function: float
    factor: float


_FORMATS = {
    "none": _Format(469, 199, 146, 79, 16, 1.02),
    "dynamic": _Format(546, 203, 374, 79, 17, 1.03),
    "static": _Format(657, 584, 514, 283, 195, 1.05),
}
_OF_TRANSFORMERS = {
    "none": _Format(469, 199, 146, 64, 16, 1.02),
    "dynamic": _Format(546, 203, 374, 0, 17, 1.06),
    "static": _Format(657, 584, 514, 0, 195, 1.15),
}
"""There ONNX Runtime quantizes the products only."""


class FileSize:
    """The evaluator ``file_size``: ``estimated_size_kb``, of the packed file.

    Nothing is said of quantization during training, whose layers have bits of their own.

    Args:
        input_shape: of one example.
    """

    stage, needs, provides = "screen", "", (f"{ESTIMATED}size_kb",)

    def __init__(self, input_shape: Sequence[int]) -> None:
        self._channels = input_shape[0]

    def evaluate(self, candidate: Candidate) -> Readings:
        """The metric ``estimated_size_kb``, kilobytes of 1,024 bytes.

        Weights are counted at the bytes that quantization leaves them, and what it adds to each
        channel (scale, zero point, integer bias); to this comes what nodes and metadata take. Where
        layers share weights the file may hold them once or several times: the error bar says so.

        Raises:
            CandidateError: the candidate carries no workload for ONNX Runtime.
        """
        scheme = QuantizeConfig.from_genotype(candidate.genotype).scheme
        if scheme not in _FORMATS:
            return Readings()
        workload = workload_of(candidate, "onnxruntime")
        kernels = [kernel for kernel in workload.kernels if kernel.op not in _NOT_IN_FILES]
        of_images = all(kernel.op not in _TRANSFORMERS for kernel in kernels)
        format_ = (_FORMATS if of_images else _OF_TRANSFORMERS)[scheme]
        size = format_.file + len(json.dumps(dict(candidate.genotype)))
        size += 8 * self._channels  # mean and scale of the inputs
        for kernel in kernels:
            held = _stored(kernel, scheme, of_images) + _nodes(kernel, format_)
            size += kernel.count * held
        layers = sum([kernel.count for kernel in kernels if _is_layer(kernel)])
        off = _A_LAYER * layers / 1024
        kilobytes = size / 1024
        known = Provenance(
            "modeled",
            method=f"weights and nodes of the file, {scheme}",
            low=max(0.0, kilobytes / format_.factor - off) / _repeated(workload),
            high=kilobytes * format_.factor + off,
        )
        return Readings({f"{ESTIMATED}size_kb": kilobytes}, known)


def _is_layer(kernel: Kernel) -> bool:
    return kernel.op in _LAYERS and kernel.weight_bytes > 0


def _nodes(kernel: Kernel, format_: _Format) -> float:
    nodes = format_.function if kernel.fused else 0.0
    if not _is_layer(kernel):
        return nodes + format_.kernel
    return nodes + (format_.linear if kernel.op == "linear" else format_.layer)


def _stored(kernel: Kernel, scheme: str, of_images: bool) -> float:
    """The bytes of its numbers, which ``weight_bytes`` counts in float32."""
    held = float(kernel.weight_bytes)
    if not _is_layer(kernel):
        return held / 4 if scheme == "static" and of_images else held
    channels = kernel.out_shape[-1 if kernel.op == "linear" else 1]
    if scheme == "static":
        return held / 4 + 16 * channels
    if scheme == "dynamic" and kernel.op == "linear":
        return held / 4 + 8 * channels  # its bias stays in float32
    return held


def _repeated(workload: Workload) -> float:
    """How often the weights of layers are there in the mean, where some are shared; else 1."""
    held = sum([k.count * k.weight_bytes / 4 for k in workload.kernels if _is_layer(k)])
    repeated = held / max(1, workload.params)
    return repeated if repeated > _SHARED else 1.0
