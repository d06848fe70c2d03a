"""A search as a user runs it: from a configuration to a front, resumable at any moment."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import strategies
from experiments.all_known import hint
from experiments.config import ConfigError, ExperimentConfig, load_config, locate
from experiments.ending import budget_of, nearest_rejected, note_ending
from experiments.executors.local import LocalExecutor
from experiments.fronts import front_trials
from experiments.ledger import SqliteLedger
from experiments.pipeline import CandidatePipeline, Parts
from experiments.recorder import MlflowRecorder
from experiments.remeasuring import remeasure_front
from experiments.runs import Run, create_run, home
from experiments.stages import RunFiles
from experiments.tracking import tracking_uri
from experiments.transfer import FILE, Transfer, kept_transfer, read_transfer
from experiments.watched_screen import WatchedScreen
from nas.keys import digest
from nas.protocols import Executor, Recorder, Strategy
from nas.search import Outcome, SearchError, search
from nas.trials import Trial

if TYPE_CHECKING:
    import pandas as pd

    from experiments.export import ExportReport

MAY_CHANGE = ("budget", "workers", "trial_limit_s", "memory_gb", "tracking")
"""Sections that a resumed search may change: they do not alter what a result means."""

MakeRecorder = Callable[[Run], Recorder]


@dataclass(frozen=True)
class Result:
    """A search that has ended.

    Args:
        run: its folder.
        outcome: why it ended, and where it stood.
    """

    run: Run
    outcome: Outcome

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""
        with contextlib.closing(self.run.ledger()) as ledger:
            return ledger.trials()

    @property
    def front(self) -> list[Trial]:
        """The Pareto front, best first by the first objective."""
        config = self.run.config
        objectives, constraints = config.objectives_parsed(), config.constraints_parsed()
        return list(front_trials(self.trials, objectives, constraints))

    def to_frame(self) -> pd.DataFrame:
        """A row a trial: number, status, the objectives, the choices, all other metrics."""
        import pandas as pd

        names = [objective.metric for objective in self.run.config.objectives_parsed()]
        rows: list[dict[str, Any]] = [
            {"trial": t.number, "status": t.status, "repeat": t.repeat}
            | {name: t.metrics.get(name) for name in names}
            | {**t.genotype, **t.metrics}
            for t in self.trials
        ]
        return pd.DataFrame(rows)

    def export(self, out: str | Path | None = None, pick: str = "knee", **filters: Any) -> Any:
        """Write the picked trial's artifact, checked; see `experiments.export.export`."""
        from experiments.export import export

        report: ExportReport = export(self.run, out, pick=pick, **filters)
        return report


