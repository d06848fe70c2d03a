"""What every runtime offers: a loaded model that runs, and a call of it that can be timed."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Model = str | os.PathLike[str] | bytes
"""A path to a model file, or its bytes."""

Counts = Literal["thread", "process", "wall", "gpu"]
"""The clock that sees the work of a call: CPU time of the calling thread, CPU time of all threads
of the process, time on the wall, or that of the events of a GPU."""


class Session(ABC):
    """A loaded model, ready to run; a context manager that closes it.

    Subclasses are made by ``cls(model, threads, dtype)``.
    """

    accelerator: ClassVar[str] = "cpu"
    """The kind of device that computes: ``cpu`` or ``gpu``."""
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    """What it can compute in where the file says float32."""
    one_thread: ClassVar[Counts] = "thread"
    """The clock that sees the work of a call with one thread."""

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
        """The name and version of the runtime.

        Raises:
            ValueError: when it is not installed.
        """

    @abstractmethod
    def run(self, inputs: npt.ArrayLike) -> npt.NDArray[Any]:
        """The output for a float32 array (batch, *input_shape).

        Raises:
            ValueError: for inputs of another shape or type, for a session that is closed, and
                where memory or an operator is missing.
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

    def take_signature(
        self,
        model: Model,
        inputs: int,
        outputs: int,
        dtype: str,
        shape: Sequence[object],
    ) -> None:
        """Set input shape and fixed batch from what the file says of itself.

        Args:
            model: as it was given, for messages.
            inputs: how many there are.
            outputs: how many there are.
            dtype: of the input, in the words of the runtime.
            shape: of the input; a size that is no integer is free.

        Raises:
            ValueError: when that is no float32 input with the batch first, and one output.
        """
        if inputs != 1 or outputs != 1:
            raise ValueError(
                f"{named(model)} must have one input and one output, but got {inputs} and {outputs}"
            )
        sizes = [size for size in shape[1:] if isinstance(size, int)]
        if "float" not in dtype or "16" in dtype or len(sizes) != len(shape) - 1:
            raise ValueError(
                f"{named(model)} must take float32 of a fixed shape behind the batch, "
                f"but takes {dtype} of shape {list(shape)}"
            )
        self.input_shape = tuple(sizes)
        self.fixed_batch = shape[0] if isinstance(shape[0], int) else None


def read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a model file.

    Raises:
        ValueError: when there are none.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ValueError(f"cannot read the model {os.fspath(path)}: {error.strerror}") from None


def named(model: Model) -> str:
    """A model in the words of an error message."""
    return "the model" if isinstance(model, bytes) else f"the model {os.fspath(model)}"


def in_one_line(error: BaseException, length: int = 300) -> str:
    """What an error says, on one line that people can read."""
    return " ".join(str(error).split())[:length]
