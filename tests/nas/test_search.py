from dataclasses import replace

import pytest

import strategies
from nas.objectives import Constraint, Objective
from nas.search import (
    Budget,
    CandidateError,
    Provenance,
    Readings,
    SearchError,
    StageResult,
    search,
)
from tests.nas.fakes import (
    CHOICES,
    FakePipeline,
    FakeStage,
    InlineExecutor,
    InOrder,
    ListRecorder,
    MemoryLedger,
)

OBJECTIVES = (Objective("accuracy", "maximize"), Objective("latency_ms.cpu", "minimize"))


def run(strategy=None, pipeline=None, ledger=None, executor=None, budget=6, constraints=(), **more):
    parts = {
        "strategy": strategy or InOrder(),
        "evaluate": pipeline or FakePipeline(),
        "ledger": ledger if ledger is not None else MemoryLedger(),
        "executor": executor or InlineExecutor(),
        "budget": budget if isinstance(budget, Budget) else Budget(trials=budget),
        "constraints": [Constraint.parse(text) for text in constraints],
        "recorders": more.get("recorders", ()),
    }
    outcome = search(objectives=OBJECTIVES, clock=parts["executor"].clock, **parts)
    return outcome, parts


def test_it_spends_the_budget_and_keeps_the_front():
    outcome, parts = run(budget=6)
    assert outcome.reason == "trials"
    assert outcome.progress.done == outcome.progress.scored == 6
    # x = 0, 1, 2 with ratio 0 dominate their pruned variants, which are slower here.
    assert outcome.progress.front == (0, 2, 4)
    assert [t.number for t in parts["ledger"].told()] == [0, 1, 2, 3, 4, 5]


def test_costs_are_lower_is_better():
    _, parts = run(budget=3)
    assert parts["strategy"].tells[2] == ({"x": 1, "prune.ratio": 0.0}, [-0.1, 1.0], 0.0)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("lifo", [False, True])
def test_variants_of_one_network_share_its_training(workers, lifo):
    executor = InlineExecutor(workers, lifo)
    outcome, parts = run(budget=20, executor=executor)
    assert outcome.progress.done == 20
    assert len(parts["evaluate"].trained) == 10
    assert len(set(parts["evaluate"].scored)) == 20


def test_two_trainings_of_one_network_are_never_in_work_together():
    executor = InlineExecutor(workers=2)
    seen = []
    submit = executor.submit
    executor.submit = lambda job: (seen.append(len(executor.queue)), submit(job))[1]
    run(budget=2, executor=executor)
    # The second variant waits for the training of the first: nothing was queued beside it.
    assert seen[0] == 0
    assert seen[1] == 0


def test_a_failed_candidate_costs_itself_only():
    outcome, parts = run(pipeline=FakePipeline(failing={1}), budget=6)
    assert (outcome.progress.done, outcome.progress.failed) == (4, 2)
    failed = [t for t in parts["ledger"].told() if t.status == "failed"]
    assert [t.error for t in failed] == ["train: loss is nan"] * 2
    assert ({"x": 1, "prune.ratio": 0.0}, None, 0.0) in parts["strategy"].tells


def test_what_cannot_be_built_fails_in_the_screen():
    outcome, parts = run(pipeline=FakePipeline(unbuildable={0}), budget=3)
    assert outcome.progress.failed == 2
    assert parts["ledger"].told()[0].error == "screen: too deep"


@pytest.mark.parametrize("name", ["bayesian", "genetic", "local", "random"])
def test_a_space_smaller_than_the_budget_ends_and_says_so(name):
    strategy = strategies.create(name, CHOICES, OBJECTIVES, 0)
    outcome, parts = run(strategy=strategy, budget=200)
    assert (outcome.reason, outcome.progress.scored) == ("exhausted", 20)
    assert outcome.detail == "all candidates that can be built have been asked for"
    assert len(parts["evaluate"].trained) == 10


