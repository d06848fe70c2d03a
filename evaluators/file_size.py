"""How large the file of a network will be, before it is trained."""

from __future__ import annotations

from typing import NamedTuple

from evaluators.compression import QuantizeConfig
from evaluators.workload import Kernel, workload_of
from nas.trials import ESTIMATED, Candidate, Provenance, Readings

_LAYERS = frozenset({"conv", "depthwise", "grouped_conv", "transposed_conv", "linear"})
_TRANSFORMERS = frozenset({"layer_norm", "softmax"})


class _Format(NamedTuple):
    """What a file holds beside its float32 numbers, in bytes.

    The numbers are least squares over files of 98 random networks of all shipped spaces with
    random weights; of others of these spaces they are off by what ``factor`` says at most.
    `tests/evaluators/test_file_size.py` holds them against newly packed files.

    Attributes:
        file: for every file.
        layer: for each layer with weights.
        linear: for each linear layer besides.
        kernel: for each other kernel; of a transformer.
        function: for each function that is fused and costs something.
        factor: by which the size may be off.
        kernel_of_images: for each other kernel of a network without attention.
    """

    file: float
    layer: float
    linear: float
    kernel: float
    function: float
    factor: float
    kernel_of_images: float


_FORMATS = {
    "none": _Format(310, 247, 0, 34, 0, 1.02, 34),
    "dynamic": _Format(657, 249, 103, 21, 0, 1.03, 21),
    "static": _Format(702, 557, 0, 84, 219, 1.15, 229),
}


class FileSize:
    """The evaluator ``file_size``: ``estimated_size_kb``, of the packed file.

    Nothing is said of quantization during training, whose layers have bits of their own.
    """

    stage, needs, provides = "screen", "", (f"{ESTIMATED}size_kb",)

    def evaluate(self, candidate: Candidate) -> Readings:
        """The metric ``estimated_size_kb``, kilobytes of 1,024 bytes.

        Weights are counted at the bytes that quantization leaves them, and what it adds to each
        channel (scale, zero point, integer bias); to this comes what nodes take.

        Raises:
            CandidateError: the candidate carries no workload for ONNX Runtime.
        """
        scheme = QuantizeConfig.from_genotype(candidate.genotype).scheme
        if scheme not in _FORMATS:
            return Readings()
        written, kernels = _FORMATS[scheme], workload_of(candidate, "onnxruntime").kernels
        of_images = all(kernel.op not in _TRANSFORMERS for kernel in kernels)
        other = written.kernel_of_images if of_images else written.kernel
        size = written.file
        for kernel in kernels:
            held, nodes = float(kernel.weight_bytes), other
            if kernel.op in _LAYERS and kernel.weight_bytes:
                held, nodes = _weights(kernel, scheme), written.layer
                nodes += written.linear if kernel.op == "linear" else 0.0
            size += kernel.count * (held + nodes + (written.function if kernel.fused else 0.0))
        kilobytes = size / 1024
        known = Provenance(
            "modeled",
            method=f"weights and nodes of the file, {scheme}",
            low=kilobytes / written.factor,
            high=kilobytes * written.factor,
        )
        return Readings({f"{ESTIMATED}size_kb": kilobytes}, known)


def _weights(layer: Kernel, scheme: str) -> float:
    """The bytes of the numbers of a layer, counted in float32 as ``weight_bytes``."""
    channels = layer.out_shape[-1 if layer.op == "linear" else 1]
    if scheme == "static":
        return layer.weight_bytes / 4 + 15 * channels
    if scheme == "dynamic" and layer.op == "linear":
        return layer.weight_bytes / 4 + 8 * channels  # its bias stays in float32
    return float(layer.weight_bytes)
