"""The shipped profiles hold the figures of the data sheets, each with its source."""

import subprocess
import sys

import pytest

import hw_profiles
from hw_profiles import HardwareProfile
from hw_profiles.files import SHIPPED as FOLDER

IN_FOLDER = {path.stem: hw_profiles.load(path) for path in sorted(FOLDER.glob("*.yaml"))}
SHIPPED = ("host-cpu", *IN_FOLDER)


@pytest.fixture(autouse=True)
def _no_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_HOME", str(tmp_path_factory.mktemp("home")))


def family(beginning: str) -> list[str]:
    return [name for name in SHIPPED if name.startswith(beginning)]


def of_kind(*kinds: str) -> list[str]:
    return [name for name, profile in IN_FOLDER.items() if profile.kind in kinds]


def test_the_devices_that_are_promised_are_there() -> None:
    cpus = "xeon-gold-6226 xeon-gold-6240 xeon-silver-4114 core-i9-10940x cortex-a72 cortex-a76"
    phones = "pixel3 samsung-a50 essential-ph-1"
    cards = "a100 h100 h200 l4 t4 rtx-3090 rtx-4090 gtx-1080-ti rtx-2080-ti"
    titans = "titan-x titan-xp titan-rtx jetson-orin-nano"
    others = "host-cpu pynq-z2 zcu102-dpu vck190-dpu"
    tpus = "tpu-v2 tpu-v3 tpu-v4 tpu-v5e tpu-v5p tpu-v6e tpu-v7x"
    streams = "arty-a7-100t ultra96 zcu104 alveo-u250"
    generic = "generic-cpu generic-gpu generic-phone generic-tpu generic-dpu"
    gpus = [f"nvidia-{name}" for name in f"{cards} {titans}".split()]
    expected = f"{cpus} {phones} {others} {tpus} {streams} {generic}".split()
    assert set(SHIPPED) == {*expected, *gpus}


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


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        # LUT, FF, block RAMs of 18 Kb, UltraRAMs, DSP slices
        ("arty-a7-100t", (63400, 126800, 270, 0, 240)),  # DS180
        ("ultra96", (70560, 141120, 432, 0, 360)),  # DS891
        ("zcu104", (230400, 460800, 624, 96, 1728)),  # DS891
        ("alveo-u250", (4 * 375000, 4 * 750000, 4 * 1152, 4 * 320, 4 * 2880)),  # behind the shell
    ],
)
def test_the_budget_of_a_chip_is_that_of_its_data_sheet(name: str, budget: tuple[int, ...]) -> None:
    board = hw_profiles.load(name)
    names = ("lut", "ff", "bram18", "uram", "dsp")
    assert tuple(board.part(each, 0.0) for each in names) == budget
    shares = [board.part(f"usable_{each}") for each in ("lut", "ff", "bram", "dsp")]
    assert shares == [0.7, 0.5, 0.8, 0.8]
    assert board.clock_hz.source.startswith("assumption: ")


@pytest.mark.parametrize("name", of_kind("cpu", "gpu", "tpu"))
def test_the_matrix_engine_is_no_slower_than_the_vector_engine(name: str) -> None:
    profile = hw_profiles.load(name)
    matrix, vector = profile.peak_ops_s["matrix"], profile.peak_ops_s["vector"]
    assert matrix.keys() == vector.keys()
    for dtype, figure in matrix.items():
        assert figure.value >= vector[dtype].value
    assert matrix["float32"].value <= matrix[profile.dtype].value


@pytest.mark.parametrize(
    ("name", "cores", "lanes"),
    [
        # NVIDIA's documents: CUDA cores, and FP16 Tensor operations a clock and core.
        ("nvidia-a100", 6912, 32),
        ("nvidia-h100", 16896, 32),
        ("nvidia-h200", 16896, 32),
        ("nvidia-l4", 7424, 8),
        ("nvidia-t4", 2560, 16),
        ("nvidia-rtx-3090", 10496, 4),
        ("nvidia-rtx-4090", 16384, 4),
        ("nvidia-rtx-2080-ti", 4352, 8),
        ("nvidia-titan-rtx", 4608, 16),
        ("nvidia-gtx-1080-ti", 3584, 2),
        ("nvidia-titan-x", 3584, 2),
        ("nvidia-titan-xp", 3840, 2),
        ("nvidia-jetson-orin-nano", 1024, 16),
    ],
)
def test_the_peaks_of_a_card_follow_from_cores_and_clock(name: str, cores: int, lanes: int) -> None:
    card = hw_profiles.load(name)
    clock = card.clock_hz.value
    assert card.peak("vector", "float32") == pytest.approx(2 * cores * clock, rel=0.1)
    assert card.peak("matrix", "float16") == pytest.approx(lanes * cores * clock, rel=0.1)
    assert cores / card.part("cores") in (64, 128)