def test_a_strategy_may_say_why_nothing_is_left_and_how_it_searched():
    strategy = InOrder([])
    strategy.notes = ("it had no list",)
    outcome, _ = run(strategy=strategy, budget=5)
    assert (outcome.detail, outcome.notes) == ("", ("it had no list",))


def test_a_search_of_failures_only_is_given_up():
    pipeline = FakePipeline(failing=set(range(10)))
    with pytest.raises(SearchError, match="first 10 candidates failed.*loss is nan"):
        run(pipeline=pipeline, budget=20)


def test_a_screened_metric_rejects_before_training():
    outcome, parts = run(budget=5, constraints=["macs <= 150"])
    assert outcome.progress.done == 4
    assert outcome.progress.rejected == 16
    assert outcome.reason == "exhausted"
    assert len(parts["evaluate"].trained) == 2
    told = {(g["x"], g["prune.ratio"]): rest for g, *rest in parts["strategy"].tells}
    assert told[9, 0.5] == [[None, None], pytest.approx(5.0)]


def test_an_estimate_rejects_only_beyond_its_error_bar():
    # x = 3 is estimated at 3 +- 2 and violates when measured; from x = 4 on even 4 - 2 > 1.5 does.
    outcome, parts = run(budget=20, constraints=["latency_ms.cpu <= 1.5"])
    status = {t.genotype["x"]: t.status for t in parts["ledger"].told()}
    assert status == {x: "done" if x <= 3 else "rejected" for x in range(10)}
    assert outcome.progress.front == (0, 2)
    assert {t.error for t in parts["ledger"].told() if t.status == "rejected"} == {
        "violates latency_ms.cpu <= 1.5 with a probability above 95 %"
    }


def test_a_screen_that_runs_in_a_worker_rejects_before_training():
    pipeline = FakePipeline()
    screen = pipeline.screen
    pipeline.screen = lambda candidate: Readings()
    pipeline.stages.insert(
        0,
        FakeStage(
            "screen", lambda c: c.candidate_key, lambda c: StageResult(screen(c)), screens=True
        ),
    )
    outcome, parts = run(pipeline=pipeline, budget=20, constraints=["macs <= 150"])
    assert outcome.progress.done == 4
    assert outcome.progress.rejected == 16
    assert len(pipeline.trained) == 2
    rejected = [t for t in parts["ledger"].told() if t.status == "rejected"]
    assert {t.error for t in rejected} == {"surely violates macs <= 150"}


def test_what_is_scored_after_training_rejects_nothing():
    outcome, parts = run(budget=6, constraints=["accuracy >= 0.15"])
    assert outcome.progress.done == 6
    assert outcome.progress.front == (4,)
    assert len(parts["strategy"].tells) == 6


def test_rejected_candidates_have_a_cap():
    budget = Budget(trials=20, rejected=3)
    outcome, _ = run(budget=budget, constraints=["accuracy >= 0", "macs <= -1"])
    assert outcome.reason == "rejected"
    assert outcome.progress.rejected == 3


def test_repeats_are_answered_from_the_cache_and_counted():
    genotype = {"x": 3, "prune.ratio": 0.0}
    strategy = InOrder([genotype, {"x": 4, "prune.ratio": 0.0}])
    strategy.genotypes += [genotype] * 3
    strategy.tell = lambda g, costs, violation=0.0: strategy.tells.append((g, costs, violation))
    outcome, parts = run(strategy=strategy, budget=10)
    assert outcome.progress.repeats == 3
    assert outcome.progress.done == 2
    assert len(parts["evaluate"].scored) == 2
    assert [t[1] for t in strategy.tells].count([-0.3, 3.0]) >= 2


def test_a_strategy_that_only_repeats_itself_is_exhausted():
    strategy = InOrder()
    strategy.ask = lambda: {"x": 3, "prune.ratio": 0.0}
    outcome, _ = run(strategy=strategy, budget=10)
    assert outcome.reason == "exhausted"
    assert outcome.progress.done == 1


