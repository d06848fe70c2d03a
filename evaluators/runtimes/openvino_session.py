"""OpenVINO on the CPU; it reads the same ONNX file."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from evaluators.runtimes.session import Counts, Model, Session, in_one_line, named, read

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


class OpenVinoSession(Session):
    """OpenVINO, compiled for the batch that it is called with.

    The precision is always stated: left alone, OpenVINO may take bfloat16 for float32 files.

    Args:
        model: see `evaluators.runtimes.load`.
        threads: likewise.
        dtype: likewise.
    """

    dtypes: ClassVar[tuple[str, ...]] = tuple(_HINTS)
    one_thread: ClassVar[Counts] = "process"  # its threads are its own

    def __init__(self, model: Model, threads: int, dtype: str = "float32") -> None:
        self._openvino = _openvino()
        self.name = self.version()
        self._model, self._dtype = model, dtype
        self._config = {
            "INFERENCE_PRECISION_HINT": _HINTS[dtype],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # a pinned thread cannot get out of a neighbour's way
        }
        self._core: Any = self._openvino.Core()
        read_model = self._read()
        inputs, outputs = read_model.inputs, read_model.outputs
        kind, shape = "nothing", []
        if inputs:
            kind = inputs[0].element_type.to_string()
            dimensions = inputs[0].partial_shape
            shape = [d.get_length() if d.is_static else str(d) for d in dimensions]
            self.input_name = inputs[0].any_name
        kind = {"f32": "float32"}.get(kind, kind)
        self.take_signature(model, len(inputs), len(outputs), kind, shape)
        self._requests: dict[int, Any] = {}
        self._request(self.fixed_batch or 1)  # what it cannot compile shows now

    @classmethod
    def version(cls) -> str:  # noqa: D102
        return f"openvino {_openvino().__version__.partition('-')[0]}"

    def run(self, inputs: npt.ArrayLike) -> npt.NDArray[Any]:  # noqa: D102
        array = self.checked(inputs)
        request = self._request(len(array))
        request.infer([array])
        return np.array(request.get_output_tensor(0).data)

    def bind(self, inputs: npt.ArrayLike) -> Callable[[], object]:  # noqa: D102
        array = self.checked(inputs)
        request = self._request(len(array))
        request.set_input_tensor(self._openvino.Tensor(array.copy()))
        return functools.partial(request.infer, share_outputs=True)

    def close(self) -> None:  # noqa: D102
        self._requests.clear()
        self._core = None

    def _read(self) -> Any:
        content = self._model if isinstance(self._model, bytes) else read(self._model)
        try:
            return self._core.read_model(content)
        except RuntimeError as error:
            raise self._unusable(error) from None

    def _request(self, batch: int) -> Any:
        """What runs a batch of this size; each size is compiled once."""
        if self._core is None:
            raise ValueError("this session is closed")
        if batch not in self._requests:
            model = self._read()
            try:
                model.reshape([batch, *self.input_shape])
                compiled = self._core.compile_model(model, "CPU", self._config)
            except RuntimeError as error:
                raise self._unusable(error) from None
            taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
            if taken != _HINTS[self._dtype]:
                raise ValueError(f"openvino computes in {taken} here, not in {self._dtype}")
            self._requests[batch] = compiled.create_infer_request()
        return self._requests[batch]

    def _unusable(self, error: RuntimeError) -> ValueError:
        said = re.sub(r"Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:", "", str(error))
        reason = in_one_line(RuntimeError(said))
        return ValueError(f"{named(self._model)} is no model that openvino can run: {reason}")


def _openvino() -> Any:
    """The library, imported without its telemetry: that would report the import over the network.

    Raises:
        ValueError: when it is not installed.
    """
    missing = "openvino_telemetry" not in sys.modules
    if missing:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError:
        raise ValueError("openvino is not installed: pip install 'hwnas[openvino]'") from None
    finally:
        if missing:
            del sys.modules["openvino_telemetry"]
    return openvino
