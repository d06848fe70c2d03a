"""Compiled programs, kept, and their latencies; the compiler is a stand-in."""

from dataclasses import replace
from pathlib import Path

import pytest

import hw_profiles
from evaluators.tpu import xla
from evaluators.tpu.xla import LIMIT_S, Compiled, cache_folder, latency
from nas.trials import CandidateError
from tests.evaluators.tpu.compilers import Answers, compiler
from tests.evaluators.tpu.nets import SMALL

V5E = hw_profiles.load("tpu-v5e")


@pytest.fixture(name="program")
def _program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compiled:
    return compiler(monkeypatch, tmp_path, Answers()).compile(SMALL, "v5e")


class TestCompiler:
    def test_what_was_compiled_is_kept(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        answers = Answers()
        first = compiler(monkeypatch, tmp_path, answers).compile(SMALL, "v5e")
        again = compiler(monkeypatch, tmp_path, answers).compile(SMALL, "v5e")
        assert len(answers.asked) == 1
        assert (first.cached, again.cached, again.seconds) == (False, True, 0.0)
        assert replace(again, cached=False, seconds=first.seconds) == first
        assert first.cycles == 2500

    def test_chip_dtype_and_version_make_another_program(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        answers = Answers()
        ours = compiler(monkeypatch, tmp_path, answers)
        for chip, dtype in (("v5e", "bfloat16"), ("v4", "bfloat16"), ("v5e", "float32")):
            ours.compile(SMALL, chip, dtype)
        monkeypatch.setattr(xla, "VERSIONS", {"jax": "0.10.2", "libtpu": "9"})
        ours.compile(SMALL, "v5e")
        assert len(answers.asked) == 4

    def test_refusals_are_kept_and_accidents_are_not(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for final, times in ((True, 1), (False, 2)):
            answers = Answers(error="no mapping to XLA for: fft", final=final)
            ours = compiler(monkeypatch, tmp_path / str(final), answers)
            for _ in range(2):
                with pytest.raises(CandidateError, match="no mapping to XLA for: fft"):
                    ours.compile(SMALL, "v5e")
            assert len(answers.asked) == times

    def test_a_damaged_file_is_compiled_again(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        answers = Answers()
        ours = compiler(monkeypatch, tmp_path, answers)
        ours.compile(SMALL, "v5e")
        (file,) = tmp_path.glob("*.json")
        file.write_text("{", encoding="utf-8")
        assert not ours.compile(SMALL, "v5e").cached

    def test_other_chips_and_dtypes_are_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        ours = compiler(monkeypatch, tmp_path, Answers())
        with pytest.raises(ValueError, match="chip must be one of .*, but got 'v9'"):
            ours.compile(SMALL, "v9")
        with pytest.raises(ValueError, match="dtype must be one of .*, but got 'int8'"):
            ours.compile(SMALL, "v5e", "int8")


class TestLatency:
    def test_cycles_by_the_clock_and_overheads(self, program: Compiled) -> None:
        found = latency(program, V5E)
        expected = 2500 / V5E.clock_hz.value + 20e-6 + 3 * 0.1e-6
        assert found.latency_ms == pytest.approx(1e3 * expected)
        assert (found.low, found.high) == (found.latency_ms / 1.5, found.latency_ms * 1.5)
        assert found.source == "modeled"
        assert found.memory_kb == 2.0

    def test_alike_instructions_are_one_kernel(self, program: Compiled) -> None:
        fusion, copy = latency(program, V5E).kernels
        assert (fusion.op, fusion.out_shape, fusion.count) == ("dot", (2, 3), 2)
        assert (copy.op, copy.count) == ("copy", 1)

    def test_the_method_says_clock_source_and_what_is_missing(self, program: Compiled) -> None:
        said = latency(program, V5E).method
        assert "tpu_xla" in said
        assert "1503 MHz" in said
        assert V5E.clock_hz.source in said
        assert "without 1 copy" in said

    def test_a_program_that_does_not_fit_is_refused(self, program: Compiled) -> None:
        large = replace(program, memory_bytes={"temporary": 20 * 2**30})
        with pytest.raises(CandidateError, match=r"needs 20\.00 GiB, but tpu-v5e has 16\.00 GiB"):
            latency(large, V5E)

    def test_of_another_chip_it_is_refused(self, program: Compiled) -> None:
        with pytest.raises(ValueError, match="tpu-v4 needs a program for it, but got one for v5e"):
            latency(program, hw_profiles.load("tpu-v4"))


def test_the_cache_is_where_caches_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "hwnas" / "xla"
    assert LIMIT_S < 300, "a stage has its own limit, which should not come first"
