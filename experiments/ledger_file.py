"""The ledger's file: its schema, who may write it, and SQLite's errors in plain words."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x4E41534C  # "NASL": tells a ledger from any other SQLite file
_BUSY_TIMEOUT_S = 10.0
_LOCK_TRIES = 10
_SCHEMA = f"""
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('asked', 'done', 'repeated')),
    number INTEGER NOT NULL,
    payload TEXT NOT NULL,
    elapsed_s REAL,
    unix_s REAL NOT NULL
);
CREATE INDEX by_number ON events (number);
CREATE UNIQUE INDEX once ON events (number, kind) WHERE kind != 'repeated';
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE test_accuracy (sha256 TEXT PRIMARY KEY, value REAL NOT NULL);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


class LedgerError(RuntimeError):
    """The ledger cannot be read or written; the message is one line that says why."""


def is_being_written(path: str | Path) -> bool:
    """Whether a live process has this ledger open for writing."""
    try:
        fd = os.open(_lock_path(Path(path)), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def lock(path: Path) -> int:
    """Take the writer's lock; the kernel frees it however the process ends."""
    try:
        fd = os.open(_lock_path(path), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise LedgerError(f"{path}: cannot be written: {error.strerror}") from None
    for attempt in range(_LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
            return fd
        except BlockingIOError:
            # `is_being_written` holds the lock for an instant.
            if attempt < _LOCK_TRIES - 1:
                time.sleep(0.02)
        except OSError as error:
            os.close(fd)
            raise LedgerError(f"{path}: cannot be locked: {error.strerror}") from None
    holder = os.pread(fd, 20, 0).decode(errors="replace") or "unknown"
    os.close(fd)
    raise LedgerError(f"{path}: is being written by another search (process {holder})")


def connect(
    path: Path, read_only: bool, create: bool, thorough: bool = False
) -> sqlite3.Connection:
    """Open the file.

    Args:
        path: of the file.
        read_only: whether to leave it as it is.
        create: whether a writer makes one that is missing or empty.
        thorough: whether to look for damage in all of it, before more is written to it.

    Raises:
        LedgerError: for a missing or damaged file, another database, or a newer version.
        sqlite3.Error: for what is no database.
    """
    create = create and not read_only
    if not create:
        _check_there(path)
    mode = "ro" if read_only else ("rwc" if create else "rw")
    if read_only and not os.access(path.parent, os.W_OK) and not _wal_path(path).exists():
        mode = "ro&immutable=1"  # a reader of a WAL file must make its index, which it cannot here
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
    try:
        _check_schema(db, path, create)
        if thorough:
            _check_pages(db, path)
        if not read_only:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db


def _check_there(path: Path) -> None:
    if not path.exists():
        raise LedgerError(f"{path}: is not there")
    if not path.stat().st_size:
        raise LedgerError(f"{path}: is empty: what it held is not there any more")


def _check_schema(db: sqlite3.Connection, path: Path, create: bool) -> None:
    """See that it is a schema this version can use, made in an empty file where that is wanted."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if not tables and not version and create:
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    elif db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise LedgerError(f"{path}: is no ledger of a search")
    elif version > SCHEMA_VERSION:
        raise LedgerError(
            f"{path}: was written by a newer version (schema {version}, this version "
            f"reads up to {SCHEMA_VERSION}); update hwnas to use it"
        )


def _check_pages(db: sqlite3.Connection, path: Path) -> None:
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise LedgerError(f"{path}: is damaged: {' '.join(verdict.split())}")


def _wal_path(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def to_json(value: Any) -> str:
    """Compact JSON; a ValueError for NaN and infinity, which JSON does not have."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def reason(error: sqlite3.Error) -> str:
    """SQLite's error as a line that a user can act on."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return "the disk is full; all that was recorded before is kept"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"is damaged or no ledger ({error})"
    if code == sqlite3.SQLITE_CONSTRAINT:
        return f"this trial has that event already ({error})"
    return f"cannot be read or written ({error})"
