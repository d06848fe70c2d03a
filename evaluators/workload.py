"""The kernels that a runtime executes for a network, without running its weights.

`trace` runs a module on tensors without data and lowers what it saw as the runtime would;
`from_onnx` reads the same off a file, and `BlockCache` puts it together from the blocks of a
network, each traced once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from evaluators.workload_blocks import BlockCache, BlockCaches
from evaluators.workload_values import (
    ITEM_BYTES,
    LOWERINGS,
    QUANTIZED,
    Kernel,
    Paths,
    Workload,
    checked_lowering,
    converted,
    counted,
    with_dtype,
)
from nas.trials import Candidate, CandidateError

if TYPE_CHECKING:
    import torch

__all__ = [
    "ITEM_BYTES",
    "LOWERINGS",
    "QUANTIZED",
    "BlockCache",
    "BlockCaches",
    "Kernel",
    "Paths",
    "Workload",
    "converted",
    "counted",
    "from_onnx",
    "is_connected",
    "trace",
    "traces",
    "with_dtype",
    "workload_of",
]


def trace(
    module: torch.nn.Module, input_shape: Sequence[int], lowering: str = "onnxruntime"
) -> Workload:
    """The kernels that a runtime executes for a network in inference mode.

    Args:
        module: left as it is; its weights are neither read nor copied.
        input_shape: with batch, for example (1, 3, 32, 32); float32.
        lowering: one of `LOWERINGS`.

    Raises:
        CandidateError: the shapes do not fit together, or the control flow depends on data; with
            the submodule and the operation.
        ValueError: for an unknown lowering, or sizes below 1.
    """
    return traces(module, input_shape, (lowering,))[lowering]


def traces(
    module: torch.nn.Module, input_shape: Sequence[int], lowerings: Iterable[str]
) -> dict[str, Workload]:
    """The same as `trace` for several lowerings at once: the module is run only once.

    Args:
        module: see `trace`.
        input_shape: with batch.
        lowerings: which.

    Raises:
        CandidateError: see `trace`.
        ValueError: see `trace`.
    """
    from evaluators import workload_lowering  # here, because torch takes seconds
    from evaluators.workload_recorder import record

    wanted = [checked_lowering(lowering) for lowering in lowerings]
    if not input_shape or min(input_shape) < 1:
        raise ValueError(f"input_shape must be sizes of at least 1, but got {tuple(input_shape)}")
    recording = record(module, input_shape)
    params = sum(parameter.numel() for parameter in module.parameters())
    return {name: workload_lowering.workload_of(recording, params, name) for name in wanted}


def is_connected(module: torch.nn.Module, input_shape: Sequence[int]) -> bool:
    """Whether something but multiplications by 0 leads from the input of a network to its output.

    Args:
        module: see `trace`.
        input_shape: with batch.

    Raises:
        CandidateError: see `trace`.
    """
    from evaluators.workload_lowering import is_cut_off
    from evaluators.workload_recorder import record

    return not is_cut_off(record(module, input_shape))


def from_onnx(
    path_or_bytes: str | os.PathLike[str] | bytes, lowering: str = "onnxruntime", batch: int = 1
) -> Workload:
    """The kernels that a runtime executes for a network in an ONNX file.

    The file is taken as it is: with the normalization that `evaluators.packaging.package` puts in
    front, and without the batch norms and the repeated operations that the exporter has folded.
    For a packaged file and a lowering that folds batch norms too, the result equals the trace of
    `evaluators.packaging.Deployable` around the module. Operations between QuantizeLinear and
    DequantizeLinear are int8 kernels; conversions that remain are kernels of their own.

    Args:
        path_or_bytes: the file or its contents.
        lowering: one of `LOWERINGS`.
        batch: what a symbolic first axis of the input becomes.

    Returns:
        Its ``params`` are what the file's metadata say under ``params``. Without that they are the
        numbers of all weights in the file, where a folded batch norm has left a bias.

    Raises:
        CandidateError: the file is no ONNX, or has an operation whose shape cannot be told.
        ValueError: for an unknown lowering, or a batch below 1.
    """
    from evaluators import workload_lowering
    from evaluators.workload_onnx import read

    checked_lowering(lowering)
    if batch < 1:
        raise ValueError(f"batch must be at least 1, but got {batch}")
    recording, params = read(path_or_bytes, batch)
    return workload_lowering.workload_of(recording, params, lowering)


def workload_of(candidate: Candidate, lowering: str = "") -> Workload:
    """The workload that a candidate carries for a lowering.

    Args:
        candidate: whose ``workload`` is a mapping from lowering to `Workload`, or one of them.
        lowering: ``""`` for any of them.

    Raises:
        CandidateError: it carries none for this lowering.
    """
    carried = candidate.workload
    if isinstance(carried, Workload):
        carried = {carried.lowering: carried}
    known = carried or {}
    for name in [lowering] if lowering else known:
        if name in known:
            workload: Workload = known[name]
            return workload
    wanted = f" lowered for {lowering!r}" if lowering else ""
    raise CandidateError(f"the candidate carries no workload{wanted}")
