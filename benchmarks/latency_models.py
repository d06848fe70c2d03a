"""How well do latency models predict other people's devices, from few measured networks?

    python -m benchmarks.latency_models --data DIR [--devices A,B] [--shots 0,10,30,100,1000]
        [--seeds 5] [--extrapolate] [--profile COLUMN=NAME] [--designed] [--json FILE]

Networks are built through the search spaces' own modules and traced. For each column of
measurements and each seed some networks are taken at random for calibration (with ``--designed``
half of them D-optimal, chosen without looking at any latency), and all others are predicted: none
of them is, or is isomorphic to, one of the former. Baselines: an affine function of
multiply-accumulates, a look-up table by place in the network, and for cells the counts of
operations; all are fitted to the same networks by relative least squares.

A device without a profile is looked for among typical ones of each kind, by the error of networks
left out of the calibration; without any measurement it is skipped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import nnls

from benchmarks.latency_data import (
    DEVICES,
    KINDS,
    LOWERINGS,
    Array,
    Collection,
    Column,
    Setting,
    collections,
    columns_of,
)
from evaluators.calibration import FEWEST, calibrate_table, choose_rows
from evaluators.modeled import predict
from hw_profiles import HardwareProfile

SHOTS = (0, 10, 30, 100, 1000)
_EXTRAPOLATED = "dearest quarter"
_RIDGE = 1e-3
_Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """How good predictions are.

    Args:
        spearman: rank correlation.
        kendall: rank correlation tau-b.
        w10: percent of the networks whose prediction is within 10 %.
        mape: mean absolute error in percent.
        coverage90: percent of the networks within their 90 % error bars; NaN without bars.
    """

    spearman: float
    kendall: float
    w10: float
    mape: float
    coverage90: float


@dataclass(frozen=True)
class Row:
    """One line of the result, the mean over seeds."""

    column: str
    model: str
    shots: int
    seeds: int
    n_test: int
    spearman: float
    kendall: float
    w10: float
    mape: float
    coverage90: float | None
    profile: str = ""
    tested_on: str = "networks not used for fitting"
    w10_worst_seed: float | None = None


@dataclass(frozen=True)
class Case:
    """A column with everything that predicting it needs.

    Args:
        collection: whose networks.
        column: what was measured.
        measured: (networks,), as in the file; NaN where it is missing.
        candidates: the settings among which to choose.
    """

    collection: Collection
    column: Column
    measured: Array
    candidates: tuple[Setting, ...]

    @property
    def usable(self) -> _Rows:
        """Networks with a measurement."""
        return np.flatnonzero(np.isfinite(self.measured) & (self.measured > 0))

    def milliseconds(self, profile: HardwareProfile) -> Array:
        """(networks,), of a call with the batch of such a device."""
        return self.column.milliseconds(self.measured, self.column.batch_on(profile))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = _options(arguments)
    try:
        cases = list(_cases(options))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    print(_HEAD)
    for case in cases:
        for row in evaluated(case, options):
            print(_line(row), flush=True)
            rows.append(row)
    if options.json:
        records = [asdict(row) for row in rows]
        options.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    return 0


def evaluated(case: Case, options: argparse.Namespace) -> Iterator[Row]:
    """The rows of one column."""
    extrapolate = options.extrapolate
    for count in options.shots:
        if count == 0 and len(case.candidates) > 1:
            continue  # nothing says which kind of device it is
        if count == 0 and extrapolate:
            continue
        if count >= len(case.usable) * (0.5 if extrapolate else 1):
            continue
        found: dict[str, list[tuple[Score, int]]] = {}
        profiles = set()
        for seed in range(options.seeds if count else 1):
            train, test = split(case, count, seed, extrapolate, options.designed)
            scores, setting = _scores(case, train, test)
            profiles.add(str(setting))
            for model, score in scores.items():
                found.setdefault(model, []).append((score, len(test)))
        for model, each in found.items():
            told = " / ".join(sorted(profiles))
            yield _mean(case.column.name, model, count, each, told, extrapolate)


def split(
    case: Case, count: int, seed: int, extrapolate: bool, designed: bool
) -> tuple[_Rows, _Rows]:
    """Networks for calibration, and those to be predicted.

    Args:
        case: whose.
        count: of the former.
        seed: of the choice.
        extrapolate: take the former from the cheaper half, the latter are the dearest quarter.
        designed: half of the former are D-optimal.
    """
    usable = case.usable
    order = np.random.default_rng(seed).permutation(usable)
    pool, test = order, order
    if extrapolate:
        latency = case.milliseconds(case.candidates[0].load())
        middle, high = np.quantile(latency[usable], [0.5, 0.75])
        pool, test = order[latency[order] <= middle], order[latency[order] >= high]
    train = pool[:count]
    if count and designed:
        pool = pool[: max(1000, count)]
        profile = case.candidates[0].load()
        table = case.collection.tables[profile.lowering][pool]
        train = pool[choose_rows(table, profile, count, case.column.batch_on(profile))]
    groups = case.collection.groups
    test = test[~np.isin(groups[test], groups[train])]
    return train, test


def _scores(case: Case, train: _Rows, test: _Rows) -> tuple[dict[str, Score], Setting]:
    """The scores of all models."""
    profile, setting = _fitted(case, train)
    batch = case.column.batch_on(profile)
    measured = case.milliseconds(profile)
    found = predict(case.collection.tables[profile.lowering][test], profile, batch)
    bars = (found.low_ms, found.high_ms)
    scores = {"physical": score(measured[test], found.latency_ms, bars)}
    macs = case.collection.macs
    if not len(train):
        return scores | {"macs": score(measured[test], macs[test], None, ranks_only=True)}, setting
    for name, features in {"macs": macs[:, None], **case.collection.baselines}.items():
        predicted = _affine(features[train], measured[train], features[test])
        scores[name] = score(measured[test], predicted, None)
    return scores, setting


def _fitted(case: Case, train: _Rows) -> tuple[HardwareProfile, Setting]:
    """The profile, calibrated; of several settings the one with the least error left out."""
    best: tuple[float, HardwareProfile, Setting] | None = None
    for setting in case.candidates:
        profile = setting.load()
        if not len(train):
            return profile, setting
        batch = case.column.batch_on(profile)
        measured = case.milliseconds(profile)[train]
        table = case.collection.tables[profile.lowering][train]
        profile = calibrate_table(profile, table, measured, batch=batch)
        error = (profile.calibration or {})["error"]["mape"]
        if best is None or error < best[0]:
            best = error, profile, setting
    if best is None:
        raise ValueError(f"{case.column.name} has no setting to choose from")
    return best[1], best[2]


def score(
    measured: Array, predicted: Array, bars: tuple[Array, Array] | None, ranks_only: bool = False
) -> Score:
    """How good predictions are."""
    error = np.abs(predicted / measured - 1)
    covered = np.nan
    if bars is not None:
        covered = 100 * float(((bars[0] <= measured) & (measured <= bars[1])).mean())
    return Score(
        spearman=float(stats.spearmanr(measured, predicted).statistic),
        kendall=float(stats.kendalltau(measured, predicted).statistic),
        w10=float("nan") if ranks_only else 100 * float((error <= 0.1).mean()),
        mape=float("nan") if ranks_only else 100 * float(error.mean()),
        coverage90=covered,
    )


def _affine(features: Array, measured: Array, others: Array) -> Array:
    """Relative least squares on features and a constant, not negative, with a small ridge."""
    scale = np.maximum(features.mean(axis=0), 1e-12)
    design = np.column_stack([features / scale, np.ones(len(features))]) / measured[:, None]
    width = design.shape[1]
    pull = np.sqrt(_RIDGE * len(design)) * np.linalg.norm(design, axis=0) / np.sqrt(len(design))
    sides = np.concatenate([np.ones(len(design)), np.zeros(width)])
    weights = nnls(np.vstack([design, np.diag(pull)]), sides, maxiter=100 * width)[0]
    predicted: Array = np.column_stack([others / scale, np.ones(len(others))]) @ weights
    return np.maximum(predicted, 1e-9)


def _mean(
    column: str,
    model: str,
    shots: int,
    each: Sequence[tuple[Score, int]],
    profile: str,
    extrapolate: bool,
) -> Row:
    means: Mapping[str, float] = {
        name: float(np.mean([getattr(score, name) for score, _ in each]))
        for name in ("spearman", "kendall", "w10", "mape", "coverage90")
    }
    worst = min(score.w10 for score, _ in each)
    rounded = {name: None if np.isnan(v) else round(v, 4) for name, v in means.items()}
    return Row(
        column=column,
        model=model,
        shots=shots,
        seeds=len(each),
        n_test=round(np.mean([count for _, count in each])),
        profile=profile if model == "physical" else "",
        tested_on=_EXTRAPOLATED if extrapolate else Row.tested_on,
        w10_worst_seed=None if np.isnan(worst) else round(worst, 2),
        **rounded,  # type: ignore[arg-type]
    )


_HEAD = (
    f"{'column':<22} {'model':<9} {'shots':>5} {'tested':>6} {'spearman':>8} {'kendall':>7} "
    f"{'w10 %':>6} {'worst':>6} {'MAPE %':>7} {'90% bar':>7}  profile"
)


def _line(row: Row) -> str:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None or np.isnan(value) else format(value, form)

    return (
        f"{row.column:<22} {row.model:<9} {row.shots:>5} {row.n_test:>6} "
        f"{number(row.spearman, '.4f'):>8} {number(row.kendall, '.3f'):>7} "
        f"{number(row.w10, '.1f'):>6} {number(row.w10_worst_seed, '.1f'):>6} "
        f"{number(row.mape, '.2f'):>7} {number(row.coverage90, '.1f'):>7}  {row.profile}"
    )


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    """The columns that are asked for."""
    columns = columns_of(options.data)
    known = {name for column in columns for name in (column.name, column.device)}
    for name in [*options.devices, *options.profile]:
        if name not in known:
            raise ValueError(f"no column or device {name!r} (known: {', '.join(sorted(known))})")
    asked = set(options.devices)
    wanted = [each for each in columns if not asked or {each.name, each.device} & asked]
    settings = {each: _settings(each, options.profile) for each in wanted}
    lowerings = {each.load().lowering for every in settings.values() for each in every}
    for collection in collections(options.data, tuple(sorted(lowerings))):
        for column in collection.columns():
            if column in settings:
                measured = collection.rows[column.name].to_numpy(dtype=float)
                yield Case(collection, column, measured, settings[column])


def _settings(column: Column, told: Mapping[str, str]) -> tuple[Setting, ...]:
    named = told.get(column.name) or told.get(column.device)
    if named in KINDS:
        return KINDS[named]
    if named:
        return (_setting(named),)
    if column.device in DEVICES:
        return (DEVICES[column.device],)
    return tuple(setting for settings in KINDS.values() for setting in settings)


def _setting(text: str) -> Setting:
    """Of ``NAME``, ``NAME/LOWERING`` or ``NAME/LOWERING/DTYPE``.

    Raises:
        ValueError: one line when there is no such profile, or it runs no kernels one by one.
    """
    if text.count("/") > 2:
        raise ValueError(f"a profile must be NAME, NAME/LOWERING/DTYPE, but got {text!r}")
    setting = Setting(*text.split("/"))
    lowering = setting.load().lowering
    if lowering not in LOWERINGS:
        raise ValueError(f"lowering must be one of {', '.join(LOWERINGS)}, but got {lowering!r}")
    return setting


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the measurements")
    parser.add_argument("--devices", type=_names, default=[], help="columns or devices, by comma")
    parser.add_argument("--shots", type=_numbers, default=SHOTS, help="networks for calibration")
    parser.add_argument("--seeds", type=int, default=5, help="draws of them")
    parser.add_argument(
        "--extrapolate",
        action="store_true",
        help="calibrate on the cheaper half, test on the dearest quarter",
    )
    parser.add_argument(
        "--profile",
        action="append",
        type=_assignment,
        default=[],
        metavar="COLUMN=NAME",
        help="a profile, NAME/LOWERING or NAME/LOWERING/DTYPE, or a kind: " + ", ".join(KINDS),
    )
    parser.add_argument("--designed", action="store_true", help="half of them D-optimal")
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args(arguments)
    options.profile = dict(options.profile)
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, but got {options.seeds}")
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json must be in a folder that is there, but got {options.json}")
    return options


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in _names(text)]
    if not numbers or any(number != 0 and number < FEWEST for number in numbers):
        raise argparse.ArgumentTypeError(
            f"numbers of networks by comma, each 0 or at least {FEWEST}, but got {text!r}"
        )
    return numbers


def _assignment(text: str) -> tuple[str, str]:
    column, separator, name = text.partition("=")
    if not column or not separator or not name:
        raise argparse.ArgumentTypeError(f"COLUMN=NAME is wanted, but got {text!r}")
    return column, name


if __name__ == "__main__":
    sys.exit(main())
