"""``nas devices``: the list, one profile, the probe."""

import re
from pathlib import Path

import pytest

import hw_profiles
from experiments.commands.devices import peak_ops_s
from hw_profiles import host
from tests.experiments.commands.conftest import Nas
from tests.hw_profiles.profiles import circuit, engine, fig, processor

CALIBRATION = {
    "method": "physical",
    "networks": 30,
    "error": {"mape": 4.12345, "w10": 93.3},
    "range_ms": [0.0123, 4.5678],
    "input_shape": [3, 96, 96],
    "runtime": "onnxruntime 1.32",
    "coefficients": {f"c{i}": float(i) for i in range(40)},
    "residual": {"kernel": "linear + rbf", "inputs": [1.0, 2.0, 3.0]},
}


def row(out: str, name: str) -> list[str]:
    found = next(line for line in out.splitlines() if line.split()[:1] == [name])
    return re.split(r"\s{2,}", found.strip())


class TestList:
    def test_every_profile_is_in_the_table_of_its_kind(self, nas: Nas) -> None:
        typed = nas("devices")
        assert typed.code == 0
        words = [line.split() for line in typed.out.splitlines() if line.strip()]
        first = [line[0] for line in words]
        places = [first.index(kind) for kind in ("cpu", "gpu", "tpu", "fpga")]
        assert places == sorted(places)
        for name in hw_profiles.names():
            kind = hw_profiles.load(name).kind
            before = [
                k for k in ("cpu", "gpu", "tpu", "fpga") if first.index(k) < first.index(name)
            ]
            assert before[-1] == kind

    def test_a_row_has_peak_bandwidth_lowering_and_error(self, nas: Nas) -> None:
        out = nas("devices").out
        a100 = ["nvidia-a100", "312 T", "1.55 T", "onnxruntime", "no", "x3", "float16"]
        assert row(out, "nvidia-a100")[:-1] == a100
        assert row(out, "zcu102-dpu")[1:6] == ["1.15 T", "4.5 G", "dpu", "no", "x4"]

    def test_a_calibrated_one_says_how_and_how_well(self, nas: Nas, home: Path) -> None:
        profile = processor(name="mine", calibration=CALIBRATION)
        hw_profiles.save(profile, home / "profiles" / "mine.yaml")
        cells = row(nas("devices").out, "mine")
        assert cells[0] == "mine *"
        assert cells[4:6] == ["physical, 30 networks", "93 % within 10 %, mean error 4.1 %"]

    def test_ones_own_are_marked(self, nas: Nas, home: Path) -> None:
        assert "your own" not in nas("devices").out
        for name in ("mine", "pixel3"):
            hw_profiles.save(processor(name=name), home / "profiles" / f"{name}.yaml")
        out = nas("devices").out
        assert row(out, "pixel3")[0] == "pixel3 *"
        assert row(out, "tpu-v2")[0] == "tpu-v2"
        said = f"* your own, in {home / 'profiles'}; in place of shipped ones: pixel3\n"
        assert said in out
        path = home / "profiles" / "pixel3.yaml"
        assert f"  your own: {path}, in place of the shipped one\n" in nas("devices", "pixel3").out
        assert f"  your own: {path.with_stem('mine')}\n" in nas("devices", "mine").out
        assert "your own" not in nas("devices", "tpu-v2").out

    def test_names_are_whole_in_a_narrow_terminal(
        self, nas: Nas, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("experiments.commands.output.WIDE", 80)
        out = nas("devices").out
        assert all(f" {name} " in f" {out} ".replace("\n", " ") for name in hw_profiles.names())
        assert max(map(len, out.splitlines())) <= 80
        assert "NVIDIA" not in out

    def test_one_that_is_broken_does_not_hide_the_others(self, nas: Nas, home: Path) -> None:
        (home / "profiles").mkdir(parents=True)
        (home / "profiles" / "broken.yaml").write_text("name: broken\n")
        typed = nas("devices")
        assert typed.code == 0
        assert "nvidia-a100" in typed.out
        line = next(text for text in typed.out.splitlines() if "broken: profile" in text)
        assert line.endswith("title is missing")


class TestOne:
    def test_figures_come_with_their_sources(self, nas: Nas) -> None:
        out = nas("devices", "tpu-v2").out
        assert out.startswith("tpu-v2: Google TPU v2, one TensorCore (tpu, bfloat16)\n")
        assert (
            "not calibrated: the error is that of the data sheet model, within the factor 4" in out
        )
        line = next(text for text in out.splitlines() if "bandwidth_bytes_s.memory" in text)
        assert line.split()[:2] == ["bandwidth_bytes_s.memory", "3.5e+11"]
        assert "Google Cloud documentation" in line

    def test_a_peak_names_the_figures_that_it_comes_from(self, nas: Nas) -> None:
        expected = {
            "nvidia-a100": "  peak: 312 T op/s in float16, the figure peak_ops_s.matrix.float16\n",
            "pynq-z2": "op/s in int16, 2 x parts.dsp x parts.usable_dsp x clock_hz\n",
            "zcu102-dpu": "op/s in int8, 2 x the three parallelisms x clock_hz\n",
        }
        for name, line in expected.items():
            assert line in nas("devices", name).out

    def test_a_calibration_is_shown_whatever_it_holds(self, nas: Nas, home: Path) -> None:
        profile = processor(name="mine", calibration=CALIBRATION, sibling="tpu-v3")
        hw_profiles.save(profile, home / "profiles" / "mine.yaml")
        out = nas("devices", "mine").out
        for line in (
            "error on networks that the model did not see: 93 % within 10 %, mean error 4.1 %",
            "sibling, whose calibration one of this starts from: tpu-v3",
            "calibration method: physical",
            "calibration error.w10: 93.3",
            "calibration range_ms: 0.0123 to 4.57",
            "calibration input_shape: 3x96x96",
            "calibration runtime: onnxruntime 1.32",
            "calibration coefficients: 40 values",
            "calibration residual.inputs: 3 values",
        ):
            assert f"  {line}\n" in out
        assert "not calibrated" not in out

    def test_packed_data_is_not_shown(self, nas: Nas, home: Path) -> None:
        packed = {"residual": {"kernels": "UEsDB" * 100}}
        profile = processor(name="mine", calibration=dict(CALIBRATION) | packed)
        hw_profiles.save(profile, home / "profiles" / "mine.yaml")
        out = nas("devices", "mine").out
        assert "calibration residual.kernels: 500 characters of packed data" in out
        assert "UEsDB" not in out

    def test_a_calibration_that_says_little_is_shown_too(self, nas: Nas, home: Path) -> None:
        profile = processor(name="mine", calibration={"scale": 1.5})
        hw_profiles.save(profile, home / "profiles" / "mine.yaml")
        assert "  calibration scale: 1.5\n" in nas("devices", "mine").out
        assert row(nas("devices").out, "mine")[4:6] == ["yes", "x2"]


class TestProbe:
    def test_host_cpu_is_measured_and_stays_so(
        self, nas: Nas, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs = []

        def run_probe() -> hw_profiles.HardwareProfile:
            runs.append(1)
            return processor(name="host-cpu", title="Probed")

        monkeypatch.setattr(host, "run_probe", run_probe)
        typed = nas("devices", "host-cpu", "--probe")
        assert (typed.code, runs) == (0, [1])
        assert typed.out.startswith("host-cpu: Probed (gpu, float32)")
        nas("devices", "host-cpu")
        assert runs == [1]

    def test_a_calibrated_host_comes_before_it_and_says_so(
        self, nas: Nas, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(host, "run_probe", lambda: processor(name="host-cpu"))
        calibrated = processor(name="host-cpu", calibration=CALIBRATION)
        hw_profiles.save(calibrated, home / "profiles" / "host-cpu.yaml")
        assert "A calibrated host-cpu" in nas("devices", "host-cpu", "--probe").out

    @pytest.mark.parametrize(("arguments", "got"), [((), "'no name'"), (("tpu-v3",), "'tpu-v3'")])
    def test_nothing_else_can_be_probed(
        self, arguments: tuple[str, ...], got: str, nas: Nas
    ) -> None:
        typed = nas("devices", *arguments, "--probe")
        assert typed.code == 2
        assert typed.err == f"nas: only host-cpu can be probed, but got {got}\n"


def test_a_peak_is_that_of_the_dense_engine() -> None:
    assert peak_ops_s(processor(dtype="float16")) == 2e12
    assert peak_ops_s(engine()) == 2 * 4 * 8 * 8 * 100e6
    assert peak_ops_s(circuit(clock_hz=fig(1e8))) == pytest.approx(2 * 125 * 0.8 * 1e8)
