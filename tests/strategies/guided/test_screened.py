"""What is known before training: asked for once, turned into features."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from nas.choices import Genotype
from nas.objectives import Constraint
from nas.trials import CandidateError, Provenance, Readings
from strategies.guided import screened
from strategies.guided.screened import Features, Screened


def decode(code: tuple[int, ...]) -> Genotype:
    return {"width": code[0]}


def look(genotype: Genotype) -> Mapping[str, float]:
    if genotype["width"] == 0:
        raise CandidateError("nothing left")
    return {"macs": 100.0 * int(genotype["width"]), "latency_ms.cpu": 1.0}


def test_each_candidate_is_screened_once() -> None:
    calls = []

    def counted(genotype: Genotype) -> Mapping[str, float]:
        calls.append(genotype["width"])
        return look(genotype)

    known = Screened(counted, [Constraint.parse("macs <= 200")], decode)

    assert [known((width,)).violation for width in (2, 4, 0, 4)] == [0.0, 1.0, math.inf, 1.0]
    assert calls == [2, 4, 0]
    assert known.names == ("macs", "latency_ms.cpu")
    assert known.values([(3,), (0,)])[0].tolist() == [300.0, 1.0]
    assert np.isnan(known.values([(0,)])).all()


def test_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screened, "KEPT", 2)
    known = Screened(look, [], decode)
    for width in (1, 2, 3, 1):
        assert known((width,)).values == (100.0 * width, 1.0)


def test_estimates_are_told_from_what_is_known() -> None:
    def readings(genotype: Genotype) -> Readings:
        origin = Provenance(source="modeled", low=1.0, high=3.0)
        return Readings(
            {"latency_ms.cpu": 2.0, "macs": 1.0},
            {"estimated_latency_ms.cpu": origin, "macs": origin},
        )

    known = Screened(readings, [], decode)
    known((1,))
    assert known.estimated == {"latency_ms.cpu"}


def test_without_a_screen_nothing_is_known() -> None:
    known = Screened(None, [], decode)

    assert known((1,)).violation == 0
    assert known.values([(1,), (2,)]).shape == (2, 0)


def test_features_are_of_a_size_whatever_the_unit() -> None:
    rng = np.random.default_rng(0)
    logs, shares = rng.normal(3, 2, 400), rng.random(400) - 0.5
    sample = np.column_stack([np.exp(logs), shares, np.full(400, 7.0), np.exp(2 * logs)])
    features, other = Features.of(sample), Features.of(sample * [1000.0, 1.0, 5.0, 0.1])

    # The third never varies, and the fourth says what the first does.
    assert features.columns.tolist() == [0, 1]
    found = features(sample)
    assert found.std(axis=0) == pytest.approx([1, 1], abs=1e-3)
    assert other(sample * [1000.0, 1.0, 5.0, 0.1]) == pytest.approx(found, abs=1e-7)
    assert features(np.full((1, 4), np.nan)).tolist() == [[0.0, 0.0]]


def test_no_features_of_nothing() -> None:
    assert Features.of(np.zeros((0, 2)))(np.zeros((3, 2))).shape == (3, 0)
    assert Features.of(np.zeros((5, 0)))(np.zeros((3, 0))).shape == (3, 0)


@pytest.mark.parametrize(("factor", "shift"), [(9.0, 0.0), (1.0, -40.0), (50.0, 1e4)])
def test_the_zero_and_the_unit_of_an_objective_do_not_matter(factor: float, shift: float) -> None:
    rng = np.random.default_rng(0)
    sample = np.column_stack([rng.lognormal(0, 1, 300), rng.lognormal(0, 1, 300)])
    other = np.column_stack([factor * sample[:, 0] + shift, sample[:, 1]])
    plain, moved = Features.of(sample, [0]), Features.of(other, [0])

    assert plain.columns.tolist() == moved.columns.tolist() == [0, 1]
    assert moved(other) == pytest.approx(plain(sample), abs=1e-7)
    # What is far below all of the sample is far away, but not infinitely so.
    low = np.array([[factor * -1e9 + shift, 1.0]])
    assert moved(low)[0, 0] == -6.0


def test_what_is_beyond_all_measure_is_not_known() -> None:
    known = Screened(lambda genotype: {"macs": 1e308, "params": 10**400}, [], decode)

    assert np.isnan(known.values([(1,)])).all()


def test_what_metrics_have_in_common_counts_once() -> None:
    rng = np.random.default_rng(0)
    size, own = rng.normal(3, 1, 400), rng.normal(0, 0.2, 400)
    sample = np.exp(np.column_stack([size, size + own, 2 * size]))
    features = Features.of(sample, [1])
    assert features.columns.tolist() == [1, 0]  # objectives first; the third is the first
    found = features(sample)
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.05
    assert found[:, 0].std() == pytest.approx(1.0, abs=0.01)
    assert 0.1 < found[:, 1].std() < 0.5


def test_what_only_some_have_is_a_metric_too() -> None:
    def some(genotype: Genotype) -> Mapping[str, float]:
        width = float(genotype["width"])
        return {"macs": width} if width < 2 else {"macs": width, "latency_ms.cpu": 2 * width}

    known = Screened(some, [], decode)
    known.settle([(1,), (2,)])
    assert known.names == ("macs", "latency_ms.cpu")
    assert known.values([(1,), (2,), (3,)])[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(known.values([(1,)])[0, 1])
    assert known.values([(3,)])[0, 1] == 6.0
