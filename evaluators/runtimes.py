"""The one seam through which artifacts are run: load a file, get a session."""

from __future__ import annotations

import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from nas.registry import Registry

FloatArray = npt.NDArray[np.float32]
Model = str | os.PathLike[str] | bytes
"""A path to a model file, or its bytes."""

_RUNTIMES = Registry(
    "runtime", {"onnxruntime": "evaluators.runtimes:OnnxRuntimeSession"}, "hwnas.runtimes"
)


def names() -> list[str]:
    """All known runtimes."""
    return _RUNTIMES.names()


def version(runtime: str = "onnxruntime") -> str:
    """A runtime's name and version as in `Session.name`, for example ``onnxruntime 1.32.0``.

    Raises:
        ValueError: for an unknown runtime.
    """
    return str(_RUNTIMES.get(runtime).version())


def load(model: Model, runtime: str = "onnxruntime", threads: int = 1) -> Session:
    """Load a model: one float32 input with the batch first, one output.

    Args:
        model: the path of a file, or its bytes.
        runtime: one of `names`.
        threads: that one call may use, at least 1.

    Raises:
        ValueError: for an unknown runtime, a file that cannot be read or is corrupt, and a model
            with other inputs or outputs; one line.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads must be an integer of at least 1, but got {threads!r}")
    session: Session = _RUNTIMES.get(runtime)(model, threads)
    return session


class Session(ABC):
    """A loaded model, ready to run; a context manager that closes it."""

    name: str
    """Of the runtime with its version, for example ``onnxruntime 1.32.0``."""
    input_name: str
    input_shape: tuple[int, ...]
    """Of one example, without the batch."""
    fixed_batch: int | None
    """The only batch that the file takes; None where any will do."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """The name and version of the runtime."""

    @abstractmethod
    def run(self, inputs: npt.ArrayLike) -> npt.NDArray[Any]:
        """The output for a float32 array (batch, *input_shape).

        Raises:
            ValueError: for inputs of another shape or type, and for a session that is closed.
        """

    @abstractmethod
    def bind(self, inputs: npt.ArrayLike) -> Callable[[], object]:
        """A call that runs the model on these inputs with as little overhead as can be, for timing.

        Raises:
            ValueError: as `run`.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the model; closing twice does no harm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def checked(self, inputs: npt.ArrayLike) -> FloatArray:
        """The inputs as a contiguous array that the model can take.

        Raises:
            ValueError: naming what does not fit.
        """
        array = np.asarray(inputs)
        if array.dtype != np.float32:
            raise ValueError(f"inputs must be float32, but got {array.dtype}")
        if array.ndim == 0 or array.shape[1:] != self.input_shape:
            expected = ", ".join(str(size) for size in ("batch", *self.input_shape))
            raise ValueError(f"inputs must be of shape ({expected}), but got {array.shape}")
        if self.fixed_batch not in (None, len(array)):
            raise ValueError(f"the model takes batch {self.fixed_batch}, but got {len(array)}")
        return np.ascontiguousarray(array)


class OnnxRuntimeSession(Session):
    """ONNX Runtime on the CPU.

    Operators run one after the other. With one thread no pool is made and nothing spins, so that
    the calling thread's CPU clock sees all the work.

    Args:
        model: see `load`.
        threads: see `load`.
    """

    def __init__(self, model: Model, threads: int) -> None:
        import onnxruntime

        self.name = self.version()
        self._onnxruntime = onnxruntime
        self._session: Any = _open(onnxruntime, model, _options(onnxruntime, threads))
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(
                f"{_named(model)} must have one input and one output, "
                f"but got {len(inputs)} and {len(outputs)}"
            )
        shape = inputs[0].shape
        fixed = all(isinstance(size, int) for size in shape[1:])
        if inputs[0].type != "tensor(float)" or not shape or not fixed:
            raise ValueError(
                f"{_named(model)} must take float32 of a fixed shape behind the batch, "
                f"but takes {inputs[0].type} of shape {shape}"
            )
        self.input_name = inputs[0].name
        self.input_shape = tuple(shape[1:])
        self.fixed_batch = shape[0] if isinstance(shape[0], int) else None
        self._outputs = [outputs[0].name]

    @classmethod
    def version(cls) -> str:  # noqa: D102
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"

    def run(self, inputs: npt.ArrayLike) -> npt.NDArray[Any]:  # noqa: D102
        output = self._open_session().run(self._outputs, {self.input_name: self.checked(inputs)})[0]
        return np.asarray(output)

    def bind(self, inputs: npt.ArrayLike) -> Callable[[], object]:  # noqa: D102
        session = self._open_session()
        value = self._onnxruntime.OrtValue.ortvalue_from_numpy(self.checked(inputs))
        binding = session.io_binding()
        binding.bind_ortvalue_input(self.input_name, value)
        binding.bind_output(self._outputs[0])
        return functools.partial(session.run_with_iobinding, binding)

    def close(self) -> None:  # noqa: D102
        self._session = None

    def _open_session(self) -> Any:
        if self._session is None:
            raise ValueError("this session is closed")
        return self._session


def _options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # what goes wrong is raised as well
    if threads == 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open(onnxruntime: Any, model: Model, options: Any) -> Any:
    state = onnxruntime.capi.onnxruntime_pybind11_state
    errors = (
        *(state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf),
        *(state.NoModel, state.NoSuchFile, state.NotImplemented, state.RuntimeException),
    )
    try:
        # Read here, so that a missing file is told from a corrupt one.
        content = model if isinstance(model, bytes) else _read(model)
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except errors as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{_named(model)} is no model that can be run: {reason}") from None


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ValueError(f"cannot read the model {os.fspath(path)}: {error.strerror}") from None


def _named(model: Model) -> str:
    return "the model" if isinstance(model, bytes) else f"the model {os.fspath(model)}"
