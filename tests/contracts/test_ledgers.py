"""What every ledger must do; a new one is tested by one line in `MAKERS`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.ledger import SqliteLedger
from nas.protocols import Ask, Ledger
from nas.trials import Artifact, Provenance, Trial
from tests.nas.fakes import MemoryLedger

MAKERS: dict[str, Callable[[Path], Ledger]] = {
    "sqlite": lambda folder: SqliteLedger(folder / "ledger.sqlite"),
    "memory": lambda folder: MemoryLedger(),
}


def ask(number: int) -> Ask:
    genotype = {"width": 8 * number, "ratio": 0.25, "op": "conv"}
    return Ask(number, genotype, f"t{number}", f"c{number}")


def trial(number: int, status: Any = "done") -> Trial:
    asked = ask(number)
    return Trial(
        number=number,
        genotype=asked.genotype,
        training_key=asked.training_key,
        candidate_key=asked.candidate_key,
        status=status,
        metrics={"accuracy": 0.1 + 0.2, "latency_ms.cpu": 1 / 3},
        provenance={"latency_ms.cpu": Provenance("measured", batch=1, low=0.3, high=0.4)},
        artifact=Artifact("artifacts/x.onnx", "0" * 64, "int8") if status == "done" else None,
        error="" if status == "done" else "the loss is nan: naïve “quotes”",
        seconds={"train": 1.25},
    )


@pytest.fixture(params=MAKERS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    made = MAKERS[request.param](tmp_path)
    yield made
    if isinstance(made, SqliteLedger):
        made.close()


class TestLedgerContract:
    def test_an_empty_one(self, ledger: Ledger) -> None:
        assert list(ledger.told()) == []
        assert list(ledger.unfinished()) == []
        assert ledger.next_number() == 0
        assert ledger.elapsed_s() == 0.0
        assert ledger.reference_point is None

    @pytest.mark.parametrize("status", ["done", "failed", "rejected", "stopped"])
    def test_a_trial_comes_back_as_it_was(self, ledger: Ledger, status: str) -> None:
        ledger.asked(ask(0))
        ledger.done(trial(0, status), 2.5)
        assert list(ledger.told()) == [trial(0, status)]
        assert json.dumps(ledger.told()[0].to_json()) == json.dumps(trial(0, status).to_json())

    def test_results_are_told_in_the_order_of_their_ends_repeats_included(
        self, ledger: Ledger
    ) -> None:
        for number in range(3):
            ledger.asked(ask(number))
        ledger.done(trial(2), 1.0)
        ledger.done(trial(0), 2.0)
        ledger.repeated(2)
        ledger.done(trial(1), 3.0)
        ledger.repeated(2)
        assert [t.number for t in ledger.told()] == [2, 0, 2, 1, 2]

    def test_asks_without_a_result_are_unfinished_by_number(self, ledger: Ledger) -> None:
        for number in range(4):
            ledger.asked(ask(number))
        ledger.done(trial(1), 1.0)
        assert list(ledger.unfinished()) == [ask(0), ask(2), ask(3)]
        assert [list(a.genotype) for a in ledger.unfinished()] == [["width", "ratio", "op"]] * 3

    def test_numbers_count_asks(self, ledger: Ledger) -> None:
        for number in range(3):
            assert ledger.next_number() == number
            ledger.asked(ask(number))
            ledger.done(trial(number), 1.0)
            ledger.repeated(number)
        assert ledger.next_number() == 3

    def test_the_search_time_is_that_of_the_last_result(self, ledger: Ledger) -> None:
        for number, elapsed_s in enumerate((1.5, 4.5)):
            ledger.asked(ask(number))
            ledger.done(trial(number), elapsed_s)
        ledger.asked(ask(2))
        assert ledger.elapsed_s() == 4.5

    def test_the_reference_point_stays(self, ledger: Ledger) -> None:
        ledger.fix_reference_point((-0.1, 1 / 3))
        assert ledger.reference_point == (-0.1, 1 / 3)
