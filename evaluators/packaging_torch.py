"""The ``.pt2`` beside an ONNX file: the same weights for the runtimes of torch."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

from evaluators.packaging import Deployable, sha256_of
from evaluators.runtimes.session import in_one_line, read
from evaluators.runtimes.torch_session import NOTE, load_program, plain_module, quiet
from evaluators.tasks.data import TaskData
from nas.trials import Artifact, CandidateError

_MOST_EXAMPLES = 65536
_TOLERANCE = 1e-3
"""Of the largest output."""


def package_torch(
    module: nn.Module,
    data: TaskData,
    path: str | os.PathLike[str],
    onnx: str | os.PathLike[str] | None = None,
) -> Artifact:
    """Write the float network as an exported program: batch dynamic, normalization inside.

    Args:
        module: as for `evaluators.packaging.package`; stays as it is.
        data: of its task.
        path: where to; named as the ONNX file, but ``.pt2``, it is found by the runtimes of torch.
        onnx: the ONNX file of the same weights; its hash goes into this one, so that they are
            known to belong together.

    Returns:
        The file with its hash.

    Raises:
        CandidateError: for a module that cannot be exported, or whose file answers differently.
    """
    deployable = Deployable(copy.deepcopy(module), data.preprocessing).cpu().eval()
    deployable.requires_grad_(False)
    # A view would be saved with all that it is a view of.
    example = torch.tensor(np.array(data.train.inputs[:2]))
    if len(example) < 2:
        example = example.repeat(2, *[1] * (example.dim() - 1))  # one example freezes the batch
    batch = torch.export.Dim("batch", min=1, max=_MOST_EXAMPLES)
    buffer = io.BytesIO()
    note = {} if onnx is None else {"onnx_sha256": hashlib.sha256(read(onnx)).hexdigest()}
    try:
        with quiet():
            program = torch.export.export(deployable, (example,), dynamic_shapes=({0: batch},))
            torch.export.save(program, buffer, extra_files={NOTE: json.dumps(note)})
    except Exception as error:  # those of the exporter have no class in common
        raise CandidateError(f"cannot be exported to .pt2: {in_one_line(error, 200)}") from error
    _check_answers(deployable, buffer.getvalue(), torch.tensor(np.array(data.train.inputs[:3])))
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_bytes(buffer.getvalue())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return Artifact(os.fspath(path), sha256_of(path), "float32")


def _check_answers(deployable: nn.Module, content: bytes, inputs: torch.Tensor) -> None:
    """Compare the file with the module, at another batch than the one that was exported."""
    expected = deployable(inputs)
    found = plain_module(load_program(content)).forward(inputs)[0]
    tolerance = _TOLERANCE * max(1.0, float(expected.abs().max()))
    if not torch.allclose(found, expected, rtol=0, atol=tolerance):
        raise CandidateError("the exported program does not answer as the module does")
