"""Pictures of Pareto fronts: quality over latency, a panel for each device.

Every panel says whether its latencies are measured or modeled, and of which device, runtime and
batch; latencies that differ in that never share a panel, whatever their name.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.fronts import LATENCY, Front, front_trials, knee
from nas.objectives import Objective
from nas.repeats import Confirmed, merged
from nas.trials import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

SIZE = "size_kb"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe-Ito
INK, GREY, LINE = "#1f2933", "#b8bfc7", "#52606d"
LOG_FROM = 12.0  # a front whose latencies span more than this factor gets a logarithmic axis
MAX_OTHERS_APART = 300
RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "svg.fonttype": "none",
    "svg.hashsalt": "hwnas",
}


@dataclass(frozen=True)
class Plot:
    """One search in a picture.

    Args:
        front: its front.
        others: its other trials that have been scored.
        name: for the legend; the id of the run where it is empty.
        settings: by device alias, a line that says everything a latency depends on. An alias
            without one is described by the provenance of its readings.
    """

    front: Front
    others: tuple[Trial, ...] = ()
    name: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name in a legend."""
        return self.name or self.front.run


@dataclass(frozen=True)
class Panel:
    """What the horizontal axis of one panel means.

    Args:
        metric: for example ``latency_ms.cpu``.
        source: ``measured`` or ``modeled``, empty for what is no latency.
        setting: the device, runtime, batch; panels of one metric differ in it.
    """

    metric: str
    source: str = ""
    setting: str = ""

    @property
    def title(self) -> str:
        """The device and the source, for example ``cpu (measured)``."""
        name = self.metric.removeprefix(LATENCY)
        return f"{name} ({self.source})" if self.source else name


def plot_of(
    front: Front,
    trials: Iterable[Trial],
    name: str = "",
    settings: Mapping[str, str] | None = None,
) -> Plot:
    """The plot of a front among all trials of its search, of which the done ones are shown."""
    members = {
        each.number
        for trial in front.trials
        for each in (trial.trainings if isinstance(trial, Confirmed) else (trial,))
    }
    trials = merged(trials, front.objectives)
    done = {t.number: t for t in trials if t.status == "done" and t.number not in members}
    return Plot(front, tuple(done.values()), name, settings or {})


def quality_of(objectives: Sequence[Objective]) -> str:
    """The metric of the vertical axis: the first one to maximize, else ``accuracy``."""
    return next((o.metric for o in objectives if o.direction == "maximize"), "accuracy")


def latencies_of(plot: Plot) -> list[str]:
    """The latencies that are known of its trials, those that were searched for first."""
    trials = (*plot.front.trials, *plot.others)
    known = dict.fromkeys(n for t in trials for n in t.metrics if n.startswith(LATENCY))
    wanted = [o.metric for o in plot.front.objectives if o.metric in known]
    return list(dict.fromkeys([*wanted, *known]))


def panel_of(plot: Plot, metric: str) -> Panel | None:
    """The panel where a plot's values of a metric belong, None where it has none."""
    trial = next((t for t in (*plot.front.trials, *plot.others) if metric in t.metrics), None)
    if trial is None:
        return None
    if not metric.startswith(LATENCY):
        return Panel(metric)
    origin = trial.provenance.get(metric)
    source = origin.source if origin else "source unknown"
    said = (origin.device, origin.runtime, f"batch {origin.batch or 1}") if origin else ()
    alias = metric.removeprefix(LATENCY)
    return Panel(metric, source, plot.settings.get(alias, ", ".join(filter(None, said))))


def panels_of(plots: Sequence[Plot]) -> list[Panel]:
    """The panels that show everything: one a device, else one for each other objective."""
    names = dict.fromkeys(name for plot in plots for name in latencies_of(plot))
    if not names:
        quality = quality_of(plots[0].front.objectives)
        names = dict.fromkeys(o.metric for p in plots for o in p.front.objectives)
        names.pop(quality, None)
    found = (panel_of(plot, name) for name in names for plot in plots)
    return list(dict.fromkeys(panel for panel in found if panel))


def front_figure(plot: Plot, title: bool = True) -> Figure:
    """The front of one search among its other trials; colour says the size of the file.

    In an SVG the points have the ids ``p<panel>-t<trial>``.

    Raises:
        ValueError: when the front is empty.
    """
    figure = _figure([plot])
    if title:
        figure.suptitle(plot.label, x=0.01, ha="left", fontsize=11, color=INK)
    return figure


