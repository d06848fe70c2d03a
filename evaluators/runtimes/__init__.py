"""The one seam through which artifacts are run: load a file, get a session.

On a CPU: ``onnxruntime``, ``openvino`` (an extra), ``torch`` (eager) and ``torch-compile``. On a
CUDA GPU: ``torch-cuda`` (eager), ``torch-cuda-graph`` (the same kernels, launched together),
``torch-cuda-compile`` (compiled, launched together), and ``onnxruntime-cuda`` and
``onnxruntime-tensorrt`` where onnxruntime comes with them. Those of torch run the ``.pt2`` beside
the ONNX file, see `evaluators.packaging_torch`.
"""

from __future__ import annotations

from evaluators.runtimes.session import FloatArray, Model, Session
from nas.registry import Registry

__all__ = [
    "FloatArray",
    "Model",
    "Session",
    "accelerator",
    "check",
    "dtypes",
    "load",
    "names",
    "version",
]

_RUNTIMES = Registry(
    "runtime",
    {
        "onnxruntime": "evaluators.runtimes.onnx_session:OnnxRuntimeSession",
        "onnxruntime-cuda": "evaluators.runtimes.onnx_session:OnnxRuntimeCudaSession",
        "onnxruntime-tensorrt": "evaluators.runtimes.onnx_session:OnnxRuntimeTensorRtSession",
        "openvino": "evaluators.runtimes.openvino_session:OpenVinoSession",
        "torch": "evaluators.runtimes.torch_session:TorchSession",
        "torch-compile": "evaluators.runtimes.torch_session:CompiledTorchSession",
        "torch-cuda": "evaluators.runtimes.cuda_session:CudaSession",
        "torch-cuda-compile": "evaluators.runtimes.cuda_session:CompiledCudaSession",
        "torch-cuda-graph": "evaluators.runtimes.cuda_session:CudaGraphSession",
    },
    "hwnas.runtimes",
)


def names() -> list[str]:
    """All known runtimes."""
    return _RUNTIMES.names()


def version(runtime: str = "onnxruntime") -> str:
    """A runtime's name and version as in `Session.name`, for example ``onnxruntime 1.32.0``.

    Raises:
        ValueError: for an unknown runtime, and one that is not installed.
    """
    return str(_RUNTIMES.get(runtime).version())


def accelerator(runtime: str) -> str:
    """The kind of device that a runtime computes on: ``cpu`` or ``gpu``.

    Raises:
        ValueError: for an unknown runtime.
    """
    return str(_RUNTIMES.get(runtime).accelerator)


def dtypes(runtime: str) -> tuple[str, ...]:
    """What a runtime computes in where the file says float32.

    Raises:
        ValueError: for an unknown runtime.
    """
    return tuple(_RUNTIMES.get(runtime).dtypes)


def check(runtime: str, threads: int = 1, dtype: str = "") -> None:
    """Check what `load` is asked for, without loading anything.

    Raises:
        ValueError: for an unknown runtime, one that is not installed, and a dtype that it does not
            compute in.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads must be an integer of at least 1, but got {threads!r}")
    known = dtypes(runtime)
    if dtype and dtype not in known:
        raise ValueError(f"{runtime} computes in {' or '.join(known)}, but got dtype {dtype!r}")
    version(runtime)


def load(model: Model, runtime: str = "onnxruntime", threads: int = 1, dtype: str = "") -> Session:
    """Load a model: one float32 input with the batch first, one output.

    Args:
        model: the path of a file, or its bytes.
        runtime: one of `names`.
        threads: that one call may use, at least 1.
        dtype: to compute in where the file says float32, for example ``bfloat16``; ``""`` is
            float32. What is int8 in the file stays int8.

    Raises:
        ValueError: for an unknown runtime, one that is not installed or does not compute in that
            dtype, a file that cannot be read or is corrupt, an operator that the runtime lacks,
            and a model with other inputs or outputs; one line.
    """
    check(runtime, threads, dtype)
    session: Session = _RUNTIMES.get(runtime)(model, threads, dtype or "float32")
    return session
