from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

import experiments.executors
from experiments.executors.local import ExecutorError, LocalExecutor
from experiments.executors.worker import describe, one_line
from nas.protocols import Job
from tests.contracts.test_executors import metrics, run_one, wait_all
from tests.support import jobs

ROOT = Path(__file__).parents[3]


def wait_for(path: Path) -> str:
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)
    return path.read_text()


def is_gone(pid: int, within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_it_is_found_by_its_name() -> None:
    assert isinstance(experiments.executors.create("local", workers=1), LocalExecutor)
    with pytest.raises(ValueError, match="unknown executor 'locl'; did you mean 'local'"):
        experiments.executors.create("locl")
    with pytest.raises(ValueError, match="executor 'local': .*'worker'"):
        experiments.executors.create("local", worker=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be at least 1, but got 0"),
        ({"memory_gb": 0}, "memory_gb must be above 0, but got 0"),
        ({"measuring_cores": 0}, "measuring_cores must be at least 1, but got 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LocalExecutor(**options)  # type: ignore[arg-type]


def test_no_process_is_started_before_there_is_work() -> None:
    before = psutil.Process().children()
    with LocalExecutor(workers=2):
        assert psutil.Process().children() == before


def test_no_process_is_left_after_closing() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with LocalExecutor(workers=2) as executor:
        for needs in ("", "", "host-cpu"):
            executor.submit(Job(jobs.hang, needs))
        executor.wait(0.3)
        during = {child.pid for child in psutil.Process().children(recursive=True)} - before
        assert len(during) == 3
    assert not {child.pid for child in psutil.Process().children(recursive=True)} & during


def test_children_have_one_thread_and_the_parent_is_left_as_found() -> None:
    before = dict(os.environ)
    with LocalExecutor() as executor:
        about = metrics(run_one(executor, jobs.about_process))
    assert [about[f"{name}_threads"] for name in ("omp", "openblas", "mkl")] == [1, 1, 1]
    assert about["torch"] == 0
    assert dict(os.environ) == before


def test_a_process_is_kept_from_job_to_job() -> None:
    with LocalExecutor() as executor:
        pids = {metrics(run_one(executor, jobs.about_process))["pid"] for _ in range(3)}
    assert len(pids) == 1


@pytest.mark.parametrize("noticed", [True, False])
def test_a_process_that_dies_between_jobs_is_replaced_at_no_cost(noticed: bool) -> None:
    with LocalExecutor() as executor:
        pid = int(metrics(run_one(executor, jobs.about_process))["pid"])
        if noticed:
            os.kill(pid, signal.SIGKILL)
            assert is_gone(pid)
        else:  # it looks alive when it is given the job
            os.kill(pid, signal.SIGSTOP)
            executor.submit(Job(jobs.about_process))
            os.kill(pid, signal.SIGKILL)
        job_id = executor.submit(Job(jobs.about_process))
        done = wait_all(executor, 1 if noticed else 2)
        assert metrics(done[job_id])["pid"] != pid


def test_a_job_whose_imports_kill_its_worker_is_not_tried_for_ever() -> None:
    with LocalExecutor() as executor:
        run_one(executor, partial(jobs.value, 1.0))
        done = run_one(executor, jobs.DiesWhenUnpickled())
        assert done.error.startswith("worker died: killed by signal 9")
        assert not run_one(executor, partial(jobs.value, 1.0)).error


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_measuring_has_a_core_to_itself_where_there_is_one_to_spare() -> None:
    with LocalExecutor(workers=1) as executor:
        training = metrics(run_one(executor, jobs.cores))
        measuring = metrics(run_one(executor, jobs.cores, needs="host-cpu"))
    assert len(measuring) == 1
    assert not set(training) & set(measuring)
    with LocalExecutor(workers=len(os.sched_getaffinity(0))) as executor:
        crowded = metrics(run_one(executor, jobs.cores, needs="host-cpu"))
    assert len(crowded) == len(os.sched_getaffinity(0))


def test_ctrl_c_is_left_to_the_parent() -> None:
    with LocalExecutor() as executor:
        pid = int(metrics(run_one(executor, jobs.about_process))["pid"])
        job_id = executor.submit(Job(partial(jobs.span, 0.3)))
        executor.wait(0.1)
        os.kill(pid, signal.SIGINT)
        assert metrics(wait_all(executor, 1)[job_id])["pid"] == pid


def test_output_goes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "workers.log"
    with LocalExecutor(log=log) as executor:
        run_one(executor, partial(jobs.say, "an epoch is over"))
        run_one(executor, jobs.type_error)
    assert "an epoch is over" in log.read_text()
    assert "Traceback" in log.read_text()
    assert capfd.readouterr() == ("", "")


def test_preloading_happens_in_training_workers_only() -> None:
    with LocalExecutor(preload=["tests.support.slow_import"]) as executor:
        begin = time.monotonic()
        assert not run_one(executor, partial(jobs.value, 1.0), limit_s=0.9).error
        assert time.monotonic() - begin > 1.2
        begin = time.monotonic()
        assert not run_one(executor, partial(jobs.value, 1.0), needs="host-cpu").error
        assert time.monotonic() - begin < 1.2


def test_workers_that_cannot_start_end_the_search_with_one_line() -> None:
    with LocalExecutor(preload=["no_such_module"]) as executor:
        executor.submit(Job(jobs.hang))
        with pytest.raises(ExecutorError, match="cannot start: ModuleNotFoundError: "):
            executor.wait(20)


def test_a_script_without_main_guard_in_another_folder_works(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text(
        "from nas.protocols import StageResult\nfrom nas.trials import Readings\n"
        "def job():\n    return StageResult(Readings({'x': 7.0}))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import neighbour
            from experiments.executors.local import LocalExecutor
            from nas.protocols import Job
            print("main runs")
            with LocalExecutor() as executor:
                executor.submit(Job(neighbour.job))
                print(executor.wait(20)[0].value.readings["x"])
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    output = subprocess.run(
        [sys.executable, script], cwd="/", env=environment, capture_output=True, text=True
    )
    assert (output.stdout, output.stderr) == ("main runs\n7.0\n", "")


@pytest.mark.parametrize("in_thread", [False, True])
def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path, in_thread: bool) -> None:
    said = [tmp_path / "training", tmp_path / "measuring"]
    script = textwrap.dedent(
        f"""
        import threading
        from functools import partial
        from experiments.executors.local import LocalExecutor
        from nas.protocols import Job
        from tests.support import jobs
        def search():
            executor = LocalExecutor()
            executor.submit(Job(partial(jobs.hang_after_writing, {str(said[0])!r})))
            executor.submit(Job(partial(jobs.hang_after_writing, {str(said[1])!r}), "host-cpu"))
            executor.wait(60)
        if {in_thread}:
            threading.Thread(target=search).start()
        else:
            search()
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    try:
        pids = [int(wait_for(path)) for path in said]
        assert all(psutil.pid_exists(pid) for pid in pids)
    finally:
        parent.kill()
        parent.wait()
    assert all(is_gone(pid) for pid in pids)


def test_a_search_in_a_thread_that_ends_keeps_its_workers(tmp_path: Path) -> None:
    # The kernel's parent-death signal is sent when the *thread* that made a child ends.
    script = textwrap.dedent(
        """
        import threading
        from functools import partial
        from experiments.executors.local import LocalExecutor
        from nas.protocols import Job
        from tests.support import jobs
        executor = LocalExecutor()
        submit = partial(executor.submit, Job(partial(jobs.span, 0.5)))
        thread = threading.Thread(target=submit)
        thread.start()
        thread.join()
        print(repr(executor.wait(20)[0].error))
        executor.close()
        """
    )
    output = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert (output.stdout, output.stderr) == ("''\n", "")


def test_errors_are_one_line_of_bounded_length() -> None:
    assert one_line(ValueError("a\n  b")) == "a b"
    assert len(one_line(ValueError("x" * 10_000))) < 600
    assert describe(KeyError()) == "KeyError"
    with pytest.raises(TypeError) as caught:
        jobs.type_error()
    assert describe(caught.value).startswith("TypeError: no such layer (jobs.py:")
