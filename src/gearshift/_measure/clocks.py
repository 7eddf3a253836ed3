"""What a turn in the caller's thread took: CPU, time without a core, other threads' CPU.

CPU time of other threads comes in steps of a few milliseconds, as the system's clock ticks.
CPU over wall calls every busy function "waiting" when other programs compete for the core; the
time that the thread was ready to run but had none is taken out where the system tells it.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Self

from gearshift.host import run_delay_seconds

__all__ = ["TurnClock", "has_other_threads"]

LEAST_SHARE = 0.15  # of the wall time, and
LEAST_SECONDS = 0.008  # two ticks of the system's clock: what anybody uses is told in such steps


class TurnClock:
    """Sums over turns; used as a context manager around each."""

    __slots__ = (
        "_cpu_began",
        "_delay_began",
        "_mine_began",
        "_others_began",
        "_wall_began",
        "cpu_seconds",
        "delay_seconds",
        "mine_seconds",
        "others_seconds",
        "wall_seconds",
    )

    def __init__(self) -> None:
        """Begin at zero."""
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.cpu_seconds = 0.0
        self.wall_seconds = 0.0
        self.delay_seconds = 0.0
        self._others_began: float | None = None
        # Since the first turn, what came between turns included:
        self.others_seconds = 0.0  # CPU time of this process's other threads
        self.mine_seconds = 0.0  # of the caller's

    @property
    def own_share(self) -> float:
        """CPU time of threads that are not Python's, for each second of the caller's: BLAS, OpenMP and the like."""
        least = max(LEAST_SHARE * self.wall_seconds, LEAST_SECONDS)
        if self.others_seconds < least or self.mine_seconds <= 0 or not has_other_threads():
            return 0.0
        return self.others_seconds / self.mine_seconds

    def discount(self, seconds: float) -> None:
        """Leave out CPU time of a thread of ours, which ended after the last turn: it is not the function's."""
        if self._others_began is not None:
            self._others_began += seconds
            self.others_seconds = max(0.0, self.others_seconds - seconds)

    def __enter__(self) -> Self:
        """Begin a turn."""
        self._delay_began = run_delay_seconds()
        self._cpu_began = time.thread_time()
        if self._others_began is None:
            self._others_began = time.process_time() - self._cpu_began
            self._mine_began = self._cpu_began
        self._wall_began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """End a turn."""
        now = time.thread_time()
        self.cpu_seconds += now - self._cpu_began
        self.mine_seconds = now - self._mine_began
        self.wall_seconds += time.perf_counter() - self._wall_began
        # Since the first turn, and not in turns alone: what others used is told when they pause or the
        # system's clock ticks, which may be in between.
        others = time.process_time() - time.thread_time()
        self.others_seconds = max(0.0, others - (self._others_began or 0.0))
        delay = run_delay_seconds() if self._delay_began is not None else None
        if delay is not None and self._delay_began is not None:
            self.delay_seconds += delay - self._delay_began


def has_other_threads() -> bool:
    """Whether this process has threads that are not Python's; where nobody tells, it may."""
    try:
        return len(os.listdir("/proc/self/task")) > threading.active_count()  # noqa: PTH208 - a number
    except OSError:
        return True
