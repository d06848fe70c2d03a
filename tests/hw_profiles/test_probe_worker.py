"""The measurements of the probe, with clocks made up."""

import json
from collections.abc import Callable

import pytest

from hw_profiles import probe_worker


def steps(*seconds: float) -> Callable[[], float]:
    """A clock whose intervals are the given ones, the last one for ever; runs between them."""
    now, reads = 0.0, 0

    def clock() -> float:
        nonlocal now, reads
        if reads % 2:
            now += seconds[min(reads // 2, len(seconds) - 1)]
        reads += 1
        return now

    return clock


class TestBestRate:
    def test_the_fastest_run_counts(self) -> None:
        rate = probe_worker.best_rate(lambda: None, 10.0, steps(4.0, 2.0, 5.0, 8.0), 18.0)
        assert rate == 10.0 / 2.0

    def test_it_is_warmed_up_and_runs_three_times_at_least(self) -> None:
        runs: list[int] = []
        probe_worker.best_rate(lambda: runs.append(1), 1.0, steps(100.0), 0.1)
        assert len(runs) == 1 + 3

    def test_it_goes_on_until_the_time_is_spent(self) -> None:
        runs: list[int] = []
        probe_worker.best_rate(lambda: runs.append(1), 1.0, steps(0.5), 5.0)
        assert len(runs) == 1 + 10

    def test_runs_shorter_than_the_grain_of_the_clock_do_not_count(self) -> None:
        assert probe_worker.best_rate(lambda: None, 6.0, steps(0.0, 3.0, 0.0, 4.0), 7.0) == 2.0

    def test_a_clock_that_stands_still_is_refused(self) -> None:
        with pytest.raises(ValueError, match="the clock did not advance in 100000 runs"):
            probe_worker.best_rate(lambda: None, 1.0, lambda: 1.0, 0.1)


class TestFigures:
    def test_a_product_of_the_largest_matrices_counts_when_all_take_as_long(self) -> None:
        rate = probe_worker.float32_ops_s(steps(1.0), 3.0)
        assert rate == 2.0 * 384**3

    def test_a_copy_reads_and_writes(self) -> None:
        array_bytes = 1 << 22  # one pass
        assert probe_worker.copied_bytes_s(array_bytes, steps(0.5), 1.5) == 2 * array_bytes / 0.5

    def test_small_arrays_are_copied_often_in_a_run(self) -> None:
        assert probe_worker.copied_bytes_s(1 << 18, steps(1.0), 3.0) == 2 * (1 << 22)

    def test_all_three_are_measured(self) -> None:
        found = probe_worker.measure(0.03, 1 << 20, steps(1e-3))
        assert found == {
            "float32_ops_s": pytest.approx(2.0 * 384**3 / 1e-3),
            "memory_bytes_s": pytest.approx(2 * (1 << 27) / 1e-3),
            "cache_bytes_s": pytest.approx(2 * (1 << 22) / 1e-3),
        }


def test_the_command_writes_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    probe_worker.main(["0.03", "1048576"])
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"float32_ops_s", "memory_bytes_s", "cache_bytes_s"}
    assert all(value > 1e8 for value in found.values())
