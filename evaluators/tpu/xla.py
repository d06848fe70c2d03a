"""Programs compiled for TPUs, kept on disk, and the latencies that follow from their cycles."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from evaluators.latency import KernelLatency, Latency
from evaluators.tpu.chips import CHIPS, chip_of
from evaluators.tpu.graph import Graph
from evaluators.tpu.hlo import Instruction, unestimated
from evaluators.tpu.process import VERSIONS, CompilerProcess, check_installed
from hw_profiles import HardwareProfile
from nas.keys import digest
from nas.trials import CandidateError

LIMIT_S = 240.0
DTYPES = ("bfloat16", "float32")
_MAPPING = 1
"""Counts changes of the mapping to JAX that make other programs of the same graph."""


@dataclass(frozen=True)
class Compiled:
    """A program as the compiler estimates it.

    Args:
        chip: that it is for.
        instructions: that take time.
        memory_bytes: by what for: ``arguments``, ``outputs``, ``temporary``, ``code``.
        seconds: that compiling took.
        cached: it was there already.
    """

    chip: str
    instructions: tuple[Instruction, ...]
    memory_bytes: Mapping[str, int]
    seconds: float
    cached: bool = False

    @property
    def cycles(self) -> int:
        """Of all instructions, which run one after the other."""
        return sum(instruction.cycles for instruction in self.instructions)

    @property
    def unestimated(self) -> dict[str, int]:
        """How often the compiler says nothing of an instruction, by opcode."""
        return unestimated(self.instructions)


class Process(Protocol):
    """What compiles; see `evaluators.tpu.process.CompilerProcess`."""

    def compile(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request."""
        ...


class XlaCompiler:
    """Compiles, or answers from the disk.

    Args:
        cache: folder of what was compiled before, `cache_folder` by default.
        limit_s: wall-clock seconds for one program.
        process: that compiles.

    Raises:
        ValueError: the compiler is absent or of another version.
    """

    def __init__(
        self,
        cache: Path | None = None,
        limit_s: float = LIMIT_S,
        process: Process | None = None,
    ) -> None:
        check_installed()
        self._cache = cache or cache_folder()
        self._process = process or CompilerProcess(limit_s)

    def compile(self, graph: Graph, chip: str, dtype: str = "bfloat16") -> Compiled:
        """The program of a network.

        Args:
            graph: with the batch that it is for.
            chip: one of `evaluators.tpu.chips.CHIPS`.
            dtype: that stands for float32, one of `DTYPES`.

        Raises:
            CandidateError: it cannot be compiled, or not within the limit.
            ValueError: for another chip or dtype.
        """
        if chip not in CHIPS:
            raise ValueError(f"chip must be one of {', '.join(CHIPS)}, but got {chip!r}")
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, but got {dtype!r}")
        about = {"graph": graph.fingerprint, "chip": chip, "dtype": dtype, **VERSIONS}
        path = self._cache / f"{digest({**about, 'mapping': _MAPPING})}.json"
        start = time.monotonic()
        answer = _kept(path)
        cached = answer is not None
        if answer is None:
            answer = self._process.compile({"graph": graph.to_json(), "chip": chip, "dtype": dtype})
            if "error" not in answer or answer.get("final"):
                _keep(path, {**answer, "about": about})
        if "error" in answer:
            raise CandidateError(answer["error"])
        return Compiled(
            chip=chip,
            instructions=tuple(_instruction(each) for each in answer["instructions"]),
            memory_bytes=answer["memory_bytes"],
            seconds=0.0 if cached else time.monotonic() - start,
            cached=cached,
        )

    def close(self) -> None:
        """End the process, if there is one."""
        close = getattr(self._process, "close", None)
        if close is not None:
            close()


def latency(program: Compiled, profile: HardwareProfile) -> Latency:
    """The time of one call: cycles by the clock, and the profile's overheads.

    Args:
        program: compiled for the profile's chip.
        profile: with its clock, ``overhead_s.call`` and, if any, ``overhead_s.instruction``.

    Returns:
        The latency with the bar ``uncertainty_xla`` of the profile's parts, by which estimates
        differed from measurements.

    Raises:
        CandidateError: the program does not fit into the memory.
        ValueError: it is for another chip.
    """
    if program.chip != chip_of(profile).name:
        raise ValueError(f"{profile.name} needs a program for it, but got one for {program.chip}")
    _check_memory(program, profile)
    clock = profile.clock_hz.value
    each_s = profile.overhead_s["instruction"].value if "instruction" in profile.overhead_s else 0.0
    call_ms = 1e3 * profile.overhead_s["call"].value
    kernels = _kernels(program.instructions, clock, each_s)
    compute_ms = sum(kernel.latency_ms for kernel in kernels)
    total, bar = call_ms + compute_ms, profile.part("uncertainty_xla")
    return Latency(
        latency_ms=total,
        low=total / bar,
        high=total * bar,
        source="modeled",
        kernels=kernels,
        binds="compute" if compute_ms > call_ms else "overhead",
        method=method(profile, program),
        memory_kb=sum(program.memory_bytes.values()) / 1024,
    )


def method(profile: HardwareProfile, program: Compiled) -> str:
    """How the number was found, in a line: the clock with its source, what has no estimate."""
    clock = profile.clock_hz
    text = f"tpu_xla, estimated cycles at {clock.value / 1e6:g} MHz ({clock.source})"
    if program.unestimated:
        missing = ", ".join(f"{count} {name}" for name, count in program.unestimated.items())
        text += f", without {missing}"
    return text


def compiler_version() -> str:
    """What compiles, as provenances record it."""
    return ", ".join(f"{name} {version}" for name, version in reversed(VERSIONS.items()))


def cache_folder() -> Path:
    """Where programs are kept, for all searches: they depend on nothing but their key."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "hwnas" / "xla"


def _kernels(
    found: Sequence[Instruction], clock_hz: float, each_s: float
) -> tuple[KernelLatency, ...]:
    """Instructions that are alike, together."""
    cycles: Counter[tuple[str, tuple[int, ...]]] = Counter()
    counts: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for one in found:
        kind = (one.source or one.opcode, one.shape)
        cycles[kind] += one.cycles
        counts[kind] += 1
    return tuple(
        KernelLatency(
            op=op,
            in_shape=(),
            out_shape=shape,
            count=counts[op, shape],
            latency_ms=1e3 * (cycles[op, shape] / clock_hz + counts[op, shape] * each_s),
            binds="compute",
        )
        for op, shape in counts
    )


def _check_memory(program: Compiled, profile: HardwareProfile) -> None:
    needed = sum(program.memory_bytes.values())
    there = profile.memory_bytes["memory"].value
    if needed > there:
        raise CandidateError(
            f"the program needs {needed / 2**30:.2f} GiB, but {profile.name} has "
            f"{there / 2**30:.2f} GiB"
        )


def _instruction(record: Mapping[str, Any]) -> Instruction:
    return Instruction(**{**record, "shape": tuple(record["shape"])})


def _kept(path: Path) -> dict[str, Any] | None:
    """What was compiled before; what cannot be read counts as absent."""
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def _keep(path: Path, answer: Mapping[str, Any]) -> None:
    """Put an answer in place in one step; a folder that cannot be written only costs time."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(answer, file)
        os.replace(file.name, path)
