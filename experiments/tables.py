"""Trials as tables of text: every latency with its source and its spread."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from experiments.confirming import own_cell, spread_cell, trainings_cell
from experiments.fronts import LATENCY
from experiments.second_look import OUTSIDE
from nas.trials import Trial

GAP, EDGES = 2, 2
_REMARKS = {
    OUTSIDE: "outside of what its calibration has measured (wide bars)",
    "noisy": "while the machine was disturbed all the time (wide bars)",
    "the machine was": "while the machine was slower than at other times (wide bars)",
}
"""By how a part of a method begins."""
Again = Mapping[str, Mapping[str, float]]
"""Latencies in ms of the second, interleaved look, by device alias and number of the trial."""


@dataclass(frozen=True)
class Column:
    """A column of a table of trials.

    Args:
        head: its lines.
        cell: what it says of a trial, empty where nothing is known.
    """

    head: str
    cell: Callable[[Trial], str]


def shown(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits, large ones as k, M or G; empty for None."""
    if value is None:
        return ""
    for limit, unit, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= limit:
            return f"{value / unit:.3g}{suffix}"
    return f"{value:.{digits}g}"


def duration(seconds: float) -> str:
    """A time as ``41 s``, ``2:05 min`` or ``1:02 h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"


def compression_of(trial: Trial) -> str:
    """What was done to the trained network, for example ``structured, static, openvino``.

    Runtime and dtype are named where they were chosen.
    """
    named = [trial.genotype.get(name, "none") for name in ("prune.method", "quantize.scheme")]
    named += [value for name, value in trial.genotype.items() if name.startswith("deploy.")]
    return ", ".join(str(name) for name in named if name != "none") or "-"


def latency_cell(trial: Trial, metric: str) -> str:
    """A latency and how far its spread or error bar reaches: ``0.0555 -1/+2%``."""
    value, origin = trial.metrics.get(metric), trial.provenance.get(metric)
    if not value or origin is None or origin.low is None or origin.high is None:
        return shown(value, 3)
    low, high = (round(100 * abs(end / value - 1)) for end in (origin.low, origin.high))
    return f"{shown(value, 3)} -{low}/+{high}%"


def _plain(head: str, metric: str) -> Column:
    return Column(head, lambda trial: shown(trial.metrics.get(metric)))


def _latency_columns(trials: Sequence[Trial], again: Again) -> Iterable[Column]:
    """One column a device and source, so that no column mixes measured and modeled numbers."""
    kinds = dict.fromkeys(
        (metric, origin.source if (origin := trial.provenance.get(metric)) else "source unknown")
        for trial in trials
        for metric in trial.metrics
        if metric.startswith(LATENCY)
    )
    for metric, source in sorted(kinds, key=lambda kind: kind[1] != "measured"):

        def cell(trial: Trial, metric: str = metric, source: str = source) -> str:
            origin = trial.provenance.get(metric)
            said = origin.source if origin else "source unknown"
            return latency_cell(trial, metric) if said == source else ""

        yield Column(f"{metric}\n{source}", cell)
        seen = again.get(metric.removeprefix(LATENCY), {})
        if seen and source == "measured":

            def second(trial: Trial, seen: Mapping[str, float] = seen) -> str:
                return shown(seen.get(str(trial.number)), 3)

            yield Column(f"{metric}\nmeasured again", second)


def _resource_columns(trials: Sequence[Trial]) -> Iterable[Column]:
    """The look-up tables of each FPGA that a method counts them for."""
    metrics = dict.fromkeys(m for trial in trials for m in trial.metrics if m.startswith("lut."))
    return (_plain(f"{metric}\nmodeled", metric) for metric in sorted(metrics))


def columns_of(trials: Sequence[Trial], again: Again | None = None) -> list[Column]:
    """The columns that these trials fill: quality, size, operations, LUTs, latency by device."""
    plain = [
        Column("trial", lambda trial: str(trial.number)),
        Column("compression", compression_of),
        Column("trainings", trainings_cell),
        _plain("accuracy", "accuracy"),
        Column("lowest..highest\naccuracy", spread_cell),
        Column("of the\nfile", own_cell),
        _plain("with\nnoise", "accuracy_noise"),
        _plain("with\nimpulses", "accuracy_impulse"),
        _plain("size\n[kB]", "size_kb"),
        _plain("zipped\n[kB]", "size_kb_compressed"),
        _plain("MACs", "macs"),
    ]
    filled = [column for column in plain if any(column.cell(trial) for trial in trials)]
    return [*filled, *_resource_columns(trials), *_latency_columns(trials, again or {})]


def trial_tables(
    trials: Sequence[Trial],
    width: int,
    again: Again | None = None,
    marks: Mapping[int, str] | None = None,
) -> Iterator[Table]:
    """Tables with a row a trial: one, or several where its columns do not fit side by side.

    Args:
        trials: the rows.
        width: characters in a line.
        again: latencies of a second look, each shown beside the first.
        marks: names for some trials, by number, such as ``knee``.
    """
    names = marks or {}
    first, *rest = columns_of(trials, again)
    if names:
        rest.insert(0, Column("", lambda trial: names.get(trial.number, "")))
    while rest:
        used, columns = EDGES + _width(first, trials), [first]
        while rest and (len(columns) == 1 or used + _width(rest[0], trials) <= width):
            used += _width(rest[0], trials)
            columns.append(rest.pop(0))
        yield _table(columns, trials)


def _width(column: Column, trials: Sequence[Trial]) -> int:
    lines = [*column.head.splitlines(), *(column.cell(trial) for trial in trials)]
    return max(map(len, lines), default=0) + GAP


def _table(columns: Sequence[Column], trials: Sequence[Trial]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0), collapse_padding=True
    )
    for column in columns:
        table.add_column(Text(column.head), justify="right", no_wrap=True)
    for trial in trials:
        table.add_row(*(Text(column.cell(trial)) for column in columns))
    return table


def setting_lines(trials: Sequence[Trial]) -> list[str]:
    """A line a latency metric: what its numbers were measured or modeled with.

    Of the methods it says what all trials have in common.
    """
    methods: dict[str, list[list[str]]] = {}
    for trial in trials:
        for metric, origin in trial.provenance.items():
            if metric.startswith(LATENCY):
                how = (
                    *(origin.source, origin.device, origin.runtime),
                    f"batch {origin.batch or 1}",
                    f"threads {origin.threads}" if origin.threads else "",
                )
                line = f"{metric}: {', '.join(part for part in how if part)}"
                methods.setdefault(line, []).append(origin.method.split(", "))
    return [
        ", ".join([line, *_common(parts), *_remarks(parts)])
        for line, parts in sorted(methods.items(), key=_kind)
    ]


def _remarks(methods: Sequence[Sequence[str]]) -> Iterator[str]:
    """What holds for some trials only, and makes their numbers less certain."""
    for begin, text in _REMARKS.items():
        count = sum(any(part.startswith(begin) for part in parts) for parts in methods)
        if count:
            yield f"{count} of {len(methods)} {text}"


def _kind(entry: tuple[str, object]) -> bool:
    return ": measured" not in entry[0]


def _common(methods: Sequence[Sequence[str]]) -> list[str]:
    """The parts that all methods begin with."""
    columns = zip(*methods, strict=False)
    equal = itertools.takewhile(lambda column: len(set(column)) == 1, columns)
    return [column[0] for column in equal if column[0]]
