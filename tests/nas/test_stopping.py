from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from nas.objectives import Constraint, Objective
from nas.stopping import LEAST_CURVES, Stopper, StoppingRule
from nas.trials import Trial

OBJECTIVES = (Objective("accuracy", "maximize"), Objective("latency_ms.cpu", "minimize"))
EPOCHS = 12
PREDICTION, RUNGS = StoppingRule("prediction", 0.975, grace=0.25), StoppingRule("rungs")


def curve(final: float, noise: float = 0.0, seed: int = 0, epochs: int = EPOCHS):
    """Approaches its end; the logarithm of what is missing is a line with noise."""
    rng = random.Random(seed)
    missing = 1.002 - final
    accuracy = [
        min(1.0, 1.002 - missing * math.exp((EPOCHS - e) / 8 + noise * rng.gauss(0, 1)))
        for e in range(1, EPOCHS)
    ]
    accuracy = [max(0.0, value) for value in accuracy] + [final]
    losses = [2 * (1.01 - value) for value in accuracy]
    return {"loss": tuple(losses[:epochs]), "accuracy": tuple(accuracy[:epochs])}


def trial(number: int, final: float, latency: float, noise: float = 0.05, **more) -> Trial:
    metrics = {"accuracy": final, "latency_ms.cpu": latency, "macs": 100 * latency}
    return Trial(
        number, {"x": number}, f"t{number}", f"c{number}", "done", metrics,
        curve=curve(final, noise, number), **more,
    )  # fmt: skip


def past(count: int = 20) -> list[Trial]:
    """The slower, the better, up to .99 at 2 ms; all of them on the front."""
    return [trial(i, 0.8 + 0.19 * (i + 1) / count, 0.1 * (i + 1)) for i in range(count)]


def stopper(rule=PREDICTION, latency=2.0, trials=None, constraints=(), known=None) -> Stopper:
    known = {"latency_ms.cpu": latency, "macs": 100 * latency} if known is None else known
    trials = past() if trials is None else trials
    limits = [Constraint.parse(text) for text in constraints]
    return Stopper(rule, OBJECTIVES, limits, trials, {"x": 99}, known, EPOCHS)


def stopped_at(who: Stopper, whole) -> int:
    """The epoch after which it is stopped, 0: it goes on to its end."""
    for done in range(1, EPOCHS + 1):
        if who.why_stop({name: values[:done] for name, values in whole.items()}):
            return done
    return 0


@pytest.mark.parametrize("rule", [PREDICTION, RUNGS])
def test_what_is_far_behind_is_stopped_early(rule) -> None:
    assert 3 <= stopped_at(stopper(rule), curve(0.82, 0.05)) <= 6


@pytest.mark.parametrize("rule", [PREDICTION, RUNGS])
@pytest.mark.parametrize(("final", "latency"), [(0.997, 1.9), (0.9, 0.3), (0.82, 0.05)])
def test_what_the_front_needs_goes_on(rule, final, latency) -> None:
    assert stopped_at(stopper(rule, latency), curve(final, 0.05)) == 0


def test_while_curves_tell_little_what_is_just_behind_the_front_goes_on() -> None:
    noisy = [replace(t, curve=curve(t.metrics["accuracy"], 0.8, t.number)) for t in past()]
    early = curve(0.985, 0.05, epochs=4)
    assert stopper(latency=2.0).why_stop(early)
    assert not stopper(latency=2.0, trials=noisy).why_stop(early)


@pytest.mark.parametrize("rule", [PREDICTION, RUNGS])
def test_the_reason_is_one_line_with_figures(rule) -> None:
    why = stopper(rule).why_stop(curve(0.82, epochs=3))
    assert why.startswith("stopped after 3 of 12 epochs: ")
    assert "accuracy 0." in why
    assert ("gets onto the front with a chance of" in why) == (rule is PREDICTION)
    assert "\n" not in why


