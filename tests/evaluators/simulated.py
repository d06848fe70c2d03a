"""A machine whose time is made up: its clock, and sessions whose calls cost what a test says."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evaluators.runtimes import Model, Session

Cost = Callable[[int], float]
"""``cost(i)``: nanoseconds of CPU time of the i-th call."""


@dataclass(eq=False)
class Machine:
    """Its clock and what runs on it.

    Args:
        slowdown: of everything, in CPU time.
        waiting: wall time by CPU time.
        hidden: the share of CPU time that other threads spend, unseen by the thread's clock.
    """

    slowdown: float = 1.0
    waiting: float = 1.0
    hidden: float = 0.0
    costs: dict[str, Cost] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    loaded: list[tuple[str, str, int, str]] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)
    _cpu: float = 0.0
    _process: float = 0.0
    _wall: float = 0.0
    _calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def cpu_ns(self) -> int:
        return round(self._cpu)

    def process_ns(self) -> int:
        return round(self._process)

    def wall_ns(self) -> int:
        return round(self._wall)

    def sleep(self, seconds: float) -> None:
        self._wall += seconds * 1e9

    def call(self, name: str) -> Callable[[], None]:
        def run() -> None:
            cost = self.costs[name](self._calls[name]) * self.slowdown
            self._calls[name] += 1
            self._cpu += cost * (1 - self.hidden)
            self._process += cost
            self._wall += cost * self.waiting
            self.log.append(name)

        return run

    def load(
        self, model: Model, runtime: str = "onnxruntime", threads: int = 1, dtype: str = ""
    ) -> Session:
        """Stands in for `runtimes.load`; bytes are the reference network."""
        name = "reference" if isinstance(model, bytes) else str(model)
        self.loaded.append((name, runtime, threads, dtype))
        return SimulatedSession(self, name)


class SimulatedSession(Session):
    input_name, input_shape, fixed_batch = "input", (1, 4, 4), None

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine, self.name = machine, name

    @classmethod
    def version(cls) -> str:
        return "simulated 1.0"

    def run(self, inputs: npt.ArrayLike) -> npt.NDArray[np.float32]:
        raise NotImplementedError

    def bind(self, inputs: npt.ArrayLike) -> Callable[[], object]:
        self.machine.shapes[self.name] = np.shape(inputs)
        return self.machine.call(self.name)

    def close(self) -> None:
        self.machine.closed.append(self.name)


@dataclass
class SimulatedEvent:
    ms: float

    def elapsed_time(self, later: SimulatedEvent) -> float:
        return later.ms - self.ms

    def synchronize(self) -> None:
        pass


@dataclass
class SimulatedGpu:
    """A GPU whose tensors lie on the CPU and whose time is that of a machine."""

    machine: Machine = field(default_factory=Machine)
    device: str = "cpu"
    peak_bytes: int = 0
    captured: int = 0
    waits: int = 0
    is_full: bool = False

    def event(self) -> SimulatedEvent:
        return SimulatedEvent(self.machine.process_ns() / 1e6)

    def synchronize(self) -> None:
        self.waits += 1

    def capture(self, call: Callable[[], object]) -> Callable[[], object]:
        self.captured += 1
        return call

    def reset_peak_memory(self) -> None:
        self.peak_bytes = 1000  # of other networks

    def peak_memory_bytes(self) -> int:
        return self.peak_bytes

    @contextlib.contextmanager
    def clear_errors(self) -> Iterator[None]:
        if self.is_full:
            raise ValueError("the GPU is out of memory: tried to allocate 2 GiB")
        yield


class SimulatedGpuSession(SimulatedSession):
    accelerator, one_thread = "gpu", "gpu"

    def __init__(self, gpu: SimulatedGpu, name: str) -> None:
        super().__init__(gpu.machine, name)
        self.gpu = gpu

    def peak_memory_bytes(self) -> int:
        return 2048


def steady(ns: float) -> Cost:
    """Every call costs the same."""
    return lambda _: ns


def by_block(base_ns: float, factors: list[float], warmups: int = 1) -> Cost:
    """A call so long that a block is its warm-ups and one timed call, after one call to find out.

    The k-th block costs ``base_ns * factors[k]``.
    """
    return lambda i: base_ns * factors[max(i - 1, 0) // (warmups + 1) % len(factors)]
