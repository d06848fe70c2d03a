"""The machine itself as a profile, detected from what it says."""

from pathlib import Path

import pytest

import hw_profiles
from hw_profiles import host

XEON = """processor\t: 0
model name\t: Intel(R)  Xeon(R) Platinum 8380 CPU @ 2.30GHz
cpu MHz\t\t: 2945.318
flags\t\t: fpu sse2 avx fma avx2 avx512f avx512bw avx512_vnni

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
RYZEN = """model name : AMD Ryzen 7 3700X
cpu MHz : 3593.242
flags : avx fma avx2
"""
ARM = """processor : 0
BogoMIPS : 50.00
Features : fp asimd asimddp
"""


def read(tmp_path: Path, cpuinfo: str, cpufreq: str = "", cache: str = "") -> host.Cpu:
    paths = []
    for name, text in (("cpuinfo", cpuinfo), ("cpufreq", cpufreq), ("cache", cache)):
        paths.append(tmp_path / name)
        if text:
            paths[-1].write_text(text)
    return host.read_cpu(*paths)


class TestClock:
    def test_the_highest_clock_is_the_most_stable_one(self, tmp_path: Path) -> None:
        assert read(tmp_path, XEON, cpufreq="3400000\n").clock.value == 3.4e9

    def test_then_that_of_the_name(self, tmp_path: Path) -> None:
        clock = read(tmp_path, XEON).clock
        assert clock.value == 2.3e9
        assert "model name" in clock.source

    def test_then_the_current_one_rounded(self, tmp_path: Path) -> None:
        assert read(tmp_path, RYZEN).clock.value == 3.6e9

    def test_otherwise_it_is_assumed_and_says_so(self, tmp_path: Path) -> None:
        assert read(tmp_path, ARM).clock.source.startswith("assumption")


class TestPeaks:
    @pytest.mark.parametrize(
        ("cpuinfo", "name", "flop_per_clock", "int8", "lowering"),
        [
            (XEON, "AVX-512", 64, 4.0, "onnxruntime"),
            (RYZEN, "AVX2 with FMA", 32, 1.0, "onnxruntime-nchwc8"),
            (ARM, "NEON", 16, 4.0, "onnxruntime"),
            ("flags : avx", "AVX", 16, 1.0, "onnxruntime-nchwc8"),
            ("flags : sse2", "128-bit SIMD", 8, 1.0, "onnxruntime-nchwc8"),
        ],
    )
    def test_they_follow_from_instructions_and_clock(
        self,
        tmp_path: Path,
        cpuinfo: str,
        name: str,
        flop_per_clock: int,
        int8: float,
        lowering: str,
    ) -> None:
        cpu = read(tmp_path, cpuinfo)
        profile = host.profile_of(cpu)
        assert profile.lowering == lowering
        assert cpu.isa.name == name
        assert profile.peak("matrix", "float32") == flop_per_clock * cpu.clock.value
        assert profile.peak("matrix", "int8") == int8 * profile.peak("matrix", "float32")

    def test_the_source_is_the_derivation(self, tmp_path: Path) -> None:
        figures = dict(host.profile_of(read(tmp_path, XEON)).figures())
        source = figures["peak_ops_s.matrix.float32"].source
        assert source.startswith("derived: AVX-512, 16 float32 lanes x 2 FMA pipes")


class TestIdentity:
    def test_the_first_processor_counts(self, tmp_path: Path) -> None:
        cpu = read(tmp_path, XEON)
        assert cpu.model == "Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz"
        assert "avx512_vnni" in cpu.flags

    def test_the_fingerprint_is_of_model_flags_and_cores_not_of_the_clock(
        self, tmp_path: Path
    ) -> None:
        fast = host.profile_of(read(tmp_path, XEON, cpufreq="3400000"))
        slow = host.profile_of(read(tmp_path, XEON, cpufreq="1200000"))
        other = host.profile_of(read(tmp_path, XEON.replace("avx512_vnni", "")))
        assert fast.fingerprint() == slow.fingerprint() != other.fingerprint()

    def test_the_second_level_cache_is_read_or_assumed(self, tmp_path: Path) -> None:
        assert read(tmp_path, XEON, cache="1280K\n").cache.value == 1280 * 1024
        assert read(tmp_path, ARM).cache.value == 1280 * 1024
        (tmp_path / "cache").unlink()
        assert read(tmp_path, ARM).cache.source.startswith("assumption")


@pytest.mark.parametrize(
    ("cpuinfo", "tile"), [(XEON, (16, 6, 4)), (RYZEN, (8, 3, 4)), (ARM, (8, None, None))]
)
def test_convolutions_are_blocked_for_the_instructions(
    tmp_path: Path, cpuinfo: str, tile: tuple[int | None, ...]
) -> None:
    parts = host.profile_of(read(tmp_path, cpuinfo)).parts
    found = (parts.get(f"tile_{name}") for name in ("channels", "pixels", "blocks"))
    assert tuple(figure and figure.value for figure in found) == tile


def test_this_machine_is_detected_the_same_every_time() -> None:
    profile = host.detect()
    assert profile == host.detect()
    assert profile.kind == "cpu"
    assert hw_profiles.load(profile.name).fingerprint() == profile.fingerprint()


def test_a_machine_that_says_nothing_still_has_a_profile(tmp_path: Path) -> None:
    profile = host.profile_of(read(tmp_path, ""))
    assert profile.peak("matrix", "float32") > 0
    assert "cores" in profile.title
