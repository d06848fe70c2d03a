"""The shipped profiles hold the figures of the data sheets, each with its source."""

import subprocess
import sys

import pytest

import hw_profiles

SHIPPED = ("host-cpu", "nvidia-a100", "pynq-z2", "tpu-v3")


@pytest.fixture(autouse=True)
def _no_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_figure_has_a_source_of_some_length(name: str) -> None:
    for figure_name, figure in hw_profiles.load(name).figures():
        assert len(figure.source) > 10, figure_name


@pytest.mark.parametrize("name", SHIPPED)
def test_the_name_is_the_one_it_is_loaded_by(name: str) -> None:
    profile = hw_profiles.load(name)
    assert profile.name == name
    assert profile.calibration is None


def test_the_a100_is_that_of_its_data_sheet() -> None:
    """NVIDIA A100 data sheet (SXM4, 40 GB) and GA100 whitepaper."""
    a100 = hw_profiles.load("nvidia-a100")
    assert a100.peak("matrix", "float16") == 312e12
    assert a100.peak("matrix", "int8") == 624e12
    assert a100.peak("vector", "float32") == 19.5e12
    assert a100.bandwidth_bytes_s["memory"].value == 1555e9
    cuda_cores, clock = 6912, a100.clock_hz.value
    assert cuda_cores * 2 * clock == pytest.approx(a100.peak("vector", "float32"), rel=0.01)
    per_multiprocessor = 1024  # FP16 multiply-accumulates a clock in its four Tensor Cores
    macs = a100.part("cores") * per_multiprocessor * clock
    assert 2 * macs == pytest.approx(a100.peak("matrix", "float16"), rel=0.01)


def test_the_tpu_v3_core_is_half_of_the_documented_chip() -> None:
    """Google Cloud documentation: 123 teraflops (bf16), 900 GBps, 32 GiB a chip of two cores."""
    core = hw_profiles.load("tpu-v3")
    cores = core.part("cores")
    assert cores * core.peak("matrix", "bfloat16") == 123e12
    assert cores * core.bandwidth_bytes_s["memory"].value == 900e9
    assert cores * core.memory_bytes["memory"].value == 32 * 2**30
    array = core.part("systolic_rows") * core.part("systolic_columns")
    derived = 2 * array * core.part("matrix_units") * core.clock_hz.value
    assert derived == pytest.approx(core.peak("matrix", "bfloat16"), rel=0.01)
    assert 2 * 128 * 8 * core.clock_hz.value == pytest.approx(
        core.peak("vector", "float32"), rel=0.01
    )


def test_the_pynq_z2_carries_an_xc7z020() -> None:
    """AMD DS190; the same budgets in FINN's platform table."""
    board = hw_profiles.load("pynq-z2")
    budget = {name: board.part(name) for name in ("lut", "ff", "bram18", "dsp")}
    assert budget == {"lut": 53200, "ff": 106400, "bram18": 280, "dsp": 220}
    assert board.part("bram18") * 18 * 1024 / 8 == 630 * 1024  # 630 KB of block RAM
    assert board.bandwidth_bytes_s["memory"].value == 1050e6 * 16 / 8
    shares = [board.part(f"usable_{name}") for name in ("lut", "ff", "bram", "dsp")]
    assert shares == [0.7, 0.5, 0.8, 0.8]


def test_what_is_no_data_sheet_says_that_it_is_an_assumption() -> None:
    for name in SHIPPED:
        profile = hw_profiles.load(name)
        assert profile.uncertainty.source.startswith("assumption")
        for figure in profile.efficiency.values():
            assert figure.source.startswith("assumption")


def test_profiles_need_neither_torch_nor_numpy_nor_pydantic() -> None:
    code = (
        "import sys, hw_profiles; [hw_profiles.load(n) for n in hw_profiles.names()];"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'nas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
