"""The commands that look at runs: front, status, compare, devices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.experiments.builders import CONFIG, make_run, trial
from tests.experiments.commands.conftest import Nas

TRIALS = [
    trial(0, 0.5, 0.01, 10, latency_ms__fpga=2.0),
    trial(1, 0.9, 0.02, 20, latency_ms__fpga=2.5),
    trial(2, 0.95, 0.2, 400, latency_ms__fpga=3.0, macs=123456),
    trial(3, 0.4, 0.5),
    trial(4, status="failed"),
]


def test_front_shows_every_latency_with_its_source_and_spread(nas: Nas, home: Path) -> None:
    make_run(home, TRIALS)
    typed = nas("front", "latest")
    assert typed.code == 0
    lines = typed.out.splitlines()
    heads = next(i for i, line in enumerate(lines) if line.startswith(" trial"))
    assert lines[heads].split()[-2:] == ["measured", "modeled"]
    assert lines[heads - 1].split()[-2:] == ["latency_ms.cpu", "latency_ms.fpga"]
    rows = [line.split() for line in lines[heads + 2 : heads + 5]]
    assert [row[0] for row in rows] == ["2", "1", "0"]
    assert rows[1][1] == "knee"
    assert rows[1][-4:] == ["0.02", "-55/+45%", "2.5", "-60/+20%"]
    assert "latency_ms.fpga: modeled, pynq-z2, batch 1, roofline" in typed.out
    assert "latency_ms.cpu: measured, host-cpu, onnxruntime 1.0, batch 1, threads 1" in typed.out


def test_front_shows_the_second_look_beside_the_first(nas: Nas, home: Path) -> None:
    run = make_run(home, TRIALS)
    with run.ledger() as ledger:
        ledger.set_meta("remeasured", {"cpu": {"trials": {"1": 0.0271}, "error": ""}})
    typed = nas("front", run.id)
    assert "measured again" in typed.out
    assert "0.0271" in typed.out
    assert "0.02 -55/+36%" in typed.out  # which the bar holds
    assert "0.02 -55/-45%" not in typed.out


def test_front_as_json_is_nothing_but_json(nas: Nas, home: Path) -> None:
    run = make_run(home, TRIALS)
    typed = nas("front", str(run.path), "--json")
    got = json.loads(typed.out)
    assert list(got) == ["run", "objectives", "reference_point", "front"]
    assert got["run"] == run.id
    assert [point["trial"] for point in got["front"]] == [2, 1, 0]
    assert typed.err == ""


def test_an_empty_front_is_nothing_found(nas: Nas, home: Path) -> None:
    run = make_run(home, [trial(0, status="failed")])
    for arguments in (("front",), ("front", "--json"), ("compare", "latest", "latest")):
        typed = nas(*arguments)
        assert typed.code == 1
        assert f"nas: the front of run {run.id} is empty" in typed.err
        assert typed.out == ""


def test_status_of_one_run_and_of_all(nas: Nas, home: Path) -> None:
    first, second = make_run(home, TRIALS), make_run(home)
    second.set_state("interrupted")
    everything = nas("status")
    assert everything.code == 0
    rows = [line.split() for line in everything.out.splitlines() if "tiny-" in line]
    assert {tuple(row) for row in rows} == {
        (first.id, "finished", "5/6", "3", "8", "s"),
        (second.id, "interrupted", "0/6", "0", "0", "s"),
    }
    one = nas("status", first.id)
    assert "5 of 6 (4 done, 1 failed)" in one.out
    assert "no luck" in one.out
    assert f"nas resume {second.id}" in nas("status", second.id).out


def test_status_names_a_run_that_it_cannot_read(nas: Nas, home: Path) -> None:
    make_run(home, TRIALS)
    broken = make_run(home)
    broken.ledger_path.write_bytes(b"this is no database" * 100)
    typed = nas("status")
    assert typed.code == 0
    row, _ = (line for line in typed.out.splitlines() if broken.id in line)
    assert "unreadable" in row
    assert f"{broken.ledger_path}: is damaged" in typed.out


def test_status_without_runs_is_nothing_found(nas: Nas) -> None:
    typed = nas("status")
    assert (typed.code, typed.out) == (1, "")
    assert "nas search digits-cpu" in typed.err


def test_compare_shows_both_fronts_and_their_hypervolumes(nas: Nas, home: Path) -> None:
    one, other = make_run(home, TRIALS), make_run(home, TRIALS[:1])
    typed = nas("compare", one.id, other.id, "--out", "both.png")
    assert typed.code == 0, typed.err
    assert f"Front of {one.id}: 3 points" in typed.out
    assert f"Front of {other.id}: 1 points" in typed.out
    shares = [line.split() for line in typed.out.splitlines() if line.startswith(" tiny-")]
    assert [row[0] for row in shares] == [one.id, other.id]
    assert shares[0][-1] == "100.0%"
    assert float(shares[1][-1].rstrip("%")) < 100
    assert "common reference point: accuracy" in typed.out
    assert Path("both.png").read_bytes().startswith(b"\x89PNG")


def test_compare_says_when_the_machine_had_another_speed(nas: Nas, home: Path) -> None:
    runs = [
        make_run(home, [trial(0, 0.9, 0.01, reference_ms__cpu=pace)])
        for pace in (0.0070, 0.0072, 0.0105)
    ]
    typed = nas("compare", *(each.id for each in runs))
    assert typed.code == 0, typed.err
    (note,) = [line for line in typed.out.splitlines() if "Note: " in line]
    assert f"it was 1.50 times slower during {runs[2].id} than during {runs[0].id}." in note
    assert runs[1].id not in note
    assert "Note: " not in nas("compare", runs[0].id, runs[1].id).out


def test_compare_keeps_another_batch_apart(nas: Nas, home: Path) -> None:
    one = make_run(home, TRIALS)
    other = make_run(home, TRIALS, CONFIG.replace("method: measured", "method: measured, batch: 8"))
    typed = nas("compare", one.id, other.id)
    assert typed.code == 0, typed.err
    assert typed.out.count("Hypervolume in accuracy, latency_ms.cpu") == 2
    assert "only where latency_ms.cpu is of host-cpu" in typed.out
    assert "batch 8" in typed.out
    assert (one.report_dir / "compare.png").is_file()


def test_compare_draws_other_data_in_another_picture(nas: Nas, home: Path) -> None:
    one = make_run(home, TRIALS)
    other = make_run(home, TRIALS, CONFIG.replace("size: 8", "size: 16"))
    typed = nas("compare", one.id, other.id, "--out", "fronts.png")
    assert "only where accuracy is of digits size 16" in typed.out
    assert Path("fronts.png").is_file()
    assert Path("fronts-2.png").is_file()


def test_devices_lists_profiles_and_the_source_of_each_figure(nas: Nas) -> None:
    everything = nas("devices")
    assert everything.code == 0
    for name in ("host-cpu", "nvidia-a100", "tpu-v3", "pynq-z2"):
        assert name in everything.out
    one = nas("devices", "pynq-z2")
    assert "parts.dsp" in one.out
    assert "220" in one.out
    assert "source" in one.out


def test_home_may_stand_before_or_after_the_command(
    nas: Nas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    run = make_run(elsewhere, TRIALS)
    for arguments in (("--home", elsewhere, "front"), ("front", "--home", elsewhere)):
        monkeypatch.setenv("NAS_HOME", str(tmp_path / "empty"))
        assert run.id in nas(*arguments).out
