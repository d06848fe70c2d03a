"""How fast this machine is at this moment: a small fixed network, looked at again and again.

A shared machine has a usual speed, and times in which a neighbour on the other hardware thread
makes everything 1.3 to 1.5 times slower, in CPU time too and each network by another factor. They
last from milliseconds to a minute. So they are told apart and waited for, not corrected. The usual
speed itself drifts by a few percent in minutes, so what was seen long ago does not count.
"""

from __future__ import annotations

import functools
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluators import runtimes
from evaluators.pace_memory import PaceMemory, Standing, memory_of_this_machine
from evaluators.reference_net import reference_model
from evaluators.timing import Call, Clock, SystemClock, level, quantile

_WARMUPS, _CALLS = 3, 5
_SETTLING_LOOKS, _STANDING_LOOKS = 200, 40
_FEWEST_LOOKS = 20
_MEMORY_S = 300.0
_USUAL_SHARE = 0.1
"""Of what was seen in the last minutes; the very fastest would be a matter of luck."""
_SLOWER = 1.22
"""Beside a large network the reference is up to 1.15 times slower than beside a small one, its
caches being cold; on a disturbed machine it is 1.3 times slower."""
_SWEPT_BYTES = 1 << 22


@dataclass
class Pace:
    """The reference network, and how fast it was in the last minutes.

    Args:
        call: of the reference network.
        clock: what tells the time.
        gave_up: the last time that the usual speed was waited for, it was in vain.
        memory: how fast the machine was at other times, in other processes too.
    """

    call: Call
    clock: Clock
    gave_up: bool = False
    memory: PaceMemory = field(default_factory=PaceMemory)
    _levels: deque[tuple[int, float]] = field(default_factory=deque)

    @property
    def usual_ns(self) -> float:
        """CPU time of a call where nothing slows it down, as far as is known."""
        levels = [ns for _, ns in self._levels]
        return quantile(levels, _USUAL_SHARE) if levels else math.inf

    def look(self) -> float:
        """CPU time of a call of the reference network now, in nanoseconds: the best of a few."""
        call, cpu_ns = self.call, self.clock.cpu_ns
        for _ in range(_WARMUPS):
            call()
        times = [cpu_ns()]
        for _ in range(_CALLS):
            call()
            times.append(cpu_ns())
        return min(b - a for a, b in zip(times, times[1:], strict=False))

    def watch(self, looks: int = _SETTLING_LOOKS) -> None:
        """Look for a moment, with other work in between, as when networks are timed."""
        self.learn(self._looks(looks))

    def glance(self) -> float:
        """The reference network's time now, always beside the same other work.

        So it can be compared, whatever is measured meanwhile and in whichever process.
        """
        return level(self._looks(_STANDING_LOOKS))

    def standing(self, glances: Sequence[float], disturbed: bool) -> Standing:
        """How fast the machine was during a measurement, to be remembered.

        Args:
            glances: before and after it; the faster one counts, since only the fast moments of a
                measurement do.
            disturbed: it was brought to the usual speed of this process by a factor.
        """
        now_ns = min(*glances, self.usual_ns) if disturbed else min(glances)
        if not disturbed:
            at_s = time.time() if self.memory.path else self.clock.wall_ns() / 1e9
            self.memory.add(now_ns, at_s)
        return self.memory.standing(now_ns)

    def _looks(self, count: int) -> list[float]:
        other_work, seen = np.zeros(_SWEPT_BYTES // 4, np.float32), []
        for _ in range(count):
            other_work += 1
            seen.append(self.look())
        return seen

    def is_usual(self, level_ns: float) -> bool:
        """Whether these are looks at a machine that is as fast as usual, be it beside a network."""
        return level_ns <= _SLOWER * self.usual_ns

    def rest(self, seconds: float) -> None:
        """Sleep until the machine may be faster again."""
        self.clock.sleep(seconds)

    def learn(self, looks: Sequence[float]) -> None:
        """Take note of what was seen; a few looks alone say nothing."""
        if len(looks) < _FEWEST_LOOKS:
            return
        now_ns = self.clock.wall_ns()
        self._levels.append((now_ns, level(looks)))
        while now_ns - self._levels[0][0] > _MEMORY_S * 1e9:
            self._levels.popleft()


@functools.lru_cache(maxsize=4)
def pace(clock: Clock) -> Pace:
    """The pace of this machine, watched for a moment; once a process."""
    session = runtimes.load(reference_model())
    inputs = np.random.default_rng(0).random((1, *session.input_shape), dtype=np.float32)
    found = Pace(session.bind(inputs), clock)
    if isinstance(clock, SystemClock):
        found.memory = memory_of_this_machine(runtimes.version("onnxruntime"))
    found.watch()
    return found
