from evaluators import unseen
from experiments.second_look import OUTSIDE, widened
from tests.experiments.builders import trial

NOTES = {"cpu": {"trials": {"1": 0.012, "2": 0.008, "3": 0.0105}, "error": ""}}


def test_a_bar_holds_the_second_look() -> None:
    trials = [trial(n, 0.9, 0.01, latency_ms__fpga=2.0) for n in range(4)]
    found = widened(trials, NOTES)
    bars = [
        (t.provenance["latency_ms.cpu"].low, t.provenance["latency_ms.cpu"].high) for t in found
    ]
    assert bars == [(0.009, 0.011), (0.009, 0.012), (0.008, 0.011), (0.009, 0.011)]
    assert [t.metrics for t in found] == [t.metrics for t in trials]
    assert (
        found[1].provenance["latency_ms.cpu"].method == "p25 of CPU time, measured again: 0.012 ms"
    )
    assert found[0] is trials[0]
    assert found[1].provenance["latency_ms.fpga"] == trials[1].provenance["latency_ms.fpga"]


def test_without_a_second_look_nothing_changes() -> None:
    one = trial(0, 0.9, 0.01)
    for notes in (None, {}, {"cpu": {"trials": {}, "error": "out of time"}}):
        assert widened([one], notes) == (one,)


def test_remarks_are_those_of_the_models() -> None:
    assert OUTSIDE == unseen.OUTSIDE
