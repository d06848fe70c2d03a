"""Profiles as files: found by name or path, written and read back, and errors of one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import hw_profiles
from hw_profiles import HardwareProfile
from tests.hw_profiles.profiles import circuit, engine, fig, processor


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def record_of(profile: HardwareProfile, path: Path) -> dict[str, Any]:
    hw_profiles.save(profile, path)
    record: dict[str, Any] = yaml.safe_load(path.read_text())
    return record


def error_of(path: Path) -> str:
    with pytest.raises(ValueError, match="profile") as caught:
        hw_profiles.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestRoundTrip:
    @pytest.mark.parametrize(
        "profile",
        [
            processor(),
            circuit(),
            processor(identity="model\nflags", memory_bytes={"cache": fig(4096)}),
            processor(calibration={"method": "physical", "weights": [1.5, 0.0], "by": {"a": 1}}),
            processor(sibling="another", energy_j={"byte": fig(1e-11)}, power_w={"max": fig(9)}),
            engine(),
        ],
    )
    def test_what_is_saved_is_loaded(self, profile: HardwareProfile, tmp_path: Path) -> None:
        hw_profiles.save(profile, tmp_path / "new" / "p.yaml")
        loaded = hw_profiles.load(tmp_path / "new" / "p.yaml")
        assert loaded == profile
        assert loaded.fingerprint() == profile.fingerprint()
        assert loaded.calibration == profile.calibration

    def test_a_number_that_yaml_takes_for_a_text_is_a_number(self, tmp_path: Path) -> None:
        path = tmp_path / "p.yaml"
        record = record_of(processor(), path)
        path.write_text(yaml.safe_dump(record).replace("value: 1000000000.0", "value: 1e9"))
        assert hw_profiles.load(path) == processor()


class TestFinding:
    def test_a_text_with_a_suffix_or_a_slash_is_a_path(self, tmp_path: Path) -> None:
        hw_profiles.save(processor(), tmp_path / "p.yaml")
        assert hw_profiles.load(str(tmp_path / "p.yaml")) == processor()

    def test_a_profile_at_home_comes_before_the_shipped_one(self, home: Path) -> None:
        shipped = hw_profiles.load("tpu-v3")
        hw_profiles.save(processor(name="tpu-v3"), home / "profiles" / "tpu-v3.yaml")
        assert hw_profiles.load("tpu-v3") == processor(name="tpu-v3") != shipped

    def test_a_calibrated_host_at_home_comes_before_the_detected_one(self, home: Path) -> None:
        calibrated = processor(name="host-cpu", calibration={"scale": 2})
        hw_profiles.save(calibrated, home / "profiles" / "host-cpu.yaml")
        assert hw_profiles.load("host-cpu") == calibrated

    def test_the_names_are_those_that_load_knows(self, home: Path) -> None:
        hw_profiles.save(processor(), home / "profiles" / "mine.yaml")
        names = hw_profiles.names()
        assert names == sorted(names)
        assert {"host-cpu", "mine", "nvidia-a100", "pynq-z2", "tpu-v3"} <= set(names)
        for name in names:
            assert isinstance(hw_profiles.load(name), HardwareProfile)

    @pytest.mark.parametrize(
        ("name", "near"),
        [
            ("nvidia-a10", "'nvidia-a100'"),
            ("A100", "'nvidia-a100'"),
            ("rtx3090", "'nvidia-rtx-3090'"),
            ("nvidia_t4", "'nvidia-t4'"),
            ("zcu102", "'zcu102-dpu'"),
            ("hots-cpu", "'host-cpu'"),
            ("titan", "'nvidia-titan-rtx' or 'nvidia-titan-x' or 'nvidia-titan-xp'"),
        ],
    )
    def test_an_unknown_name_is_answered_with_the_nearest(self, name: str, near: str) -> None:
        with pytest.raises(ValueError, match="^unknown hardware profile") as caught:
            hw_profiles.load(name)
        line = f"unknown hardware profile {name!r}; did you mean {near}? (see nas devices)"
        assert str(caught.value) == line

    def test_a_name_like_no_other_is_answered_with_all(self) -> None:
        with pytest.raises(ValueError, match=r"'qqq' \(known: alveo-u250, .*zcu104\)$"):
            hw_profiles.load("qqq")


class TestBadFiles:
    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        assert error_of(tmp_path / "p.yaml").endswith("p.yaml: No such file or directory")

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "p.yaml").write_bytes(b"\xff\xfe\x00\x80")
        assert "it is no text" in error_of(tmp_path / "p.yaml")

    def test_malformed_yaml_is_answered_with_the_line(self, tmp_path: Path) -> None:
        (tmp_path / "p.yaml").write_text("name: x\nkind: [gpu\ntitle: y\n")
        assert "is no valid YAML: line 3: " in error_of(tmp_path / "p.yaml")

    def test_a_file_that_is_no_mapping(self, tmp_path: Path) -> None:
        (tmp_path / "p.yaml").write_text("- 1\n")
        assert "the file must be a mapping, but got [1]" in error_of(tmp_path / "p.yaml")

    @pytest.mark.parametrize(
        ("change", "line"),
        [
            ({"clock_hz": None}, "clock_hz must be a mapping, but got None"),
            ({"clock_hz": {"value": 1e9}}, "figure clock_hz has no source"),
            ({"clock_hz": {"source": "x"}}, "figure clock_hz has no value"),
            ({"clock_hz": {"value": 1, "source": None}}, "figure clock_hz: a figure needs a so"),
            ({"clock_hz": {"value": "fast", "source": "x"}}, "figure clock_hz: could not convert"),
            ({"clock_hz": {"value": True, "source": "x"}}, "it must be a number, but got True"),
            ({"clock_hz": {"value": [1], "source": "x"}}, "it must be a number, but got [1]"),
            ({"clock_hz": {"value": -1, "source": "x"}}, "must be finite and not negative"),
            (
                {"clock_hz": {"value": 1, "source": "x", "unit": "Hz"}},
                "figure clock_hz: unknown key 'unit' (known: value, source)",
            ),
            ({"overhead_s": {"call": {"value": 1, "source": "x"}}}, "overhead_s.op is missing"),
            ({"overhead_s": [1]}, "overhead_s must be a mapping, but got [1]"),
            ({"peak_ops_s": {"matrix": 3}}, "peak_ops_s.matrix must be a mapping, but got 3"),
            ({"overheads_s": {}}, "unknown key 'overheads_s'; did you mean 'overhead_s'?"),
            ({"kind": "npu"}, "kind must be one of cpu, gpu, tpu, fpga, but got 'npu'"),
            ({"title": 3}, "title must be a text, but got 3"),
            ({"calibration": 3}, "calibration must be a mapping, but got 3"),
            ({"sibling": 3}, "sibling must be a text, but got 3"),
            (
                {"clock_hz": {"value": 1.41, "source": "x"}},
                "figure clock_hz must be between 100000",
            ),
            ({"energy_j": {"byte": {"value": 31, "source": "x"}}}, "figure energy_j.byte must be"),
        ],
    )
    def test_one_line_says_where_it_is_wrong(
        self, change: dict[str, Any], line: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "p.yaml"
        path.write_text(yaml.safe_dump(record_of(processor(), path) | change))
        message = error_of(path)
        assert line in message
        assert message.startswith(f"profile {path}: ")

    @pytest.mark.parametrize(
        "key", ["name", "kind", "lowering", "dtype", "clock_hz", "uncertainty"]
    )
    def test_a_key_that_is_missing(self, key: str, tmp_path: Path) -> None:
        path = tmp_path / "p.yaml"
        record = record_of(processor(), path)
        del record[key]
        path.write_text(yaml.safe_dump(record))
        assert error_of(path).endswith(f": {key} is missing")

    def test_a_folder_in_the_way_of_saving(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ValueError, match=r"^cannot write profile .*p\.yaml: "):
            hw_profiles.save(processor(), tmp_path / "file" / "p.yaml")

    def test_a_calibration_that_yaml_cannot_hold(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="^cannot write profile") as caught:
            hw_profiles.save(processor(calibration={"x": object()}), tmp_path / "p.yaml")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "p.yaml").exists()
