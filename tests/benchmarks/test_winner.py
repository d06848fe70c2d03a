from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks import winner
from benchmarks.baselines import lenet5, resnet8
from benchmarks.winner import (
    Contender,
    Row,
    Trained,
    compare,
    difference,
    finalists,
    pick,
    verdict,
)
from evaluators import tasks
from evaluators.latency import Latency
from evaluators.training import TrainingConfig
from experiments.config import load_config
from nas.objectives import Constraint
from nas.task import Task
from nas.trials import Artifact, Status, Trial


def task(size: int) -> Task:
    return Task("t", "classification", (1, size, size), 10, "accuracy", "hash")


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_lenet5() -> None:
    # The textbook count of 61,706 is for 28x28 images, where 16 x 5 x 5 features are left.
    assert parameters(lenet5(task(28))) == 61_706
    for size in (16, 32, 64):
        assert lenet5(task(size))(torch.zeros(3, 1, size, size)).shape == (3, 10)


def test_resnet8() -> None:
    """MLPerf Tiny's has 78,666 parameters as Keras counts them.

    It is for RGB, its convolutions have biases, the running statistics of its batch norms count,
    and there is none on the shortcuts.
    """
    body, shortcuts = 16 + 2 * 16 + 2 * 32 + 2 * 64, 32 + 64
    colour, biases, norms = 2 * 16 * 9, body + shortcuts, 4 * body
    ours = 78_666 - colour - biases - norms + 2 * (body + shortcuts)
    assert parameters(resnet8(task(32))) == ours
    net = resnet8(task(32))
    assert net(torch.zeros(3, 1, 32, 32)).shape == (3, 10)
    assert isinstance(net, torch.nn.Sequential)
    assert net[:6](torch.zeros(3, 1, 32, 32)).shape == (3, 64, 8, 8)


def test_difference_is_welchs() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(98, 0.3, 5).tolist(), rng.normal(99, 0.6, 7).tolist()
    found = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    mean, low, high = difference(one, other)
    assert mean == pytest.approx(np.mean(one) - np.mean(other))
    assert (low, high) == pytest.approx((found.low, found.high))


def test_difference_without_spread() -> None:
    assert difference([2.0, 2.0], [1.0, 1.0]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("validation", "speedups", "picked"),
    [
        ([0.97, 0.99, 0.98], [30.0, 20.0, 10.0], 1),
        ([0.97, 0.98, 0.99], [30.0, 20.0, 10.0], 1),  # the best one is too slow
        ([0.99, 0.99, 0.99], [13.0, 20.0, 14.0], 1),  # of equals the fastest
        ([0.97, 0.98, 0.99], [3.0, 2.0, 1.0], 2),  # none is fast enough
    ],
)
def test_pick(validation: list[float], speedups: list[float], picked: int) -> None:
    assert pick(validation, speedups, goal=12.0) == picked


def trial(number: int, accuracy: float, latency_ms: float, status: Status = "done") -> Trial:
    metrics = {"accuracy": accuracy, "latency_ms.cpu": latency_ms}
    return Trial(number, {}, "t", str(number), status, metrics)


def test_finalists_are_the_front_and_what_is_next_to_it() -> None:
    front = [trial(4, 0.99, 1.0), trial(2, 0.95, 0.5)]
    others = [trial(n, 0.99 - 0.001 * n, 1.5) for n in range(10, 20)]
    faster_equal = trial(30, others[0].metrics["accuracy"], 1.2)
    too_slow, failed = trial(31, 1.0, 2.1), trial(32, 1.0, 0.1, "failed")
    trials = [*reversed(others), too_slow, failed, faster_equal, *front]
    found = finalists(trials, front, (Constraint.parse("latency_ms.cpu <= 2"),))
    assert [t.number for t in found] == [4, 2, 30, *range(10, 19)]


def test_where_nothing_is_fast_enough_the_least_slow_is_taken() -> None:
    trials = [trial(0, 0.99, 9.0), trial(1, 0.9, 3.0), trial(2, 0.99, 0.1, "failed")]
    bound = Constraint.parse("latency_ms.cpu <= 2")
    assert [t.number for t in finalists(trials, [], (bound,))] == [1]


