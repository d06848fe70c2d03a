"""What every executor must do; a new one is tested by one line in `MAKERS`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from experiments.executors.local import LocalExecutor
from nas.protocols import Executor, Job, JobDone
from tests.support import jobs

Make = Callable[..., Executor]

MAKERS: dict[str, Make] = {"local": LocalExecutor}
"""Called with workers, devices and memory_gb."""


def wait_all(executor: Executor, count: int, timeout_s: float = 30.0) -> dict[int, JobDone]:
    done: dict[int, JobDone] = {}
    end = time.monotonic() + timeout_s
    while len(done) < count and time.monotonic() < end:
        done.update({job.job_id: job for job in executor.wait(1.0)})
    assert len(done) == count, f"{len(done)} of {count} jobs ended: {done}"
    return done


def run_one(executor: Executor, call: Callable[[], Any], **needs: Any) -> JobDone:
    job_id = executor.submit(Job(call, **needs))
    return wait_all(executor, 1)[job_id]


def metrics(done: JobDone) -> dict[str, float]:
    assert done.value is not None, done.error
    return dict(done.value.readings)


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[Executor] = []

    def maker(**options: Any) -> Executor:
        made.append(MAKERS[request.param](**options))
        return made[-1]

    yield maker
    for executor in made:
        executor.close()


@pytest.fixture
def executor(make: Make) -> Executor:
    return make(workers=1, devices=("host-cpu",))


class TestExecutorContract:
    def test_the_value_comes_back_with_its_provenance_and_artifact(
        self, executor: Executor
    ) -> None:
        done = run_one(executor, partial(jobs.value, 1.5))
        assert (done.value, done.error) == (jobs.value(1.5), "")
        assert done.value is not None
        assert done.value.readings.provenance == jobs.value(1.5).readings.provenance

    def test_ids_differ_and_seconds_are_those_of_the_job(self, executor: Executor) -> None:
        ids = [executor.submit(Job(partial(jobs.span, 0.2))) for _ in range(2)]
        done = wait_all(executor, 2)
        assert set(done) == set(ids)
        assert all(0.2 <= done[job_id].seconds < 2.0 for job_id in ids)

    def test_jobs_run_in_the_order_of_submission(self, executor: Executor) -> None:
        ids = [executor.submit(Job(partial(jobs.span, 0.01))) for _ in range(4)]
        done = wait_all(executor, 4)
        starts = [metrics(done[job_id])["start"] for job_id in ids]
        assert starts == sorted(starts)

    @pytest.mark.parametrize(
        ("call", "error"),
        [
            (jobs.candidate_error, "diverged: the loss is nan after 3 epochs"),
            (jobs.type_error, "TypeError: no such layer (jobs.py:"),
            (jobs.kill_itself, "worker died: killed by signal 9"),
            (jobs.exit_in_the_middle, "worker died: exit status 3"),
            (jobs.system_exit, "SystemExit: 4"),
            (jobs.unpicklable_result, "its result, of type lock, cannot be sent back"),
        ],
    )
    def test_what_goes_wrong_costs_its_job_only(
        self, executor: Executor, call: Callable[[], Any], error: str
    ) -> None:
        done = run_one(executor, call)
        assert done.value is None
        assert done.error.startswith(error)
        assert "\n" not in done.error
        assert metrics(run_one(executor, partial(jobs.value, 2.0))) == {"latency_ms.cpu": 2.0}

    @pytest.mark.parametrize("needs", ["", "host-cpu"])
    def test_a_job_that_hangs_is_ended_at_its_limit(self, executor: Executor, needs: str) -> None:
        begin = time.monotonic()
        done = run_one(executor, jobs.hang, needs=needs, limit_s=0.5)
        assert done.error == "exceeded its limit of 0.5 s"
        assert 0.5 <= done.seconds < 2.0
        assert time.monotonic() - begin < 15
        assert metrics(run_one(executor, partial(jobs.value, 2.0), needs=needs))

    def test_imports_do_not_count_against_the_limit(self, executor: Executor) -> None:
        from tests.support import slow_import

        done = run_one(executor, slow_import.quick, limit_s=0.9)
        assert metrics(done) == {"value": 1.0}

    @pytest.mark.parametrize("needs", ["", "host-cpu"])
    def test_a_job_out_of_memory_is_ended_with_a_plain_word(self, make: Make, needs: str) -> None:
        executor = make(workers=1, devices=("host-cpu",), memory_gb=0.5)
        done = run_one(executor, partial(jobs.allocate, 2.0), needs=needs)
        assert done.error == "out of memory (limit 0.5 GB)"
        assert metrics(run_one(executor, partial(jobs.allocate, 0.1), needs=needs))

    def test_a_job_that_cannot_be_sent_is_over_at_once(self, executor: Executor) -> None:
        lock = threading.Lock()
        done = run_one(executor, lambda: lock)
        assert done.error.startswith("the job cannot be sent to a worker: ")

    def test_waiting_ends_at_the_time_out(self, executor: Executor) -> None:
        job_id = executor.submit(Job(partial(jobs.span, 1.5)))
        begin = time.monotonic()
        assert executor.wait(0.2) == []
        assert 0.2 <= time.monotonic() - begin < 1.4
        assert job_id in wait_all(executor, 1)

    def test_waiting_for_nothing_returns_at_once(self, executor: Executor) -> None:
        begin = time.monotonic()
        assert executor.wait(30.0) == []
        assert time.monotonic() - begin < 1.0

    def test_training_jobs_run_at_the_same_time(self, make: Make, tmp_path: Any) -> None:
        executor = make(workers=2, devices=())
        assert executor.slots() == 2
        for mine, other in (("a", "b"), ("b", "a")):
            executor.submit(Job(partial(jobs.meet, str(tmp_path), mine, other), limit_s=20))
        assert [done.error for done in wait_all(executor, 2).values()] == ["", ""]

    def test_a_device_is_used_alone_and_by_a_process_that_trains_nothing(self, make: Make) -> None:
        executor = make(workers=2, devices=("host-cpu", "other"))
        training = [executor.submit(Job(partial(jobs.span, 0.1))) for _ in range(3)]
        measuring = [executor.submit(Job(partial(jobs.span, 0.1), "host-cpu")) for _ in range(3)]
        other = executor.submit(Job(partial(jobs.span, 0.1), "other"))
        done = {job_id: metrics(job) for job_id, job in wait_all(executor, 7).items()}
        spans = sorted((done[i]["start"], done[i]["end"]) for i in measuring)
        assert all(one[1] <= next_one[0] for one, next_one in zip(spans, spans[1:], strict=False))
        pids = [{done[i]["pid"] for i in ids} for ids in (training, measuring, [other])]
        assert len(pids[1]) == 1
        assert not pids[0] & pids[1]
        assert not pids[2] & (pids[0] | pids[1])

    def test_a_full_training_queue_does_not_hold_up_a_device(self, executor: Executor) -> None:
        executor.submit(Job(jobs.hang))
        executor.submit(Job(jobs.hang))
        job_id = executor.submit(Job(partial(jobs.value, 1.0), "host-cpu"))
        assert job_id in wait_all(executor, 1)

    def test_an_unknown_device_is_refused_with_the_known_ones(self, executor: Executor) -> None:
        with pytest.raises(ValueError, match=r"unknown device 'host-cpy'.*known: host-cpu"):
            executor.submit(Job(partial(jobs.value, 1.0), "host-cpy"))

    def test_closing_ends_running_jobs_within_two_seconds(self, make: Make) -> None:
        executor = make(workers=2, devices=("host-cpu",))
        for needs in ("", "", "host-cpu"):
            executor.submit(Job(jobs.hang, needs))
        executor.wait(0.5)
        begin = time.monotonic()
        executor.close()
        executor.close()
        assert time.monotonic() - begin < 2.0
        with pytest.raises(RuntimeError, match="closed"):
            executor.submit(Job(jobs.hang))
