"""How much may start now, and how much may be inside: rates and buffers.

Pure: whoever calls says what time it is.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gearshift.facts import Rate

__all__ = ["Buffer", "RateGate"]

AUTOMATIC_ITEMS = 4096  # inside at most: lets others go on behind a slow item, and is little memory
AUTOMATIC_BYTES = 64 * 2**20


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
