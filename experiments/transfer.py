"""Earlier results for a new search: read from another run of the same space, kept in the new one.

What hangs on a device (latencies, energy, circuits) is left behind: the new search knows it from
its own screen. Accuracy and the like go over; the strategy finds out what they are worth here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.config import DEVICE_METRICS, ConfigError, ExperimentConfig
from experiments.ledger import LedgerError
from experiments.runs import Run, RunNotFound, find_run
from nas.choices import Choice, Genotype, validate
from nas.front import costs_of
from nas.objectives import Objective
from nas.repeats import merged
from nas.trials import Trial

FILE = "prior.json"
"""In the folder of the run that begins with earlier results."""

Results = tuple[tuple[Genotype, tuple[float | None, ...]], ...]


@dataclass(frozen=True)
class Transfer:
    """Earlier results.

    Args:
        run: the id of the run that they are from.
        data: the hash of the data that it was searched on.
        results: genotypes, each with its costs, one an objective of the new search, None where it
            does not go over.
    """

    run: str
    data: str
    results: Results

    def line(self, data: str) -> str:
        """What the user should know of it.

        Args:
            data: the hash of the data of the new search.
        """
        same = "the same data" if data == self.data else "other data"
        return f"begins with {len(self.results)} results of {self.run}, of {same}"

    def to_json(self) -> str:
        """Read back by `kept_transfer`."""
        return json.dumps(asdict(self))


def read_transfer(
    config: ExperimentConfig, home: Path, choices: list[Choice], identity: Mapping[str, str]
) -> Transfer | None:
    """The results of the run that the configuration names, None where it names none.

    Args:
        config: of the new search.
        home: the folder of all runs.
        choices: of the new search, those of compression and deployment included.
        identity: of the new search, see `experiments.pipeline.Parts.identity`.

    Raises:
        ConfigError: one line, for a run that is not there, cannot be read, searched another space,
            or has nothing that goes over.
    """
    if not config.transfer:
        return None
    try:
        run = find_run(home, config.transfer)
        with run.ledger() as ledger:
            known = dict(ledger.get_meta("identity") or {})
            trials = ledger.trials()
        objectives = run.config.objectives_parsed(), config.objectives_parsed()
        trials = merged(trials, objectives[0], run.config.constraints_parsed())
        _check_space(run, known, identity, trials, choices)
        results = _results(run, trials, objectives[1])
    except (RunNotFound, LedgerError, ConfigError, OSError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise ConfigError(f"transfer: {line}", ("transfer",)) from None
    return Transfer(run.id, str(known.get("data", "")), results)


def _check_space(
    run: Run,
    known: Mapping[str, Any],
    identity: Mapping[str, str],
    trials: list[Trial],
    choices: list[Choice],
) -> None:
    for trial in trials:
        try:
            validate(choices, trial.genotype)
        except ValueError as error:
            raise ValueError(f"run {run.id} searched another space: {error}") from None
    for what, differs in (("choices", "choices differ"), ("space", "file or options differ")):
        if known.get(what, "") != identity.get(what, ""):
            raise ValueError(f"run {run.id} searched another space: its {differs}")


def _results(run: Run, trials: list[Trial], objectives: tuple[Objective, ...]) -> Results:
    wanted = [o for o in objectives if o.metric.partition(".")[0] not in DEVICE_METRICS]
    found: list[tuple[Genotype, tuple[float | None, ...]]] = []
    for trial in trials:
        if any(costs_of(trial, [objective]) for objective in wanted):
            costs = tuple(o.cost(trial.metrics) if o in wanted else None for o in objectives)
            found.append((dict(trial.genotype), costs))
    if not found:
        names = ", ".join(o.metric for o in wanted) or "what hangs on no device"
        raise ValueError(
            f"no result of run {run.id} has an objective of this search that goes over ({names})"
        )
    return tuple(found)


def kept_transfer(run: Run) -> Transfer | None:
    """The earlier results that a run began with, whatever became of the run that they are from.

    Raises:
        LedgerError: when it began with some, and they are damaged or missing.
    """
    path = run.path / FILE
    if not run.config.transfer:
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        results = tuple((dict(g), tuple(costs)) for g, costs in record["results"])
        return Transfer(str(record["run"]), str(record["data"]), results)
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise LedgerError(f"{path}: is damaged: {error}") from None
