"""The operator protocol: what stands between two stages and does not call for an engine.

Pure: no thread, no clock, no I/O; whoever calls says what time it is.

    feed(batch, out)     items came
    tick(now, out)       the time that `due` named has come, and no item with it
    end(now, out)        the stream is complete: give what was held back
    forget(key, ...)     the key has left: the same for it alone, and forget it

Time never goes backward. At a tie an item comes before a timer: what is due at 5 waits
for the items of 5 and is then given by `tick`, or by `feed` with a later item. In event
time an item may be late; the pipeline has then moved it to the time that was reached
already, so that the times of a batch never go backward.

An operator appends to `out` as it goes, never at the end: when the user's function
raises in the middle of a batch, what came before it must reach the consumer.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gearshift.streams.batch import Batch

__all__ = ["Operator", "Plain", "Timers"]


class Operator(Protocol):
    """One operator in one run of a stream; it keeps what it must know of each key."""

    @property
    def due(self) -> float:
        """When `tick` has something to do, or infinity."""
        ...

    def feed(self, batch: Batch, out: Batch) -> None:
        """Take the next items; whatever is due before one of them is given out in front of it.

        Args:
            batch: The items; read only.
            out: Where what goes on is appended, in the order of time.
        """
        ...

    def tick(self, now: float, out: Batch) -> None:
        """Give out what is due at `now` or earlier."""
        ...

    def end(self, now: float, out: Batch) -> None:
        """Give out what was held back; nothing comes after it."""
        ...

    def owes(self, key: Any, now: float) -> bool:
        """Say whether time alone, without another item, still has to do with this key."""
        ...

    def forget(self, key: Any, now: float, out: Batch) -> None:
        """Give out what was held back for a key that left, and forget it: it owes nothing."""
        ...


class Plain:
    """An operator without timers, and with nothing held back; the others say what they have."""

    __slots__ = ()

    @property
    def due(self) -> float:
        """Never."""
        return math.inf

    def tick(self, now: float, out: Batch) -> None:
        """Give nothing."""

    def end(self, now: float, out: Batch) -> None:
        """Give nothing."""

    def owes(self, key: Any, now: float) -> bool:
        """Owe nothing."""
        return False

    def forget(self, key: Any, now: float, out: Batch) -> None:
        """Have nothing to forget."""


class Timers:
    """When each key is due, the earliest first: a heap in which what was moved is found stale later.

    Moving a timer costs a dictionary entry; the heap has about one entry a key, as long as
    timers are moved and not dropped and set again.

    Attributes:
        at: When each key is due. Who moves a timer to a later moment may write it here.
        due: Not later than the earliest.
    """

    __slots__ = ("_count", "_heap", "at", "due")

    def __init__(self) -> None:
        """Begin with none."""
        self.at: dict[Any, float] = {}
        self._heap: list[tuple[float, int, Any]] = []  # never later than the key's own time
        self._count = 0  # keys of one time leave in the order in which they were set
        self.due: float = math.inf

    def set(self, key: Any, at: float) -> None:
        """Set the one timer of a key, or move it."""
        before = self.at.get(key)
        self.at[key] = at
        if before is None or at < before:
            self._count += 1
            heapq.heappush(self._heap, (at, self._count, key))
            self.due = min(self.due, at)

    def cancel(self, key: Any) -> None:
        """Drop the timer of a key, if it has one."""
        self.at.pop(key, None)

    def pop(self, until: float, *, with_ties: bool) -> Iterator[tuple[float, Any]]:
        """Yield `(at, key)` of what is due, in the order of time, and drop its timer.

        Whoever iterates may set timers meanwhile; those that are due are yielded too.

        Args:
            until: What is due before it.
            with_ties: What is due at that very moment as well.
        """
        heap, at_of = self._heap, self.at
        while heap:
            at, _, key = heap[0]
            actual = at_of.get(key)
            if actual != at:
                if actual is not None and actual > at:  # it was moved
                    self._count += 1
                    heapq.heapreplace(heap, (actual, self._count, key))
                else:
                    heapq.heappop(heap)
                continue
            if at > until or (at == until and not with_ties):
                break
            heapq.heappop(heap)
            del at_of[key]
            yield at, key
        self.due = heap[0][0] if heap else math.inf
