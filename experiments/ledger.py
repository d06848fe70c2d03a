"""The ledger of a search: one SQLite file, every event durable before anything else hears of it.

The file is written by one process and read by any number meanwhile. It is in SQLite's WAL mode, so
that readers and the writer never wait for one another, with ``synchronous=FULL``: a commit has
reached the disk when it returns, which costs about a millisecond and survives a power cut, not
only a ``kill -9``. WAL wants a local file system.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from experiments.ledger_file import (
    SCHEMA_VERSION,
    LedgerError,
    connect,
    is_being_written,
    lock,
    reason,
    to_json,
)
from nas.protocols import Ask
from nas.trials import Trial

__all__ = ["SCHEMA_VERSION", "LedgerError", "SqliteLedger", "is_being_written"]

T = TypeVar("T")


def _ask(number: int, record: dict[str, Any]) -> Ask:
    return Ask(number, **record)


class SqliteLedger:
    """Implements `nas.protocols.Ledger`.

    Args:
        path: of the file.
        read_only: True to look on while another process writes. Notes (`set_meta`,
            `record_test_accuracy`) can be made all the same, events cannot.
        create: whether a writer makes a file that is missing or empty.
        now: the time of day in seconds, noted beside each event.

    Raises:
        LedgerError: for a file that is missing (and not to be made), damaged, no ledger, from a
            newer version, or written by another process (writing).
    """

    def __init__(
        self,
        path: str | Path,
        read_only: bool = False,
        now: Callable[[], float] = time.time,
        create: bool = True,
    ) -> None:
        self.path, self.read_only, self._now = Path(path), read_only, now
        self._mutex = threading.RLock()
        self._lock_fd: int | None = None if read_only else lock(self.path)
        try:
            with self._translated():
                self._db = connect(self.path, read_only, create, thorough=not read_only)
        except BaseException:
            self._unlock()
            raise

    # -- events, in order --

    def asked(self, ask: Ask) -> None:
        """Record an ask; see `nas.protocols.Ledger`."""
        payload = {
            "genotype": dict(ask.genotype),
            "training_key": ask.training_key,
            "candidate_key": ask.candidate_key,
            "repeat": ask.repeat,
        }
        self._append("asked", ask.number, payload)

    def done(self, trial: Trial, elapsed_s: float) -> None:
        """Record a result; see `nas.protocols.Ledger`."""
        self._append("done", trial.number, trial.to_json(), elapsed_s)

    def repeated(self, number: int) -> None:
        """Record a repeated telling; see `nas.protocols.Ledger`."""
        self._append("repeated", number, {})

    def told(self) -> Sequence[Trial]:
        """Results in the order of telling, repeats included; see `nas.protocols.Ledger`."""
        trials: dict[int, Trial] = {}
        order = []
        for number, kind, payload in self._rows(
            "SELECT number, kind, payload FROM events WHERE kind != 'asked' ORDER BY seq"
        ):
            if kind == "done":
                trials[number] = self._parsed(payload, Trial.from_json)
            order.append(trials[number])
        return order

    def told_before(self, candidate_key: str) -> list[Trial]:
        """What had been told when a candidate was asked for: all, where it never was; in order.

        It is the same after a resume, so that what is decided by it is.
        """
        rows = self._rows(
            "SELECT payload FROM events WHERE kind = 'done' AND seq < COALESCE((SELECT MIN(seq) "
            "FROM events WHERE kind = 'asked' AND json_extract(payload, '$.candidate_key') = ?), "
            "9e18) ORDER BY seq",
            candidate_key,
        )
        return [self._parsed(payload, Trial.from_json) for (payload,) in rows]

    def trials(self) -> list[Trial]:
        """Every result once, by number."""
        rows = self._rows("SELECT payload FROM events WHERE kind = 'done' ORDER BY number")
        return [self._parsed(payload, Trial.from_json) for (payload,) in rows]

    def unfinished(self) -> Sequence[Ask]:
        """Asks without a result; see `nas.protocols.Ledger`."""
        rows = self._rows(
            "SELECT number, payload FROM events AS a WHERE kind = 'asked' AND NOT EXISTS "
            "(SELECT 1 FROM events AS d WHERE d.kind = 'done' AND d.number = a.number) "
            "ORDER BY number"
        )
        return [self._parsed(payload, partial(_ask, number)) for number, payload in rows]

    def repeats(self) -> int:
        """How often a result was told again."""
        return int(self._value("SELECT COUNT(*) FROM events WHERE kind = 'repeated'"))

    def next_number(self) -> int:
        """The number of the next ask."""
        return int(self._value("SELECT COALESCE(MAX(number), -1) + 1 FROM events"))

    def elapsed_s(self) -> float:
        """Search time up to the last result."""
        return float(self._value("SELECT COALESCE(MAX(elapsed_s), 0) FROM events"))

    def unix_s(self, kind: str) -> dict[int, float]:
        """The time of day of the ``asked`` or ``done`` events, by number of the trial."""
        rows = self._rows("SELECT number, unix_s FROM events WHERE kind = ? ORDER BY seq", kind)
        return dict(rows)

    # -- notes beside them --

    @property
    def reference_point(self) -> tuple[float, ...] | None:
        """Costs; None until it has been fixed."""
        point = self.get_meta("reference_point")
        return None if point is None else tuple(point)

    def fix_reference_point(self, costs: tuple[float, ...]) -> None:
        """Store the hypervolume's reference point.

        Raises:
            LedgerError: when another one is stored already.
        """
        stored = self.reference_point
        if stored is not None and stored != tuple(costs):
            raise LedgerError(f"{self.path}: the reference point is fixed already, at {stored}")
        self.set_meta("reference_point", list(costs))

    def get_meta(self, key: str) -> Any:
        """The JSON-able value of a note, None where there is none."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return self._parsed(rows[0][0], lambda value: value) if rows else None

    def set_meta(self, key: str, value: Any) -> None:
        """Store a note under a key, over an older one."""
        self._note("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, to_json(value))

    @property
    def data_hash(self) -> str:
        """The content hash of the data that was searched on, empty where it was not noted."""
        return str((self.get_meta("identity") or {}).get("data") or "")

    def test_accuracy(self, sha256: str) -> float | None:
        """The recorded test accuracy of an artifact, None where it was never asked for."""
        rows = self._rows("SELECT value FROM test_accuracy WHERE sha256 = ?", sha256)
        return float(rows[0][0]) if rows else None

    def record_test_accuracy(self, sha256: str, value: float) -> None:
        """Keep the test accuracy of an artifact, which is computed once.

        Raises:
            LedgerError: when another value is recorded already.
        """
        stored = self.test_accuracy(sha256)
        if stored is not None and stored != value:
            raise LedgerError(
                f"{self.path}: the test accuracy of {sha256[:12]} is recorded already as {stored}, "
                f"but got {value}"
            )
        self._note("INSERT OR IGNORE INTO test_accuracy VALUES (?, ?)", sha256, float(value))

    # -- the file --

    def close(self) -> None:
        """Let go of the file; another process may write now."""
        with self._mutex:
            if self._lock_fd is not None:
                # So that the one file holds everything, even if a reader has it open still.
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.close()
            self._unlock()

    def __enter__(self) -> SqliteLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(
        self, kind: str, number: int, payload: dict[str, Any], elapsed_s: float | None = None
    ) -> None:
        if self.read_only:
            raise LedgerError(f"{self.path}: is open for reading only")
        text = to_json(payload)
        with self._translated(), self._db:
            self._check_order(kind, number)
            self._db.execute(
                "INSERT INTO events (kind, number, payload, elapsed_s, unix_s) "
                "VALUES (?, ?, ?, ?, ?)",
                (kind, number, text, elapsed_s, self._now()),
            )

    def _check_order(self, kind: str, number: int) -> None:
        if kind == "asked":
            return
        before = "asked" if kind == "done" else "done"
        query = "SELECT 1 FROM events WHERE number = ? AND kind = ?"
        if self._db.execute(query, (number, before)).fetchone() is None:
            raise ValueError(f"trial {number} must be {before} before it is {kind}")

    def _note(self, statement: str, *values: Any) -> None:
        with self._translated():
            if self.read_only:
                with (
                    contextlib.closing(connect(self.path, read_only=False, create=False)) as db,
                    db,
                ):
                    db.execute(statement, values)
            else:
                with self._db:
                    self._db.execute(statement, values)

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        with self._translated():
            return self._db.execute(statement, values).fetchall()

    def _parsed(self, payload: str, make: Callable[[Any], T]) -> T:
        try:
            return make(json.loads(payload))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"{type(error).__name__}: {error}"
            raise LedgerError(f"{self.path}: is damaged: a record cannot be read ({why})") from None

    def _value(self, statement: str) -> Any:
        return self._rows(statement)[0][0]

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        with self._mutex:
            try:
                yield
            except sqlite3.Error as error:
                raise LedgerError(f"{self.path}: {reason(error)}") from error

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None
