"""The machine that this runs on, as a profile: detected, and derived from what was detected.

Where a probe has measured it, its figures take the place of the derived ones.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hw_profiles import probe
from hw_profiles.profile import Figure, HardwareProfile

NAME = "host-cpu"
_PROC = Path("/proc/cpuinfo")
_CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
_CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
_FIT = (
    "assumption: as fitted to 75 random networks (convolutional, mobile, transformer; float32 and "
    "int8) in ONNX Runtime 1.32 on one AVX-512 machine, 2026-11, rounded; calibration replaces it"
)
_SHARES = {
    "memory": 1.0,
    "matrix": 1.0,
    "stem": 0.91,
    "vector": 0.045,
    "depthwise": 1.0,
    "function": 0.075,
    "fused": 0.23,
    "softmax": 0.095,
    "layer_norm": 0.055,
    "matrix_int8": 1.0,
    "stem_int8": 0.75,
    "matmul_int8": 0.4,
    "vector_int8": 0.01,
    "depthwise_int8": 0.135,
    "function_int8": 0.0037,
    "memory_mul_int8": 0.13,
    "memory_add_int8": 0.7,
    "memory_pool_int8": 0.26,
}
"""Attainable shares of the peaks. Functions count 8 operations an element."""
_TILE_COSTS = {"tile_step": 0.7, "tile_start": 48.0, "tile_reload": 0.9}
_TILE_FIT = (
    "assumption: multiply-adds of vectors, as fitted to those networks; "
    "the form is that of 900 convolutions in ONNX Runtime's profiler; calibration replaces it"
)
_INTEGER_LANES = 16
_RAGGED = {"ragged_vector": 3.6, "ragged_half": 3.1, "ragged_single": 1.75}
_RAGGED_FIT = (
    "of an aligned vector of 16 channels, ONNX Runtime 1.32 with AVX-512: depthwise convolutions "
    "of 8 to 200 channels in its profiler, windows of 3 to 7, 84 of them within 4 % on average"
)
_BLOCKS = "ONNX Runtime's convolutions: {} channels a block, tiles of {} pixels by {} blocks ({})"


@dataclass(frozen=True)
class Isa:
    """What a thread can do in a clock with its vector instructions.

    Args:
        name: of the instruction set.
        lanes: float32 values a register.
        pipes: fused multiply-adds (or multiplies and adds) that start in one clock.
        int8_speedup: multiply-accumulates on int8 for one on float32.
        bfloat16_speedup: the same for bfloat16.
    """

    name: str
    lanes: int
    pipes: int
    int8_speedup: float
    bfloat16_speedup: float

    @property
    def parts(self) -> dict[str, Figure]:
        """How ONNX Runtime keeps the outputs of convolutions in registers, and takes integers."""
        integers = {"integer_lanes": Figure(_INTEGER_LANES, _RAGGED_FIT)}
        integers |= {name: Figure(cost, _RAGGED_FIT) for name, cost in _RAGGED.items()}
        if self.lanes < 8:
            return integers | {"tile_channels": Figure(8, "assumption: typical block of channels")}
        tile = (16, 6, 4) if self.lanes == 16 else (8, 3, 4)
        source = _BLOCKS.format(*tile, self.name)
        names = ("tile_channels", "tile_pixels", "tile_blocks")
        sizes = {name: Figure(size, source) for name, size in zip(names, tile, strict=True)}
        rows = 12 if self.lanes == 16 else 6
        sizes["tile_rows"] = Figure(rows, f"ONNX Runtime's products: rows a tile ({self.name})")
        fitted = {name: Figure(cost, _TILE_FIT) for name, cost in _TILE_COSTS.items()}
        return sizes | fitted | integers

    @property
    def flop_per_clock(self) -> int:
        """Float32 operations of one thread in one clock."""
        return 2 * self.lanes * self.pipes


@dataclass(frozen=True)
class Cpu:
    """What /proc/cpuinfo and its neighbours say."""

    model: str
    flags: frozenset[str]
    cores: int
    clock: Figure
    cache: Figure

    @property
    def isa(self) -> Isa:
        """The widest vector instructions that runtimes use."""
        int8 = 4.0 if self.flags & {"avx512_vnni", "avx_vnni", "asimddp"} else 1.0
        bfloat16 = 2.0 if self.flags & {"avx512_bf16", "bf16"} else 1.0
        if {"avx512f", "avx512bw"} <= self.flags:
            return Isa("AVX-512", 16, 2, int8, bfloat16)
        if {"avx2", "fma"} <= self.flags:
            return Isa("AVX2 with FMA", 8, 2, int8, bfloat16)
        if "avx" in self.flags:
            return Isa("AVX", 8, 1, int8, bfloat16)
        if "asimd" in self.flags:
            return Isa("NEON", 4, 2, int8, bfloat16)
        return Isa("128-bit SIMD", 4, 1, int8, bfloat16)

    @property
    def lowering(self) -> str:
        """How ONNX Runtime makes kernels of networks here: x86 without AVX-512 has small blocks."""
        large = self.flags & {"avx512f", "asimd"}
        return "onnxruntime" if large else "onnxruntime-nchwc8"


def detect() -> HardwareProfile:
    """The profile of this machine, with what a probe has measured if there was one."""
    derived = profile_of(read_cpu())
    found = probe.stored(derived.fingerprint())
    return derived if found is None else measured(derived, found)


def run_probe(seconds: float = probe.SECONDS) -> HardwareProfile:
    """The profile of this machine after a probe, which is kept for the next `detect`.

    Raises:
        ValueError: one line, when the measurement fails or cannot be kept.
    """
    derived = profile_of(read_cpu())
    cache_bytes = int(derived.memory_bytes["cache"].value)
    return measured(derived, probe.run(derived.fingerprint(), cache_bytes, seconds))


def measured(derived: HardwareProfile, found: probe.Probe) -> HardwareProfile:
    """A derived profile with the peaks and bandwidths that a probe has found.

    The other dtypes keep their ratio to float32. The identity, and so the fingerprint, stays.
    """
    base = derived.peak("matrix", "float32")
    when = f"measured by the probe of {found.date}, one thread"
    product = f"{when}: float32 matrix product with numpy"
    peaks = {}
    for dtype, figure in derived.peak_ops_s["matrix"].items():
        ratio = figure.value / base
        source = product if ratio == 1 else f"{product}; x{ratio:g}"
        peaks[dtype] = Figure(found.float32_ops_s * ratio, source)
    copy = f"{when}: copying, bytes read and written"
    return replace(
        derived,
        peak_ops_s={"matrix": peaks, "vector": peaks},
        bandwidth_bytes_s={
            "memory": Figure(found.memory_bytes_s, copy),
            "cache": Figure(found.cache_bytes_s, f"{copy}, within the second-level cache"),
        },
    )


def read_cpu(cpuinfo: Path = _PROC, cpufreq: Path = _CPUFREQ, cache: Path = _CACHE) -> Cpu:
    """What this machine says about its processor; what it does not say is assumed, and says so."""
    entries = _entries(_text(cpuinfo))
    flags = frozenset((entries.get("flags") or entries.get("Features", "")).split())
    model = entries.get("model name") or platform.processor() or platform.machine()
    return Cpu(
        model=re.sub(r"\s+", " ", model).strip() or "unknown processor",
        flags=flags,
        cores=os.cpu_count() or 1,
        clock=_clock(entries, _text(cpufreq)),
        cache=_cache(_text(cache)),
    )


def profile_of(cpu: Cpu) -> HardwareProfile:
    """The profile of a processor: peaks from instruction set and clock, the rest assumed."""
    isa = cpu.isa
    base = isa.flop_per_clock * cpu.clock.value
    derived = (
        f"derived: {isa.name}, {isa.lanes} float32 lanes x {isa.pipes} FMA pipes x 2 operations "
        f"x clock, one thread ({cpu.clock.source})"
    )
    peaks = {
        "float32": Figure(base, derived),
        "bfloat16": Figure(base * isa.bfloat16_speedup, f"{derived}; x{isa.bfloat16_speedup:g}"),
        "int8": Figure(base * isa.int8_speedup, f"{derived}; x{isa.int8_speedup:g}"),
    }
    return HardwareProfile(
        name=NAME,
        title=f"{cpu.model}, {cpu.cores} cores, {isa.name}",
        kind="cpu",
        lowering=cpu.lowering,
        dtype="float32",
        clock_hz=cpu.clock,
        peak_ops_s={"matrix": peaks, "vector": peaks},
        memory_bytes={"cache": cpu.cache},
        identity="\n".join([cpu.model, " ".join(sorted(cpu.flags)), str(cpu.cores)]),
        uncertainty=Figure(
            4.0,
            "assumption: the networks of that fit were within a factor of 2; another machine or "
            "version of the runtime may differ more",
        ),
        bandwidth_bytes_s={
            "memory": Figure(24e9, f"{_FIT}; most of it within the third-level cache"),
            "cache": Figure(61e9, _FIT),
        },
        overhead_s={
            "call": Figure(0.36e-6, _FIT),
            "call_int8": Figure(2.2e-6, f"{_FIT}; transposes"),
            "op": Figure(0.35e-6, _FIT),
            "op_int8": Figure(0.78e-6, _FIT),
            "product": Figure(0.4e-6, _FIT),
            "product_int8": Figure(0.78e-6, _FIT),
            "window": Figure(1.0e-9, _FIT),
            "output": Figure(0.11e-9, _FIT),
            "ragged": Figure(5e-9, _FIT),
            "row": Figure(13e-9, _FIT),
        },
        efficiency={name: Figure(share, _FIT) for name, share in _SHARES.items()},
        parts=isa.parts,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _entries(cpuinfo: str) -> Mapping[str, str]:
    """The entries of the first processor."""
    lines = cpuinfo.strip().split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _clock(entries: Mapping[str, str], cpufreq: str) -> Figure:
    """The most stable statement there is: the highest clock, the name's, the current one."""
    if cpufreq.strip().isdigit():
        return Figure(int(cpufreq) * 1e3, "cpufreq, cpuinfo_max_freq")
    named = re.search(r"@\s*([\d.]+)\s*GHz", entries.get("model name", ""))
    if named:
        return Figure(float(named[1]) * 1e9, "/proc/cpuinfo, model name")
    try:
        megahertz = float(entries["cpu MHz"])
        return Figure(round(megahertz, -2) * 1e6, "/proc/cpuinfo, cpu MHz")
    except (KeyError, ValueError):
        return Figure(2e9, "assumption: the machine does not say its clock")


def _cache(size: str) -> Figure:
    """The second-level cache, which holds what one thread works on."""
    match = re.fullmatch(r"(\d+)K", size.strip())
    if match:
        return Figure(int(match[1]) * 1024, "/sys/devices/system/cpu, second-level cache")
    return Figure(1 << 20, "assumption: the machine does not say its second-level cache")
