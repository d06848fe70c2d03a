"""ONNX Runtime, on the CPU and, where it was built for that, on a GPU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from evaluators.runtimes.session import Counts, Model, Session, in_one_line, named, read


class OnnxRuntimeSession(Session):
    """ONNX Runtime on the CPU.

    Operators run one after the other. With one thread no pool is made and nothing spins, so that
    the calling thread's CPU clock sees all the work.

    Args:
        model: see `evaluators.runtimes.load`.
        threads: likewise.
        dtype: likewise.
    """

    provider: ClassVar[str] = "CPUExecutionProvider"
    memory: ClassVar[str] = "cpu"

    def __init__(self, model: Model, threads: int, dtype: str = "float32") -> None:
        import onnxruntime

        self.name = self.version()
        self._onnxruntime = onnxruntime
        self._session: Any = _open(
            onnxruntime, model, _options(onnxruntime, threads), self.provider
        )
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        kind, shape = (inputs[0].type, inputs[0].shape) if inputs else ("nothing", [])
        self.take_signature(model, len(inputs), len(outputs), kind, shape)
        self.input_name = inputs[0].name
        self._outputs = [outputs[0].name]

    @classmethod
    def version(cls) -> str:  # noqa: D102
        import onnxruntime

        if cls.provider not in onnxruntime.get_available_providers():
            raise ValueError(
                f"onnxruntime {onnxruntime.__version__} has no {cls.provider}: "
                "pip install onnxruntime-gpu"
            )
        return f"onnxruntime {onnxruntime.__version__}"

    def run(self, inputs: npt.ArrayLike) -> npt.NDArray[Any]:  # noqa: D102
        output = self._open_session().run(self._outputs, {self.input_name: self.checked(inputs)})[0]
        return np.asarray(output)

    def bind(self, inputs: npt.ArrayLike) -> Callable[[], object]:  # noqa: D102
        session = self._open_session()
        place = self._onnxruntime.OrtValue.ortvalue_from_numpy
        value = place(self.checked(inputs), self.memory, 0)
        binding = session.io_binding()
        binding.bind_ortvalue_input(self.input_name, value)
        binding.bind_output(self._outputs[0], self.memory)
        return functools.partial(session.run_with_iobinding, binding)

    def close(self) -> None:  # noqa: D102
        self._session = None

    def _open_session(self) -> Any:
        if self._session is None:
            raise ValueError("this session is closed")
        return self._session


class OnnxRuntimeCudaSession(OnnxRuntimeSession):
    """ONNX Runtime with its CUDA kernels; inputs and outputs stay on the GPU when it is timed.

    Its kernels run in a stream of their own, at whose end each call waits: time on the wall.

    Args:
        model: see `evaluators.runtimes.load`.
        threads: likewise.
        dtype: likewise.
    """

    accelerator: ClassVar[str] = "gpu"
    one_thread: ClassVar[Counts] = "wall"
    provider: ClassVar[str] = "CUDAExecutionProvider"
    memory: ClassVar[str] = "cuda"


class OnnxRuntimeTensorRtSession(OnnxRuntimeCudaSession):
    """ONNX Runtime with TensorRT.

    Args:
        model: see `evaluators.runtimes.load`.
        threads: likewise.
        dtype: likewise.
    """

    provider: ClassVar[str] = "TensorrtExecutionProvider"


def _options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # what goes wrong is raised as well
    if threads == 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open(onnxruntime: Any, model: Model, options: Any, provider: str) -> Any:
    state = onnxruntime.capi.onnxruntime_pybind11_state
    errors = (
        *(state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf),
        *(state.NoModel, state.NoSuchFile, state.NotImplemented, state.RuntimeException),
    )
    try:
        # Read here, so that a missing file is told from a corrupt one.
        content = model if isinstance(model, bytes) else read(model)
        session = onnxruntime.InferenceSession(content, options, providers=[provider])
    except errors as error:
        reason = in_one_line(error)
        raise ValueError(f"{named(model)} is no model that can be run: {reason}") from None
    if provider not in session.get_providers():
        raise ValueError(f"onnxruntime cannot use its {provider} here: is its library complete?")
    return session