@pytest.mark.parametrize(
    ("name", "bits", "gigabits"),
    [
        # The width of the memory bus and the data rate of a pin, from the same documents.
        ("nvidia-a100", 5120, 2.43),
        ("nvidia-h100", 5120, 5.23),
        ("nvidia-t4", 256, 10),
        ("nvidia-rtx-3090", 384, 19.5),
        ("nvidia-rtx-4090", 384, 21),
        ("nvidia-rtx-2080-ti", 352, 14),
        ("nvidia-titan-rtx", 384, 14),
        ("nvidia-gtx-1080-ti", 352, 11),
        ("nvidia-titan-x", 384, 10),
        ("nvidia-titan-xp", 384, 11.4),
        ("nvidia-jetson-orin-nano", 128, 4.25),
    ],
)
def test_the_bandwidth_of_a_card_follows_from_its_bus(
    name: str, bits: int, gigabits: float
) -> None:
    bandwidth = hw_profiles.load(name).bandwidth_bytes_s["memory"].value
    assert bandwidth == pytest.approx(bits / 8 * gigabits * 1e9, rel=0.01)


@pytest.mark.parametrize(
    ("name", "flop_per_clock", "int8"),
    [
        ("xeon-gold-6226", 64, 4),
        ("xeon-gold-6240", 64, 4),
        ("xeon-silver-4114", 32, 1),
        ("core-i9-10940x", 64, 4),
        ("cortex-a72", 8, 1.5),
        ("cortex-a76", 16, 4),
        ("pixel3", 8, 4),
        ("samsung-a50", 8, 1.5),
        ("essential-ph-1", 8, 1.5),
    ],
)
def test_the_peaks_of_a_core_follow_from_lanes_and_clock(
    name: str, flop_per_clock: int, int8: float
) -> None:
    core = hw_profiles.load(name)
    peak = core.peak("matrix", "float32")
    assert peak == pytest.approx(flop_per_clock * core.clock_hz.value)
    assert core.peak("matrix", "int8") == pytest.approx(int8 * peak)
    cache, memory = (core.bandwidth_bytes_s[place].value for place in ("cache", "memory"))
    assert cache > memory


def test_the_tpu_v2_core_is_half_of_the_documented_chip() -> None:
    """Google Cloud documentation: 45 teraflops (bf16), 700 GBps, 16 GiB a chip of two cores."""
    core = hw_profiles.load("tpu-v2")
    assert core.part("cores") * core.peak("matrix", "bfloat16") == 45e12
    assert core.part("cores") * core.bandwidth_bytes_s["memory"].value == 700e9
    assert core.part("cores") * core.memory_bytes["memory"].value == 16 * 2**30
    array = core.part("systolic_rows") * core.part("systolic_columns")
    derived = 2 * array * core.part("matrix_units") * core.clock_hz.value
    assert derived == pytest.approx(core.peak("matrix", "bfloat16"), rel=0.03)


@pytest.mark.parametrize(
    ("name", "tops"),
    [
        ("zcu102-dpu", 4096 * 281e6 / 1e12),  # PG338: 4096 operations a clock
        ("vck190-dpu", 10.24),  # PG389: C32B1
    ],
)
def test_the_peak_of_an_engine_is_the_documented_one(name: str, tops: float) -> None:
    engine = hw_profiles.load(name)
    sides = [engine.part(f"{side}_parallelism") for side in ("pixel", "input_channel")]
    products = sides[0] * sides[1] * engine.part("output_channel_parallelism")
    assert 2 * products * engine.clock_hz.value / 1e12 == pytest.approx(tops, rel=0.01)


def test_the_depthwise_engine_of_the_zcu102_is_that_of_its_guide() -> None:
    """PG338: half of the pixel parallelism, on vectors of the channel parallelism."""
    engine = hw_profiles.load("zcu102-dpu")
    assert engine.part("depthwise_pixel_parallelism") == 8 / 2
    assert engine.part("depthwise_channel_parallelism") == 16


def power_at_full_use(profile: HardwareProfile) -> float:
    """Of all cores of a CPU without its memory, of everything else with it."""
    joules, dtype = profile.energy_j, profile.dtype
    cores = profile.part("cores") if profile.kind == "cpu" else 1
    power = cores * profile.peak("matrix", dtype) / 2 * joules[f"mac_{dtype}"].value
    if profile.kind != "cpu":
        power += profile.bandwidth_bytes_s["memory"].value * joules["byte"].value
    return profile.power_w["idle"].value + power


@pytest.mark.parametrize("name", [name for name, profile in IN_FOLDER.items() if profile.energy_j])
def test_energies_add_up_to_the_power_of_the_device(name: str) -> None:
    profile = hw_profiles.load(name)
    assert power_at_full_use(profile) == pytest.approx(profile.power_w["max"].value, rel=0.01)
    assert 1e-13 < profile.energy_j[f"mac_{profile.dtype}"].value < 5e-10
    assert 1e-11 < profile.energy_j["byte"].value < 3e-10


@pytest.mark.parametrize("name", family("generic-"))
def test_what_nobody_has_described_is_all_assumed_and_very_uncertain(name: str) -> None:
    profile = hw_profiles.load(name)
    assert all(figure.source.startswith("assumption: ") for _, figure in profile.figures())
    assert profile.uncertainty.value >= 10


def test_phones_prune_as_tflite_does_and_cards_run_what_is_deployed() -> None:
    for name in ("pixel3", "samsung-a50", "essential-ph-1", "generic-phone", "cortex-a72"):
        assert hw_profiles.load(name).lowering == "tflite"
    assert {hw_profiles.load(name).lowering for name in family("nvidia-")} == {"onnxruntime"}
    assert hw_profiles.load("generic-gpu").lowering == "eager"


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
