"""A timer as a live source: 0, 1, 2, ... at equal distances by the stream's clock.

Apart from the operators with time since it needs no items to work. It has no thread
and no timer: the run looks at `due`, waits as long, and takes.

Invariant: tick n is due at start + first + n * seconds, computed anew each time, so
that no error adds up; a run that was late takes nothing from the ticks after.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gearshift.streams.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearshift.engines.base import Wakeup
    from gearshift.streams.sources.base import Clock, LiveSource

__all__ = ["every"]

WHEN_LATE = ("all", "skip")


def every(
    seconds: float,
    *,
    first: float | None = None,
    count: int | None = None,
    when_late: Literal["all", "skip"] = "all",
) -> LiveSource:
    """Return a source of 0, 1, 2, ..., one each `seconds`.

    Each item has its own due time, by the clock of the stream, however late it is taken.

    Args:
        seconds: From one to the next, above 0.
        first: Seconds from the start of the run to the first, 0.0 for at once; None for `seconds`.
        count: End after so many; None for never.
        when_late: What becomes of several that are due at once, since the run was busy:
            "all" gives all; "skip" gives the latest and counts the others as dropped.

    Returns:
        A recipe: each run that reads it starts at 0.

    Raises:
        ValueError: `seconds` is not above 0, `first` or `count` is below 0, or an unknown `when_late`.
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"every({seconds!r}): the distance must be above 0 and finite.")
    if first is not None and not 0 <= first < math.inf:
        raise ValueError(f"first={first!r}: 0 or more seconds after the start, or None.")
    if count is not None and count < 0:
        raise ValueError(f"count={count!r}: 0 or more ticks, or None for no end.")
    if when_late not in WHEN_LATE:
        raise ValueError(f"when_late={when_late!r}: choose one of {', '.join(WHEN_LATE)}.")
    first = seconds if first is None else first
    end = math.inf if count is None else count
    return _Every(seconds, first, end, skips=when_late == "skip")


@dataclass(frozen=True, slots=True)
class _Every:
    seconds: float
    first: float
    end: float
    skips: bool

    def open(self, wakeup: Wakeup, clock: Clock) -> _EveryFeed:
        """Start the time of one run now."""
        return _EveryFeed(self, clock.now() + self.first)


class _EveryFeed:
    __slots__ = ("_every", "_is_closed", "_next", "_start", "dropped")

    dropped: int

    def __init__(self, every: _Every, start: float) -> None:
        self._every = every
        self._start = start  # when tick 0 is due
        self._next = 0
        self._is_closed = False
        self.dropped = 0

    @property
    def due(self) -> float:
        return math.inf if self.is_over else self._due_of(self._next)

    @property
    def is_over(self) -> bool:
        return self._is_closed or self._next >= self._every.end

    def take(self, count: int, now: float) -> Batch | None:
        if count < 1 or self.is_over or self.due > now:
            return None
        if self._every.skips:
            latest = self._latest(now)
            self.dropped += latest - self._next
            self._next = latest
        first = self._next
        end = min(first + count, self._every.end)
        while self._next < end and self._due_of(self._next) <= now:
            self._next += 1
        ticks = range(first, self._next)
        return Batch(list(ticks), None, [self._due_of(tick) for tick in ticks], now=now)

    def filenos(self) -> Sequence[int]:
        return ()

    def close(self) -> None:
        self._is_closed = True

    def _due_of(self, tick: int) -> float:
        return self._start + tick * self._every.seconds

    def _latest(self, now: float) -> int:
        """Return the last tick that is due, the next one if not a later one."""
        # The division may be off by one where it rounds; `_due_of` is what was promised.
        tick = max(int((now - self._start) / self._every.seconds), self._next)
        while self._due_of(tick) > now:
            tick -= 1
        while self._due_of(tick + 1) <= now:
            tick += 1
        return int(min(tick, self._every.end - 1))
