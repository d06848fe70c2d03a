"""The chart view that shows all fronts of an MLflow experiment on top of each other.

MLflow's page restores a view from an experiment tag, but documents neither the tag nor what is in
it. So the view is written only where the version is one that it has been seen to work with;
elsewhere the link opens the plain table of runs, and the pictures among the artifacts remain.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

KEY = "fronts"
TAG = f"mlflow.sharedViewState.{KEY}"
NAME = "NAS: Pareto fronts"
AXIS_TAG = "nas.axis."
HYPERVOLUME = "hypervolume"
SEEN_WORKING = ((3, 17),)
"""Major and minor versions of the MLflow that serves the page."""

LATENCY = "latency_ms."


@dataclass(frozen=True)
class Axis:
    """A horizontal axis over which fronts are shown: one chart.

    Args:
        name: ``latency_ms.cpu``, or ``latency_ms.cpu.1a2b3c`` for a second device of that name.
        setting: a key of all that its values depend on; runs share an axis where it is equal.
        source: ``measured`` or ``modeled``; empty for what is no latency.
        device: everything about it that latencies depend on, in one line.
        quality: the metric of the vertical axis.
    """

    name: str
    setting: str
    source: str = ""
    device: str = ""
    quality: str = "accuracy"

    @property
    def metric(self) -> str:
        """As it is logged."""
        return f"front/{self.name}"

    @property
    def profile(self) -> str:
        """The name of the device's profile."""
        return re.split("[ ,]", self.device)[0]

    @property
    def title(self) -> str:
        """What its chart shows."""
        title = f"{self.quality} over {self.name}"
        return f"{title} ({self.source}: {self.device})" if self.source else title

    @property
    def tag(self) -> tuple[str, str]:
        """The experiment tag that remembers it."""
        return f"{AXIS_TAG}{self.name}", json.dumps(asdict(self), sort_keys=True)


def axes_of(tags: Mapping[str, str]) -> list[Axis]:
    """The axes that the tags of an experiment remember: latencies first, then by name."""
    found = [Axis(**json.loads(tags[name])) for name in tags if name.startswith(AXIS_TAG)]
    return sorted(found, key=lambda axis: (not axis.name.startswith(LATENCY), axis.name))


def place(axis: Axis, known: Sequence[Axis]) -> Axis:
    """An axis of the same setting that is known already, else a new one whose name is free."""
    taken = {other.name: other for other in known}
    if axis.name not in taken or taken[axis.name].setting == axis.setting:
        return taken.get(axis.name, axis)
    apart = replace(axis, name=f"{axis.name}.{axis.setting}")
    return taken.get(apart.name, apart)


def is_known_to_work(version: str) -> bool:
    """Whether the page of this MLflow version has been seen to restore such a view."""
    match = re.match(r"(\d+)\.(\d+)\.", version)
    return match is not None and (int(match[1]), int(match[2])) in SEEN_WORKING


def fragment(experiment_id: str, has_view: bool = True) -> str:
    """What follows the server's address in the link; without a view it opens the table of runs."""
    page = f"#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    return f"{page}&compareRunsMode=CHART&viewStateShareKey={KEY}" if has_view else page


def _line_chart(uid: str, section: str, metric: str, over: Axis | None = None) -> dict[str, Any]:
    """A line of ``metric`` over an axis, or over the step where there is none."""
    return {
        "uuid": uid, "type": "LINE", "runsCountToCompare": 100, "metricSectionId": section,
        "deleted": False, "isGenerated": False, "displayName": over.title if over else metric,
        "metricKey": metric, "selectedMetricKeys": [metric], "lineSmoothness": 0,
        "xAxisScaleType": "linear", "scaleType": "linear", "range": {},
        "xAxisKey": "metric" if over else "step",
        "selectedXAxisMetricKey": over.metric if over else "", "yAxisKey": "metric",
        "yAxisExpressions": [], "displayPoints": over is not None, "ignoreOutliers": False,
        "useGlobalXaxisKey": False, "useGlobalLineSmoothing": False,
    }  # fmt: skip


def _section(uid: str, name: str) -> dict[str, Any]:
    return {
        "uuid": uid, "name": name, "display": True, "isReordered": True, "deleted": False,
        "isGenerated": False, "columns": 3, "cardHeight": 320,
    }  # fmt: skip


def _sections(axes: Sequence[Axis]) -> dict[str, str]:
    """Titles of sections by source: the page shows them whole, but not those of charts."""
    sections = {}
    for source in ("measured", "modeled"):
        latencies = [axis for axis in axes if axis.source == source]
        if latencies:
            said = ", ".join(f"{a.name.removeprefix(LATENCY)} = {a.profile}" for a in latencies)
            sections[source] = f"Fronts, {source}: {said}"
    return {**sections, "": "Other objectives, hypervolume"}


def _charts(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    shown = [
        _line_chart(f"nas-{axis.name}", f"nas-{axis.source}", f"front/{axis.quality}", axis)
        for axis in axes
    ]
    # For a metric that no chart has for itself the page would add one.
    unwanted = [
        {**_line_chart(f"nas-not-{axis.name}", "nas-", axis.metric), "deleted": True}
        for axis in axes
    ]
    return [*shown, _line_chart("nas-hypervolume", "nas-", HYPERVOLUME), *unwanted]


def view_of(axes: Sequence[Axis]) -> dict[str, Any]:
    """The state of the page: a chart an axis and the hypervolumes, searches only, none hidden."""
    sections = [_section(f"nas-{key}", title) for key, title in _sections(axes).items()]
    return {
        "searchFilter": "tags.`nas.kind` = 'search'", "orderByKey": "attributes.start_time",
        "orderByAsc": False, "startTime": "ALL", "lifecycleFilter": "Active",
        "datasetsFilter": [], "modelVersionFilter": "All Runs", "columnOrder": [],
        "columnWidths": {}, "runsHiddenMode": "SHOWALL", "viewMaximized": False,
        "runListHidden": False, "isAccordionReordered": True, "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True, "groupBy": None, "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": "",
        },
        "selectedColumns": [f"metrics.`{HYPERVOLUME}`"],
        "compareRunCharts": _charts(axes),
        "compareRunSections": sections,
    }  # fmt: skip


def encode(view: Mapping[str, Any], now_ms: int) -> str:
    """The value of the tag."""
    packed = base64.b64encode(zlib.compress(json.dumps(view).encode())).decode()
    state = f"deflate;{packed}"
    return json.dumps({"name": NAME, "createdAt": now_ms, "updatedAt": now_ms, "state": state})


def decode(tag: str) -> dict[str, Any]:
    """The view in the value of a tag."""
    _, _, packed = json.loads(tag)["state"].partition(";")
    view: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return view
