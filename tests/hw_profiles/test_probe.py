"""The probe of this machine: run once, kept by fingerprint, and what becomes of the profile."""

import json
import os
from pathlib import Path

import pytest

import hw_profiles
from hw_profiles import host, probe

FOUND = {"float32_ops_s": 1.5e11, "memory_bytes_s": 2e10, "cache_bytes_s": 9e10}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def answer(seconds: float, cache_bytes: int) -> str:
    return json.dumps(FOUND)


def kept(home: Path) -> list[Path]:
    return list((home / "profiles").iterdir())


class TestRunning:
    def test_what_was_measured_is_kept_for_this_machine_only(self, home: Path) -> None:
        found = probe.run("abc", 1 << 20, worker=answer)
        assert (found.float32_ops_s, found.memory_bytes_s, found.cache_bytes_s) == (
            1.5e11,
            2e10,
            9e10,
        )
        assert len(found.date) == len("2026-11-22")
        assert probe.stored("abc") == found
        assert probe.stored("def") is None
        assert [path.name for path in kept(home)] == ["host-cpu-abc.probe.json"]

    def test_the_worker_gets_the_time_and_the_cache(self) -> None:
        asked = []

        def worker(seconds: float, cache_bytes: int) -> str:
            asked.append((seconds, cache_bytes))
            return json.dumps(FOUND)

        probe.run("abc", 4096, seconds=0.5, worker=worker)
        assert asked == [(0.5, 4096)]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "no json",
            "[1, 2]",
            json.dumps({"float32_ops_s": 1e11}),
            json.dumps({**FOUND, "memory_bytes_s": 3}),
            json.dumps({**FOUND, "cache_bytes_s": "fast"}),
            json.dumps({**FOUND, "float32_ops_s": float("nan")}),
        ],
    )
    def test_an_answer_that_cannot_be_is_refused_and_not_kept(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"^the probe failed: it answered ") as caught:
            probe.run("abc", 4096, worker=lambda *_: text)
        assert "\n" not in str(caught.value)
        assert probe.stored("abc") is None

    def test_no_time_is_refused(self) -> None:
        with pytest.raises(ValueError, match="must be positive, but got 0"):
            probe.run("abc", 4096, seconds=0, worker=answer)

    def test_a_folder_that_cannot_be_made_is_one_line(self, home: Path) -> None:
        home.write_text("a file in the way")
        with pytest.raises(ValueError, match=r"^cannot keep the probe in .*profiles: "):
            probe.run("abc", 4096, worker=answer)

    @pytest.mark.parametrize("text", ["", "{", "{}", '{"date": "x"}', "\udcff"])
    def test_a_damaged_file_is_as_if_there_were_none(self, text: str, home: Path) -> None:
        probe.run("abc", 4096, worker=answer)
        kept(home)[0].write_bytes(text.encode("utf-8", "surrogateescape"))
        assert probe.stored("abc") is None


class TestProfile:
    def test_before_a_probe_the_figures_are_derived(self) -> None:
        source = hw_profiles.load("host-cpu").peak_ops_s["matrix"]["float32"].source
        assert source.startswith("derived: ")

    def test_after_it_they_are_measured_and_the_fingerprint_is_the_same(self) -> None:
        before = hw_profiles.load("host-cpu")
        probe.run(before.fingerprint(), 4096, worker=answer)
        after = hw_profiles.load("host-cpu")
        assert after != before
        assert after.fingerprint() == before.fingerprint()
        assert after.peak("matrix", "float32") == after.peak("vector", "float32") == 1.5e11
        assert after.bandwidth_bytes_s["memory"].value == 2e10
        assert after.bandwidth_bytes_s["cache"].value == 9e10
        for figure in (after.peak_ops_s["vector"]["int8"], after.bandwidth_bytes_s["cache"]):
            assert figure.source.startswith("measured by the probe of 20")

    def test_other_dtypes_keep_their_ratio_to_float32(self) -> None:
        before = host.profile_of(host.read_cpu())
        after = host.measured(before, probe.Probe(1.5e11, 2e10, 9e10, "2026-11-22"))
        for dtype in ("int8", "bfloat16"):
            ratio = before.peak("matrix", dtype) / before.peak("matrix", "float32")
            assert after.peak("matrix", dtype) == pytest.approx(1.5e11 * ratio)

    def test_the_probe_is_no_profile_of_its_own(self) -> None:
        probe.run(host.detect().fingerprint(), 4096, worker=answer)
        assert not [name for name in hw_profiles.names() if "probe" in name]
        assert [name for name in hw_profiles.names() if name.startswith("host")] == ["host-cpu"]


def test_the_real_probe_measures_this_machine_in_a_process_with_one_thread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the user was imported')")
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    profile = host.run_probe(seconds=0.15)
    assert 1e9 < profile.peak("matrix", "float32") < 1e13
    memory, cache = (profile.bandwidth_bytes_s[name].value for name in ("memory", "cache"))
    assert 1e8 < memory < 1e12
    assert cache > memory / 2
    assert hw_profiles.load("host-cpu") == profile
    assert dict(os.environ) == before


def test_a_worker_that_breaks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ValueError, match=r"^the probe failed: no message$"):
        probe.run("abc", 4096)
