from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.ledger import SCHEMA_VERSION, LedgerError, SqliteLedger, is_being_written
from tests.contracts.test_ledgers import ask, trial

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def fill(path: Path, count: int) -> None:
    with SqliteLedger(path) as ledger:
        for number in range(count):
            ledger.asked(ask(number))
            ledger.done(trial(number), float(number))


def ask_for(ledger: SqliteLedger, numbers: Iterable[int]) -> None:
    for number in numbers:
        ledger.asked(ask(number))


def one_line(error: pytest.ExceptionInfo[LedgerError], path: Path) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def test_what_was_written_is_there_after_closing(path: Path) -> None:
    fill(path, 3)
    with SqliteLedger(path) as ledger:
        assert ledger.trials() == [trial(n) for n in range(3)]
        assert ledger.next_number() == 3


def test_a_closed_ledger_is_one_file(path: Path) -> None:
    fill(path, 3)
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


def test_the_file_alone_holds_everything_even_while_a_reader_looks_on(
    path: Path, tmp_path: Path
) -> None:
    with SqliteLedger(path) as ledger:
        ledger.asked(ask(0))
        reader = SqliteLedger(path, read_only=True)
        reader.trials()
    copy = shutil.copy(path, tmp_path / "copy.sqlite")
    reader.close()
    with SqliteLedger(copy, read_only=True) as copied:
        assert [found.number for found in copied.unfinished()] == [0]