def test_it_ends_when_the_time_is_up_but_finishes_what_runs():
    outcome, parts = run(budget=Budget(trials=20, minutes=1.0))
    assert outcome.reason == "minutes"
    assert parts["ledger"].unfinished() == []
    assert 2 <= outcome.progress.done < 8


def test_recorders_hear_after_the_ledger():
    ledger = MemoryLedger()
    recorder = ListRecorder(ledger)
    run(budget=3, ledger=ledger, recorders=[recorder])
    started = [h for h in recorder.heard if h[0] == "started"]
    finished = [h for h in recorder.heard if h[0] == "finished"]
    assert [h[1] for h in started] == [h[1] for h in finished] == [0, 1, 2]
    assert finished[-1][3].done == 3


@pytest.mark.parametrize("jobs", range(1, 12))
def test_a_killed_search_goes_on_where_it_was(jobs):
    ledger = MemoryLedger()
    executor = InlineExecutor(workers=2, die_after=jobs)
    with pytest.raises(KeyboardInterrupt):
        run(budget=6, ledger=ledger, executor=executor)
    finished = [t.number for t in ledger.told()]
    left = MemoryLedger(ledger.events, ledger.reference_point)
    outcome, parts = run(budget=6, ledger=left)
    assert outcome.progress.scored == 6
    numbers = [t.number for t in left.told()]
    assert sorted(numbers) == list(range(6))
    assert numbers[: len(finished)] == finished
    assert left.unfinished() == []


def test_a_resumed_strategy_is_told_and_marked_as_before():
    ledger = MemoryLedger()
    with pytest.raises(KeyboardInterrupt):
        run(budget=6, ledger=ledger, executor=InlineExecutor(workers=2, die_after=7))
    strategy = InOrder()
    told, unfinished = len(ledger.told()), [ask.genotype for ask in ledger.unfinished()]
    run(strategy=strategy, budget=6, ledger=ledger)
    assert told == 3
    assert strategy.marked == unfinished
    assert unfinished


def test_a_finished_search_continues_with_a_larger_budget():
    ledger = MemoryLedger()
    run(budget=4, ledger=ledger)
    elapsed = ledger.elapsed_s()
    outcome, _ = run(budget=6, ledger=ledger)
    assert outcome.progress.done == 6
    assert outcome.progress.elapsed_s > elapsed
    again, parts = run(budget=6, ledger=ledger)
    assert again.progress.done == 6
    assert parts["executor"].ran == []


def test_the_reference_point_is_fixed_once_after_ten_results():
    ledger = MemoryLedger()
    recorder = ListRecorder(ledger)
    outcome, _ = run(budget=14, ledger=ledger, recorders=[recorder])
    assert ledger.fixed == 1
    known = [h[3].hypervolume is not None for h in recorder.heard if h[0] == "finished"]
    assert known == [False] * 9 + [True] * 5
    # Ten results: accuracy costs 0 .. -0.4, latencies 0 .. 4.5; a tenth of the range outwards.
    assert ledger.reference_point == pytest.approx((0.04, 4.95))
    assert outcome.progress.hypervolume > 0


def test_a_short_search_fixes_the_reference_point_at_its_end():
    outcome, parts = run(budget=3)
    assert parts["ledger"].fixed == 1
    assert outcome.progress.hypervolume > 0


def test_hypervolume_never_falls():
    ledger = MemoryLedger()
    recorder = ListRecorder(ledger)
    run(budget=20, ledger=ledger, recorders=[recorder])
    volumes = [h[3].hypervolume for h in recorder.heard if h[0] == "finished" and h[1] >= 10]
    assert volumes == sorted(volumes)


def test_a_search_needs_an_objective():
    with pytest.raises(ValueError, match="at least one objective"):
        search(InOrder(), FakePipeline(), (), (), Budget(1), MemoryLedger(), (), InlineExecutor())


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"trials": 3, "minutes": 0.0}])
def test_a_budget_of_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="but got"):
        Budget(**wrong)


