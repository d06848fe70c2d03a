"""The table of what an ask of `guided` costs."""

from __future__ import annotations

import pytest

from benchmarks.overhead_guided import guided_costs


@pytest.mark.slow
def test_a_row_for_the_first_ask_and_one_for_each_number_of_results() -> None:
    rows = [*guided_costs(told=(12,), proposers=("genetic",), repeats=2, experiment="smoke")]

    assert [what for what, *_ in rows] == [
        "first ask, convnet screened, guided genetic",
        "ask + tell at 12 results, convnet screened, guided genetic",
    ]
    assert all(sample > 0 for _, samples, _, _ in rows for sample in samples)
    assert [len(samples) for _, samples, _, _ in rows] == [2, 2]
