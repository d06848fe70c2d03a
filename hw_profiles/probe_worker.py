"""What one thread of this machine attains, measured with numpy: the process that `probe` starts.

BLAS reads its number of threads once, when numpy is imported, hence a process of its own:
``python -m hw_profiles.probe_worker SECONDS CACHE_BYTES`` prints one line of JSON.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

Clock = Callable[[], float]
_SIZES = (192, 256, 384)
"""Sides of the matrices: their product takes about a millisecond and stays in the cache."""
_MEMORY_BYTES = 1 << 27
_PASS_BYTES = 1 << 22
_PAGE_BYTES = 4096
_LEAST, _MOST = 3, 100_000


def best_rate(work: Callable[[], object], amount: float, clock: Clock, seconds: float) -> float:
    """What is done a second by the fastest of many repetitions.

    The fastest one is the one that nothing else on the machine has disturbed.

    Args:
        work: is run once to warm up, then at least three times and until the time is spent.
        amount: what one run of it does.
        clock: in seconds.
        seconds: that its runs together take.

    Raises:
        ValueError: when the clock never advances.
    """
    work()
    fastest, spent, runs = math.inf, 0.0, 0
    while runs < _LEAST or (spent < seconds and runs < _MOST):
        began = clock()
        work()
        took = clock() - began
        spent, runs = spent + took, runs + 1
        if took > 0:
            fastest = min(fastest, took)
    if math.isinf(fastest):
        raise ValueError(f"the clock did not advance in {runs} runs")
    return amount / fastest


def float32_ops_s(clock: Clock, seconds: float) -> float:
    """Operations a second of a product of float32 matrices; a multiply-accumulate is two."""
    import numpy as np

    rates = []
    for size in _SIZES:
        left = np.full((size, size), 0.5, np.float32)
        work = partial(np.matmul, left, left.copy(), out=np.empty_like(left))
        rates.append(best_rate(work, 2.0 * size**3, clock, seconds / len(_SIZES)))
    return max(rates)


def copied_bytes_s(array_bytes: int, clock: Clock, seconds: float) -> float:
    """Bytes a second, read and written, of copying an array of so many bytes."""
    import numpy as np

    size, page = max(1, array_bytes // 4), _PAGE_BYTES // 4
    # The target begins amid a page when the source begins one: on some CPUs (an EPYC without
    # AVX-512) a copy between arrays that lie alike within their pages takes ten times as long.
    begin = -(-size // page) * page + page // 2
    both = np.ones(begin + size, np.float32)
    source, target = both[:size], both[begin:]
    passes = max(1, _PASS_BYTES // source.nbytes)

    def work() -> None:
        for _ in range(passes):
            np.copyto(target, source)

    return best_rate(work, 2.0 * source.nbytes * passes, clock, seconds)


def measure(seconds: float, cache_bytes: int, clock: Clock = time.thread_time) -> dict[str, float]:
    """The three figures of a `hw_profiles.probe.Probe`.

    Args:
        seconds: for all of them together.
        cache_bytes: of the second-level cache; two arrays of a quarter of it are copied there.
        clock: in seconds; of the calling thread, so that other processes count less.
    """
    each = seconds / 3
    return {
        "float32_ops_s": float32_ops_s(clock, each),
        "memory_bytes_s": copied_bytes_s(_MEMORY_BYTES, clock, each),
        "cache_bytes_s": copied_bytes_s(cache_bytes // 4, clock, each),
    }


def main(arguments: Sequence[str]) -> None:
    """Measure and write the result to standard output."""
    seconds, cache_bytes = arguments
    sys.stdout.write(json.dumps(measure(float(seconds), int(cache_bytes))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