class Experiment:
    """A search that can be started.

    Args:
        config: what to search.
        where: the folder of all runs; None: ``NAS_HOME``, else ``./nas-runs``.
        resumed: the run to go on with, whose earlier results are those of another search.

    Raises:
        ConfigError: when a part of the configuration cannot be used. Nothing is written then.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        where: str | Path | None = None,
        resumed: Run | None = None,
    ) -> None:
        self.config, self._home = config, home(where)
        self._parts = Parts.of(config)
        self._transfer = self._earlier() if resumed is None else kept_transfer(resumed)
        if config.tracking.enabled:
            _check_tracking(config)
        # Made once for its complaints; each run makes its own.
        strategy = self._strategy(CandidatePipeline(self._parts, Path(), config.trial_limit_s))
        _check_expects(config, strategy)

    @classmethod
    def from_yaml(
        cls,
        name_or_path: str | Path,
        overrides: Sequence[str] = (),
        where: str | Path | None = None,
    ) -> Experiment:
        """Read and check a shipped experiment or a YAML file; see `load_config`."""
        config = load_config(name_or_path, overrides)
        try:
            return cls(config, where)
        except ConfigError as error:
            if not error.path:
                raise
            place = locate(name_or_path, overrides, error.path)
            raise ConfigError(f"{place}: {error}") from error

    def _earlier(self) -> Transfer | None:
        parts = self._parts
        return read_transfer(self.config, self._home, [*parts.choices], parts.identity)

    @property
    def beginning(self) -> str:
        """What it begins with, one line; empty for nothing."""
        known = self._transfer
        return "" if known is None else known.line(self._parts.task.data_hash)

    def run(self, make_recorders: Sequence[MakeRecorder] | None = None) -> Result:
        """Start a new search and see it through.

        Args:
            make_recorders: called with the new run; each makes something that hears of trials.
                By default MLflow does, unless the configuration switches it off.

        Raises:
            SearchError: when no candidate comes through.
            KeyboardInterrupt: as it comes; `resume` goes on from there.
        """
        files = {} if self._transfer is None else {FILE: self._transfer.to_json()}
        return self._follow(create_run(self._home, self.config, files), make_recorders)

    @classmethod
    def resume(
        cls,
        run: Run,
        overrides: Sequence[str] = (),
        make_recorders: Sequence[MakeRecorder] | None = None,
    ) -> Result:
        """Go on with a search that was interrupted or killed, or has a larger budget now.

        Raises:
            ConfigError: when an override changes what a result means.
            LedgerError: when another process is writing this search.
        """
        config = load_config(run.path / "config.yaml", overrides)
        _check_unchanged(run.config, config)
        return cls(config, run.home, run)._follow(run, make_recorders)

    def _follow(self, run: Run, make_recorders: Sequence[MakeRecorder] | None) -> Result:
        """Run, with MLflow beside it where nothing else is wished for."""
        if make_recorders is not None or not self.config.tracking.enabled:
            return self._run(run, make_recorders or ())
        followers: list[MlflowRecorder] = []

        def make(run: Run) -> Recorder:
            followers.append(MlflowRecorder(run))
            return followers[-1]

        status = "failed"
        try:
            result = self._run(run, [make])
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            for follower in followers:
                follower.close(status)
        return result

    def _strategy(
        self, pipeline: CandidatePipeline, recorders: Sequence[Recorder] = ()
    ) -> Strategy:
        config, screen = self.config, WatchedScreen(pipeline.known, recorders)
        further: dict[str, Any] = {}
        if config.proxies.features and self._parts.screen.is_fast:
            further["proxies"] = pipeline.proxies
        try:
            options = dict(config.strategy.options)
            for option, section in (("proxies", "proxies"), ("prior", "transfer")):
                if option in options:
                    raise ValueError(f"{option} come from the section {section!r}, no option here")
            strategies.check_options(config.strategy.kind, options)
            if self._transfer is not None:
                options["prior"] = self._transfer.results
            return strategies.create(
                config.strategy.kind,
                self._parts.choices,
                config.objectives_parsed(),
                config.seed,
                screen=screen if self._parts.screen.is_fast else None,
                constraints=config.constraints_parsed(),
                **options,
                **further,
            )
        except ValueError as error:
            raise ConfigError(f"strategy: {error}", ("strategy",)) from error

    @contextlib.contextmanager
    def _executor(self, run: Run) -> Iterator[Executor]:
        devices = sorted(set(self._parts.meters.values()))
        workers = self.config.workers or _default_workers(bool(devices))
        threads = [d.threads for d in self._parts.devices if d.alias in self._parts.meters]
        executor = LocalExecutor(
            workers,
            devices=devices,
            memory_gb=self.config.memory_gb,
            measuring_cores=max(threads, default=1),
            preload=("evaluators.training",),
            log=run.worker_log,
        )
        try:
            yield executor
        finally:
            executor.close()

    def _run(self, run: Run, make_recorders: Sequence[MakeRecorder]) -> Result:
        pipeline = CandidatePipeline(self._parts, run.path, self.config.trial_limit_s)
        files = RunFiles(run.path)
        with contextlib.closing(run.ledger(write=True)) as ledger, _state_of(run):
            _check_identity(ledger, self._parts.identity)
            note_ending(ledger, None)
            run = run.replace_config(self.config)
            files.prepare()
            recorders = [make(run) for make in make_recorders]
            with self._executor(run) as executor:
                outcome = self._search(pipeline, ledger, recorders, executor)
                remeasure_front(run, ledger, self._parts.devices, executor)
            files.clear()
        return Result(run, outcome)

    def _hint(self, pipeline: CandidatePipeline, recorders: Sequence[Recorder]) -> None:
        line = hint(self.config, self._parts.choices, pipeline.known)
        if line:
            self._note(line, recorders)

    def _note(self, line: str, recorders: Sequence[Recorder]) -> None:
        for recorder in recorders:
            if hasattr(recorder, "noted"):
                recorder.noted(line)

    def _search(
        self,
        pipeline: CandidatePipeline,
        ledger: SqliteLedger,
        recorders: Sequence[Recorder],
        executor: Executor,
    ) -> Outcome:
        if self._parts.screen.is_fast:
            self._hint(pipeline, recorders)
        elif self.config.proxies.features:
            line = "proxies.features: nothing is screened before training, so they are not used"
            self._note(line, recorders)
        outcome = search(
            self._strategy(pipeline, recorders),
            pipeline,
            self.config.objectives_parsed(),
            self.config.constraints_parsed(),
            budget_of(self.config),
            ledger,
            recorders,
            executor,
        )
        progress = outcome.progress
        if progress.done == 0 and outcome.reason != "minutes":
            tried = progress.scored + progress.rejected
            why = "" if tried else outcome.detail
            why = why or pipeline.refusal
            why = why or nearest_rejected(ledger.trials(), self.config.constraints_parsed())
            why = why or _commonest_failure(ledger.trials())
            why = why or "they surely violate the constraints"
            raise SearchError(f"no candidate came through: {why}")
        note_ending(ledger, outcome)
        return outcome


def _commonest_failure(trials: Sequence[Trial]) -> str:
    """What most of them failed of; empty where none did."""
    errors = Counter(trial.error for trial in trials if trial.status == "failed")
    if not errors:
        return ""
    error, count = errors.most_common(1)[0]
    return f"{count} of {len(trials)} failed alike: {error}"


def _check_expects(config: ExperimentConfig, strategy: Strategy) -> None:
    wanted = config.budget.improvement_per_minute is not None
    if wanted and not hasattr(strategy, "expected_improvement"):
        raise ConfigError(
            "budget.improvement_per_minute needs a strategy that says what it expects (guided), "
            f"but got {config.strategy.kind}",
            ("budget", "improvement_per_minute"),
        )


def _check_tracking(config: ExperimentConfig) -> None:
    try:
        tracking_uri(config.tracking.uri)
    except ValueError as error:
        raise ConfigError(f"tracking: {error}", ("tracking",)) from error


def _check_identity(ledger: SqliteLedger, identity: Mapping[str, str]) -> None:
    """Refuse to mix results of different data or spaces in one ledger."""
    known = ledger.get_meta("identity")
    if known is None:
        ledger.set_meta("identity", dict(identity))
        ledger.set_meta("space_hash", digest({**identity, "data": ""}))
    for what, value in (known or {}).items():
        if identity.get(what) != value:
            raise ConfigError(f"the {what} changed since this search began; start a new search")


@contextlib.contextmanager
def _state_of(run: Run) -> Iterator[None]:
    """Note in the run's folder how it goes."""
    run.set_state("running")
    try:
        yield
    except KeyboardInterrupt:
        run.set_state("interrupted")
        raise
    except SearchError as error:
        run.set_state("failed", str(error))
        raise
    except BaseException as error:
        run.set_state("failed", f"{type(error).__name__}: {error}")
        raise
    run.set_state("finished")


def _default_workers(measuring: bool) -> int:
    """A training worker for each core, but one core is left where something is timed."""
    cores = len(os.sched_getaffinity(0))
    return max(1, cores - 1) if measuring else cores


def _check_unchanged(old: ExperimentConfig, new: ExperimentConfig) -> None:
    before: Mapping[str, Any] = old.model_dump(mode="json")
    for section, value in new.model_dump(mode="json").items():
        if value != before[section] and section not in MAY_CHANGE:
            raise ConfigError(
                f"{section}: a resumed search keeps it; only {', '.join(MAY_CHANGE)} may change "
                f"(start a new search instead)"
            )
