from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.image import imread

import experiments.pictures
from experiments.fronts import Front, front_trials, knee
from experiments.pictures import (
    COLOURS,
    Panel,
    Plot,
    comparison_figure,
    front_figure,
    panels_of,
    plot_of,
    save_png,
    to_svg,
)
from nas.objectives import Objective
from nas.trials import Trial
from tests.experiments.fake_trials import OBJECTIVES, fake_trials

TRIALS = fake_trials(30)


def only(trial: Trial, *prefixes: str) -> Trial:
    """A trial without most of its metrics."""
    kept = {n: v for n, v in trial.metrics.items() if n.startswith(prefixes)}
    return replace(trial, metrics=kept)


def plot(trials: list[Trial], name: str = "run-1", **options: dict[str, str]) -> Plot:
    front = Front(name, OBJECTIVES, None, front_trials(trials, OBJECTIVES))
    return plot_of(front, trials, **options)


def small(name: str = "run-1", seed: int = 0, **options: dict[str, str]) -> Plot:
    """One device only, which is drawn faster."""
    trials = [only(t, "accuracy", "latency_ms.cpu", "size_kb") for t in fake_trials(30, seed)]
    return plot(trials, name, **options)


@pytest.fixture(scope="module")
def svg() -> str:
    return to_svg(front_figure(plot(TRIALS)))


class TestPanels:
    def test_there_is_one_a_device_and_it_says_its_source(self) -> None:
        titles = [panel.title for panel in panels_of([plot(TRIALS)])]
        expected = ["cpu (measured)", "gpu (modeled)", "tpu (modeled)", "fpga (modeled)"]
        assert titles == expected

    def test_the_latency_that_was_searched_for_comes_first(self) -> None:
        trials = [replace(t, metrics=dict(reversed(t.metrics.items()))) for t in TRIALS]
        titles = [panel.title for panel in panels_of([plot(trials)])]
        assert titles == ["cpu (measured)", "fpga (modeled)", "tpu (modeled)", "gpu (modeled)"]

    def test_the_setting_is_what_the_readings_say(self) -> None:
        (panel,) = panels_of([small()])
        assert panel.setting == "host-cpu, onnxruntime 1.32.0, batch 1"

    def test_or_what_the_run_says(self) -> None:
        (panel,) = panels_of([small(settings={"cpu": "host-cpu 1a2b, batch 1"})])
        assert panel.setting == "host-cpu 1a2b, batch 1"

    def test_the_same_setting_is_overlaid(self) -> None:
        assert len(panels_of([small(), small("run-2", 1)])) == 1

    def test_another_machine_is_shown_apart(self) -> None:
        plots = [small(settings={"cpu": m}) for m in ("machine a", "machine b")]
        assert [panel.setting for panel in panels_of(plots)] == ["machine a", "machine b"]

    def test_without_latencies_the_other_objectives_are_shown(self) -> None:
        trials = [only(t, "accuracy", "size_kb") for t in TRIALS if t.status == "done"]
        objectives = (Objective("accuracy", "maximize"), Objective("size_kb", "minimize"))
        front = Front("r", objectives, None, front_trials(trials, objectives))
        assert panels_of([plot_of(front, trials)]) == [Panel("size_kb")]

    def test_a_latency_of_unknown_origin_says_so(self) -> None:
        trials = [replace(t, provenance={}) for t in TRIALS]
        assert panels_of([plot(trials)])[0].title == "cpu (source unknown)"


def test_failed_and_rejected_trials_are_not_shown() -> None:
    shown = plot(TRIALS)
    assert {t.status for t in shown.others} == {"done"}
    done = sum(t.status == "done" for t in TRIALS)
    assert len(shown.others) + len(shown.front.trials) == done