def test_readings_of_a_stage_win_over_the_screen():
    pipeline = FakePipeline()
    found = {"macs": 7.0, "accuracy": 0.5, "latency_ms.cpu": 1.0}
    pipeline.stages[1].call = lambda c: StageResult(Readings(found, Provenance("counted")))
    _, parts = run(pipeline=pipeline, budget=1)
    trial = parts["ledger"].told()[0]
    assert trial.metrics["macs"] == 7.0
    assert trial.provenance["macs"].source == "counted"
    assert set(trial.seconds) == {"screen", "train", "score"}


class Stopping(FakePipeline):
    """Trainings of large x are stopped; what is unknown of them is estimated."""

    def _train(self, candidate):
        if candidate.genotype["x"] < 3:
            return StageResult(Readings(), curve={"accuracy": (0.1, 0.2), "loss": (2.0, 1.0)})
        return StageResult(
            Readings({"estimated_accuracy": 0.9}),
            curve={"accuracy": (0.1,)},
            stopped="stopped: no hope",
        )


def test_a_stopped_training_is_a_result_of_its_own():
    outcome, parts = run(pipeline=Stopping(), budget=8)
    progress, trials = outcome.progress, parts["ledger"].told()
    assert (progress.done, progress.stopped, progress.scored) == (6, 2, 8)
    assert [t.number for t in trials if t.status == "stopped"] == [6, 7]
    assert trials[-1].error == "stopped: no hope"
    assert trials[-1].curve == {"accuracy": (0.1,)}
    assert trials[-1].metrics["estimated_accuracy"] == 0.9
    assert trials[0].curve == {"accuracy": (0.1, 0.2), "loss": (2.0, 1.0)}
    # Not scored, never on the front; the strategy hears what its curve says, and no more.
    assert len(parts["evaluate"].scored) == 6
    assert not {6, 7} & set(progress.front)
    assert parts["strategy"].tells[-1] == ({"x": 3, "prune.ratio": 0.5}, [-0.9, None], 0.0)


def test_what_a_stopped_training_would_have_learned_may_violate_a_constraint():
    _, parts = run(pipeline=Stopping(), budget=8, constraints=["accuracy >= 0.95"])
    genotype, costs, violation = parts["strategy"].tells[-1]
    assert (genotype, costs) == ({"x": 3, "prune.ratio": 0.5}, [-0.9, None])
    assert violation == pytest.approx(0.05 / 0.95)


@pytest.mark.parametrize("moment", range(1, 12))
def test_a_search_with_stops_goes_on_by_replay(moment):
    whole, parts = run(pipeline=Stopping(), budget=10)
    killed = InlineExecutor(die_after=moment)
    ledger = MemoryLedger()
    with pytest.raises(KeyboardInterrupt):
        run(pipeline=Stopping(), budget=10, ledger=ledger, executor=killed)
    again, other = run(pipeline=Stopping(), budget=10, ledger=MemoryLedger(ledger.events))
    assert again.progress.stopped == whole.progress.stopped
    assert {t.number: t.status for t in other["ledger"].told()} == {
        t.number: t.status for t in parts["ledger"].told()
    }


# -- training epochs --


class Trained(FakePipeline):
    """A training takes 12 epochs, a failing one breaks off after 3; scoring fine-tunes for 2."""

    def _train(self, candidate):
        try:
            return replace(super()._train(candidate), epochs=12)
        except CandidateError as error:
            error.epochs = 3
            raise

    def _score(self, candidate):
        ratio = candidate.genotype["prune.ratio"]
        return replace(super()._score(candidate), epochs=2 if ratio else 0)


def epochs_of(outcome):
    return outcome.progress.epochs


