"""How well are published FPGA designs predicted?

    python -m benchmarks.fpga --data DIR [--json FILE] [--dpu] [--shots 0,10,30,100] [--seeds 5]

Every row of ``fpga_published.csv`` is shown with what was published, what the streaming model
(`evaluators.dataflow`) says, and why they differ. Nothing is fitted to any of them. The model is
validated by the first-frame latency of convolutional designs whose folding and clock are known; of
two of them the clock was inferred from their throughput, which is therefore no validation. With
``--dpu`` the fixed convolution engine follows, on the networks of ``accel_*.csv.gz``; see
`benchmarks.latency_models`.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import latency_models
from benchmarks.fpga_designs import Design, design_of
from evaluators.dataflow.model import timing

TABLE = "fpga_published.csv"
WITHIN = 15.0
"""Percent that the validated latencies may be off."""
DPU_COLUMN = "latency_zcu102"


@dataclass(frozen=True)
class Row:
    """A published number with its prediction.

    Args:
        row: id in the table.
        quantity: ``latency_us`` or ``throughput_fps``; ``""`` where nothing is predicted.
        published: NaN is None.
        predicted: by the model.
        error_percent: of the prediction.
        counts: whether it validates the model.
        topology: of the network.
        why: how the row was predicted, and what its error is due to; or why it was not.
    """

    row: str
    quantity: str
    published: float | None
    predicted: float | None
    error_percent: float | None
    counts: bool
    topology: str
    why: str


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _options(arguments)
    try:
        rows = list(predicted(options.data))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _show(rows)
    if options.json:
        text = json.dumps([asdict(row) for row in rows], indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.dpu:
        print(f"\nFixed convolution engine, {DPU_COLUMN}:")
        told = ["--data", str(options.data), "--devices", DPU_COLUMN]
        return latency_models.main([*told, "--shots", options.shots, "--seeds", options.seeds])
    return 0


def predicted(folder: Path) -> Iterator[Row]:
    """All rows of the table, one for each number that they give.

    Raises:
        ValueError: one line when the table is not there.
    """
    for row in _read(folder / TABLE):
        design = design_of(row)
        numbers = [(name, _number(row[name])) for name in ("latency_us", "throughput_fps")]
        known = [(name, value) for name, value in numbers if value is not None]
        if isinstance(design, str):
            name, value = known[0] if known else ("", None)
            yield Row(row["id"], name, value, None, None, False, "", design)
            continue
        for name, value in known:
            yield _compared(row, design, name, value)


def _compared(row: Mapping[str, str], design: Design, quantity: str, published: float) -> Row:
    time = timing(design.circuit, design.profile, design.clock_hz)
    is_latency = quantity == "latency_us"
    found = 1e3 * time.latency_ms() if is_latency else time.throughput_fps
    known = design.folding == "published" and row["kind"].startswith("measured")
    counts = known and design.is_convolutional and is_latency
    return Row(
        row=design.row,
        quantity=quantity,
        published=published,
        predicted=found,
        error_percent=100 * (found / published - 1),
        counts=counts,
        topology=design.topology,
        why=_why(design, is_latency, time.slowest),
    )


def _why(design: Design, is_latency: bool, slowest: str) -> str:
    said = [f"folding {design.folding}"]
    if design.clock_is_inferred:
        said.append("clock inferred from this throughput" if not is_latency else "clock inferred")
    if design.folding == "found here":
        said.append("the board's own folding is not published: no validation")
    elif slowest == "transfers" and not is_latency:
        said.append("bound by transfers, whose width on that board is not known")
    elif not design.is_convolutional:
        said.append("bound by transfers and driver, which the profile leaves out")
    return "; ".join(said)


def _show(rows: Sequence[Row]) -> None:
    print(f"{'row':<32} {'quantity':<15} {'published':>12} {'predicted':>12} {'error %':>8}  why")
    for row in rows:
        numbers = [_text(value) for value in (row.published, row.predicted)]
        error = "-" if row.error_percent is None else f"{row.error_percent:+.1f}"
        mark = "*" if row.counts else " "
        name, quantity = row.row, row.quantity or "-"
        left = f"{name:<32} {quantity:<15} {numbers[0]:>12} {numbers[1]:>12} {error:>8}"
        print(f"{left}{mark} {row.why}")
    errors = [
        abs(row.error_percent) for row in rows if row.counts and row.error_percent is not None
    ]
    topologies = {row.topology for row in rows if row.counts}
    worst = max(errors, default=float("nan"))
    print(
        f"* validates: {len(errors)} rows of {len(topologies)} topology ({', '.join(topologies)}), "
        f"first-frame latency, largest error {worst:.1f} % (goal {WITHIN:g} %)"
    )


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}" if value < 1e4 else f"{value:,.0f}"


def _number(text: str) -> float | None:
    found = re.search(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?", text)
    return float(found.group()) if found else None


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise ValueError(f"--data must hold {path.name}, but: {error.strerror}") from None


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the measurements")
    parser.add_argument("--json", type=Path, help="write the rows of the streaming designs here")
    parser.add_argument("--dpu", action="store_true", help="the fixed convolution engine too")
    parser.add_argument("--shots", default="0,10,30,100", help="networks for its calibration")
    parser.add_argument("--seeds", default="5", help="draws of them")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
