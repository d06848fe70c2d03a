from __future__ import annotations

import io
import math

from rich.console import Console

from experiments.progress import ROWS, ProgressRecorder
from nas.budget import Budget
from nas.objectives import Constraint
from nas.protocols import Ask, Progress
from tests.experiments.builders import ACCURACY, LATENCY, trial

ASK = Ask(0, {}, "t", "c")


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def recorder(
    terminal: bool = False,
    minutes: float = math.inf,
    trials: int | None = 10,
    epochs: int | None = None,
    **more: object,
) -> tuple[ProgressRecorder, io.StringIO, Time]:
    text, clock = io.StringIO(), Time()
    console = Console(file=text, width=100, force_terminal=terminal)
    made = ProgressRecorder(
        [ACCURACY, LATENCY],
        Budget(trials, minutes, epochs=epochs),
        console=console,
        clock=clock,
        **more,  # type: ignore[arg-type]
    )
    return made, text, clock


def test_without_a_terminal_each_trial_is_a_line() -> None:
    shown, text, _ = recorder()
    with shown:
        shown.started(ASK, Progress(running=1))
        shown.finished(trial(0, 0.9, 0.1), Progress(done=1, elapsed_s=2.0, front=(0,)))
        shown.finished(
            trial(1, status="failed"), Progress(done=1, failed=1, elapsed_s=4.0, front=(0,))
        )
    assert text.getvalue().splitlines() == [
        "trial 0 done: accuracy 0.9, latency_ms.cpu 0.1 * [1/10 trials, front 1, 2 s, 18 s left]",
        "trial 1 failed: no luck [2/10 trials, front 1, 1 failed, 4 s, 16 s left]",
    ]


def test_the_line_of_a_trial_names_the_constraints_that_it_violates() -> None:
    bounds = [Constraint.parse("latency_ms.cpu <= 0.1"), Constraint.parse("accuracy >= 0.9")]
    shown, text, _ = recorder(constraints=bounds)
    with shown:
        shown.finished(trial(0, 0.9, 0.125), Progress(done=1))
    assert text.getvalue().startswith(
        "trial 0 done: accuracy 0.9, latency_ms.cpu 0.125, "
        "violates latency_ms.cpu <= 0.1 by 25.00% ["
    )


def test_on_a_terminal_a_missing_front_is_explained_by_what_comes_nearest() -> None:
    shown, _, _ = recorder(terminal=True, constraints=[Constraint.parse("latency_ms.cpu <= 0.1")])
    for number, latency in enumerate([0.3, 0.125, 0.2]):
        shown.finished(trial(number, 0.9, latency), Progress(done=number + 1))
    console = Console(width=100, file=io.StringIO())
    console.print(shown.view())
    assert console.file.getvalue().splitlines()[1:] == [  # type: ignore[attr-defined]
        "none satisfies all constraints; nearest: trial 1 violates latency_ms.cpu <= 0.1 by 25.00%"
    ]


def test_on_a_terminal_nothing_is_explained_before_the_first_trial() -> None:
    shown, _, _ = recorder(terminal=True, constraints=[Constraint.parse("latency_ms.cpu <= 0.1")])
    shown.finished(trial(0, status="failed"), Progress(failed=1))
    console = Console(width=100, file=io.StringIO())
    console.print(shown.view())
    assert "constraints" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_line_of_a_stopped_trial_says_why() -> None:
    shown, text, _ = recorder()
    stopped = trial(3, status="stopped")
    why = "stopped after 2 of 12 epochs: probably accuracy 0.31"
    object.__setattr__(stopped, "error", why)
    shown.finished(stopped, Progress(stopped=1, elapsed_s=1.0))
    assert text.getvalue().startswith(f"trial 3 {why} [1/10 trials")


def test_rejected_trials_are_counted_but_get_no_line() -> None:
    shown, text, _ = recorder()
    shown.finished(trial(0, status="rejected"), Progress(rejected=1))
    shown.finished(trial(1, 0.9, 0.1), Progress(done=1, rejected=1, elapsed_s=1.0, front=(1,)))
    assert len(text.getvalue().splitlines()) == 1
    assert "1 rejected" in text.getvalue()


