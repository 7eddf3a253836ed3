"""Sums over what threads did while auto looked: the test with two, and a stretch of many.

Apart from `auto`, which decides when they begin and what follows from them. Used in the consumer's thread.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from gearshift.plans import Pair, Stretch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearshift.facts import Settled

__all__ = ["LONE_CHUNKS", "PairSums", "StretchSums"]

LONE_CHUNKS = 2
PAIR_THREADS = 2
PAIR_BEGIN_SECONDS = 0.002  # until both are at it
PAIR_LOOK_SECONDS = 0.008  # in which two that share the GIL show it
GIL_CORES = 1.1  # kept busy by two threads that share one GIL, at most
AWAY_SHARE = 0.2  # of the test


class PairSums:
    """The test with two threads.

    The cores that they keep busy are read from their clocks, which are exact at any moment (the clock of
    the process is not: it learns of running threads every few milliseconds). Items are counted by
    chunk, but for the first of each, which it may have run alone: at the beginning one thread is in the
    middle of a chunk, on average, which counts in full later; at the end one is, which does not count.
    """

    def __init__(self, alone_seconds: float = 0.0, now: float = 0.0) -> None:
        """Begin now, knowing what an item took before."""
        self.alone_seconds: float = alone_seconds  # an item took, before
        self.began: float = now
        self.items: int = 0
        self.chunks: int = 0
        self.busy_seconds: float = 0.0
        self._counted_from = self._last = now
        self._cpu_began: float | None = None
        self._read_from = now
        self._is_judged = False
        self.cores: float = 2.0

    def observe(self, settled: Settled, now: float) -> None:
        """Add a chunk."""
        self.chunks += 1
        self._last = now
        if self.chunks <= LONE_CHUNKS:
            self._counted_from = now
            return
        self.items += len(settled.values)
        self.busy_seconds += settled.busy_seconds

    @property
    def look_at(self) -> float:
        """When the clocks are to be read at the latest."""
        if self._cpu_began is None:
            return self.began + PAIR_BEGIN_SECONDS
        return math.inf if self._is_judged else self._read_from + PAIR_LOOK_SECONDS

    def read(self, clocks: Sequence[int], now: float) -> None:
        """Note how many cores they keep busy, from when both are at it on."""
        if len(clocks) < PAIR_THREADS:
            return
        cpu = sum(map(time.clock_gettime, clocks))
        if self._cpu_began is None:
            if self.chunks >= LONE_CHUNKS or now >= self.began + PAIR_BEGIN_SECONDS:
                self._cpu_began, self._read_from = cpu, now
        elif now > self._read_from:
            self.cores = (cpu - self._cpu_began) / (now - self._read_from)

    def holds_gil(self, now: float) -> bool:
        """Whether they have shown that they share one core; asked once, since later they may lack work."""
        if self._is_judged or self._cpu_began is None or now < self._read_from + PAIR_LOOK_SECONDS:
            return False
        self._is_judged = True
        return self.cores < GIL_CORES

    def seen(self, now: float, away_seconds: float) -> Pair:
        """Return what came of it, with the time in which the caller's thread was elsewhere."""
        seconds = self._last - self._counted_from if self.items else now - self.began
        is_starved = away_seconds > AWAY_SHARE * (now - self.began)
        cores = self.cores
        if is_starved:  # while they had work, as far as that can be told
            cores *= max(now - self.began, 1e-9) / max(
                self.busy_seconds / 2, seconds - away_seconds, 1e-9
            )
        return Pair(
            items=self.items, seconds=max(seconds, 1e-9), cores=cores, is_starved=is_starved
        )


class StretchSums:
    """What many threads did, from when on."""

    def __init__(self, began: float, wanted_seconds: float) -> None:
        """Begin; it is to be looked at after so many seconds."""
        self.wanted_seconds: float = wanted_seconds
        self._began = began
        self._last = began
        self._items = 0
        self._busy_seconds = 0.0
        self._cpu_seconds = 0.0

    def observe(self, settled: Settled, now: float) -> None:
        """Add a chunk."""
        self._items += len(settled.values)
        self._busy_seconds += settled.busy_seconds
        self._cpu_seconds += settled.cpu_seconds
        self._last = now

    @property
    def is_due(self) -> bool:
        """Whether it is to be looked at."""
        return self._items > 0 and self._last - self._began >= self.wanted_seconds

    @property
    def sums(self) -> tuple[int, float, float]:
        """Items, their wall time and CPU time."""
        return self._items, self._busy_seconds, self._cpu_seconds

    def seen(self, now: float, threads: int) -> Stretch:
        """Return what they did up to now."""
        return Stretch(
            threads=threads,
            items=self._items,
            seconds=max(now - self._began, 1e-9),
            cpu_seconds=self._cpu_seconds,
        )