def comparison_figure(plots: Sequence[Plot]) -> Figure:
    """The fronts of several searches on top of each other, a colour each.

    Raises:
        ValueError: without plots, or when one of the fronts is empty.
    """
    return _figure(plots)


def save_png(figure: Figure, path: str | Path, dpi: int = 150) -> None:
    """Write a figure as PNG."""
    import matplotlib

    with matplotlib.rc_context(RC):
        figure.savefig(path, format="png", dpi=dpi, facecolor="white")


def to_svg(figure: Figure) -> str:
    """A figure as an SVG element to stand in a page: text stays text, no XML declaration."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context(RC):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _figure(plots: Sequence[Plot]) -> Figure:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not plots:
        raise ValueError("a picture needs at least one front, but got none")
    for plot in plots:
        if not plot.front.trials:
            raise ValueError(f"a picture needs a front, but that of run {plot.label} is empty")
    panels = panels_of(plots)
    columns = 1 if len(panels) == 1 else 2 if len(panels) in (2, 4) else 3
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(RC):
        size = (1.0 + 4.1 * max(columns, 1.4), 0.8 + 3.4 * rows)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        for index, (axes, panel) in enumerate(zip(grid, panels, strict=False)):
            _draw_panel(axes, index, panel, plots)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        _decorate(figure, list(grid[: len(panels)]), plots)
    return figure


def _draw_panel(axes: Axes, index: int, panel: Panel, plots: Sequence[Plot]) -> None:
    shown = [plot for plot in plots if panel_of(plot, panel.metric) == panel]
    quality = quality_of(plots[0].front.objectives)
    for plot in shown:
        colour = COLOURS[plots.index(plot) % len(COLOURS)] if len(plots) > 1 else None
        _draw_plot(axes, index, (panel.metric, quality), plot, colour)
    _set_limits(axes, (panel.metric, quality), shown)
    unit = " [ms]" if panel.source else " [kB]" if panel.metric.startswith(SIZE) else ""
    label = f"{panel.metric}{unit}" + (f", {panel.source}" if panel.source else "")
    axes.set(xlabel=label, ylabel=f"{quality} (validation)")
    axes.set_title(panel.title, loc="left", fontweight="bold", fontsize=10, pad=18)
    axes.text(0, 1.02, panel.setting, transform=axes.transAxes, fontsize=7.5, color=LINE)
    axes.grid(True, color="#eceff2", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_plot(
    axes: Axes, index: int, metrics: tuple[str, str], plot: Plot, colour: str | None
) -> None:
    """Draw one search; ``colour`` None means that the points' colour says the size."""
    x_name, y_name = metrics
    others = _points(plot.others, metrics)
    if others:
        _draw_others(axes, index, others, colour)
    stairs = (Objective(x_name, "minimize"), Objective(y_name, "maximize"))
    line = _points(front_trials(plot.front.trials, stairs), metrics)
    xs, ys = [x for _, x, _ in line], [y for _, _, y in line]
    axes.plot(xs, ys, color=colour or LINE, linewidth=1.3, drawstyle="steps-post", zorder=3)
    best, shade = knee(plot.front.trials, plot.front.objectives), _shading(plot)
    for trial, x, y in _points(plot.front.trials, metrics):
        low, high = _bar(trial, x_name, x)
        axes.plot([low, high], [y, y], color=colour or LINE, alpha=0.35, linewidth=2.2, zorder=2.5)
        star = trial is best
        axes.plot(
            [x], [y], gid=f"p{index}-t{trial.number}", linestyle="none", zorder=5 if star else 4,
            marker="*" if star else "o", markersize=15 if star else 7.5,
            markerfacecolor=colour or shade(trial), markeredgecolor="white" if colour else INK,
            markeredgewidth=0.7,
        )  # fmt: skip


def _draw_others(
    axes: Axes, index: int, points: list[tuple[Trial, float, float]], colour: str | None
) -> None:
    """One artist each, so that they can be told apart in a page, unless there are too many."""
    alpha = 0.3 if colour else 0.75
    if len(points) > MAX_OTHERS_APART:
        _, xs, ys = zip(*points, strict=True)
        axes.scatter(xs, ys, s=13, c=colour or GREY, alpha=alpha, linewidth=0, zorder=2)
        return
    for trial, x, y in points:
        axes.plot(
            [x], [y], gid=f"p{index}-t{trial.number}", marker="o", markersize=3.6, alpha=alpha,
            color=colour or GREY, markeredgewidth=0, zorder=2,
        )  # fmt: skip


