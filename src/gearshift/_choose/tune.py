"""Keep chunks at a length that hides their hand-off and still spreads the work.

Pure: it is told what was observed and answers with a length.
"""

from __future__ import annotations

__all__ = ["ChunkTuner"]

GROWTH = 8  # a length at most this many times the last: the next items may be unlike the last ones
TAIL_CHUNKS = (
    2  # per worker that are left at the end, so that all of them end at about the same time
)
SPREAD_CHUNKS = 16  # per worker over the whole rest (CHOOSING: target = R w / (16 p))


class ChunkTuner:
    """The length of the next chunk, from the seconds an item took so far."""

    def __init__(
        self,
        *,
        workers: int,
        shortest_seconds: float,
        longest_seconds: float,
        most_items: int,
        fixed: int | None = None,
    ) -> None:
        """Begin with chunks of one item.

        Args:
            workers: Workers that share the rest.
            shortest_seconds: A chunk is worth at least this much work.
            longest_seconds: A chunk is at most this much work.
            most_items: Items in a chunk at most.
            fixed: The length that the user asked for: it is always the answer.
        """
        self.workers = workers
        self._shortest_seconds = shortest_seconds
        self._longest_seconds = longest_seconds
        self._most_items = most_items
        self._fixed = fixed
        self._item_seconds = 0.0
        self._longest_observed = 0

    def observe(self, items: int, busy_seconds: float) -> None:
        """Learn from items that settled together; recent ones count as much as all before."""
        if items <= 0:
            return
        seconds = busy_seconds / items
        self._item_seconds = (
            seconds if self._longest_observed == 0 else (self._item_seconds + seconds) / 2
        )
        self._longest_observed = max(self._longest_observed, items)

    def length(self, remaining: int | None) -> int:
        """Return how many items the next chunk should hold, at least 1.

        Args:
            remaining: Items not handed out yet, or None where nobody knows.
        """
        if self._fixed is not None:
            return self._fixed
        if self._longest_observed == 0:
            return 1
        target = self._longest_seconds
        if remaining is not None:
            whole = remaining * self._item_seconds
            target = min(
                max(whole / (SPREAD_CHUNKS * self.workers), self._shortest_seconds), target
            )
        wanted = int(target / max(self._item_seconds, 1e-9))
        if remaining is not None and self.workers > 1:
            wanted = min(wanted, remaining // (TAIL_CHUNKS * self.workers))
        return max(1, min(wanted, self._most_items, self._longest_observed * GROWTH))
