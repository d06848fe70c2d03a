"""The search benchmark: its tables, its peers, its figures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import search, search_peers, search_tasks
from benchmarks.search_peers import STRATEGIES, play
from benchmarks.search_tasks import SearchTask, accel25_choices, load_tasks
from nas.choices import canonical, count, sample
from nas.trials import CandidateError
from search_spaces.macro import genotype_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up table: the more operations, the better, and two trainings that differ."""
    rng, rows = np.random.default_rng(0), []
    for digits in itertools.product("012", repeat=8):
        work = sum(int(d) * (1 + i % 3) for i, d in enumerate(digits))
        accuracy = 95 - 50 / (1 + work) + 0.2 * int(digits[3])
        noise = rng.normal(0, 0.3, 2)
        flops = 1e6 * (5 + sum(int(d) * (4 - i % 2) for i, d in enumerate(digits)))
        rows.append(("".join(digits), *(accuracy + noise), 1000 + work, flops))
    path = tmp_path_factory.mktemp("tables")
    table = pd.DataFrame(rows, columns=["arch", "acc1", "acc2", "params", "flops"])
    table.to_csv(path / "nasbench_macro_toy.csv.gz", index=False)
    return path


@pytest.fixture(scope="module")
def task(folder: Path) -> SearchTask:
    (found,) = load_tasks(folder, ["macro:flops"])
    return found


def test_a_table_is_a_task_in_shares(task: SearchTask) -> None:
    genotype = genotype_of("00000000")

    known = task.known(genotype)
    assert known["flops"] == 5e6  # of the table; what screening says besides is counted
    assert (known["macs"], known["params"], known["longest_path"]) == (7713280.0, 387882.0, 6.0)
    assert -task.told(genotype)[0] == pytest.approx(0.45, abs=0.01)
    assert task.told(genotype) == task.scored(genotype)
    assert task.regret([genotype_of("".join(d)) for d in itertools.product("012", repeat=8)]) == (
        pytest.approx(0, abs=1e-9)
    )
    assert task.regret([genotype]) > 50


def test_noisy_ones_are_told_one_training_and_scored_by_the_others(folder: Path) -> None:
    (noisy,) = load_tasks(folder, ["macro:flops"], noisy=True)
    table = pd.read_csv(folder / "nasbench_macro_toy.csv.gz", dtype={"arch": str})
    row = table[table["arch"] == "01201201"].iloc[0]
    genotype = genotype_of("01201201")

    assert noisy.told(genotype)[0] == pytest.approx(-row["acc1"] / 100)
    assert noisy.scored(genotype)[0] == pytest.approx(-row["acc2"] / 100)


def test_latencies_are_modeled_where_there_is_no_column(folder: Path) -> None:
    names = [task.name for task in load_tasks(folder)]
    assert names == ["macro:flops", *(f"macro:{name}" for name in search_tasks.PROFILES)]

    (tpu,) = load_tasks(folder, ["macro:tpu-v5e"])
    small, large = (tpu.known(genotype_of(d * 8))[tpu.cost] for d in "02")
    assert 0 < small < large


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - {"Optuna GP"}))
def test_each_strategy_trains_no_network_twice(task: SearchTask, strategy: str) -> None:
    if strategy.startswith("pymoo"):
        pytest.importorskip("pymoo")
    trained = play(strategy, task, 24, seed=0).trained

    assert len({tuple(genotype.items()) for genotype in trained}) == len(trained) == 24


def test_networks_that_are_not_in_the_table_cost_no_training(task: SearchTask) -> None:
    def refusing(genotype):  # type: ignore[no-untyped-def]
        if genotype["layer1"] == "identity":
            raise CandidateError("not there")
        return task.known(genotype)

    some = SearchTask(
        task.name, task.choices, task.cost, refusing, task.accuracy, task.reference, task.best
    )
    for strategy in ("guided random", "DEAP NSGA-II"):
        trained = play(strategy, some, 15, seed=1).trained
        assert len(trained) == 15
        assert all(genotype["layer1"] != "identity" for genotype in trained)


def test_the_space_with_conditions() -> None:
    import random

    choices, rng = accel25_choices(), random.Random(0)

    assert len(choices) == 25
    assert count(choices) > 10**9
    for _ in range(20):
        genotype = sample(choices, rng)
        digits = search_tasks._digits(canonical(choices, genotype))
        assert ((digits[3] == 0) | (digits[0] > 1)).all()


def test_the_report_and_the_picture(folder: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    kept, picture = tmp_path / "rows.json", tmp_path / "curves.svg"
    arguments = ["--data", str(folder), "--tables", "macro:flops", "--seeds", "2", "--budget", "50"]
    arguments += ["--strategies", "random,DEAP NSGA-II", "--json", str(kept)]

    assert search.main([*arguments, "--picture", str(picture)]) == 0
    assert "DEAP NSGA-II" in capsys.readouterr().out
    assert picture.read_text().startswith("<?xml")
    rows = json.loads(kept.read_text())["rows"]
    assert len(rows) == 4
    curve = [rows[0]["curve"][str(n)] for n in (10, 20, 30, 40, 50)]
    assert curve == sorted(curve, reverse=True)

    assert search.main(arguments) == 0
    assert json.loads(kept.read_text())["rows"] == rows


def test_mean_and_interval_by_seed() -> None:
    rows = [
        {"task": task, "strategy": "s", "seed": seed, "curve": {50: value}}
        for task, seed, value in [("a", 0, 1.0), ("a", 1, 3.0), ("b", 0, 5.0), ("b", 1, 7.0)]
    ]

    assert search.regrets(rows, "s", 50, "a") == [1.0, 3.0]
    assert search.regrets(rows, "s", 50) == [3.0, 5.0]
    # A search that has tried out its space stays where it is, one that was cut short does not.
    assert search.regrets(rows, "s", 200, "a") == [1.0, 3.0]
    assert search.regrets([{**row, "cut": True} for row in rows], "s", 200, "a") == []
    low, high = search.interval([1.0, 3.0, 2.0, 2.0])
    assert 1 <= low < 2 < high <= 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "must be a folder, but nowhere is none"),
        (["--data", ".", "--tables", "macro"], "holds no task macro"),
        (["--data", ".", "--strategies", "magic"], "--strategies must be all or some of"),
    ],
)
def test_bad_arguments_are_one_line(  # type: ignore[no-untyped-def]
    arguments, message, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)

    assert search.main(arguments) == 2
    line = capsys.readouterr().err
    assert message in line
    assert line.count("\n") == 1


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "nasbench_macro_bad.csv"
    file.write_text("arch,flops\n00000000,1\n")
    with pytest.raises(ValueError, match="must have columns acc1"):
        load_tasks(tmp_path)
    file.write_text("name,flops\n00000000,1\n")
    with pytest.raises(ValueError, match="must have a column arch or ops"):
        load_tasks(tmp_path)


def test_what_is_presented_is_what_was_told_to_be_best(task: SearchTask) -> None:
    trainer = search_peers.Trainer(task, 3)
    for digits in ("00000000", "22222222", "20202020"):
        trainer(genotype_of(digits))
    trainer.told = [(-0.5, 1.0), (-0.9, 2.0), (-0.4, 3.0)]

    assert trainer.presented(3) == trainer.trained[:2]
    trainer.expected = lambda number: [(-0.5, 1.0), (-0.4, 2.0), (-0.6, 3.0)]
    assert trainer.presented(3) == [trainer.trained[0], trainer.trained[2]]
