"""What MLflow shows of a search, written from its ledger.

Everything is found again by its tags, so writing again what is there changes nothing: this is how
a search is followed while it runs, and how a server that was down catches up later.

One parent run a search (``nas.kind = search``), one child run a trial (``nas.kind = trial``). The
front goes into metrics of the parent, which can never be deleted again. So it is written once,
when the search has ended, and ``nas.complete`` notes for how many trials; a search that goes on
after that gets a new parent, which says ``nas.continues``.
"""

from __future__ import annotations

import getpass
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from experiments.device_settings import device_settings
from experiments.fronts import Front, front_trials, meets
from experiments.mirror_front import FrontWriter
from experiments.mlflow_view import HYPERVOLUME, TAG
from experiments.proxy_report import standings
from experiments.report import write_report
from experiments.runs import Run
from experiments.second_look import META, widened
from experiments.tracking import Found, Point, Store
from nas.front import costs_of
from nas.keys import digest
from nas.pareto import ParetoArchive, hypervolume
from nas.trials import Provenance, Trial

Status = Literal["running", "finished", "interrupted", "failed"]

ALL_CHILDREN_UP_TO = 500
"""In a search of more trials only those on the front become child runs."""

COLOUR_TAG = "mlflow.runColor"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of the searches of one experiment, in turn, so that overlaid fronts can be told apart: MLflow's
own choice hangs on the id of a run and may be the same twice. The palette is that of Okabe and Ito
(2008), which the colour-blind can read."""

_MLFLOW_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True)
class Written:
    """What an update has done.

    Args:
        experiment_id: of the MLflow experiment.
        parent: the id of the parent run.
        children: trials that became child runs just now.
        has_view: whether the experiment has a chart view.
    """

    experiment_id: str
    parent: str
    children: int
    has_view: bool


@dataclass(frozen=True)
class _Snapshot:
    """The ledger at one moment: trials in the order of telling, and when they came."""

    trials: list[Trial]
    front: Front
    asked_ms: Mapping[int, int]
    done_ms: Mapping[int, int]

    @property
    def start_ms(self) -> int:
        return min(self.asked_ms.values(), default=int(time.time() * 1000))

    @property
    def end_ms(self) -> int:
        return max(self.done_ms.values(), default=self.start_ms)


class Mirror:
    """Writes one run to MLflow. Only one process may do so at a time.

    Args:
        run: whose ledger is read.
        store: the experiment to write to.
    """

    def __init__(self, run: Run, store: Store) -> None:
        self._run, self._store = run, store
        self._ledger = run.ledger()
        self._objectives = run.config.objectives_parsed()
        self._constraints = run.config.constraints_parsed()
        self._front = FrontWriter(run, store, self._ledger)
        self._children: dict[int, Found] | None = None
        self._logged_steps: tuple[str, int] = ("", 0)
        self._logged_proxies: tuple[str, int] = ("", 0)

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()

    def update(self, status: Status) -> Written:
        """Write what is missing.

        Args:
            status: of the search; with ``finished`` the front is written for good.

        Raises:
            Exception: whatever MLflow raises; calling again later goes on from there.
        """
        now = self._read()
        parent, complete = self._parent(now)
        if complete and parent.status in _MLFLOW_STATUS.values():
            return self._written(parent, 0)
        if parent.status != "RUNNING":
            self._store.reopen(parent.run_id)
        children = self._write_children(parent, now, status)
        self._write_hypervolume(parent, now)
        self._write_proxies(parent, now)
        if status == "finished":
            # The note comes first: after an interruption the same front is written again, alike.
            self._store.log(parent.run_id, tags={"nas.complete": str(len(now.trials))})
            self._front.write(parent.run_id, now.front, now.end_ms)
        if status != "running":
            for path in write_report(self._run, now.front, now.trials):
                self._store.upload(parent.run_id, path)
            self._store.end(parent.run_id, _MLFLOW_STATUS[status], now.end_ms)
        return self._written(parent, children)

    def _read(self) -> _Snapshot:
        trials = list({trial.number: trial for trial in self._ledger.told()}.values())
        members = front_trials(trials, self._objectives, self._constraints)
        members = widened(members, self._ledger.get_meta(META))
        front = Front(self._run.id, self._objectives, self._ledger.reference_point, members)
        asked, done = (
            {number: int(1000 * seconds) for number, seconds in self._ledger.unix_s(kind).items()}
            for kind in ("asked", "done")
        )
        return _Snapshot(trials, front, asked, done)

    def _written(self, parent: Found, children: int) -> Written:
        store = self._store
        has_view = self._store.tags().get(TAG) is not None
        return Written(store.experiment_id, parent.run_id, children, has_view)

    # -- the parent --

    def _parent(self, now: _Snapshot) -> tuple[Found, bool]:
        """The parent to write to, and whether nothing is missing in it but perhaps its end."""
        parents = self._store.find(nas_run=self._run.id, nas_kind="search")
        continued = {found.tags.get("nas.continues") for found in parents}
        latest = next((found for found in parents if found.run_id not in continued), None)
        complete = int(latest.tags.get("nas.complete", 0)) if latest else 0
        if latest is None or 0 < complete < len(now.trials):
            tags, new = self._parent_tags(), now.trials[complete:]
            if latest is not None:
                tags["nas.continues"] = latest.run_id
                if latest.status == "RUNNING":  # killed while its front was being written
                    self._store.end(latest.run_id, "KILLED", now.end_ms)
            start_ms = min((now.asked_ms[t.number] for t in new), default=now.start_ms)
            latest, complete = self._store.create(self._run.id, tags, start_ms), 0
        missing = self._parent_params().items() - latest.params.items()
        # A parameter cannot be changed; what a resumed search may alter is kept as it was.
        params = {key: value for key, value in missing if key not in latest.params}
        self._store.log(latest.run_id, params=dict(sorted(params.items())))
        return latest, complete > 0

    def _parent_tags(self) -> dict[str, str]:
        config = self._run.config
        settings = device_settings(self._run)
        devices = {f"nas.device.{alias}": str(setting) for alias, setting in settings.items()}
        wanted = ", ".join(f"{o.direction} {o.metric}" for o in self._objectives)
        lines = [f"Search `{self._run.id}`: {wanted}.", ""]
        lines += [f"- `latency_ms.{alias}`: {setting}" for alias, setting in settings.items()]
        return {
            "nas.kind": "search",
            "nas.run": self._run.id,
            "nas.strategy": config.strategy.kind,
            "nas.seed": str(config.seed),
            "nas.space_hash": self._space_hash(),
            COLOUR_TAG: COLOURS[len(self._store.find(nas_kind="search")) % len(COLOURS)],
            **devices,
            "mlflow.note.content": "\n".join(lines),
            "mlflow.user": _user(),
            "mlflow.source.name": "nas search",
        }

    def _space_hash(self) -> str:
        known = self._ledger.get_meta("space_hash")
        config = self._run.config.model_dump(mode="json")
        return str(known or digest([config["space"], config["compression"]]))

    def _parent_params(self) -> dict[str, str]:
        config: dict[str, Any] = self._run.config.model_dump(mode="json")
        del config["tracking"]  # says nothing about the search, and may hold a password
        environment = dict(self._run.environment)
        return dict(flattened({**config, "environment": environment}))

    # -- trials --

    def _write_children(self, parent: Found, now: _Snapshot, status: Status) -> int:
        members = {trial.number: trial for trial in now.front.trials}
        chosen = now.trials
        if max(self._run.config.budget.trials or 0, len(now.trials)) > ALL_CHILDREN_UP_TO:
            chosen = [] if status == "running" else list(now.front.trials)
        written = 0
        for trial in chosen:
            known, pareto = self._known_children(), str(trial.number in members).lower()
            found = known.get(trial.number)
            said = {"nas.pareto": pareto, **_sources(members.get(trial.number, trial))}
            if found is None or found.status == "RUNNING":
                known[trial.number] = self._write_child(parent, found, trial, now, pareto)
                written += found is None
            elif any(found.tags.get(tag) != text for tag, text in said.items()):
                self._store.log(found.run_id, tags=said)
                known[trial.number] = replace(found, tags={**found.tags, **said})
        return written

    def _known_children(self) -> dict[int, Found]:
        if self._children is None:
            known = self._store.find(nas_run=self._run.id, nas_kind="trial")
            self._children = {int(found.tags["nas.trial"]): found for found in known}
        return self._children

    def _write_child(
        self, parent: Found, found: Found | None, trial: Trial, now: _Snapshot, pareto: str
    ) -> Found:
        end_ms = now.done_ms[trial.number]
        if found is None:
            identity = {
                "mlflow.parentRunId": parent.run_id,
                "nas.kind": "trial",
                "nas.run": self._run.id,
                "nas.trial": str(trial.number),
            }
            start_ms = now.asked_ms.get(trial.number, end_ms)
            found = self._store.create(f"trial {trial.number}", identity, start_ms)
        values = {**trial.metrics, **{f"seconds.{n}": s for n, s in trial.seconds.items()}}
        points = [Point(name, value, end_ms) for name, value in values.items()]
        params = {name: str(value) for name, value in trial.genotype.items()}
        tags = self._child_tags(trial, pareto)
        self._store.log(found.run_id, points, params, tags)
        ended = "FAILED" if trial.status == "failed" else "FINISHED"
        self._store.end(found.run_id, ended, end_ms)
        return replace(found, status=ended, tags={**found.tags, **tags})

    def _child_tags(self, trial: Trial, pareto: str) -> dict[str, str]:
        said = {
            "nas.strategy": self._run.config.strategy.kind,
            "nas.pareto": pareto,
            "nas.status": trial.status,
            "nas.error": trial.error,
            "nas.repeat": str(trial.repeat) if trial.repeat else "",
            "nas.artifact_sha256": trial.artifact.sha256 if trial.artifact else "",
            "mlflow.user": _user(),
        }
        return {key: value for key, value in {**said, **_sources(trial)}.items() if value}

    # -- curves --

    def _write_hypervolume(self, parent: Found, now: _Snapshot) -> None:
        if self._logged_steps[0] != parent.run_id:
            last = self._store.last_step(parent.run_id, HYPERVOLUME)
            self._logged_steps = parent.run_id, last
        points = [
            Point(HYPERVOLUME, volume, now.done_ms[trial.number], step)
            for step, trial, volume in self._hypervolumes(now, self._logged_steps[1])
        ]
        self._store.log(parent.run_id, points)
        if points:
            self._logged_steps = parent.run_id, points[-1].step

    def _write_proxies(self, parent: Found, now: _Snapshot) -> None:
        """Rank correlations with accuracy, by the number of trained networks."""
        points = [
            Point(f"rank_correlation/{s.name}", s.kendall, now.end_ms, s.networks)
            for s in standings(now.trials)
            if math.isfinite(s.kendall)
        ]
        steps = parent.run_id, max((point.step for point in points), default=0)
        if points and self._logged_proxies != steps:
            if self._store.last_step(parent.run_id, points[0].key) < points[0].step:
                self._store.log(parent.run_id, points)
            self._logged_proxies = steps

    def _hypervolumes(self, now: _Snapshot, after: int) -> Iterator[tuple[int, Trial, float]]:
        """(trials so far, the last of them, the hypervolume of their front), from a step on."""
        reference = now.front.reference_point
        if reference is None:
            return
        archive = ParetoArchive()
        for step, trial in enumerate(now.trials, start=1):
            costs = costs_of(trial, self._objectives)
            if costs is not None and not trial.repeat and meets(trial, self._constraints):
                archive.add(trial.number, costs)
            if step > after:
                yield step, trial, hypervolume([*archive.front.values()], reference)


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as ``section.key`` and text; what is None is left out."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{key}", ", ".join(map(_text, value))
        elif value is not None:
            yield f"{prefix}{key}", str(value)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "nas"


def _text(value: Any) -> str:
    """An item of a list; ``{"maximize": "accuracy"}`` becomes ``maximize accuracy``."""
    if isinstance(value, Mapping):
        return " ".join(f"{key} {each}" for key, each in value.items())
    return str(value)


def _sources(trial: Trial) -> dict[str, str]:
    """The tags that say where latencies and the like come from."""
    return {
        f"nas.source.{name}": sentence(origin)
        for name, origin in trial.provenance.items()
        if origin.source in ("measured", "modeled")
    }


def sentence(origin: Provenance) -> str:
    """Where a number comes from, in one line."""
    batch = f"batch {origin.batch}" if origin.batch else ""
    threads = f"{origin.threads} thread{'s' * (origin.threads > 1)}" if origin.threads else ""
    known = origin.low is not None and origin.high is not None
    bar = f"{origin.low:.4g} to {origin.high:.4g}" if known else ""
    said = (origin.runtime, origin.dtype, batch, threads, origin.method, bar)
    return ", ".join([f"{origin.source} on {origin.device or 'host'}", *filter(None, said)])
