"""What early stopping would have saved and lost in searches that stopped nothing.

    nas search digits-cpu --set budget.trials=300 --set budget.minutes=60
    python -m benchmarks.stopping_replay RUN [RUN ...] [--home DIR] [--rule prediction]
        [--confidence 0.95] [--grace 0.08] [--json FILE]

Each run's ledger holds the whole learning curves of its candidates. They are gone through in the
order in which they were asked for, and the rule decides about each training by what had been told
by then: of trainings that it stopped, only what they had shown. So the candidates are the same with
and without the rule, and nothing is blurred by the luck of another search.

Reported: the share of the epochs and of the seconds of training that is saved (the other stages of
stopped candidates are saved besides), whether the front is the same, how much of its hypervolume is
left, and the stops that were wrong: those of a candidate that is on the front of the whole run.
Variants of a stopped network are stopped by its curve at no cost, or it is trained for them from
the beginning.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from experiments.pipeline import CandidatePipeline, Parts
from experiments.runs import Run, RunNotFound, find_run, home
from experiments.stopping import Watch
from nas.front import front_of
from nas.pareto import Costs, hypervolume, reference_point
from nas.stopping import Stopper, StoppingRule
from nas.trials import Curve, Trial

GOALS = {"saved": 0.35, "wrong": 0.01}


@dataclass(frozen=True)
class Replayed:
    """What the rule did in one run.

    Args:
        run: its name.
        trials: finished ones, each with a curve.
        trainings: different networks among them.
        stopped: trials.
        wrong: stopped ones that are on the front of the whole run.
        front: trials on that front.
        same_front: whether it is the front of what was not stopped, too.
        kept: the hypervolume of that one, as a share; reference point a tenth beyond the front.
        epochs_saved: as a share of all epochs of training.
        training_saved: as a share of the seconds of training.
        later_saved: seconds of all later stages of stopped trials, as a share of theirs.
    """

    run: str
    trials: int
    trainings: int
    stopped: int
    wrong: int
    front: int
    same_front: bool
    kept: float
    epochs_saved: float
    training_saved: float
    later_saved: float


class Replay:
    """One run, gone through again.

    Args:
        run: with `early_stopping` off.
        rule: that decides.

    Raises:
        ValueError: for a run that cannot be replayed.
    """

    def __init__(self, run: Run, rule: StoppingRule) -> None:
        config = run.config
        if config.early_stopping.rule != "none":
            raise ValueError(f"{run.id} was searched with early stopping: its curves are not whole")
        self._run, self._rule, self._epochs = run, rule, config.training.epochs
        self._objectives = config.objectives_parsed()
        self._constraints = config.constraints_parsed()
        with tempfile.TemporaryDirectory() as folder:
            pipeline = CandidatePipeline(Parts.of(config), Path(folder), config.trial_limit_s)
            with run.ledger() as ledger:
                done = [t for t in ledger.trials() if t.status == "done" and t.repeat == 0]
                self._trials = [t for t in done if len(t.curve["accuracy"]) == self._epochs]
                self._before = {
                    t.number: [each.number for each in ledger.told_before(t.candidate_key)]
                    for t in self._trials
                }
            self._screened = {
                t.number: pipeline.screen(pipeline.candidate(t.genotype)) for t in self._trials
            }
        if not self._trials:
            raise ValueError(f"{run.id} has no finished trainings")

    def __call__(self) -> Replayed:
        """Go through all of it."""
        seen: dict[int, Trial] = {}
        cut, spent = dict[str, Curve](), dict[str, int]()
        for trial in self._trials:
            key = trial.training_key
            seen[trial.number] = trial
            if key in spent and key not in cut:
                continue  # it was trained to the end for another variant
            past = [seen[number] for number in self._before[trial.number] if number in seen]
            watch = Watch(self._stopper(trial, past), cut.pop(key, {}))
            if not watch.stopped:
                spent[key] = spent.get(key, 0) + self._train(watch, trial)
            if watch.stopped:
                seen[trial.number], cut[key] = self._stopped(trial, watch), watch.curve
        return self._judged(seen, spent)

    def _stopper(self, trial: Trial, past: Sequence[Trial]) -> Stopper:
        known, limits = self._screened[trial.number], self._constraints
        return Stopper(
            self._rule, self._objectives, limits, past, trial.genotype, known, self._epochs
        )

    def _train(self, watch: Watch, trial: Trial) -> int:
        """Epochs until it is stopped or whole."""
        for epoch in range(self._epochs):
            values = {name: trial.curve[name][epoch] for name in ("loss", "accuracy")}
            if not watch.report(epoch, values):
                return epoch + 1
        return self._epochs

    def _stopped(self, trial: Trial, watch: Watch) -> Trial:
        metrics = self._screened[trial.number].merged(watch.estimates)
        return replace(
            trial, status="stopped", metrics=metrics, curve=watch.curve, error=watch.stopped
        )

    def _judged(self, seen: Mapping[int, Trial], spent: Mapping[str, int]) -> Replayed:
        whole, left = self._front(self._trials), self._front(seen.values())
        stopped = {number for number, trial in seen.items() if trial.status == "stopped"}
        reference = reference_point([*whole.values()])
        volumes = [hypervolume([*front.values()], reference) for front in (left, whole)]
        training, later = dict[str, float](), dict[int, float]()
        for trial in self._trials:
            own = trial.seconds.get("train", 0.0)  # next to nothing for a variant
            training[trial.training_key] = max(own, training.get(trial.training_key, 0.0))
            later[trial.number] = sum(trial.seconds.values()) - own
        needed = sum(seconds * spent[key] / self._epochs for key, seconds in training.items())
        return Replayed(
            run=self._run.id,
            trials=len(self._trials),
            trainings=len(training),
            stopped=len(stopped),
            wrong=len(stopped & whole.keys()),
            front=len(whole),
            same_front=whole == left,
            kept=volumes[0] / volumes[1],
            epochs_saved=1 - sum(spent.values()) / (self._epochs * len(training)),
            training_saved=1 - needed / sum(training.values()),
            later_saved=sum(later[number] for number in stopped) / sum(later.values()),
        )

    def _front(self, trials: Iterable[Trial]) -> Mapping[int, Costs]:
        return front_of(trials, self._objectives, self._constraints).front


def line(found: Replayed) -> str:
    """One run in words, with the goals that it misses."""
    share = found.wrong / found.stopped if found.stopped else 0.0
    text = (
        f"{found.run}: {found.training_saved:.1%} of the training time saved "
        f"({found.epochs_saved:.1%} of the epochs, {found.later_saved:.1%} of what comes after), "
        f"{found.stopped} of {found.trials} trials stopped, {found.wrong} of them wrongly "
        f"({share:.1%}), {'the same' if found.same_front else 'another'} front "
        f"({found.front} points, {found.kept:.4%} of its hypervolume)"
    )
    missed = [
        *(["35 % saved"] if found.training_saved < GOALS["saved"] else []),
        *(["at most 1 % wrong"] if share > GOALS["wrong"] else []),
        *([] if found.same_front else ["the same front"]),
    ]
    return f"{text}\n  {'MISSED: ' + ', '.join(missed) if missed else 'goals met'}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="as for `nas front`")
    parser.add_argument("--home", help="where runs are kept")
    parser.add_argument("--rule", default="prediction", choices=("prediction", "rungs"))
    parser.add_argument("--confidence", type=float, default=StoppingRule.confidence)
    parser.add_argument("--grace", type=float, default=StoppingRule.grace)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    chosen = parser.parse_args(arguments)
    rule = StoppingRule(chosen.rule, chosen.confidence, chosen.grace)
    found = list[Replayed]()
    try:
        for name in chosen.runs:
            found.append(Replay(find_run(home(chosen.home), name), rule)())
            print(line(found[-1]), flush=True)
    except (ValueError, RunNotFound) as error:
        print(f"stopping_replay: {error}", file=sys.stderr)
        return 2
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(each) for each in found], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