def test_trials_are_listed_once_and_by_number(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        for number in (0, 1):
            ledger.asked(ask(number))
        for number in (1, 0):
            ledger.done(trial(number), 1.0)
        ledger.repeated(1)
        assert [t.number for t in ledger.trials()] == [0, 1]
        assert ledger.repeats() == 1


def test_the_time_of_day_is_noted(path: Path) -> None:
    times = iter([100.0, 130.0])
    with SqliteLedger(path, now=lambda: next(times)) as ledger:
        ledger.asked(ask(0))
        ledger.done(trial(0), 1.0)
        assert (ledger.unix_s("asked"), ledger.unix_s("done")) == ({0: 100.0}, {0: 130.0})


# -- the order of events --


def test_the_same_event_twice_is_refused_and_nothing_changes(path: Path) -> None:
    fill(path, 1)
    with SqliteLedger(path) as ledger:
        with pytest.raises(LedgerError) as error:
            ledger.asked(ask(0))
        assert one_line(error, path).startswith("this trial has that event already")
        with pytest.raises(LedgerError):
            ledger.done(trial(0), 9.0)
        assert (len(ledger.trials()), ledger.elapsed_s()) == (1, 0.0)


def test_results_of_what_was_never_asked_are_refused(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        with pytest.raises(ValueError, match="trial 0 must be asked before it is done"):
            ledger.done(trial(0), 1.0)
        ledger.asked(ask(0))
        with pytest.raises(ValueError, match="trial 0 must be done before it is repeated"):
            ledger.repeated(0)


def test_a_result_that_json_cannot_hold_is_refused(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        ledger.asked(ask(0))
        with pytest.raises(ValueError, match="JSON"):
            ledger.done(replace(trial(0), metrics={"accuracy": math.nan}), 1.0)
        assert ledger.unfinished() == [ask(0)]


# -- notes --


def test_the_reference_point_is_fixed_once(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        ledger.fix_reference_point((1.0, 2.0))
        ledger.fix_reference_point((1.0, 2.0))
        with pytest.raises(LedgerError, match="fixed already"):
            ledger.fix_reference_point((1.0, 3.0))
        assert ledger.reference_point == (1.0, 2.0)


def test_notes_are_kept_and_replaced(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        assert ledger.get_meta("mlflow") is None
        ledger.set_meta("mlflow", {"parent": "abc", "trials": [1, 2]})
        ledger.set_meta("mlflow", {"parent": "abd"})
        assert ledger.get_meta("mlflow") == {"parent": "abd"}


def test_test_accuracy_is_recorded_once_an_artifact(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        assert ledger.test_accuracy("aa") is None
        ledger.record_test_accuracy("aa", 0.97)
        ledger.record_test_accuracy("aa", 0.97)
        with pytest.raises(LedgerError, match=r"recorded already as 0\.97, but got 0\.98"):
            ledger.record_test_accuracy("aa", 0.98)
        assert (ledger.test_accuracy("aa"), ledger.test_accuracy("bb")) == (0.97, None)


# -- readers and writers --


def test_a_reader_sees_each_event_as_soon_as_it_is_written(path: Path) -> None:
    with SqliteLedger(path) as writer, SqliteLedger(path, read_only=True) as reader:
        for number in range(3):
            writer.asked(ask(number))
            assert reader.next_number() == number + 1
            writer.done(trial(number), 1.0)
            assert len(reader.trials()) == number + 1


def test_a_reader_writes_no_events_but_notes(path: Path) -> None:
    with SqliteLedger(path) as writer, SqliteLedger(path, read_only=True) as reader:
        with pytest.raises(LedgerError, match="for reading only"):
            reader.asked(ask(0))
        reader.record_test_accuracy("aa", 0.5)
        reader.set_meta("note", 1)
        writer.asked(ask(0))
        assert (writer.test_accuracy("aa"), writer.get_meta("note")) == (0.5, 1)


def test_two_writers_are_refused_also_in_one_process(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        with pytest.raises(LedgerError) as error:
            SqliteLedger(path)
        expected = f"is being written by another search (process {os.getpid()})"
        assert one_line(error, path) == expected
        ledger.asked(ask(0))
    with SqliteLedger(path) as ledger:
        assert ledger.next_number() == 1


def test_whether_it_is_being_written_can_be_asked(path: Path) -> None:
    assert not is_being_written(path)
    with SqliteLedger(path):
        assert is_being_written(path)
    assert not is_being_written(path)


def test_asking_whether_it_is_being_written_keeps_no_writer_out(path: Path) -> None:
    fill(path, 1)
    stop = threading.Event()

    def ask_all_the_time() -> None:
        while not stop.is_set():
            is_being_written(path)
            time.sleep(0.001)

    thread = threading.Thread(target=ask_all_the_time)
    thread.start()
    try:
        for _ in range(30):
            SqliteLedger(path).close()
    finally:
        stop.set()
        thread.join()


def test_threads_of_one_process_can_share_it(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        threads = [threading.Thread(target=ledger.asked, args=(ask(n),)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [a.number for a in ledger.unfinished()] == list(range(8))


# -- what may happen to a file --


WRITER = """
import sys
from experiments.ledger import SqliteLedger
from tests.contracts.test_ledgers import ask, trial
ledger = SqliteLedger(sys.argv[1])
for number in range(ledger.next_number(), 100_000):
    ledger.asked(ask(number))
    ledger.done(trial(number), float(number))
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_that_was_recorded(path: Path) -> None:
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert writer.stdout is not None
        with writer.stdout as lines:
            heard = [int(next(lines)) for _ in range(20)]
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            heard += [int(line) for line in lines if line.endswith("\n")]
        with SqliteLedger(path) as ledger:
            numbers = [t.number for t in ledger.trials()]
            assert numbers == list(range(len(numbers)))
            assert set(heard) <= set(numbers)
            assert len(ledger.unfinished()) <= 1
            # The next one goes on where this one was killed.
            for asked in ledger.unfinished():
                ledger.done(trial(asked.number), 1.0)


def test_every_event_is_flushed_to_the_disk(path: Path) -> None:
    # FULL (2): NORMAL loses the last commits in a power cut.
    with SqliteLedger(path) as ledger:
        assert ledger._rows("PRAGMA synchronous") == [(2,)]
        assert ledger._rows("PRAGMA journal_mode") == [("wal",)]


def test_a_full_disk_is_one_line_and_loses_nothing(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        ledger.asked(ask(0))
        ledger.done(trial(0), 1.0)
        pages = ledger._rows("PRAGMA page_count")[0][0]
        ledger._rows(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(LedgerError) as error:
            ask_for(ledger, range(1, 200))
        assert one_line(error, path) == "the disk is full; all that was recorded before is kept"
        asked = ledger.next_number()
        ledger._rows("PRAGMA max_page_count = 1000000")
        ledger.asked(ask(asked))
    with SqliteLedger(path) as ledger:
        assert ledger.trials() == [trial(0)]
        assert [a.number for a in ledger.unfinished()] == list(range(1, asked + 1))


def test_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    fill(path, 1)
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(LedgerError) as error:
            SqliteLedger(path, read_only=read_only)
        assert one_line(error, path).startswith("was written by a newer version (schema 2")
    assert path.read_bytes() == before
    assert not is_being_written(path)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("garbage", [b"this is no database at all" * 100, b"short"])
def test_a_file_of_something_else_is_one_line(path: Path, garbage: bytes, read_only: bool) -> None:
    path.write_bytes(garbage)
    with pytest.raises(LedgerError) as error:
        SqliteLedger(path, read_only=read_only)
    assert one_line(error, path).startswith("is damaged or no ledger")
    assert path.read_bytes() == garbage


def test_a_database_of_something_else_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE runs (x)")
    db.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(LedgerError) as error:
            SqliteLedger(path, read_only=read_only)
        assert one_line(error, path) == "is no ledger of a search"
    assert path.read_bytes() == before


def test_a_damaged_file_is_one_line(path: Path) -> None:
    fill(path, 40)
    content = bytearray(path.read_bytes())
    content[4096 : len(content) - 4096] = b"\x55" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(LedgerError) as error:
        SqliteLedger(path)
    assert "is damaged" in one_line(error, path)
    with SqliteLedger(path, read_only=True) as reader:
        with pytest.raises(LedgerError) as error:
            reader.trials()
        assert "is damaged" in one_line(error, path)


def test_a_missing_file_is_one_line_and_not_made(path: Path) -> None:
    with pytest.raises(LedgerError) as error:
        SqliteLedger(path, read_only=True)
    assert one_line(error, path) == "is not there"
    assert not path.exists()


def test_a_writer_makes_a_file_only_where_that_is_wanted(path: Path) -> None:
    with pytest.raises(LedgerError) as error:
        SqliteLedger(path, create=False)
    assert one_line(error, path) == "is not there"
    assert not path.exists()
    path.touch()
    with pytest.raises(LedgerError) as error:
        SqliteLedger(path, create=False)
    assert one_line(error, path).startswith("is empty")
    SqliteLedger(path).close()
    with SqliteLedger(path, create=False) as ledger:
        assert ledger.next_number() == 0


@pytest.mark.parametrize("payload", ["{", "[]", "{}", '{"number": 0}', "3"])
def test_a_record_that_cannot_be_read_is_one_line(path: Path, payload: str) -> None:
    with SqliteLedger(path) as ledger:
        ask_for(ledger, (0, 1))
        ledger.done(trial(0), 1.0)
        ledger.set_meta("identity", {})
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE events SET payload = ?", (payload,))
        db.execute("UPDATE meta SET value = '{'")
    with SqliteLedger(path, read_only=True) as ledger:
        looks: list[Callable[[], object]] = [ledger.trials, ledger.told, ledger.unfinished]
        for look in (*looks, lambda: ledger.data_hash):
            with pytest.raises(LedgerError) as error:
                look()
            assert one_line(error, path).startswith("is damaged: a record cannot be read")


def test_the_data_that_was_searched_on_is_noted(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        assert ledger.data_hash == ""
        ledger.set_meta("identity", {"data": "abc"})
        assert ledger.data_hash == "abc"


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "ledger.sqlite"
    with pytest.raises(LedgerError) as error:
        SqliteLedger(path)
    assert one_line(error, path) == "cannot be written: No such file or directory"


def test_a_copy_of_a_growing_ledger_can_be_read(path: Path, tmp_path: Path) -> None:
    with SqliteLedger(path) as ledger:
        for number in range(5):
            ledger.asked(ask(number))
            ledger.done(trial(number), 1.0)
        copy = tmp_path / "copy"
        shutil.copytree(path.parent, copy, ignore=shutil.ignore_patterns("copy"))
    with SqliteLedger(copy / path.name, read_only=True) as reader:
        assert len(reader.trials()) == 5


def test_a_folder_that_cannot_be_written_can_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path, 2)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with SqliteLedger(path, read_only=True) as reader:
        assert len(reader.trials()) == 2
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


def test_an_event_costs_little(path: Path) -> None:
    fill(path, 1)
    begin = time.process_time()
    with SqliteLedger(path) as ledger:
        for number in range(1, 101):
            ledger.asked(ask(number))
            ledger.done(trial(number), 1.0)
    assert (time.process_time() - begin) / 100 < 0.005


def test_it_is_read_without_torch_pandas_and_mlflow() -> None:
    script = textwrap.dedent(
        """
        import sys
        import experiments.ledger, experiments.runs, experiments.executors.local
        heavy = {"torch", "pandas", "mlflow", "optuna", "deap", "onnxruntime", "scipy", "sklearn"}
        print(sorted(heavy & set(sys.modules)))
        """
    )
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert output.stdout == "[]\n", output.stderr