class TestFrontFigure:
    def test_has_each_point_in_each_panel(self, svg: str) -> None:
        shown = plot(TRIALS)
        found = set(re.findall(r'id="(p\d+-t\d+)"', svg))
        trials = [*shown.front.trials, *shown.others]
        assert found == {f"p{panel}-t{t.number}" for panel in range(4) for t in trials}

    def test_says_measured_and_modeled(self, svg: str) -> None:
        assert "latency_ms.cpu [ms], measured" in svg
        assert "latency_ms.fpga [ms], modeled" in svg
        assert "accuracy (validation)" in svg

    def test_names_the_run_unless_it_is_told_not_to(self, svg: str) -> None:
        assert "run-1" in svg
        assert "run-1" not in to_svg(front_figure(small(), title=False))

    def test_stands_in_a_page_as_it_is(self, svg: str) -> None:
        assert svg.startswith("<svg")
        assert svg.rstrip().endswith("</svg>")
        assert "<image" not in re.sub(r'<image [^>]*"data:', "", svg)

    def test_is_the_same_every_time(self) -> None:
        assert to_svg(front_figure(small())) == to_svg(front_figure(small()))

    def test_marks_the_knee_with_a_star(self) -> None:
        shown = small()
        (axes, *_) = front_figure(shown).axes
        stars = [line for line in axes.lines if line.get_marker() == "*"]
        best = knee(shown.front.trials, OBJECTIVES)
        assert [line.get_gid() for line in stars] == [f"p0-t{best.number}"]
        assert list(stars[0].get_xdata()) == [best.metrics["latency_ms.cpu"]]
        assert list(stars[0].get_ydata()) == [best.metrics["accuracy"]]

    def test_the_line_is_the_front_of_this_panel(self) -> None:
        shown = small()
        (axes, *_) = front_figure(shown).axes
        (line,) = (line for line in axes.lines if line.get_drawstyle() == "steps-post")
        xs, ys = list(line.get_xdata()), list(line.get_ydata())
        assert xs == sorted(xs)
        assert ys == sorted(ys)
        assert max(ys) == max(t.metrics["accuracy"] for t in shown.front.trials)

    def test_error_bars_span_from_low_to_high(self) -> None:
        shown = small()
        (axes, *_) = front_figure(shown).axes
        spans = {tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2}
        for trial in shown.front.trials:
            origin = trial.provenance["latency_ms.cpu"]
            assert (origin.low, origin.high) in spans

    def test_colour_says_the_size(self) -> None:
        shown = small()
        (axes, scale) = front_figure(shown).axes
        assert scale.get_ylabel() == "size_kb of the file"
        fills = {
            int(str(line.get_gid()).partition("-t")[2]): line.get_markerfacecolor()
            for line in axes.lines
            if line.get_gid() and line.get_markersize() > 5
        }
        assert len(set(map(tuple, fills.values()))) > 1

    def test_trials_far_from_the_front_are_counted_not_drawn(self) -> None:
        far = replace(TRIALS[0], number=999, metrics={**TRIALS[0].metrics, "accuracy": 0.01})
        shown = small()
        shown = replace(shown, others=(*shown.others, only(far, "accuracy", "latency_ms.cpu")))
        (axes, *_) = front_figure(shown).axes
        assert axes.get_ylim()[0] > 0.01
        assert any("outside" in text.get_text() for text in axes.texts)

    def test_many_others_become_one_artist(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(experiments.pictures, "MAX_OTHERS_APART", 3)
        shown = small()
        (axes, *_) = front_figure(shown).axes
        assert [len(c.get_offsets()) for c in axes.collections] == [len(shown.others)]

    def test_a_front_of_one_point_is_a_picture_too(self) -> None:
        trial = next(t for t in TRIALS if t.status == "done")
        assert len(to_svg(front_figure(plot([trial])))) > 1000

    def test_an_empty_front_is_refused(self) -> None:
        with pytest.raises(ValueError, match="needs a front, but that of run run-1 is empty"):
            front_figure(plot([]))


class TestComparisonFigure:
    def test_overlays_the_fronts_a_colour_each(self) -> None:
        figure = comparison_figure([small("run-1"), small("run-2", 1)])
        (axes,) = figure.axes
        lines = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
        assert [line.get_color() for line in lines] == list(COLOURS[:2])
        (legend,) = figure.legends
        names = [text.get_text() for text in legend.get_texts()]
        assert names[:2] == ["run-1", "run-2"]

    def test_a_run_is_only_in_the_panels_of_its_devices(self) -> None:
        plots = [small(settings={"cpu": m}) for m in ("machine a", "machine b")]
        figure = comparison_figure(plots)
        colours = [
            {str(line.get_color()) for line in axes.lines if line.get_drawstyle() == "steps-post"}
            for axes in figure.axes
        ]
        assert colours == [{COLOURS[0]}, {COLOURS[1]}]

    def test_more_runs_than_colours(self) -> None:
        plots = [small(f"run-{i}") for i in range(len(COLOURS) + 1)]
        assert len(comparison_figure(plots).legends[0].get_texts()) > len(COLOURS)

    def test_needs_a_front(self) -> None:
        with pytest.raises(ValueError, match="at least one front, but got none"):
            comparison_figure([])


def test_png_is_written_and_settings_are_left_as_found(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    save_png(front_figure(small()), tmp_path / "front.png", dpi=50)
    pixels = imread(tmp_path / "front.png")
    assert pixels.shape[0] > 150
    assert pixels.shape[1] > 250
    assert pixels.std() > 0.05
    assert dict(mpl.rcParams) == before
