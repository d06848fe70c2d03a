"""PyTorch on the CPU, eager and compiled, from the ``.pt2`` beside an ONNX file."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from evaluators.runtimes.session import Model, Session, in_one_line, named, read

NOTE = "hwnas.json"
"""The extra file in a ``.pt2`` that says which ONNX file has the same weights."""

Forward = Callable[[torch.Tensor], torch.Tensor]


class TorchSession(Session):
    """PyTorch, one operator after the other.

    Args:
        model: see `evaluators.runtimes.load`; for an ONNX file, the ``.pt2`` beside it is loaded.
        threads: likewise.
        dtype: likewise; weights and inputs are converted once, outside of what is timed.
    """

    dtypes: ClassVar[tuple[str, ...]] = ("float32", "bfloat16")
    compiled: ClassVar[bool] = False

    def __init__(self, model: Model, threads: int, dtype: str = "float32") -> None:
        self.name, self._threads = self.version(), threads
        self.dtype: torch.dtype = getattr(torch, dtype)
        self._named = named(model)
        program = load_program(model)
        wanted = program.graph_signature.user_inputs
        found = [node for node in program.graph.nodes if node.name in wanted]
        value = found[0].meta["val"] if found else torch.zeros(0)
        shape = [size if isinstance(size, int) else str(size) for size in value.shape]
        outputs = len(program.graph_signature.user_outputs)
        self.take_signature(model, len(found), outputs, str(value.dtype), shape)
        self.input_name = str(found[0].name)
        module = plain_module(program)
        self._module: Any = module.to(device=self.device, dtype=self.dtype)
        self._forward: Any = compiled(self._module) if self.compiled else self._module.forward

    @property
    def device(self) -> str:
        """Where weights and inputs lie, in the words of torch."""
        return "cpu"

    @classmethod
    def version(cls) -> str:  # noqa: D102
        return f"{'torch-compile' if cls.compiled else 'torch'} {torch.__version__}"

    def run(self, inputs: npt.ArrayLike) -> npt.NDArray[Any]:  # noqa: D102
        with self.clear_errors():
            output = self._call(self.placed(inputs))()
            return np.array(output.float().cpu())

    def bind(self, inputs: npt.ArrayLike) -> Callable[[], object]:  # noqa: D102
        with self.clear_errors():
            call = self._call(self.placed(inputs))
            call()  # what is compiled at the first call, or fails there
            return call

    def close(self) -> None:  # noqa: D102
        self._module = self._forward = None

    def placed(self, inputs: npt.ArrayLike) -> torch.Tensor:
        """The inputs where the weights are, in their dtype.

        Raises:
            ValueError: see `run`.
        """
        if self._module is None:
            raise ValueError("this session is closed")
        tensor = torch.from_numpy(self.checked(inputs).copy())
        return tensor.to(device=self.device, dtype=self.dtype)

    @contextlib.contextmanager
    def clear_errors(self) -> Iterator[None]:
        """Turn what torch raises into one line."""
        try:
            with quiet():
                yield
        except (RuntimeError, NotImplementedError, TypeError) as error:
            why = in_one_line(error)
            raise ValueError(f"{self._named} does not run on {self.name}: {why}") from None

    def _call(self, placed: torch.Tensor) -> Callable[[], torch.Tensor]:
        forward, threads = self._forward, self._threads

        def call() -> torch.Tensor:
            before = torch.get_num_threads()
            if before == threads:
                return forward(placed)[0]  # type: ignore[no-any-return]
            torch.set_num_threads(threads)
            try:
                return forward(placed)[0]  # type: ignore[no-any-return]
            finally:
                torch.set_num_threads(before)

        return call


class CompiledTorchSession(TorchSession):
    """PyTorch with `torch.compile`, which needs a C++ compiler and half a minute a network.

    Args:
        model: see `evaluators.runtimes.load`.
        threads: likewise.
        dtype: likewise.
    """

    compiled: ClassVar[bool] = True


def load_program(model: Model) -> Any:
    """The `torch.export.ExportedProgram` in a ``.pt2``, or in the one beside an ONNX file.

    Raises:
        ValueError: when there is none, it cannot be read, or belongs to other weights.
    """
    content = model if isinstance(model, bytes) else b""
    onnx_hash = ""
    if not isinstance(model, bytes):
        path = Path(os.fspath(model))
        if path.suffix == ".onnx":
            onnx_hash = hashlib.sha256(read(path)).hexdigest()
            path = path.with_suffix(".pt2")
            if not path.exists():
                raise ValueError(f"torch needs {path.name} beside {model}, but it is not there")
        content, model = read(path), path
    note = {NOTE: ""}
    try:
        with quiet():
            program = torch.export.load(io.BytesIO(content), extra_files=note)
    except (RuntimeError, zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        raise ValueError(
            f"{named(model)} is no .pt2 that torch can load: {in_one_line(error)}"
        ) from None
    of = json.loads(note[NOTE] or "{}").get("onnx_sha256", onnx_hash)
    if onnx_hash and of != onnx_hash:
        raise ValueError(f"{named(model)} is not of the weights of the ONNX file beside it")
    return program


def plain_module(program: Any) -> Any:
    """The program as a module whose ``forward`` maps a tensor to a tuple of one.

    Without the checks and the packing of arguments that exporting adds to each call: together
    they take longer than a small network. No gradients are recorded, so that none need be
    switched off at each call.
    """
    module = program.module(check_guards=False)
    module.graph.set_codegen(torch.fx.graph.CodeGen())
    module.recompile()
    return module.requires_grad_(False)


def compiled(module: Any) -> Any:
    """What `torch.compile` makes of a module, for one batch size at a time."""
    with quiet():
        return torch.compile(module, dynamic=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without torch's warnings and logs: what goes wrong is raised as well."""
    logger = logging.getLogger("torch")
    children = [
        logging.getLogger(name) for name in ("torch.export", "torch._dynamo", "torch._inductor")
    ]
    levels = [(log, log.level) for log in (logger, *children)]
    for log, _ in levels:
        log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in levels:
            log.setLevel(level)
