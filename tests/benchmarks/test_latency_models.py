"""The benchmark of latency models on small collections with made-up devices."""

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import latency_models
from benchmarks.latency_data import LOWERINGS, Collection, Setting, collections, column_of
from benchmarks.latency_models import Case, score, split
from evaluators.modeled import predict
from search_spaces import mnasnet

NETWORKS = 40
COLUMNS = ["latency_zcu102", "throughput_a100", "lat_pixel3", "lat_nobody_1"]


def strings(draw: np.random.Generator) -> tuple[str, str, str, str]:
    """A network of the space ``mnasnet``."""
    found = []
    for options in ((1, 4, 6), (3, 5), (1, 2, 3), (0, 1)):
        found.append("".join(str(draw.choice(options)) for _ in range(7)))
    return found[0], found[1], found[2], found[3]


def slower(collection: Collection, setting: Setting, batch: int = 1) -> np.ndarray[Any, Any]:
    """Latencies of a device that is 1.3 times as slow as its profile says, and not quite even."""
    profile = setting.load()
    exact = predict(collection.tables[profile.lowering], profile, batch).latency_ms
    noise = np.random.default_rng(len(setting.profile)).uniform(0.98, 1.02, len(exact))
    return np.asarray(1.3 * exact * noise)


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file of each collection, whose columns are modeled."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    networks = pd.DataFrame([strings(draw) for _ in range(NETWORKS)], columns=["e", "k", "l", "se"])
    networks["val_top1"] = 60.0
    ops = ["".join(map(str, draw.integers(1, 5, 6))) for _ in range(NETWORKS)]
    cells = pd.DataFrame({"ops": [*ops, *ops[:6], "000000"], "uid": [*range(NETWORKS), *range(7)]})
    cells["connected"] = [True] * (NETWORKS + 6) + [False]
    networks.to_csv(folder / "accel_x.csv.gz", index=False)
    cells.to_csv(folder / "nb201_x.csv.gz", index=False)
    accel, nb201 = collections(folder)
    networks["latency_zcu102"] = slower(accel, Setting("zcu102-dpu"))
    batch = 128 * 1000 / slower(accel, Setting("nvidia-a100", "eager", "float16"), 128)
    networks["throughput_a100"] = batch
    networks["throughput_a100_std"] = 1.0
    networks.loc[3, "latency_zcu102"] = np.nan
    pixel3, phone = Setting("pixel3", "tflite", "float32"), Setting("generic-phone", "tflite")
    cells["lat_pixel3"] = [*slower(nb201, pixel3), np.nan]
    cells["lat_nobody_1"] = [*slower(nb201, phone), np.nan]
    networks.to_csv(folder / "accel_x.csv.gz", index=False)
    cells.to_csv(folder / "nb201_x.csv.gz", index=False)
    return folder


@pytest.fixture(scope="module", autouse=True, name="_traced_once")
def _collections_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency_models, "collections", remembered)
        yield


@functools.lru_cache(maxsize=8)
def remembered(folder: Path, lowerings: tuple[str, ...] = LOWERINGS) -> list[Collection]:
    """The collections of a folder, read and traced once for all lowerings that are asked for."""
    return collections(folder, lowerings)


def run(data: Path, *arguments: str) -> list[dict[str, Any]]:
    """The rows that the command writes."""
    path = data / "rows.json"
    assert latency_models.main(["--data", str(data), "--json", str(path), *arguments]) == 0

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    rows: list[dict[str, Any]] = json.loads(path.read_text(), parse_constant=refuse)
    return rows


def of(rows: Sequence[dict[str, Any]], **wanted: object) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


@pytest.fixture(scope="module", name="rows")
def _rows(data: Path) -> list[dict[str, Any]]:
    return run(data, "--shots", "0,10,1000", "--seeds", "2")


