"""The benchmarks of earlier results and of repeated trainings, on a made-up table."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import confirmation, transfer
from benchmarks.search_tasks import load_tasks, repeat_deviation
from search_spaces.macro import genotype_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, rows = np.random.default_rng(0), []
    for digits in itertools.product("012", repeat=8):
        work = sum(int(d) * (1 + i % 3) for i, d in enumerate(digits))
        accuracies = 95 - 50 / (1 + work) + rng.normal(0, 0.3, 3)
        flops = 1e6 * (5 + sum(int(d) * (4 - i % 2) for i, d in enumerate(digits)))
        rows.append(("".join(digits), *accuracies, 1000 + work, flops))
    path = tmp_path_factory.mktemp("tables")
    columns = ["arch", "acc1", "acc2", "acc3", "params", "flops"]
    pd.DataFrame(rows, columns=columns).to_csv(path / "nasbench_macro_toy.csv.gz", index=False)
    return path


def test_the_deviation_of_a_training_is_that_of_the_table(folder: Path) -> None:
    assert repeat_deviation(folder) == pytest.approx(0.003, rel=0.05)
    with pytest.raises(ValueError, match="no table with repeated trainings"):
        repeat_deviation(folder.parent / "nothing")


def test_without_noise_a_second_look_changes_nothing(folder: Path) -> None:
    (task,) = load_tasks(folder, ["macro:flops"])
    rows = confirmation.run(task, 0.0, seed=0, budget=12, times=2)
    found = {row["way"]: row for row in rows}
    for way in ("single", "members", "confirm", "longer"):
        assert found[way]["promise"] == pytest.approx(0, abs=1e-9)
    assert found["confirm"]["regret"] == pytest.approx(found["single"]["regret"])
    assert found["longer"]["more"] == found["confirm"]["more"] == found["members"]["more"] > 0


def test_a_promise_is_what_is_stated_above_the_truth(folder: Path) -> None:
    (task,) = load_tasks(folder, ["macro:flops"])
    searched = confirmation.Searched(task, 0.02, seed=0)
    genotype = genotype_of("01201201")
    for repeat in range(3):
        searched.train(genotype, repeat)
    accuracies = [trial.metrics["accuracy"] for trial in searched.trials]
    assert len(set(accuracies)) == 3
    _, promise = searched.worth(searched.told())
    assert promise == pytest.approx(100 * (np.mean(accuracies) + task.scored(genotype)[0]))


def test_the_made_up_task_goes_together_with_the_real_one(folder: Path) -> None:
    (task,) = load_tasks(folder, ["macro:flops"])
    told = transfer.other_task(task, seed=0)
    genotypes = [genotype_of("".join(d)) for d in itertools.product("012", repeat=8)][::13]
    both = np.array([(told(g)[0], task.scored(g)[0]) for g in genotypes])
    assert 0.5 < np.corrcoef(both.T)[0, 1] < 0.95


def test_what_is_handed_over(folder: Path) -> None:
    results = [(genotype_of("0000000" + d), (0.1 * int(d), 5.0)) for d in "012"]
    assert transfer.handed_over(results, "device", 0)[2] == (results[2][0], (0.2, None))
    assert [c[0] for _, c in transfer.handed_over(results, "reversed", 0)] == [0, -0.1, -0.2]
    shuffled = [c[0] for _, c in transfer.handed_over(results, "shuffled", 0)]
    assert sorted(shuffled) == [0, 0.1, 0.2]


def test_each_way_is_searched(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--seeds", "1", "--earlier", "9", "--budget", "11"]
    pairs = ["--pairs", "macro:flops>macro:flops"]
    assert transfer.main(["--data", str(folder), *options, *pairs]) == 0
    printed = capsys.readouterr().out
    assert all(how in printed for how in ("none", "device", "task", "shuffled", "reversed"))


@pytest.mark.parametrize("pairs", ["macro:flops", "macro:flops>macro:nothing"])
def test_bad_pairs_are_one_line(
    folder: Path, pairs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transfer.main(["--data", str(folder), "--pairs", pairs]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
