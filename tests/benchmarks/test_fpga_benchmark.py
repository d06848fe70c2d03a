"""Published designs, row by row."""

import csv
import json
from pathlib import Path

import pytest

from benchmarks import fpga
from benchmarks.fpga_designs import cnv, design_of
from evaluators.dataflow.units import MATRIX

COLUMNS = [
    *("id", "model", "framework", "w_bits", "a_bits", "board", "clock_mhz", "folding"),
    *("throughput_fps", "latency_us", "kind"),
]
PUBLISHED = "config.h: PE 16/32/16/16/4/1/1/1/4 SIMD 3/32/32/32/32/32/4/8/1"
CNV = ["cnv", "CNV-W1A1 CIFAR10", "FINN", "1", "1", "Ultra96 (inferred)", "300 (inferred from fps)"]
ROWS = [
    [*CNV, PUBLISHED, "9149.98", "527", "measured on board"],
    ["kws", "KWS MLP 490-256-256-256-12", "FINN", "3", "3", "pynq-z2", "100",
     "SetFolding target_fps=200000 @100MHz", "", "17.46", "measured on board"],
    ["tfc", "tfc-w1a2", "FINN", "1", "2", "AUP-ZU3", "100", "", "1193937.9", "", "measured"],
    ["logic", "LogicNets JSC-S", "LogicNets", "", "", "Vivado", "1394.7", "", "", "0.003", "post"],
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with (tmp_path / fpga.TABLE).open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *ROWS])
    return tmp_path


def test_each_number_of_each_row_is_there(data: Path) -> None:
    rows = list(fpga.predicted(data))
    assert [(row.row, row.quantity) for row in rows] == [
        ("cnv", "latency_us"),
        ("cnv", "throughput_fps"),
        ("kws", "latency_us"),
        ("tfc", "throughput_fps"),
        ("logic", "latency_us"),
    ]
    assert [row.counts for row in rows] == [True, False, False, False, False]
    assert abs(rows[0].error_percent) < 5
    assert "clock inferred from this throughput" in rows[1].why
    assert "by FINN's rule for its target" in rows[2].why
    assert "found here" in rows[3].why
    assert rows[4].predicted is None
    assert "no streaming dataflow design" in rows[4].why


def test_the_command_prints_and_writes_them(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data / "rows.json"
    assert fpga.main(["--data", str(data), "--json", str(out)]) == 0
    assert "1 rows of 1 topology (CNV)" in capsys.readouterr().out
    assert [row["row"] for row in json.loads(out.read_text())] == [
        "cnv",
        "cnv",
        "kws",
        "tfc",
        "logic",
    ]


def test_a_folder_without_the_table_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fpga.main(["--data", str(tmp_path)]) == 2
    assert "error: --data must hold fpga_published.csv" in capsys.readouterr().err


def test_cnv_has_the_layers_of_its_authors() -> None:
    circuit = cnv((1, 2))
    macs = sum(unit.weights * unit.out_pixels for unit in circuit.units if unit.op in MATRIX)
    convolutions = (1_555_200, 28_901_376, 10_616_832, 14_745_600, 2_654_208, 589_824)
    assert macs == sum(convolutions) + 256 * 512 + 512 * 512 + 512 * 10
    assert [unit.in_bits for unit in circuit.units] == [8, *[2] * 10]


def test_a_row_of_an_unknown_board_is_not_predicted() -> None:
    row = dict(zip(COLUMNS, ROWS[0], strict=True)) | {"board": "somewhere"}
    assert design_of(row) == "the board or its clock is not known"