class TestRows:
    def test_each_column_has_its_models_and_shots(self, rows: list[dict[str, Any]]) -> None:
        assert {row["column"] for row in rows} == set(COLUMNS)
        assert {row["shots"] for row in rows} == {0, 10}  # there are not 1000
        zero_shot = {(row["column"], row["model"]) for row in of(rows, shots=0)}
        assert zero_shot == {(c, m) for c in COLUMNS[:3] for m in ("physical", "macs")}
        models = {c: {row["model"] for row in of(rows, shots=10, column=c)} for c in COLUMNS}
        assert models["latency_zcu102"] == {"physical", "macs", "lookup"}
        assert models["lat_pixel3"] == {"physical", "macs", "lookup", "op_count"}

    def test_fields_and_their_ranges(self, rows: list[dict[str, Any]]) -> None:
        fields = {"column", "model", "shots", "seeds", "n_test"}
        fields |= {"spearman", "kendall", "w10", "mape", "coverage90"}
        for row in rows:
            assert fields <= set(row)
            assert row["seeds"] == (2 if row["shots"] else 1)
            assert -1 <= row["kendall"] <= 1
            assert -1 <= row["spearman"] <= 1
            only_ranks = row["model"] == "macs" and not row["shots"]
            assert (row["w10"] is None) == only_ranks
            if not only_ranks:
                assert 0 <= row["w10_worst_seed"] <= row["w10"] <= 100
            assert (row["coverage90"] is None) == (row["model"] != "physical")

    def test_networks_without_a_measurement_are_left_out(self, rows: list[dict[str, Any]]) -> None:
        zcu102 = of(rows, column="latency_zcu102", model="physical")
        assert [row["n_test"] for row in zcu102] == [NETWORKS - 1, NETWORKS - 11]
        pixel3 = of(rows, column="lat_pixel3", model="physical")
        assert pixel3[0]["n_test"] == NETWORKS + 6
        assert pixel3[1]["n_test"] <= NETWORKS - 4

    def test_devices_that_are_like_their_profile_are_predicted(
        self, rows: list[dict[str, Any]]
    ) -> None:
        for column in COLUMNS[:3]:
            zero_shot, ten = of(rows, column=column, model="physical")
            assert zero_shot["spearman"] > 0.97
            assert zero_shot["mape"] == pytest.approx(23, abs=3)  # 1 - 1 / 1.3
            assert ten["mape"] < 4
            assert ten["w10"] > 95
            assert ten["mape"] < of(rows, column=column, model="macs", shots=10)[0]["mape"]

    def test_the_kind_of_an_unknown_device_is_found(self, rows: list[dict[str, Any]]) -> None:
        (found,) = of(rows, column="lat_nobody_1", model="physical")
        assert "generic-phone tflite" in found["profile"]
        assert found["mape"] < 5


