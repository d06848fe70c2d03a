"""The front of an ended search in MLflow: metrics, the shared chart view, the winner's model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from experiments.confirming import confirmed_lines, statement
from experiments.device_settings import device_settings
from experiments.fronts import LATENCY, Front, knee
from experiments.ledger import SqliteLedger
from experiments.mlflow_view import TAG, Axis, axes_of, encode, is_known_to_work, place, view_of
from experiments.pictures import quality_of
from experiments.runs import Run
from experiments.tracking import Point, Store
from nas.keys import digest
from nas.repeats import Confirmed
from nas.trials import Artifact, Trial


class FrontWriter:
    """Writes fronts of one run. The same front again changes nothing.

    Args:
        run: of the front.
        store: the experiment to write to.
        ledger: of the run.
    """

    def __init__(self, run: Run, store: Store, ledger: SqliteLedger) -> None:
        self._run, self._store, self._ledger = run, store, ledger

    def write(self, run_id: str, front: Front, time_ms: int) -> None:
        """Write a front into an MLflow run, put it into the view, register its knee.

        Args:
            run_id: of the MLflow run.
            front: nothing is written of an empty one.
            time_ms: the time of its values.
        """
        if not front.trials:
            return
        quality = quality_of(front.objectives)
        names = {axis.name: metric for metric, axis in self._axes(front, quality).items()}
        names[quality] = quality
        points = [
            Point(f"front/{name}", trial.metrics[metric], time_ms, step)
            for step, trial in enumerate(in_latency_order(front))
            for name, metric in names.items()
            if metric in trial.metrics
        ]
        best = knee(front.trials, front.objectives)
        tags = {"nas.knee": str(best.number)}
        for line in confirmed_lines(front.trials):
            tags["nas.confirmed"] = line
        self._store.log(run_id, points, tags=tags)
        if is_known_to_work(self._store.page_version()):
            axes = axes_of(self._store.tags())
            self._store.set_tag(TAG, encode(view_of(axes), int(time.time() * 1000)))
        if best.artifact is not None:
            self._register(run_id, best, best.artifact)

    def _axes(self, front: Front, quality: str) -> dict[str, Axis]:
        """The axis of each other metric of the front, remembered by the experiment."""
        settings = device_settings(self._run)
        config = self._run.config
        task = self._ledger.data_hash or config.task.model_dump(mode="json")
        known, axes = axes_of(self._store.tags()), {}
        for metric in axis_metrics(front.trials, [o.metric for o in front.objectives], quality):
            device = settings.get(metric.removeprefix(LATENCY))
            setting = digest([task, quality, device.key if device else ""])[:6]
            source, line = (device.method, str(device)) if device else ("", "")
            axes[metric] = place(Axis(metric, setting, source, line, quality), known)
            if axes[metric] not in known:
                self._store.set_tag(*axes[metric].tag)
                known.append(axes[metric])
        return axes

    def _register(self, run_id: str, best: Trial, artifact: Artifact) -> None:
        path = Path(artifact.path)
        stored = self._run.artifacts_dir / path.name  # the run's folder may have been moved
        tags = {
            "nas.run": self._run.id,
            "nas.trial": str(best.number),
            "nas.artifact_sha256": artifact.sha256,
        }
        if isinstance(best, Confirmed):
            tags["nas.confirmed"] = statement(best)
        name = self._run.config.name
        self._store.register(run_id, name, stored if stored.is_file() else path, tags)


def axis_metrics(trials: Sequence[Trial], objectives: Sequence[str], quality: str) -> list[str]:
    """What fronts are shown over: all latencies, and the other objectives."""
    latencies = dict.fromkeys(n for t in trials for n in t.metrics if n.startswith(LATENCY))
    return [n for n in dict.fromkeys([*latencies, *objectives]) if n != quality]


def in_latency_order(front: Front) -> list[Trial]:
    """The trials of a front, the fastest first.

    By the first latency among the objectives, else the first one that is known; without any by
    the first objective that is minimized.
    """
    wanted = [o.metric for o in front.objectives]
    known = [name for trial in front.trials for name in trial.metrics]
    latencies = [name for name in [*wanted, *known] if name.startswith(LATENCY)]
    smaller = [o.metric for o in front.objectives if o.direction == "minimize"]
    by = next(iter([*latencies, *smaller]), None)
    if by is None:
        return list(front.trials)
    return sorted(front.trials, key=lambda t: (t.metrics.get(by, float("inf")), t.number))
