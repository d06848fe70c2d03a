"""Several trainings of one genotype, and the confirmation of a front."""

import pytest

import strategies
from nas.objectives import Constraint, Objective
from nas.repeats import Confirmed, front_of_means, merged, own, unconfirmed
from nas.search import Budget, Provenance, Readings, StageResult, Trial, search
from tests.nas.fakes import (
    CHOICES,
    FakePipeline,
    InlineExecutor,
    InOrder,
    ListRecorder,
    MemoryLedger,
)

ACCURACY, LATENCY = Objective("accuracy", "maximize"), Objective("latency_ms.cpu", "minimize")
OBJECTIVES = ACCURACY, LATENCY


def trial(number, x, accuracy, latency=None, repeat=0, status="done"):
    metrics = {"accuracy": accuracy, "latency_ms.cpu": x if latency is None else latency}
    origins = {"accuracy": Provenance("scored", method="validation split")}
    known = metrics if status == "done" else {}
    return Trial(
        number, {"x": x}, f"t{number}", f"c{number}", status, known, origins, repeat=repeat
    )


def test_without_repeats_nothing_changes():
    trials = [trial(0, 1, 0.5), trial(1, 2, 0.6)]
    assert merged(trials, OBJECTIVES) == trials
    assert own(trials[0]) is trials[0]


def test_the_mean_has_the_spread_and_the_artifact_of_the_best():
    trials = [trial(0, 1, 0.90), trial(1, 2, 0.5), trial(2, 1, 0.96, repeat=1)]
    trials.append(trial(3, 1, 0.93, repeat=2))
    together, other = merged(trials, OBJECTIVES)

    assert isinstance(together, Confirmed)
    assert other is trials[1]
    assert together.metrics["accuracy"] == pytest.approx(0.93)
    origin = together.provenance["accuracy"]
    assert (origin.low, origin.high) == (0.90, 0.96)
    assert origin.method == "validation split, mean of 3 trainings"
    assert (together.number, own(together)) == (2, trials[2])
    assert [each.number for each in together.trainings] == [0, 2, 3]
    assert "latency_ms.cpu" not in together.provenance
    assert merged([together, other], OBJECTIVES) == [together, other]


def test_the_file_that_ships_meets_the_constraints_where_one_does():
    slow = trial(1, 1, 0.96, latency=1.3, repeat=1)
    trials = [trial(0, 1, 0.90, latency=1.0), slow]
    bound = [Constraint.parse("latency_ms.cpu <= 1.2")]
    assert merged(trials, OBJECTIVES, bound)[0].number == 0
    assert merged(trials, OBJECTIVES)[0].number == 1


def test_failed_trainings_are_kept_but_count_for_no_mean():
    trials = [trial(0, 1, 0.9), trial(1, 1, 0.0, repeat=1, status="failed")]
    (together,) = merged(trials, OBJECTIVES)
    assert together.metrics["accuracy"] == 0.9
    assert (len(together.trainings), len(together.done)) == (2, 1)
    failed = [trial(0, 1, 0, status="failed"), trial(1, 1, 0, repeat=1, status="failed")]
    assert merged(failed, OBJECTIVES)[0].status == "failed"


def test_a_lucky_one_falls_from_the_front():
    trials = [trial(0, 1, 0.99), trial(1, 2, 0.95), trial(2, 1, 0.80, repeat=1)]
    assert set(front_of_means(trials[:2], OBJECTIVES, ()).front) == {0}
    assert set(front_of_means(trials, OBJECTIVES, ()).front) == {0, 1}


def due(trials, times=3, constraints=()):
    found = unconfirmed(trials, OBJECTIVES, constraints, times)
    return [(genotype["x"], repeat) for genotype, repeat in found]


def test_first_the_members_of_the_front():
    trials = [trial(0, 1, 0.9), trial(1, 2, 0.8), trial(2, 3, 0.95)]
    assert due(trials) == [(1, 1), (1, 2), (3, 1), (3, 2)]
    assert due(trials, times=1) == []
    bound = [Constraint.parse("accuracy >= 0.93")]
    assert due(trials, constraints=bound) == [(3, 1), (3, 2)]


def test_then_who_took_the_place_of_one_that_fell():
    lucky = [trial(0, 1, 0.99), *(trial(10 + r, 1, 0.70, repeat=r) for r in (1, 2))]
    assert due([*lucky, trial(1, 2, 0.9)]) == [(2, 1), (2, 2)]


def test_then_those_that_luck_may_have_displaced_the_nearest_first_and_no_more():
    # Trainings of x = 1 deviate by 0.01; x = 2 is behind it by half of that, x = 4 by far.
    front = [trial(0, 1, 0.90), trial(1, 1, 0.91, repeat=1), trial(2, 1, 0.89, repeat=2)]
    others = [trial(3, 2, 0.893), trial(4, 3, 0.896), trial(5, 4, 0.80)]
    assert due([*front, *others]) == [(3, 1), (3, 2)]
    confirmed = [trial(6, 3, 0.89, repeat=1), trial(7, 3, 0.90, repeat=2)]
    # There was one member of the front, so one beside it is enough.
    assert due([*front, *others, *confirmed]) == []