def trained(*tests: float, validation: float = 0.99) -> list[Trained]:
    return [Trained(validation, test, Artifact("x", "0" * 64)) for test in tests]


def latency(ms: float) -> Latency:
    return Latency(ms, 0.9 * ms, 1.1 * ms, "measured")


def rows_of(speedup: float, test: float) -> list[Row]:
    contenders = [
        Contender("ResNet-8", "by hand", resnet8),
        Contender("LeNet-5", "by hand", lenet5),
        Contender("trial 3", "search", resnet8, {"depth": 1}),
        Contender("trial 9", "search", resnet8, {"depth": 2}),
    ]
    results = [
        trained(0.99, 1.0),
        trained(0.97, 0.97),
        trained(test, test + 0.01),
        trained(1.0, 1.0, validation=0.95),
    ]
    latencies = [latency(ms) for ms in (1.2, 0.01, 1.2 / speedup, 0.001)]
    return compare(contenders, results, latencies, [5, 6, 7, 8], goal=3.0)


def test_compare() -> None:
    resnet, lenet, found, hasty = rows_of(speedup=15, test=0.985)
    assert [row.picked for row in (resnet, lenet, found, hasty)] == [False, False, True, False]
    assert (resnet.difference, resnet.speedup) == (0, 1)
    assert lenet.difference == pytest.approx(-2.5)
    assert found.difference == pytest.approx(-0.5)
    assert found.difference_low < -0.5 < found.difference_high
    assert found.speedup == pytest.approx(15)
    assert found.latency_us == pytest.approx(80)
    assert (found.latency_low_us, found.latency_high_us) == pytest.approx((72, 88))
    assert found.test_sd == pytest.approx(100 * 0.01 / 2**0.5)
    assert (found.name, found.params, found.genotype) == ("trial 3", 7, {"depth": 1})


@pytest.mark.parametrize(
    ("size", "speedup", "test", "reached"),
    [
        (32, 12.5, 0.9901, True),
        (32, 11.5, 0.9901, False),
        (32, 12.5, 0.9840, False),
        (16, 4.5, 0.9901, True),
        (16, 3.5, 0.9901, False),
    ],
)
def test_verdict(size: int, speedup: float, test: float, reached: bool) -> None:
    line = verdict(rows_of(speedup, test), size)
    assert line.startswith(f"{size}x{size}: trial 3 is {speedup} times faster than ResNet-8")
    assert line.endswith("reached")
    assert ("NOT reached" in line) is not reached


def test_the_search_is_held_to_the_bound() -> None:
    config = load_config(winner.CONFIG, winner.overrides(16, 7, 3, 0.0123456))
    assert config.task.options["size"] == 16
    assert (config.budget.trials, config.seed) == (7, 3)
    assert config.constraints == ("latency_ms.cpu <= 0.0123456",)
    assert config.compression.prune == config.compression.quantize == ("none",)


def test_a_contender_is_trained_from_its_seed(tmp_path: Path) -> None:
    data = tasks.create("digits", size=16)
    contender = Contender("LeNet-5", "by hand", lenet5)
    config = TrainingConfig(epochs=1, device="cpu")
    one, again, other = (
        winner.trained(contender, data, config, seed, tmp_path) for seed in (0, 0, 1)
    )
    assert one == again
    assert one.artifact.sha256 != other.artifact.sha256
    assert 0.3 < one.test < 1
    assert 0.3 < one.validation < 1


def test_rejects_a_single_seed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        winner.main(["--seeds", "1"])
    assert "--seeds must be at least 2, but got 1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.json"
    winner.main(
        ["--size", "16", "--trials", "3", "--seeds", "2", "--epochs", "2", "--json", str(out)]
    )
    shown = capsys.readouterr().out
    assert "ResNet-8" in shown
    assert "LeNet-5" in shown
    assert "times faster than ResNet-8" in shown
    assert out.read_text().count('"name"') >= 3
