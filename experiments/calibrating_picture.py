"""A picture of a calibration: predicted over measured latency."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.pictures import COLOURS, GREY, INK, LINE, RC, label_log, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments.calibrating import Calibrated


def save_picture(calibrated: Calibrated, path: Path) -> None:
    """Draw every network as a model predicts it that was calibrated without it.

    The band is 10 % to either side; the lines are the 90 % error bars of the predictions.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(5.6, 4.8), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        _draw(axes, calibrated)
        save_png(figure, path)


def _draw(axes: Axes, calibrated: Calibrated) -> None:
    points, about = calibrated.points, calibrated.profile.calibration or {}
    values = [v for p in points for v in (p.measured_ms, p.predicted.latency_ms)]
    ends = np.array([min(values) / 1.25, max(values) * 1.25])
    axes.fill_between(ends, ends * 0.9, ends * 1.1, color=GREY, alpha=0.35, linewidth=0)
    axes.plot(ends, ends, color=LINE, linewidth=1)
    for colour, (dtype, (mape, w10)) in zip(COLOURS, calibrated.errors().items(), strict=False):
        own = [point for point in points if point.dtype == dtype]
        measured = [point.measured_ms for point in own]
        bars = [(point.predicted.low, point.predicted.high) for point in own]
        axes.vlines(measured, *zip(*bars, strict=True), color=colour, alpha=0.35, linewidth=2)
        label = f"{dtype}: {w10:.0f} % within 10 %, mean error {mape:.1f} %"
        predicted = [point.predicted.latency_ms for point in own]
        axes.plot(measured, predicted, "o", color=colour, markersize=5, label=label,
                  markeredgecolor="white", markeredgewidth=0.6)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=tuple(ends), ylim=tuple(ends))
    axes.set(xlabel="measured [ms]", ylabel="predicted by a model that did not see it [ms]")
    for axis in (axes.xaxis, axes.yaxis):
        label_log(axis)
    axes.set_title(calibrated.profile.name, loc="left", fontweight="bold", fontsize=10, pad=18)
    said = f"{about['method']}, {len(points)} measurements, {about['runtime']}, {about['date']}"
    axes.text(0, 1.02, said, transform=axes.transAxes, fontsize=7.5, color=LINE)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    axes.spines[["top", "right"]].set_visible(False)
