from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from experiments.mlflow_view import (
    Axis,
    axes_of,
    decode,
    encode,
    fragment,
    is_known_to_work,
    place,
    view_of,
)

CPU = Axis("latency_ms.cpu", "aaaaaa", "measured", "host-cpu 1a2b, measured, batch 1")
GPU = Axis("latency_ms.gpu", "bbbbbb", "modeled", "nvidia-a100, modeled, batch 1")
SIZE = Axis("size_kb", "cccccc")


class TestPlace:
    def test_a_new_axis_keeps_its_name(self) -> None:
        assert place(GPU, [CPU]) == GPU

    def test_runs_of_the_same_setting_share_an_axis(self) -> None:
        assert place(replace(CPU, device="said otherwise"), [CPU, GPU]) == CPU

    def test_another_setting_is_shown_apart(self) -> None:
        other = replace(CPU, setting="dddddd")
        apart = place(other, [CPU])
        assert apart.name == "latency_ms.cpu.dddddd"
        assert apart.metric == "front/latency_ms.cpu.dddddd"
        assert place(other, [CPU, apart]) == apart

    def test_an_alias_that_begins_alike_is_another_device(self) -> None:
        second = Axis("latency_ms.cpu2", "eeeeee")
        assert place(CPU, [second]) == CPU
        assert place(second, [CPU]) == second


def test_axes_are_remembered_by_tags_latencies_first() -> None:
    tags = dict(axis.tag for axis in (SIZE, GPU, CPU))
    assert set(tags) == {"nas.axis.size_kb", "nas.axis.latency_ms.gpu", "nas.axis.latency_ms.cpu"}
    assert axes_of({"mlflow.note.content": "x", **tags}) == [CPU, GPU, SIZE]


def shown(view: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [chart for chart in view["compareRunCharts"] if not chart["deleted"]]


class TestView:
    def test_every_metric_has_a_chart_or_the_page_would_add_one(self) -> None:
        charts = view_of([CPU, SIZE])["compareRunCharts"]
        known = {chart["metricKey"] for chart in charts}
        assert known == {
            "front/accuracy",
            "front/latency_ms.cpu",
            "front/size_kb",
            "hypervolume",
        }
        assert len({chart["uuid"] for chart in charts}) == len(charts)

    def test_has_a_chart_for_each_axis_and_the_hypervolume(self) -> None:
        charts = shown(view_of([CPU, GPU]))
        said = [(c["metricKey"], c["xAxisKey"], c["selectedXAxisMetricKey"]) for c in charts]
        assert said == [
            ("front/accuracy", "metric", "front/latency_ms.cpu"),
            ("front/accuracy", "metric", "front/latency_ms.gpu"),
            ("hypervolume", "step", ""),
        ]
        assert "measured" in charts[0]["displayName"]
        assert "modeled" in charts[1]["displayName"]

    def test_the_sections_tell_measured_from_modeled(self) -> None:
        view = view_of([CPU, GPU, SIZE])
        titles = {section["uuid"]: section["name"] for section in view["compareRunSections"]}
        placed = [titles[chart["metricSectionId"]] for chart in shown(view)]
        assert placed == [
            "Fronts, measured: cpu = host-cpu",
            "Fronts, modeled: gpu = nvidia-a100",
            "Other objectives, hypervolume",
            "Other objectives, hypervolume",
        ]

    def test_every_chart_stands_in_a_section(self) -> None:
        view = view_of([CPU])
        sections = {section["uuid"] for section in view["compareRunSections"]}
        assert {chart["metricSectionId"] for chart in view["compareRunCharts"]} <= sections

    def test_shows_searches_only_and_hides_none(self) -> None:
        view = view_of([CPU])
        assert view["searchFilter"] == "tags.`nas.kind` = 'search'"
        assert view["runsHiddenMode"] == "SHOWALL"

    def test_travels_in_a_tag(self) -> None:
        tag = encode(view_of([CPU]), 1234)
        assert decode(tag) == view_of([CPU])
        said = json.loads(tag)
        assert said["name"]
        assert said["createdAt"] == said["updatedAt"] == 1234
        assert said["state"].startswith("deflate;")


@pytest.mark.parametrize(
    ("version", "works"),
    [("3.17.2", True), ("3.17.0rc1", True), ("3.170.1", False), ("4.17.2", False), ("", False)],
)
def test_only_versions_that_were_seen_to_work_count(version: str, works: bool) -> None:
    assert is_known_to_work(version) is works


def test_fragment_opens_the_training_pages() -> None:
    assert fragment("12") == (
        "#/experiments/12/runs?workflowType=machine_learning"
        "&compareRunsMode=CHART&viewStateShareKey=fronts"
    )
    assert "viewStateShareKey" not in fragment("12", has_view=False)