def test_nothing_is_stopped_in_its_first_epochs_nor_after_the_last() -> None:
    who, whole = stopper(), curve(0.1)
    assert not who.why_stop({name: values[:2] for name, values in whole.items()})
    assert who.why_stop({name: values[:3] for name, values in whole.items()})
    assert not who.why_stop(whole)
    late = StoppingRule("prediction", grace=0.5)
    assert not stopper(late).why_stop({name: values[:5] for name, values in whole.items()})


@pytest.mark.parametrize("rule", [PREDICTION, RUNGS, StoppingRule()])
def test_nothing_is_stopped_without_experience_or_a_rule(rule) -> None:
    few = past(LEAST_CURVES - 1)
    assert stopped_at(stopper(rule, trials=few), curve(0.1)) == 0
    assert stopped_at(stopper(rule, trials=[]), curve(0.1)) == 0
    assert stopped_at(stopper(StoppingRule()), curve(0.1)) == 0


def test_more_confidence_stops_less() -> None:
    noisy = [replace(t, curve=curve(t.metrics["accuracy"], 0.4, t.number)) for t in past()]
    finals = np.linspace(0.9, 0.99, 20)
    counts = [
        sum(
            stopped_at(stopper(StoppingRule("prediction", sure), trials=noisy), curve(f, 0.4, i))
            > 0
            for i, f in enumerate(finals)
        )
        for sure in (0.7, 0.95, 0.9999)
    ]
    assert counts[0] >= counts[1] > counts[2]


@pytest.mark.parametrize(("rule", "most"), [(PREDICTION, 2), (StoppingRule("prediction"), 4)])
def test_wrong_stops_are_rare(rule: StoppingRule, most: int) -> None:
    """Of networks that would have joined the front, and do not know it yet.

    Each is only just better, so this is the hardest case; the defaults look earlier and dare more.
    """
    noisy = [replace(t, curve=curve(t.metrics["accuracy"], 0.3, t.number)) for t in past()]
    better = [0.8 + 0.0095 * (i + 1) + 0.005 for i in range(20)]
    wrong = sum(
        stopped_at(stopper(rule, 0.1 * (i + 1), noisy), curve(final, 0.3, 100 + i)) > 0
        for i, final in enumerate(better)
    )
    assert wrong <= most


def test_what_breaks_a_constraint_beats_nobody() -> None:
    whole = curve(0.82, 0.05)
    assert stopped_at(stopper(constraints=["accuracy <= 0.81"]), whole) == 0
    assert stopped_at(stopper(constraints=["accuracy >= 0.81"]), whole) > 0


def test_an_estimated_latency_is_corrected_by_what_was_measured() -> None:
    # Estimates are half of what is measured: at .5 ms it will be as slow as the front at 1 ms.
    trials = [
        replace(t, metrics={**t.metrics, "estimated_latency_ms.cpu": 0.05 * (t.number + 1)})
        for t in past()
    ]  # fmt: skip
    known = {"estimated_latency_ms.cpu": 0.5, "macs": 100.0}
    who = stopper(trials=trials, known=known)
    assert stopped_at(who, curve(0.82, 0.05)) > 0
    # As fast as the fastest: on the front, however bad.
    known = {"estimated_latency_ms.cpu": 0.02, "macs": 4.0}
    assert stopped_at(stopper(trials=trials, known=known), curve(0.7, 0.05)) == 0


def test_an_objective_that_nothing_tells_of_stops_nothing() -> None:
    objectives = (*OBJECTIVES, Objective("size_kb", "minimize"))
    known = {"latency_ms.cpu": 2.0, "macs": 200.0}
    who = Stopper(PREDICTION, objectives, (), past(), {"x": 99}, known, EPOCHS)
    assert stopped_at(who, curve(0.1)) == 0


