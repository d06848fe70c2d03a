"""PyTorch on a CUDA GPU: eager, replayed as one graph, and compiled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from evaluators.runtimes.gpu import Gpu, TorchGpu
from evaluators.runtimes.session import Counts, Model
from evaluators.runtimes.torch_session import TorchSession


class CudaSession(TorchSession):
    """PyTorch on the GPU, one kernel launched after the other.

    Images lie channels last in 16 bits, where the matrix units want them so. In float32 torch may
    compute convolutions in TF32, as it does by default.

    Args:
        model: see `evaluators.runtimes.load`.
        threads: of no meaning here.
        dtype: as for `TorchSession`.
        gpu: that computes.
    """

    accelerator: ClassVar[str] = "gpu"
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "float16", "bfloat16")
    one_thread: ClassVar[Counts] = "gpu"
    replays: ClassVar[bool] = False

    def __init__(
        self, model: Model, threads: int, dtype: str = "float32", gpu: Gpu | None = None
    ) -> None:
        self._gpu: Gpu = gpu or TorchGpu()
        if gpu is None and not torch.cuda.is_available():
            raise ValueError("there is no CUDA GPU here that torch can use")
        self._gpu.reset_peak_memory()
        self._before_bytes = self._gpu.peak_memory_bytes()
        with self._gpu.clear_errors():
            super().__init__(model, threads, dtype)
            self._module = self._module.to(memory_format=memory_format(self.dtype))

    @property
    def gpu(self) -> Gpu:
        """That computes."""
        return self._gpu

    @property
    def device(self) -> str:  # noqa: D102
        return self._gpu.device

    @classmethod
    def version(cls) -> str:  # noqa: D102
        how = " replayed" if cls.replays else ""
        return f"torch {torch.__version__} cuda{' compiled' if cls.compiled else ''}{how}"

    def bind(self, inputs: npt.ArrayLike) -> Callable[[], object]:  # noqa: D102
        with self.clear_errors():
            forward, placed = self._forward, self.placed(inputs)
            return bound(forward, placed, self._gpu, self.replays)

    def run(self, inputs: npt.ArrayLike) -> npt.NDArray[Any]:  # noqa: D102
        with self.clear_errors():
            output = self._forward(self.placed(inputs))[0]
            return np.array(output.float().cpu())

    def peak_memory_bytes(self) -> int:
        """The most that this network took at a time, weights included, since it was loaded."""
        return self._gpu.peak_memory_bytes() - self._before_bytes

    def placed(self, inputs: npt.ArrayLike) -> torch.Tensor:  # noqa: D102
        tensor = super().placed(inputs)
        return tensor.contiguous(memory_format=memory_format(self.dtype, tensor.dim()))

    @contextlib.contextmanager
    def clear_errors(self) -> Iterator[None]:  # noqa: D102
        with super().clear_errors(), self._gpu.clear_errors():
            yield


class CudaGraphSession(CudaSession):
    """PyTorch's eager kernels on the GPU, all launched at once as a CUDA graph.

    Args:
        model: see `CudaSession`.
        threads: likewise.
        dtype: likewise.
        gpu: likewise.
    """

    replays: ClassVar[bool] = True


class CompiledCudaSession(CudaGraphSession):
    """The kernels of `torch.compile` on the GPU, all launched at once as a CUDA graph.

    Args:
        model: see `CudaSession`.
        threads: likewise.
        dtype: likewise.
        gpu: likewise.
    """

    compiled: ClassVar[bool] = True


def memory_format(dtype: torch.dtype, dimensions: int = 4) -> torch.memory_format:
    """How images of a dtype lie in the memory of a GPU."""
    last = dimensions == 4 and dtype.itemsize == 2
    return torch.channels_last if last else torch.contiguous_format


def bound(
    forward: Callable[[torch.Tensor], object], placed: torch.Tensor, gpu: Gpu, replays: bool
) -> Callable[[], object]:
    """A call of a network on the GPU, warm.

    Args:
        forward: the network, on the GPU and with no gradients to record.
        placed: its inputs, there too.
        gpu: that computes.
        replays: as a graph, else each kernel is launched on its own.

    Raises:
        ValueError: when memory is out, also later when it is called.
    """

    def call() -> object:
        with gpu.clear_errors():
            return forward(placed)

    call()
    replayed = gpu.capture(lambda: forward(placed)) if replays else call
    replayed()
    gpu.synchronize()
    return replayed