def _points(trials: Iterable[Trial], metrics: tuple[str, str]) -> list[tuple[Trial, float, float]]:
    x, y = metrics
    known = (t for t in trials if x in t.metrics and y in t.metrics)
    return [(trial, trial.metrics[x], trial.metrics[y]) for trial in known]


def _bar(trial: Trial, metric: str, value: float) -> tuple[float, float]:
    origin = trial.provenance.get(metric)
    if origin is None or origin.low is None or origin.high is None:
        return value, value
    return origin.low, origin.high


def _norm(plot: Plot) -> Any:
    from matplotlib.colors import LogNorm

    sizes = [t.metrics[SIZE] for t in plot.front.trials if t.metrics.get(SIZE, 0) > 0]
    return LogNorm(min(sizes) * 0.999, max(sizes) * 1.001) if sizes else None


def _shading(plot: Plot) -> Any:
    from matplotlib import colormaps

    norm, colours = _norm(plot), colormaps["viridis_r"]

    def shade(trial: Trial) -> Any:
        size = trial.metrics.get(SIZE, 0)
        return colours(norm(size)) if norm and size > 0 else COLOURS[0]

    return shade


def _set_limits(axes: Axes, metrics: tuple[str, str], plots: Sequence[Plot]) -> None:
    """Fit the axes to the fronts; the trials far from them are counted in a corner."""
    fronts = [p for plot in plots for p in _points(plot.front.trials, metrics)]
    others = [p for plot in plots for p in _points(plot.others, metrics)]
    if not fronts:
        return
    xs = [x for _, x, _ in fronts]
    ys = [y for _, _, y in fronts]
    ends = [e for t, x, _ in fronts for e in _bar(t, metrics[0], x) if e > 0]
    if min(xs) > 0 and max(xs) / min(xs) > LOG_FROM:
        axes.set_xscale("log")
        left, right = min(ends) / 1.3, max(ends) * 1.4
    else:
        span = (max(ends, default=max(xs)) - min(xs)) or abs(max(xs)) or 1.0
        left, right = min((*ends, *xs)) - 0.08 * span, max((*ends, *xs)) + 0.25 * span
    span = (max(ys) - min(ys)) or 0.02
    bottom, top = min(ys) - 0.35 * span, max(ys) + 0.12 * span
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    outside = sum(not (left <= x <= right and bottom <= y <= top) for _, x, y in others)
    if outside:
        note = f"{outside} more trial{'s' * (outside > 1)} outside"
        axes.text(0.99, 0.02, note, transform=axes.transAxes, ha="right", fontsize=7.5, color=LINE)


def _handles(plots: Sequence[Plot]) -> Iterator[Any]:
    from matplotlib.lines import Line2D

    def mark(
        marker: str, colour: str, label: str, size: float = 7.0, edge: str = "white"
    ) -> Line2D:
        return Line2D(
            [], [], marker=marker, color=colour, label=label, markersize=size, markeredgecolor=edge,
            linestyle="-" if marker == "o" else "none", linewidth=1.3,
        )  # fmt: skip

    if len(plots) == 1:
        yield mark("o", LINE, "Pareto front", edge=INK)
    for plot, colour in zip(plots, COLOURS * len(plots), strict=False):
        if len(plots) > 1:
            yield mark("o", colour, plot.label)
    yield mark("*", "white", "knee", 12, INK)
    if any(plot.others for plot in plots):
        yield mark(".", GREY, "other trials", 9)
    yield Line2D([], [], color=LINE, alpha=0.35, linewidth=3, label="spread or error bar")


def _decorate(figure: Figure, axes: list[Axes], plots: Sequence[Plot]) -> None:
    """The legend, and for a single search the scale of sizes."""
    from matplotlib.cm import ScalarMappable

    for each in axes:
        if each.get_xscale() == "log":
            label_log(each.xaxis)
    handles = list(_handles(plots))
    columns = 4 if len(axes) > 1 else 2
    figure.legend(
        handles=handles, loc="outside lower left", ncols=columns, frameon=False, fontsize=8
    )
    norm = _norm(plots[0]) if len(plots) == 1 else None
    if norm is not None:
        mappable = ScalarMappable(norm, "viridis_r")
        scale = figure.colorbar(mappable, ax=axes, shrink=0.7, aspect=28, pad=0.02)
        label_log(scale.ax.yaxis)
        scale.set_label(f"{SIZE} of the file", fontsize=8)
        scale.ax.tick_params(labelsize=7.5)
        scale.outline.set_visible(False)


def label_log(axis: Axis) -> None:
    """Label 1, 2 and 5 of each decade in plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