def test_categories_tell_of_sizes() -> None:
    objectives = (*OBJECTIVES, Objective("size_kb", "minimize"))
    trials = []
    for t in past(40):
        scheme = "static" if t.number % 2 else "none"
        size = t.metrics["macs"] / (4 if scheme == "static" else 1)
        genotype, metrics = {"quantize.scheme": scheme}, {**t.metrics, "size_kb": size}
        trials.append(replace(t, genotype=genotype, metrics=metrics))
    known, whole = {"latency_ms.cpu": 3.0, "macs": 300.0}, curve(0.81, 0.05)
    sizes = {}
    for scheme in ("static", "none"):
        genotype = {"quantize.scheme": scheme}
        who = Stopper(PREDICTION, objectives, (), trials, genotype, known, EPOCHS)
        sizes[scheme] = who.estimates(whole)["estimated_size_kb"]
    assert sizes["none"] == pytest.approx(300.0, rel=0.3)
    assert sizes["static"] == pytest.approx(75.0, rel=0.3)


def test_the_estimates_say_where_they_come_from_and_how_wide_they_are() -> None:
    early = {name: values[:4] for name, values in curve(0.85, 0.05).items()}
    found = stopper().estimates(early)
    origin = found.provenance["estimated_accuracy"]
    assert list(found) == ["estimated_accuracy"]
    assert origin.source == "modeled"
    assert origin.low < found["estimated_accuracy"] < origin.high <= 1.0
    assert origin.method == "learning curve of 4 epochs, 20 others"
    assert found["estimated_accuracy"] == pytest.approx(0.85, abs=0.03)


def test_stopped_trials_count_on_the_rungs_and_teach_no_prediction() -> None:
    stops = [
        replace(trial(50 + i, 0.5, 2.0), status="stopped", curve=curve(0.5, epochs=3))
        for i in range(60)
    ]
    without, with_them = stopper(RUNGS), stopper(RUNGS, trials=[*past(), *stops])
    middling = curve(0.9, 0.02)
    # The first rung lets more pass where there are worse ones.
    assert stopped_at(without, middling) == 3
    assert stopped_at(with_them, middling) == 9
    early = {name: values[:4] for name, values in middling.items()}
    plain = stopper(trials=[*past(), *stops]).estimates(early)
    assert plain == stopper().estimates(early)


def test_rungs_are_a_factor_apart() -> None:
    assert StoppingRule("rungs").rungs(12) == [3, 9]
    assert StoppingRule("rungs", reduction=2).rungs(30) == [4, 8, 16]
    assert StoppingRule("rungs").rungs(1) == []


def test_a_trial_that_was_told_twice_counts_once() -> None:
    whole = curve(0.9, 0.1)
    early = {name: values[:4] for name, values in whole.items()}
    assert stopper(trials=[*past(), *past()]).estimates(early) == stopper().estimates(early)


def test_a_metric_that_only_some_know_before_training_stops_nothing_from_being_learned():
    loser = curve(0.5, 0.05)
    assert stopped_at(stopper(), loser) > 0
    known = {"latency_ms.cpu": 2.0, "macs": 200.0, "estimated_size_kb": 30.0}
    assert stopped_at(stopper(known=known), loser) == stopped_at(stopper(), loser)


@pytest.mark.parametrize("rule", [PREDICTION, RUNGS])
def test_from_networks_that_have_all_learned_the_same_nothing_is_learned(rule) -> None:
    alike = [replace(t, metrics={**t.metrics, "accuracy": 0.1}) for t in past()]
    assert stopped_at(stopper(rule, trials=alike), curve(0.99, 0.05)) == 0


def test_the_accuracy_before_compression_is_learned_as_well() -> None:
    objectives = (Objective("float_accuracy", "maximize"), OBJECTIVES[1])
    trials = [
        replace(t, metrics={**t.metrics, "float_accuracy": t.metrics["accuracy"]}) for t in past()
    ]
    known = {"latency_ms.cpu": 2.0, "macs": 200.0}
    who = Stopper(PREDICTION, objectives, (), trials, {"x": 99}, known, EPOCHS)
    early = {name: values[:4] for name, values in curve(0.85, 0.05).items()}
    assert who.estimates(early)["estimated_float_accuracy"] == pytest.approx(0.85, abs=0.03)
    assert stopped_at(who, curve(0.995, 0.05)) == 0
    assert stopped_at(who, curve(0.82, 0.05)) > 0