def test_a_line_is_not_wrapped_and_brackets_stay() -> None:
    shown, text, _ = recorder()
    long = trial(3, status="failed")
    object.__setattr__(long, "error", "ValueError: [bold]no[/bold] " + "x" * 200)
    shown.finished(long, Progress(failed=1, elapsed_s=1.0))
    assert len(text.getvalue().splitlines()) == 1
    assert "[bold]no[/bold]" in text.getvalue()


def test_time_left_is_unknown_at_first_and_then_by_the_pace_of_this_session() -> None:
    shown, _, clock = recorder()
    assert shown.left_s() is None
    # An earlier session left 4 trials after 1000 seconds.
    shown.started(ASK, Progress(done=4, running=1, elapsed_s=1000.0))
    assert shown.left_s() is None
    shown.finished(trial(4, 0.9, 0.1), Progress(done=5, elapsed_s=1003.0))
    assert shown.left_s() == 3.0 * 5
    clock.now += 2
    # Two seconds later: a slower pace, and two seconds of the rest are over.
    assert shown.left_s() == 5.0 * 5 - 2


def test_time_left_ends_with_the_budget_of_minutes() -> None:
    shown, _, clock = recorder(minutes=1.0)
    shown.started(ASK, Progress(running=1, elapsed_s=0.0))
    assert shown.left_s() == 60.0
    shown.finished(trial(0, 0.9, 0.1), Progress(done=1, elapsed_s=40.0))
    assert shown.left_s() == 20.0
    clock.now += 100
    assert shown.left_s() == 0.0


def test_on_a_terminal_there_is_a_bar_and_the_front_and_no_lines() -> None:
    shown, text, _ = recorder(terminal=True, trials=40)
    with shown:
        for number in range(ROWS + 3):
            progress = Progress(
                done=number + 1, elapsed_s=number + 1.0, front=tuple(range(number + 1))
            )
            shown.finished(trial(number, number / 100, number / 10), progress)
        console = Console(width=100, file=io.StringIO())
        console.print(shown.view())
        view = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"{ROWS + 3}/40 trials" in view
    assert "latency_ms.cpu" in view
    assert "... and 3 more" in view
    # The most accurate first.
    rows = [line.split()[0] for line in view.splitlines() if line.strip()[:2].isdigit()]
    assert rows[:2] == [str(ROWS + 2), str(ROWS + 1)]
    assert "trial 0 done" not in text.getvalue()


def test_trials_of_an_earlier_session_are_shown() -> None:
    shown, _, _ = recorder(terminal=True, known=[trial(0, 0.9, 0.123)])
    shown.started(ASK, Progress(done=1, running=1, front=(0,)))
    console = Console(width=100, file=io.StringIO())
    console.print(shown.view())
    assert "0.123" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_live_view_is_gone_after_an_error() -> None:
    shown, _, _ = recorder(terminal=True)
    try:
        with shown:
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    # A second one could not start if the first still had the terminal.
    with shown:
        pass


def test_a_budget_of_epochs() -> None:
    shown, text, clock = recorder(trials=None, epochs=100)
    with shown:
        shown.started(ASK, Progress(running=1))
        shown.finished(trial(0, 0.9, 0.1), Progress(done=1, epochs=20, elapsed_s=10.0))
    assert text.getvalue().endswith("[1 trials, 20/100 epochs, front 0, 10 s, 40 s left]\n")
    assert shown.share() == 0.2


def test_says_what_the_strategy_notes_and_that_it_is_screening() -> None:
    shown, text, _ = recorder()
    with shown:
        shown.noted("it learns from [choices] alone")
        for _ in range(10):
            shown.screening(50)
        shown.started(ASK, Progress(running=1))
        for _ in range(10):
            shown.screening(50)
    assert text.getvalue().splitlines() == [
        "nas: note: it learns from [choices] alone",
        "nas: screening candidates before the next one is trained ...",
    ]


def test_a_terminal_counts_what_is_screened_until_a_candidate_goes_to_work() -> None:
    shown, _, _ = recorder(terminal=True)
    with shown:
        shown.screening(50)
        assert "screening" not in shown.summary()
        shown.screening(550)
        assert shown.summary().endswith("screening candidates (600)")
        shown.started(ASK, Progress(running=1))
        assert "screening" not in shown.summary()
