"""What early stopping saves, and what it loses.

    python -m benchmarks.early_stopping [--seeds 3] [--first-seed 0] [--budget 60] [--size 16]
        [--space convnet] [--arms tpe,tpe+prediction,...] [--confidence 0.95] [--again 2]
        [--json FILE]

Real searches on digits: accuracy against the modeled latency of a CPU and parameters. Each network
is trained to its end once, and its curve and the thread CPU seconds of its epochs are kept; every
search then pays for the epochs that it would have seen. So a stop can be judged: it is wrong when
the whole training would have put the network on the search's final front. Nothing is compressed.

Reported: epochs and CPU seconds of training, in all and until the hypervolume that plain TPE has
after its whole budget; the share of stops that were wrong. The other searches end when they have
spent the CPU seconds of plain TPE, however many candidates that are.

Validation accuracy is luck to some tenths of a point, and one lucky network outweighs all else that
a search finds. So the front that a search would present, by what it was told, is scored by the mean
accuracy of so many further trainings of its networks (--again; 0: by what was told).

The reference point lies a tenth beyond the worst costs that any search of the same seed was told
(``union``). What counts hangs on it, so two others are reported too: beyond the worst that plain
TPE alone was told (``tpe``), and beyond the worst on the front of all that was told (``nadir``;
Ishibuchi et al. 2018).

The line ``tpe, all foreseen`` says what a rule could save that errs nowhere.

With --json curves and results are kept there after each search, and not worked out again by the
same command with more seeds or arms; remove the file when anything else changes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

import strategies
from experiments.config import ExperimentConfig, load_config
from experiments.ledger import SqliteLedger
from experiments.pipeline import CandidatePipeline, Parts
from experiments.wiring import build_space, build_task
from nas.choices import Genotype
from nas.front import costs_of, front_of
from nas.keys import seed_of
from nas.objectives import Objective
from nas.pareto import Costs, ParetoArchive, hypervolume, reference_point
from nas.protocols import Ask, Job, JobDone, Progress, StageResult
from nas.search import Budget, search
from nas.stopping import LEAST_CURVES, Stopper, StoppingRule
from nas.trials import Candidate, CandidateError, Curve, Readings, Trial

PLAIN = "tpe"
STRATEGIES = {"tpe": "bayesian", "guided": "guided"}
ARMS = tuple(f"{s}{r}" for s in STRATEGIES for r in ("", "+prediction", "+rungs"))

MOST_TRIALS = 20
"""Times as many as plain TPE has, if a search stops nearly all of them."""

Row = dict[str, Any]
Goal = tuple[Costs, float]


def experiment(size: int, epochs: int, space: str = "convnet") -> ExperimentConfig:
    """The shipped search on digits without compression, for a modeled device."""
    return load_config(
        "digits-cpu",
        [
            f"task.size={size}",
            f"space={{kind: {space}}}",
            f"training.epochs={epochs}",
            "compression={prune: [none], quantize: [none]}",
            "devices={cpu: {profile: generic-cpu, method: modeled}}",
            "objectives=[{maximize: accuracy}, {minimize: latency_ms.cpu}, {minimize: params}]",
        ],
    )


class Curves:
    """Whole trainings by their keys, each worked out once.

    Args:
        config: of the search.
        known: from an earlier call.
    """

    def __init__(self, config: ExperimentConfig, known: Mapping[str, Any]) -> None:
        self._config, self.known = config, dict(known)
        self._space = build_space(config)
        self._data = build_task(config).without_test()
        self._pipeline = CandidatePipeline(Parts.of(config), Path(), 1.0)

    def __call__(self, candidate: Candidate) -> Mapping[str, list[float]]:
        """``loss``, ``accuracy`` and ``seconds`` by epoch; of CPU time.

        Raises:
            CandidateError: when the training diverges.
        """
        key = candidate.training_key
        if key not in self.known:
            self.known[key] = self._train(candidate)
        if not self.known[key]:
            raise CandidateError("the training diverged")
        curve: Mapping[str, list[float]] = self.known[key]
        return curve

    def again(self, genotype: Genotype, trainings: int) -> float | None:
        """The mean accuracy of further trainings of a network; None where one diverges."""
        found = []
        for repeat in range(1, trainings + 1):
            try:
                curve = self(self._pipeline.candidate(genotype, repeat))
            except CandidateError:
                return None
            found.append(curve["accuracy"][-1])
        return float(np.mean(found))

    def _train(self, candidate: Candidate) -> dict[str, list[float]]:
        from evaluators.training import seeded, train

        with seeded(seed_of(candidate.training_key, "init")):
            module = self._space.build(candidate.genotype, self._data.task)
        clock = [time.thread_time()]

        def report(epoch: int, metrics: Mapping[str, float]) -> bool:
            clock.append(time.thread_time())
            return True

        seed = seed_of(candidate.training_key, "training")
        try:
            done = train(module, self._data, self._config.training, seed, report)
        except CandidateError:
            return {}
        seconds = np.diff(clock).tolist()
        return {"loss": list(done.loss), "accuracy": list(done.accuracy), "seconds": seconds}


@dataclass
class Training:
    """The one stage: trains on paper, and stops where the rule says so."""

    curves: Curves
    stopper: Callable[[Candidate], Stopper]
    spent_s: float = 0.0
    name: str = "train"
    screens: bool = False

    def key(self, candidate: Candidate) -> str:
        """Each candidate has a stage of its own."""
        return candidate.candidate_key

    def job(self, candidate: Candidate) -> Job:
        """See `nas.protocols.Stage`."""
        return Job(lambda: self._run(candidate))

    def _run(self, candidate: Candidate) -> StageResult:
        whole, stopper = self.curves(candidate), self.stopper(candidate)
        for done in range(1, len(whole["accuracy"]) + 1):
            curve: Curve = {name: tuple(whole[name][:done]) for name in ("loss", "accuracy")}
            why = stopper.why_stop(curve)
            self.spent_s = sum(whole["seconds"][:done])
            if why:
                return StageResult(stopper.estimates(curve), curve=curve, stopped=why)
        return StageResult(Readings({"accuracy": whole["accuracy"][-1]}), curve=curve)


@dataclass
class Here:
    """Runs jobs here and now, one at a time.

    Args:
        training: the stage that they are of; it says what they would have taken.
    """

    training: Training
    jobs: list[tuple[int, Job]] = field(default_factory=list)
    count: int = 0

    def slots(self) -> int:
        """One job at a time."""
        return 1

    def submit(self, job: Job) -> int:
        """Queue a job."""
        self.count += 1
        self.jobs.append((self.count, job))
        return self.count

    def wait(self, timeout_s: float) -> list[JobDone]:
        """Run the next one."""
        number, job = self.jobs.pop(0)
        try:
            return [JobDone(number, job.call(), seconds=self.training.spent_s)]
        except CandidateError as error:
            return [JobDone(number, None, str(error))]

    def close(self) -> None:
        """Forget what is queued."""
        self.jobs.clear()


class Enough(Exception):  # noqa: N818 - nothing is wrong
    """A search has spent what it may."""


@dataclass
class Account:
    """Hears of the trials of a search, and ends it.

    Args:
        objectives: of the search.
        curves: that its trainings come from.
        limit_s: CPU seconds of training that it may spend.
    """

    objectives: Sequence[Objective]
    curves: Curves
    limit_s: float = math.inf
    steps: list[list[Any]] = field(default_factory=list)

    def started(self, ask: Ask, progress: Progress) -> None:
        """See `nas.protocols.Recorder`."""

    def finished(self, trial: Trial, progress: Progress) -> None:
        """Note the epochs, CPU seconds and costs of a trial."""
        done = len(trial.curve.get("accuracy", ()))
        seconds = (self.curves.known.get(trial.training_key) or {"seconds": []})["seconds"]
        self.steps.append([done, round(sum(seconds[:done]), 4), costs_of(trial, self.objectives)])
        if sum(spent for _, spent, _ in self.steps) >= self.limit_s:
            raise Enough


def trials_of(
    arm: str,
    seed: int,
    budget: int,
    config: ExperimentConfig,
    curves: Curves,
    account: Account,
    confidence: float = StoppingRule.confidence,
) -> list[Trial]:
    """The trials of one search, in the order of telling."""
    kind, _, rule = arm.partition("+")
    wanted, limits = config.objectives_parsed(), config.constraints_parsed()
    parts = Parts.of(config)
    stopping = StoppingRule(rule or "none", confidence)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        pipeline = CandidatePipeline(parts, Path(folder), 600.0)
        with SqliteLedger(Path(folder) / "ledger.sqlite", create=True) as ledger:

            def stopper(candidate: Candidate) -> Stopper:
                past = ledger.told_before(candidate.candidate_key)
                known, epochs = pipeline.screen(candidate), config.training.epochs
                return Stopper(stopping, wanted, limits, past, candidate.genotype, known, epochs)

            training = Training(curves, stopper)
            pipeline.stages = [training]
            strategy = strategies.create(
                STRATEGIES[kind], parts.choices, wanted, seed, pipeline.known, limits
            )
            limit = Budget(budget)
            with contextlib.suppress(Enough):
                search(
                    strategy, pipeline, wanted, limits, limit, ledger, (account,), Here(training)
                )
            return list(ledger.told())


def run(
    arm: str,
    seed: int,
    budget: int,
    config: ExperimentConfig,
    curves: Curves,
    plain: Row | None = None,
    again: int = 0,
    confidence: float = StoppingRule.confidence,
) -> Row:
    """One search: its steps of (epochs, CPU seconds, costs), and how its stops are to be judged.

    Args:
        arm: strategy and rule.
        seed: of the strategy.
        budget: trials of plain TPE.
        config: of the search.
        curves: that its trainings come from.
        plain: what plain TPE has come to, which ends the others; None: this is plain TPE.
        again: further trainings by which what it presents is scored.
        confidence: of the prediction.
    """
    objectives = config.objectives_parsed()
    account = Account(objectives, curves)
    if plain is not None:
        budget = MOST_TRIALS * budget
        account.limit_s = sum(seconds for _, seconds, _ in plain["steps"])
    trials = trials_of(arm, seed, budget, config, curves, account, confidence)
    front = front_of(trials, objectives, config.constraints_parsed()).front
    stopped = [trial for trial in trials if trial.status == "stopped"]
    wrong = 0
    for trial in stopped:
        whole = {**trial.metrics, "accuracy": curves.known[trial.training_key]["accuracy"][-1]}
        hoped = costs_of(replace(trial, status="done", metrics=whole), objectives) or ()
        wrong += not any(
            all(a <= b for a, b in zip(costs, hoped, strict=True)) for costs in front.values()
        )
    return {
        "arm": arm,
        "seed": seed,
        "steps": account.steps,
        "truths": truths(trials, objectives, curves, again),
        "stopped": len(stopped),
        "wrong": wrong,
        "front": len(front),
        "trials": len(trials),
    }


def truths(
    trials: Sequence[Trial], objectives: Sequence[Objective], curves: Curves, again: int
) -> dict[str, Costs]:
    """What those are worth that were on the front when they were told, by their place.

    Args:
        trials: in the order of telling.
        objectives: of the search.
        curves: of the further trainings.
        again: how many of them; 0: they are worth what was told.
    """
    archive, found = ParetoArchive(), dict[str, Costs]()
    for place, trial in enumerate(trials):
        told = costs_of(trial, objectives)
        if told is None:
            continue
        archive.add(place, told)
        if place in archive.front and again:
            mean = curves.again(trial.genotype, again)
            metrics = {**trial.metrics, "accuracy": 0.0 if mean is None else mean}
            found[str(place)] = costs_of(replace(trial, metrics=metrics), objectives) or told
    return found


def hypervolumes(row: Row, reference: Costs) -> list[float]:
    """After each trial, of the front that the search would present, as it is worth."""
    archive, found = ParetoArchive(), list[float]()
    for place, (_, _, costs) in enumerate(row["steps"]):
        if costs:
            archive.add(place, tuple(costs))
        if found and place not in archive.front:
            found.append(found[-1])
            continue
        worth = [row["truths"].get(str(n), told) for n, told in archive.front.items()]
        found.append(hypervolume([tuple(each) for each in worth], reference))
    return found


def points_of(row: Row) -> list[Costs]:
    """The costs that a search was told, in order."""
    return [tuple(costs) for _, _, costs in row["steps"] if costs]


def goals_of(rows: Sequence[Row]) -> dict[str, Goal]:
    """By name of the reference point: it, and the hypervolume of plain TPE after all its trials.

    Args:
        rows: of all searches of a seed.
    """
    plain = next(row for row in rows if row["arm"] == PLAIN)
    union = [costs for row in rows for costs in points_of(row)]
    archive = ParetoArchive()
    for number, costs in enumerate(union):
        archive.add(number, costs)
    named = {"union": union, "tpe": points_of(plain), "nadir": [*archive.front.values()]}
    references = {name: reference_point(points) for name, points in named.items()}
    return {name: (point, hypervolumes(plain, point)[-1]) for name, point in references.items()}


def line(row: Row, goals: Mapping[str, Goal], epochs: int) -> Row:
    """What one search spent, and what it had spent when it reached each goal (None: never)."""
    told = row["steps"]
    found: Row = {
        "arm": row["arm"],
        "seed": row["seed"],
        "epochs": sum(done for done, _, _ in told),
        "cpu_s": round(sum(cpu_s for _, cpu_s, _ in told), 1),
        "epochs of whole trainings": epochs * len(told),
    }
    for name, (reference, wanted) in goals.items():
        volumes, seconds = hypervolumes(row, reference), np.cumsum([cpu_s for _, cpu_s, _ in told])
        reached = np.flatnonzero(np.array(volumes) >= wanted * (1 - 1e-9))
        found[f"cpu_s to {name}"] = round(float(seconds[reached[0]]), 1) if len(reached) else None
        found[f"of {name}"] = round(volumes[-1] / wanted, 4)
    return {**found, **{name: row[name] for name in ("stopped", "wrong", "front")}}


def foreseen(plain: Row) -> Row:
    """Plain TPE, had it known of each training whether it gets onto the front of its time.

    From the first on that a rule may stop, those that do not are stopped after one epoch. What was
    asked for is left as it was.
    """
    archive, steps = ParetoArchive(), list[Any]()
    for place, (done, seconds, costs) in enumerate(plain["steps"]):
        if costs:
            archive.add(place, tuple(costs))
        is_kept = place < LEAST_CURVES or place in archive.front
        steps.append([done, seconds, costs] if is_kept else [1, seconds / max(1, done), None])
    stopped = sum(done == 1 for done, _, _ in steps)
    return {**plain, "arm": f"{PLAIN}, all foreseen", "steps": steps, "stopped": stopped}


def show(lines: Sequence[Row], console: Console) -> None:
    heads = list(lines[0])
    table = Table(*heads)
    for each in lines:
        table.add_row(*("-" if each[head] is None else str(each[head]) for head in heads))
    console.print(table)
    plain = {each["seed"]: each for each in lines if each["arm"] == PLAIN}
    for arm in dict.fromkeys(each["arm"] for each in lines):
        own = [each for each in lines if each["arm"] == arm]
        stops, wrong = (sum(each[name] for each in own) for name in ("stopped", "wrong"))
        saved = 1 - sum(e["epochs"] for e in own) / sum(e["epochs of whole trainings"] for e in own)
        console.print(f"{arm}: {saved:.0%} of the epochs saved, {wrong} of {stops} stops wrong")
        for name in (head.removeprefix("cpu_s to ") for head in heads if "cpu_s to" in head):
            ratios = [
                e[f"cpu_s to {name}"] / plain[e["seed"]]["cpu_s"]
                for e in own
                if e[f"cpu_s to {name}"] is not None
            ]
            shares = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            console.print(
                f"  {name}: the goal in {len(ratios)} of {len(own)} searches, after "
                f"{shares or '-'} of plain TPE's training time, in the mean "
                f"{np.mean(ratios or np.nan):.2f}",
                highlight=False,
            )


def _seed(row: Row) -> int:
    return int(row["seed"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=60, help="trials of a search")
    parser.add_argument("--size", type=int, default=16, help="of the images, in pixels")
    parser.add_argument("--space", default="convnet", choices=("convnet", "mlp"))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--arms", default=",".join(ARMS), help="with commas; the first is the goal")
    parser.add_argument("--confidence", type=float, default=StoppingRule.confidence)
    parser.add_argument(
        "--again", type=int, default=2, help="trainings that score a front; 0: none"
    )
    parser.add_argument("--json", type=Path, help="keep curves and results there")
    chosen = parser.parse_args(arguments)
    arms = chosen.arms.split(",")
    if PLAIN not in arms or not set(arms) <= set(ARMS):
        print(f"early_stopping: arms are of {', '.join(ARMS)}, with {PLAIN}", file=sys.stderr)
        return 2
    kept: dict[str, Any] = {"curves": {}, "rows": []}
    if chosen.json and chosen.json.exists():
        kept = json.loads(chosen.json.read_text(encoding="utf-8"))
    config = experiment(chosen.size, chosen.epochs, chosen.space)
    curves, rows = Curves(config, kept["curves"]), list[Row]()
    known = {(row["arm"], row["seed"]): row for row in kept["rows"]}
    arms = sorted(arms, key=lambda arm: arm != PLAIN)  # what it comes to ends the others
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        for arm in arms:
            if (arm, seed) not in known:
                plain = known[PLAIN, seed] if arm != PLAIN else None
                known[arm, seed] = run(
                    arm, seed, chosen.budget, config, curves, plain, chosen.again, chosen.confidence
                )
            rows.append(known[arm, seed])
            if chosen.json:
                kept = {"curves": curves.known, "rows": [*known.values()]}
                chosen.json.write_text(json.dumps(kept), encoding="utf-8")
    goals = {seed: goals_of([r for r in rows if r["seed"] == seed]) for seed in {*map(_seed, rows)}}
    rows += [foreseen(row) for row in rows if row["arm"] == PLAIN]
    show([line(row, goals[row["seed"]], chosen.epochs) for row in rows], Console(width=240))
    return 0


if __name__ == "__main__":
    sys.exit(main())