def test_where_nothing_is_noisy_nothing_is_near():
    front = [trial(0, 1, 0.90), trial(1, 1, 0.90, repeat=1), trial(2, 1, 0.90, repeat=2)]
    assert due([*front, trial(3, 2, 0.8999)]) == []


def test_one_that_a_member_does_not_dominate_needs_no_luck_against_it():
    # Latency has no noise: nothing but the first member is ahead of x = 2, and only by a little.
    front = [trial(0, 1, 0.90), trial(1, 1, 0.91, repeat=1), trial(2, 1, 0.89, repeat=2)]
    better = [trial(3 + r, 9, 0.95 + 0.001 * r, repeat=r) for r in range(3)]
    assert due([*front, *better, trial(7, 2, 0.893)]) == [(2, 1), (2, 2)]


class NoisyPipeline(FakePipeline):
    """The first training of x = 3 is lucky."""

    def _score(self, candidate):
        found = super()._score(candidate).readings
        luck = 0.5 if (candidate.genotype["x"], candidate.repeat) == (3, 0) else 0.0
        return StageResult(Readings({**found, "accuracy": found["accuracy"] + luck}))


def run(ledger, pipeline=None, executor=None, confirm=3, trials=12, recorders=(), strategy=None):
    executor = executor or InlineExecutor()
    budget = Budget(trials, confirm=confirm)
    strategy = strategy or InOrder()
    parts = strategy, pipeline or NoisyPipeline(), OBJECTIVES, (), budget, ledger, recorders
    return search(*parts, executor, clock=executor.clock), strategy


def genotypes_of(ledger, outcome):
    by_number = {trial.number: trial for trial in ledger.told()}
    return [by_number[number].genotype["x"] for number in outcome.progress.front]


def test_a_search_confirms_its_front():
    ledger = MemoryLedger()
    plain, _ = run(MemoryLedger(), confirm=1)
    recorder = ListRecorder(ledger)
    outcome, strategy = run(ledger, recorders=[recorder])

    assert plain.progress.front == (0, 2, 4, 6)
    # x = 5 had been hidden by the luck of x = 3. Four members, and four of those behind them.
    assert genotypes_of(ledger, outcome) == [0, 1, 2, 3, 5]
    assert outcome.reason == "trials"
    assert (outcome.progress.scored, outcome.progress.confirmed) == (12, 16)
    assert len({t.training_key for t in ledger.told() if t.genotype["x"] == 3}) == 3
    # All are told as repeated observations, and heard of.
    assert [cost for genotype, cost, _ in strategy.tells if genotype["x"] == 3][-1] == [-0.3, 3.5]
    assert len(strategy.tells) == 28
    assert recorder.heard[-1][3].confirmed == 16
    # It is beside the budget of minutes.
    assert outcome.progress.elapsed_s == plain.progress.elapsed_s == ledger.elapsed_s()


def test_a_killed_confirmation_goes_on():
    whole = MemoryLedger()
    expected, _ = run(whole)
    for stop in range(13, 40, 4):
        ledger = MemoryLedger()
        with pytest.raises(KeyboardInterrupt):
            run(ledger, executor=InlineExecutor(die_after=stop))
        killed = MemoryLedger(ledger.events, ledger.reference_point)
        outcome, strategy = run(killed)
        assert outcome.progress.front == expected.progress.front
        assert killed.elapsed_s() == whole.elapsed_s() or stop < 24
        assert outcome.progress.confirmed == expected.progress.confirmed
        keys = [trial.candidate_key for trial in killed.told()]
        assert len(keys) == len(set(keys)) == 28
        assert strategy.marked == [] or all(ask.repeat == 0 for ask in killed.unfinished())


def test_a_finished_search_is_confirmed_later():
    ledger = MemoryLedger()
    run(ledger, confirm=1)
    outcome, _ = run(ledger)
    again, _ = run(ledger)
    assert outcome.progress.confirmed == again.progress.confirmed == 16
    more, _ = run(ledger, trials=14)
    assert more.progress.scored == 14


def test_a_repeat_that_fails_costs_itself_only():
    class Fails(NoisyPipeline):
        def _train(self, candidate):
            self.failing = {0} if candidate.repeat else set()
            return super()._train(candidate)

    ledger = MemoryLedger()
    outcome, _ = run(ledger, Fails())
    assert (outcome.progress.failed, outcome.progress.confirmed) == (0, 16)
    failed = [t for t in ledger.told() if t.status == "failed"]
    # Both variants of x = 0: the pruned one is as accurate, so luck may have put it behind.
    assert {(t.genotype["x"], t.repeat, t.error) for t in failed} == {
        (0, repeat, "train: loss is nan") for repeat in (1, 2)
    }
    assert len(failed) == 4
    assert 0 in genotypes_of(ledger, outcome)


@pytest.mark.parametrize("name", strategies.names())
def test_repeats_are_observations_to_every_strategy(name):
    strategy = strategies.create(name, CHOICES, OBJECTIVES, seed=0)
    outcome, _ = run(MemoryLedger(), strategy=strategy, trials=13)
    assert outcome.progress.confirmed >= 2


def test_bad_budgets():
    with pytest.raises(ValueError, match="confirm must be at least 1 training, but got 0"):
        Budget(3, confirm=0)
