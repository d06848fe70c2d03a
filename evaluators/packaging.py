"""From a trained module to the file that would ship: ONNX with the normalization inside."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from evaluators import runtimes
from evaluators.packaging_shapes import with_constant_shapes
from evaluators.tasks.data import Floats, Preprocessing, TaskData
from nas.trials import Artifact, CandidateError

INPUT, OUTPUT, BATCH = "input", "logits", "batch"
OPSET = 17
"""Of ONNX: read by every runtime of the last years; nothing newer is needed by these networks."""
PRODUCER = "hwnas"

_TOLERANCE = 1e-3
"""Of the largest output; float32 in another order of operations stays well below."""


class Deployable(nn.Module):
    """A network behind its normalization: raw inputs (batch, *input_shape) -> logits.

    Args:
        network: takes normalized inputs.
        preprocessing: of the task.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        mean, scale = preprocessing.shaped(2)
        self.register_buffer("mean", torch.from_numpy(mean.copy()), persistent=False)
        self.register_buffer("scale", torch.from_numpy(scale.copy()), persistent=False)
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (batch, outputs) of raw inputs (batch, *input_shape)."""
        shape = (1, -1) + (1,) * (inputs.dim() - 2)
        normalized = (inputs - self.mean.reshape(shape)) * self.scale.reshape(shape)
        logits: Tensor = self.network(normalized)
        return logits


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's advice to use its slower successor."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Without torch's fast path of transformer layers, which ONNX has no counterpart of."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def write_metadata(model: onnx.ModelProto, metadata: Mapping[str, Any]) -> None:
    """Set ``metadata_props``: texts as they are, everything else as JSON; sorted by key."""
    del model.metadata_props[:]
    for key in sorted(metadata):
        value = metadata[key]
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        model.metadata_props.add(key=key, value=text)


def read_metadata(model: onnx.ModelProto) -> dict[str, str]:
    """The ``metadata_props`` of a model."""
    return {entry.key: entry.value for entry in model.metadata_props}


def save(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Check a model and write it in one step; the same model gives the same bytes.

    Raises:
        CandidateError: when it is no legal ONNX model.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise CandidateError(f"no legal ONNX model: {' '.join(str(error).split())}") from error
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_bytes(model.SerializeToString(deterministic=True))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def tidy(model: onnx.ModelProto) -> None:
    """Shorten all names but those of input and output, and drop what no runtime needs.

    Names that spell out the path of each module, a few for each quantized tensor, were 40 % of the
    bytes of small int8 networks.
    """
    graph = model.graph
    del graph.value_info[:]
    model.doc_string = graph.doc_string = ""
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return  # a graph within may use any name
    short = {value.name: value.name for value in (*graph.input, *graph.output)}
    short[""] = ""  # an optional input that is not there

    def renamed(names: Iterable[str]) -> list[str]:
        return [short.setdefault(name, f"t{len(short)}") for name in names]

    for index, node in enumerate(graph.node):
        node.name, node.doc_string = f"{node.op_type}_{index}", ""
        node.input[:], node.output[:] = renamed(node.input), renamed(node.output)
    for tensor in graph.initializer:
        tensor.name, tensor.doc_string = renamed([tensor.name])[0], ""


def package(
    module: nn.Module,
    data: TaskData,
    path: str | os.PathLike[str],
    metadata: Mapping[str, Any] | None = None,
) -> Artifact:
    """Write the float network as ONNX: batch norm folded, normalization inside, any batch.

    All sizes but the batch are constants of the file.

    Args:
        module: trained, normalized (batch, *input_shape) -> logits (batch, outputs); stays as it
            is.
        data: of its task.
        path: where to.
        metadata: goes into the file beside what the task is, for example the genotype.

    Returns:
        The file with its hash.

    Raises:
        CandidateError: for a module that cannot be exported, whose file answers differently, or
            that answers to one example by what the others of the batch are.
    """
    task = data.task
    deployable = Deployable(copy.deepcopy(module), data.preprocessing).cpu().eval()
    model = with_constant_shapes(_exported(deployable, task.input_shape))
    tidy(model)
    model.producer_name = PRODUCER
    described = {
        "name": task.name,
        "input_shape": list(task.input_shape),
        "outputs": task.outputs,
        "data_hash": task.data_hash,
    }
    params = sum(parameter.numel() for parameter in module.parameters())
    known = {"task": described, "dtype": "float32", "params": params}
    write_metadata(model, {**known, **(metadata or {})})
    save(model, path)
    _check_answers(deployable, path, data.train.inputs[:3])
    return Artifact(os.fspath(path), sha256_of(path), "float32")


def _exported(deployable: Deployable, input_shape: tuple[int, ...]) -> onnx.ModelProto:
    # The exporter that follows this one takes ten times as long.
    buffer: Any = io.BytesIO()
    try:
        with _quiet(), _plain_attention(), torch.no_grad():
            torch.onnx.export(
                deployable,
                (torch.zeros(2, *input_shape),),
                buffer,
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: BATCH}, OUTPUT: {0: BATCH}},
            )
    except (RuntimeError, TypeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        why = " ".join(str(error).split())[:200]
        raise CandidateError(f"cannot be exported to ONNX: {why}") from error
    return onnx.load_from_string(buffer.getvalue())


def _check_answers(deployable: Deployable, path: str | os.PathLike[str], inputs: Floats) -> None:
    """Compare the file with the module at another batch than the one that was exported.

    Tracing bakes in what a module decides by looking at its input; this is where it shows. Each
    example alone must get the same answer as among the others.
    """
    with torch.no_grad():
        expected = deployable(torch.tensor(inputs)).numpy()
    try:
        with runtimes.load(os.fspath(path)) as session:
            found = session.run(inputs)
            alone = np.stack([session.run(example[None]) for example in inputs])
    except Exception as error:  # those of ONNX Runtime have no class in common
        why = " ".join(str(error).split())[:200]
        raise CandidateError(f"the exported network does not run: {why}") from error
    tolerance = _TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=tolerance):
        raise CandidateError("the exported network does not answer as the module does")
    if alone.shape != found[:, None].shape or not np.allclose(
        alone, found[:, None], rtol=0, atol=tolerance
    ):
        raise CandidateError("the outputs depend on the other examples of the batch")