def test_epochs_are_counted_as_they_were_run_and_shared_ones_once():
    outcome, parts = run(pipeline=Trained(failing={2}), budget=8)
    # Two networks with two variants each, and one that fails twice.
    assert epochs_of(outcome) == 3 * 12 + 3 * 2 + 2 * 3
    told = sorted(parts["ledger"].told(), key=lambda trial: trial.number)
    assert [sum(t.epochs.values()) for t in told] == [12, 14, 12, 14, 3, 3, 12, 14]
    again, _ = run(pipeline=Trained(), ledger=parts["ledger"], strategy=InOrder(), budget=8)
    assert epochs_of(again) == epochs_of(outcome)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_budget_of_epochs_is_exceeded_by_less_than_one_candidate(workers):
    budget = Budget(epochs=60, epochs_each=14)
    outcome, parts = run(pipeline=Trained(), budget=budget, executor=InlineExecutor(workers))
    assert outcome.reason == "epochs"
    assert 60 <= epochs_of(outcome) < 74
    assert outcome.progress.scored == 9  # four networks, and a fifth of which one variant was left
    again, more = run(pipeline=Trained(), budget=budget, ledger=parts["ledger"])
    assert (again.reason, again.progress.scored) == ("epochs", 9)
    assert more["evaluate"].trained == []
    larger = Budget(epochs=80, epochs_each=14)
    further, _ = run(pipeline=Trained(), budget=larger, ledger=parts["ledger"])
    assert 80 <= epochs_of(further) < 94


# -- expected improvement --


class Expecting(InOrder):
    """Expects less from result to result, and nothing can be said before the second."""

    def expected_improvement(self):
        told = len(self.tells)
        return None if told < 2 else 0.6 / told


@pytest.mark.parametrize("workers", [1, 3])
def test_it_ends_when_little_is_expected_of_another_minute(workers):
    # The clock of the executor makes a candidate take 20 s at one worker: three in a minute.
    executor = InlineExecutor(workers)
    budget = Budget(trials=20, improvement_per_minute=0.25)
    outcome, parts = run(strategy=Expecting(), budget=budget, executor=executor)
    assert outcome.reason == "improvement"
    assert "of the hypervolume is expected of a minute, less than 25 %" in outcome.detail
    assert 5 <= outcome.progress.scored < 20
    again, more = run(strategy=Expecting(), budget=budget, ledger=parts["ledger"])
    assert (again.reason, again.detail) == (outcome.reason, outcome.detail)
    assert more["evaluate"].trained == []
    assert again.progress.scored == outcome.progress.scored


def test_a_strategy_that_expects_nothing_is_refused():
    with pytest.raises(ValueError, match="needs a strategy that says what it expects"):
        run(budget=Budget(trials=3, improvement_per_minute=0.1))


# -- what trials took --


class Clocked(InOrder):
    def __init__(self):
        super().__init__()
        self.spent = []

    def took(self, genotype, seconds):
        self.spent.append((genotype, seconds, len(self.tells)))


def test_a_strategy_that_wants_to_know_hears_what_trials_took_before_their_results():
    live = Clocked()
    _, parts = run(strategy=live, budget=4)
    trials = list(parts["ledger"].told())
    assert [seconds for _, seconds, _ in live.spent] == [sum(t.seconds.values()) for t in trials]
    assert [told for *_, told in live.spent] == [0, 1, 2, 3]
    again = Clocked()
    run(strategy=again, budget=4, ledger=parts["ledger"])
    assert again.spent == live.spent


# -- notes --


class Listener(ListRecorder):
    def noted(self, line):
        self.heard.append(("noted", line))


def test_recorders_hear_what_the_strategy_notes_once_and_before_the_first_candidate():
    ledger = MemoryLedger()
    listener, strategy = Listener(ledger), InOrder()
    strategy.notes = ("it has no list", "it is late")
    outcome, _ = run(strategy=strategy, ledger=ledger, recorders=[listener, ListRecorder(ledger)])
    assert listener.heard[:2] == [("noted", "it has no list"), ("noted", "it is late")]
    assert sum(what == "noted" for what, *_ in listener.heard) == 2
    assert outcome.notes == strategy.notes


def test_where_nothing_is_asked_for_nothing_is_noted():
    _, parts = run(budget=3)
    strategy = InOrder()
    strategy.notes = ("it took long to say this",)
    outcome, _ = run(strategy=strategy, ledger=parts["ledger"], budget=3)
    assert outcome.notes == ()
