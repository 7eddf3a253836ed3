"""How much may start now, and how much may be inside: rates, buffers, memory.

Pure: whoever calls says what time it is, and how much memory is used.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift.facts import Rate

__all__ = ["Buffer", "MemoryGate", "RateGate"]

AUTOMATIC_ITEMS = 4096  # inside at most: lets others go on behind a slow item, and is little memory
AUTOMATIC_BYTES = 64 * 2**20
MEMORY_SHARE = 0.8  # of what there is, that may be in use before less is started
LOOK_SECONDS = 0.1  # between two looks at the memory


class RateGate:
    """At most `count` starts in any window of `per` seconds: a log of the last `count` starts.

    Exact, unlike evenly spaced starts (which lose what a late wake-up misses) and a
    token bucket (which lets twice the rate through in an unlucky window).
    """

    def __init__(self, rate: Rate) -> None:
        """Begin with no start."""
        self._count = rate.count
        self._per = rate.per
        self._starts: deque[float] = deque()

    def opens_at(self, now: float) -> float:
        """Return when the next start is allowed, `now` or later."""
        if len(self._starts) < self._count:
            return now
        return max(now, self._starts[0] + self._per)

    def start(self, now: float) -> None:
        """Note a start."""
        if len(self._starts) == self._count:
            self._starts.popleft()
        self._starts.append(now)


class Buffer:
    """How many more items may come in between source and consumer."""

    def __init__(self, items: int | None) -> None:
        """Bound the items inside.

        Args:
            items: The user's bound, or None for an automatic one in items and bytes.
        """
        self._items = items
        self._bytes_each = 0.0

    def observe(self, size_bytes: int) -> None:
        """Learn the size of an item or its value; the larger of the two kinds counts."""
        self._bytes_each = max(float(size_bytes), self._bytes_each * 0.9)

    def items_of(self, size_bytes: int) -> int:
        """Return how many items are about so large, at least 1."""
        return max(1, int(size_bytes / max(self._bytes_each, 1.0)))

    def space(self, inside: int, capacity: int, workers: int = 1) -> int:
        """Return how many items may be admitted.

        Args:
            inside: Items admitted and not emitted.
            capacity: Items that the lane can hold; the automatic bound lets it fill.
            workers: However large the items are, each worker has one.
        """
        if self._items is not None:
            return self._items - inside
        items = max(AUTOMATIC_ITEMS, 2 * capacity)
        if self._bytes_each * items > AUTOMATIC_BYTES:
            items = max(workers, min(items, int(AUTOMATIC_BYTES / self._bytes_each)))
        return items - inside


class MemoryGate:
    """Starts one task at a time while more memory is used than should be.

    Memory that others use already does not count as ours: where much is in use at the beginning, half
    of what is free then may be used.
    """

    def __init__(self, limit: float | None, read: Callable[[], tuple[int, int] | None]) -> None:
        """Begin open.

        Args:
            limit: A share of what there is, to 1, or bytes; None for 0.8.
            read: Returns bytes in use and bytes that there are, or None where nobody tells.
        """
        self._limit = limit
        self._read = read
        self._allowed: float | None = None
        self._look_at = 0.0
        self._is_above = False
        self.held = False  # at any time

    def is_open(self, now: float, outstanding: int) -> bool:
        """Whether another chunk may be sent; the first always may, or nothing would ever end.

        Args:
            now: Monotonic seconds.
            outstanding: Items that are with the engine.
        """
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look()
        if not self._is_above or outstanding == 0:
            return True
        self.held = True
        return False

    @property
    def look_at(self) -> float | None:
        """When it may open by itself, or None while it is open."""
        return self._look_at if self._is_above else None

    def _look(self) -> None:
        found = self._read()
        if found is None:
            return
        used, total = found
        if self._allowed is None:
            self._allowed = self._first_allowed(used, total)
        self._is_above = used > self._allowed

    def _first_allowed(self, used: int, total: int) -> float:
        if self._limit is not None:
            return self._limit * total if self._limit <= 1 else self._limit
        return max(MEMORY_SHARE * total, used + (total - used) / 2)
