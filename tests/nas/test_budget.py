import math

import pytest

from nas.budget import Budget, improvement_per_minute
from nas.protocols import Progress


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "in trials, minutes or epochs, but got none"),
        ({"trials": 0}, "at least 1 trial, but got 0"),
        ({"minutes": 0}, "more than 0 minutes, but got 0"),
        ({"epochs": 0}, "at least 1 epoch, but got 0"),
        ({"trials": 1, "improvement_per_minute": 0}, "a number above 0, but got 0"),
        ({"trials": 1, "improvement_per_minute": math.nan}, "a number above 0, but got nan"),
    ],
)
def test_what_can_be_no_budget_is_refused(limits, message):
    with pytest.raises(ValueError, match=message):
        Budget(**limits)


def test_candidates_in_work_count():
    budget = Budget(trials=5, epochs=100, epochs_each=20)
    assert budget.spent(Progress(done=3, running=1)) is None
    assert budget.spent(Progress(done=3, running=2)) == "trials"
    assert budget.spent(Progress(epochs=70, running=1)) is None
    assert budget.spent(Progress(epochs=60, running=2)) == "epochs"
    assert budget.spent(Progress(epochs=99)) is None


def test_time_and_rejections():
    assert Budget(minutes=1).spent(Progress(elapsed_s=59.0, done=10**6)) is None
    assert Budget(minutes=1).spent(Progress(elapsed_s=60.0)) == "minutes"
    assert Budget(trials=3).max_rejected == 60
    assert Budget(minutes=1).max_rejected == 20_000
    assert Budget(minutes=1, rejected=7).spent(Progress(rejected=7)) == "rejected"


def test_improvement_per_minute_counts_all_candidates_of_a_minute():
    assert improvement_per_minute(0.01, 120.0, 10) == pytest.approx(0.05)
    assert improvement_per_minute(None, 120.0, 10) is None
    assert improvement_per_minute(0.01, 0.0, 10) is None
    assert improvement_per_minute(0.01, 120.0, 0) is None