class TestOptions:
    def test_devices_by_name_or_by_column(self, data: Path) -> None:
        rows = run(data, "--devices", "zcu102,lat_pixel3", "--shots", "0")
        assert {row["column"] for row in rows} == {"latency_zcu102", "lat_pixel3"}

    @pytest.mark.parametrize("name", ["lat_nobody_1", "nobody"])
    def test_a_profile_for_a_device_that_has_none(self, data: Path, name: str) -> None:
        told = ("--profile", f"{name}=generic-phone/tflite/float32")
        rows = run(data, "--devices", "nobody", *told, "--shots", "0,10", "--seeds", "1")
        assert {row["profile"] for row in of(rows, model="physical")} == {
            "generic-phone tflite float32"
        }
        assert of(rows, model="physical", shots=0)[0]["spearman"] > 0.97

    def test_a_kind_is_a_choice_among_its_profiles(self, data: Path) -> None:
        told = ("--devices", "nobody", "--profile", "nobody=cpu", "--shots", "10", "--seeds", "1")
        (row,) = of(run(data, *told), model="physical")
        assert row["profile"].startswith("generic-cpu")

    def test_extrapolation_tests_on_the_dearest_quarter(self, data: Path) -> None:
        told = ("--devices", "zcu102", "--shots", "0,10,20", "--seeds", "2", "--extrapolate")
        rows = run(data, *told)
        assert {row["shots"] for row in rows} == {10}  # the cheaper half has 19
        (row,) = of(rows, model="physical")
        assert (row["n_test"], row["tested_on"]) == (10, "dearest quarter")
        assert row["w10"] > 80

    def test_networks_can_be_chosen(self, data: Path) -> None:
        told = ("--devices", "zcu102", "--shots", "10", "--seeds", "1")
        at_random, chosen = run(data, *told), run(data, *told, "--designed")
        assert at_random != chosen
        assert of(chosen, model="physical")[0]["mape"] < 4

    def test_it_is_deterministic(self, data: Path) -> None:
        told = ("--devices", "zcu102", "--shots", "10", "--seeds", "2")
        assert run(data, *told) == run(data, *told)

    def test_a_table_is_printed(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        latency_models.main(["--data", str(data), "--devices", "zcu102", "--shots", "0"])
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split()[:3] == ["column", "model", "shots"]
        assert [line.split()[:3] for line in lines[1:]] == [
            ["latency_zcu102", "physical", "0"],
            ["latency_zcu102", "macs", "0"],
        ]


@pytest.fixture(scope="module", name="case")
def _case(data: Path) -> Case:
    nb201 = remembered(data)[1]
    column = column_of("lat_pixel3")
    assert column is not None
    measured = nb201.rows["lat_pixel3"].to_numpy(dtype=float)
    return Case(nb201, column, measured, (Setting("pixel3", "tflite", "float32"),))


class TestSplit:
    @pytest.mark.parametrize("designed", [False, True])
    @pytest.mark.parametrize("seed", range(4))
    def test_networks_of_one_class_are_on_one_side(
        self, case: Case, designed: bool, seed: int
    ) -> None:
        train, test = split(case, 10, seed, False, designed)
        groups = case.collection.groups
        assert len(train) == len(set(train)) == 10
        assert not set(groups[train]) & set(groups[test])
        twins = sum(np.isin(groups, groups[train])) - 10
        assert len(test) == NETWORKS + 6 - 10 - twins

    def test_some_twins_would_else_have_been_on_both(self, case: Case) -> None:
        train, test = split(case, 30, 0, False, False)
        assert len(train) + len(test) < NETWORKS + 6

    def test_seeds_draw_others(self, case: Case) -> None:
        one, other = (set(split(case, 10, seed, False, False)[0]) for seed in (0, 1))
        assert one != other

    def test_the_dearest_are_dearer_than_what_was_measured(self, case: Case) -> None:
        train, test = split(case, 15, 0, True, False)
        assert case.measured[train].max() < case.measured[test].min()

    def test_disconnected_cells_are_left_out(self, case: Case) -> None:
        assert "000000" not in set(case.collection.rows["ops"])


class TestBadInput:
    def refused(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
        assert latency_models.main(list(arguments)) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    def test_a_folder_that_is_none_or_empty(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "must be a folder" in self.refused(capsys, "--data", str(tmp_path / "x"))
        assert "holds neither" in self.refused(capsys, "--data", str(tmp_path))

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("accel_x.csv", "e,k,l\n1,2,3\n", "must have a column 'se', but has e, k, l"),
            ("nb201_x.csv", "arch,lat_x\n1,2\n", "must have a column 'ops'"),
            ("nb201_x.csv", "ops,lat_x\n12345,2\n", "must be 6 digits .* but got '12345'"),
            ("nb201_x.csv", "ops,lat_x\n,2\n", "column 'ops', but some is missing"),
            ("nb201_x.csv", "ops,lat_x\n123412,fast\n", "fast"),
            ("nb201_x.csv", "", "cannot be read: No columns"),
            ("nb201_x.csv.gz", "no archive", "cannot be read"),
        ],
    )
    def test_a_file_that_is_wrong(
        self, tmp_path: Path, name: str, text: str, message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        (tmp_path / name).write_text(text, encoding="utf-8")
        error = self.refused(capsys, "--data", str(tmp_path))
        assert pd.Series([error]).str.contains(message).all(), error

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--devices", "tpuv9"), "no column or device 'tpuv9' (known: "),
            (("--profile", "tpuv9=tpu-v3"), "no column or device 'tpuv9' (known: "),
            (("--profile", "nobody=tpu-v9"), "unknown hardware profile 'tpu-v9'"),
            (("--profile", "nobody=pixel3/tvm"), "lowering must be one of"),
            (("--profile", "nobody=pynq-z2"), "lowering must be one of"),
            (("--profile", "nobody=a/b/c/d"), "a profile must be NAME"),
        ],
    )
    def test_names_that_nobody_knows(
        self, data: Path, arguments: tuple[str, ...], message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        assert message in self.refused(capsys, "--data", str(data), "--shots", "0", *arguments)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--shots", "3"),
            ("--shots", "ten"),
            ("--shots", "-1"),
            ("--seeds", "0"),
            ("--profile", "a100"),
            ("--json", "/nowhere/at/all.json"),
        ],
    )
    def test_values_that_cannot_be(
        self, tmp_path: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            latency_models.main(["--data", str(tmp_path), *arguments])
        assert caught.value.code == 2
        assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "device", "batch", "is_throughput"),
    [
        ("lat_1080ti_32", "1080ti", 32, False),
        ("lat_gold_6240", "gold_6240", 1, False),
        ("lat_essential_ph_1", "essential_ph_1", 1, False),
        ("latency_zcu102", "zcu102", 1, False),
        ("throughput_a100", "a100", 0, True),
    ],
)
def test_what_the_name_of_a_column_says(
    name: str, device: str, batch: int, is_throughput: bool
) -> None:
    column = column_of(name)
    assert column is not None
    assert (column.device, column.batch, column.is_throughput) == (device, batch, is_throughput)


@pytest.mark.parametrize("name", ["uid", "val_top1", "throughput_a100_std", "latency"])
def test_other_columns_are_none(name: str) -> None:
    assert column_of(name) is None


def test_throughput_becomes_the_time_of_a_batch() -> None:
    column = column_of("throughput_a100")
    assert column is not None
    assert column.batch_on(Setting("nvidia-a100").load()) == 128
    assert column.milliseconds(np.array([6400.0]), 128).tolist() == [20.0]


def test_a_score_of_known_predictions() -> None:
    measured = np.array([1.0, 2.0, 4.0, 8.0])
    predicted = measured * [1.05, 1.0, 1.2, 0.8]
    found = score(measured, predicted, (predicted * 0.9, predicted * 1.1))
    assert (found.spearman, found.kendall, found.w10) == pytest.approx((1, 1, 50))
    assert found.mape == pytest.approx(100 * 0.45 / 4)
    assert found.coverage90 == 50
    assert np.isnan(score(measured, predicted, None).coverage90)
    assert np.isnan(score(measured, predicted, None, ranks_only=True).mape)


def test_digits_are_those_of_the_space() -> None:
    assert mnasnet.genotype_of(*strings(np.random.default_rng(0)))
