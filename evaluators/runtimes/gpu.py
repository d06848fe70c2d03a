"""What timing on a GPU needs of it: events, graphs, memory, clocks. Torch is one way to have it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from evaluators.runtimes.session import in_one_line

_QUERY_LIMIT_S = 10.0


class Event(Protocol):
    """A mark in the order of the GPU's work."""

    def elapsed_time(self, later: Any) -> float:
        """Milliseconds between this mark and a later one, both reached."""
        ...

    def synchronize(self) -> None:
        """Wait until it is reached."""
        ...


class Gpu(Protocol):
    """A GPU that computes in the order in which it is asked to."""

    @property
    def device(self) -> str:
        """Where tensors lie, in the words of torch."""
        ...

    def event(self) -> Event:
        """A mark behind all that was asked for so far."""
        ...

    def synchronize(self) -> None:
        """Wait until all is done."""
        ...

    def capture(self, call: Callable[[], object]) -> Callable[[], object]:
        """The kernels of a call as a graph: what replays them with one launch."""
        ...

    def reset_peak_memory(self) -> None:
        """Forget the peak of `peak_memory_bytes`."""
        ...

    def peak_memory_bytes(self) -> int:
        """The most memory in use at a time, weights included."""
        ...

    def clear_errors(self) -> contextlib.AbstractContextManager[None]:
        """Turn what goes wrong inside into a ValueError of one line."""
        ...


@runtime_checkable
class GpuSession(Protocol):
    """A session whose calls are timed by the events of its GPU."""

    @property
    def gpu(self) -> Gpu:
        """That computes."""
        ...

    def peak_memory_bytes(self) -> int:
        """The most that its network took at a time, weights included."""
        ...


class GpuWatch:
    """The clocks of calls on a GPU, in nanoseconds since whenever.

    Args:
        gpu: that computes.
        wall_ns: time on the wall.
    """

    def __init__(self, gpu: Gpu, wall_ns: Callable[[], int]) -> None:
        self._gpu, self._wall_ns = gpu, wall_ns
        self._last: Event | None = None
        self._total_ns = 0.0

    def busy_ns(self) -> float:
        """Time on the GPU's own clock, once it has done all that it was asked for."""
        event = self._gpu.event()
        event.synchronize()
        if self._last is not None:  # piece by piece: the difference of two marks is a float32
            self._total_ns += 1e6 * self._last.elapsed_time(event)
        self._last = event
        return self._total_ns

    def wall_ns(self) -> int:
        """Time on the wall, once it has done all that it was asked for."""
        self._gpu.synchronize()
        return self._wall_ns()


@dataclass(frozen=True)
class TorchGpu:
    """The current CUDA GPU of torch."""

    device: str = "cuda"

    def event(self) -> Event:
        """A CUDA event, recorded."""
        import torch

        event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event  # type: ignore[no-any-return]

    def synchronize(self) -> None:
        """Wait for the GPU."""
        import torch

        torch.cuda.synchronize()

    def capture(self, call: Callable[[], object]) -> Callable[[], object]:
        """A CUDA graph of a call, after three calls that find their kernels and memory."""
        import torch

        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph: Any = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = call()

        def replay() -> object:
            graph.replay()
            return output

        return replay

    def reset_peak_memory(self) -> None:
        """Forget the peak."""
        import torch

        torch.cuda.reset_peak_memory_stats()

    def peak_memory_bytes(self) -> int:
        """As torch's allocator counts it."""
        import torch

        return int(torch.cuda.max_memory_allocated())

    @contextlib.contextmanager
    def clear_errors(self) -> Iterator[None]:
        """Say when memory is out, and give back what torch holds of it."""
        import torch

        try:
            yield
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            said = in_one_line(error).partition(". GPU")[0]
            raise ValueError(f"the GPU is out of memory: {said}") from None


def gpu_name() -> str:
    """The name of the current GPU, ``""`` where there is none."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return _query("name")


def gpu_clocks() -> str:
    """The clocks at this moment, for example ``SM 1980 MHz, memory 2619 MHz``; ``""``: unknown."""
    said = _query("clocks.sm,clocks.mem").split(",")
    if len(said) != 2 or not all(value.strip().isdigit() for value in said):
        return ""
    return f"SM {said[0].strip()} MHz, memory {said[1].strip()} MHz"


def _query(fields: str) -> str:
    """What nvidia-smi says of the first GPU, ``""`` where there is no nvidia-smi."""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits", "--id=0"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_QUERY_LIMIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
