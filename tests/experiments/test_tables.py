from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from experiments.fronts import front_trials
from experiments.second_look import OUTSIDE
from experiments.tables import (
    columns_of,
    compression_of,
    duration,
    latency_cell,
    setting_lines,
    shown,
    trial_tables,
)
from nas.trials import Provenance, Trial
from tests.experiments.builders import MODELED, trial
from tests.experiments.fake_trials import OBJECTIVES, fake_trials


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0, "0"),
        (0.0123456, "0.01235"),
        (0.95, "0.95"),
        (9999.0, "9999"),
        (12345.0, "12.3k"),
        (432100.0, "432k"),
        (1234567.0, "1.23M"),
        (2.5e9, "2.5G"),
        (-20000.0, "-20k"),
    ],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (125, "2:05 min"), (3725, "1:02 h")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def with_compression(prune: str, quantize: str) -> Trial:
    genotype = {"prune.method": prune, "quantize.scheme": quantize}
    return Trial(0, genotype, "t", "c", "done")


def test_compression_is_named_where_there_is_any() -> None:
    assert compression_of(with_compression("none", "none")) == "-"
    assert compression_of(with_compression("structured", "static")) == "structured, static"
    assert compression_of(with_compression("none", "dynamic")) == "dynamic"
    assert compression_of(Trial(0, {}, "t", "c", "done")) == "-"
    served = {"deploy.cpu.runtime": "openvino", "deploy.cpu.dtype": "bfloat16"}
    assert compression_of(Trial(0, served, "t", "c", "done")) == "openvino, bfloat16"


def test_a_latency_carries_its_bar() -> None:
    one = trial(0, 0.9, 0.01, latency_ms__fpga=2.0)
    assert latency_cell(one, "latency_ms.cpu") == "0.01 -10/+10%"
    assert latency_cell(one, "latency_ms.fpga") == "2 -50/+50%"
    assert latency_cell(one, "latency_ms.gpu") == ""
    bare = Trial(0, {}, "t", "c", "done", {"latency_ms.x": 0.5}, {})
    assert latency_cell(bare, "latency_ms.x") == "0.5"


def heads(trials: Sequence[Trial]) -> list[str]:
    return [" ".join(column.head.split()) for column in columns_of(trials)]


def test_measured_and_modeled_never_share_a_column() -> None:
    one = trial(0, 0.9, 0.01)
    two = Trial(1, {}, "t", "c", "done", {"latency_ms.cpu": 0.5}, {"latency_ms.cpu": MODELED})
    assert heads([one, two])[-2:] == ["latency_ms.cpu measured", "latency_ms.cpu modeled"]
    *_, measured, modeled = columns_of([one, two])
    assert (measured.cell(two), modeled.cell(one)) == ("", "")
    assert modeled.cell(two).startswith("0.5 ")


def test_a_latency_of_unknown_source_says_so() -> None:
    bare = Trial(0, {}, "t", "c", "done", {"latency_ms.cpu": 0.5}, {})
    assert heads([bare])[-1] == "latency_ms.cpu source unknown"


def test_only_what_is_known_gets_a_column() -> None:
    assert heads([trial(0, 0.9, 0.01)]) == [
        "trial",
        "compression",
        "accuracy",
        "latency_ms.cpu measured",
    ]
    full = heads(fake_trials(3))
    assert {"with noise", "with impulses", "size [kB]", "zipped [kB]", "MACs"} < {
        head.removeprefix("accuracy ") for head in full
    }


@pytest.mark.parametrize("width", [40, 80, 100, 133, 250])
def test_tables_fit_and_lose_nothing(width: int) -> None:
    trials = front_trials(fake_trials(40), OBJECTIVES)
    tables = list(trial_tables(trials, width, marks={trials[1].number: "knee"}))
    console = Console(width=width, file=io.StringIO())
    for table in tables:
        assert console.measure(table).maximum <= width
        console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    assert text.count("knee") == 1
    # Every table begins with the number of the trial; every other column is there once.
    names = [str(column.header) for table in tables for column in table.columns]
    assert names.count("trial") == len(tables)
    expected = [column.head for column in columns_of(trials)]
    assert sorted(set(names) - {""}) == sorted(expected)
    assert len(names) - len(tables) == len(expected)


def test_the_setting_of_each_latency_is_said_once() -> None:
    trials = [trial(0, 0.9, 0.01, latency_ms__fpga=1.5), trial(1, 0.8, 0.01, latency_ms__fpga=2.0)]
    assert setting_lines(trials) == [
        "latency_ms.cpu: measured, host-cpu, onnxruntime 1.0, batch 1, threads 1, p25 of CPU time",
        "latency_ms.fpga: modeled, pynq-z2, batch 1, roofline",
    ]
    other = Trial(2, {}, "t", "c", "done", {}, {"latency_ms.cpu": Provenance("measured", batch=8)})
    assert len(setting_lines([*trials, other])) == 3


def test_of_the_methods_only_what_is_common_is_said() -> None:
    trials = [
        Trial(
            number,
            {},
            "t",
            f"c{number}",
            "done",
            {},
            {"latency_ms.cpu": Provenance("measured", method=f"p25, 25 blocks, x{number}, fine")},
        )
        for number in range(2)
    ]
    assert setting_lines(trials) == ["latency_ms.cpu: measured, batch 1, p25, 25 blocks"]


def test_of_what_is_less_certain_there_is_a_count() -> None:
    remarks = ["", f", {OUTSIDE} (50% of it in ...)", ", noisy: disturbed", f", {OUTSIDE} (x)"]
    trials = [
        Trial(n, {}, "t", "c", "done", {}, {"latency_ms.a": Provenance("modeled", method="m" + r)})
        for n, r in enumerate(remarks)
    ]
    (line,) = setting_lines(trials)
    assert line.startswith("latency_ms.a: modeled, batch 1, m, 2 of 4 outside of what its calib")
    assert line.endswith(", 1 of 4 while the machine was disturbed all the time (wide bars)")


def test_what_was_measured_comes_first() -> None:
    provenance = {"latency_ms.a": MODELED, "latency_ms.b": Provenance("measured")}
    one = Trial(0, {}, "t", "c", "done", {"latency_ms.a": 1.0, "latency_ms.b": 1.0}, provenance)
    assert heads([one])[-2:] == ["latency_ms.b measured", "latency_ms.a modeled"]
    assert setting_lines([one])[0].startswith("latency_ms.b: measured")
