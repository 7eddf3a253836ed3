"""Keep two things right while a run goes on: the length of chunks, and the number of threads.

Pure: it is told what was observed and answers with a number.
"""

from __future__ import annotations

__all__ = ["ChunkTuner", "ThreadTuner"]

GROWTH = 8  # a length at most this many times the last: the next items may be unlike the last ones
TAIL_CHUNKS = (
    2  # per worker that are left at the end, so that all of them end at about the same time
)
SPREAD_CHUNKS = 16  # per worker over the whole rest (CHOOSING: target = R w / (16 p))
MOST_GROWTH = 2  # of threads at a time, but for few:
FEW_THREADS, FEW_GROWTH = 32, 4
RISE = 1.25  # of the rate, for which it goes on doubling
FALL = 0.95  # of the rate, below which it goes back
TRIALS = (
    (1.5, 1.08),
    (0.7, 0.97),
)  # later: so many times the threads, kept for so much of the rate
WINDOWS_BETWEEN_TRIALS = 8
WINDOW_SHARE = 0.5  # of the threads, that have ended an item before anything is concluded
LEAST_WINDOW_ITEMS = 4
WORTH_SECONDS = 0.05  # that more threads must save, beside their start
THREAD_SECONDS = 6e-5  # to start one
REFUSED_SHARE = 0.7  # of the threads that stay when the other side says that it is too much


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
        item_seconds: float | None = None,
    ) -> None:
        """Begin with chunks of one item.

        Args:
            workers: Workers that share the rest.
            shortest_seconds: A chunk is worth at least this much work.
            longest_seconds: A chunk is at most this much work.
            most_items: Items in a chunk at most.
            fixed: The length that the user asked for: it is always the answer.
            item_seconds: What an item takes, where somebody knows already.
        """
        self.workers = workers
        self._shortest_seconds = shortest_seconds
        self._longest_seconds = longest_seconds
        self._most_items = most_items
        self._fixed = fixed
        self._item_seconds = item_seconds or 0.0
        # What it takes elsewhere is believed, but not for the longest chunks.
        self._longest_observed = (
            0 if not item_seconds else max(1, int(shortest_seconds / item_seconds / GROWTH))
        )
        self._is_told = bool(item_seconds)

    def observe(self, items: int, busy_seconds: float) -> None:
        """Learn from items that settled together; recent ones count as much as all before."""
        if items <= 0:
            return
        seconds = busy_seconds / items
        is_first = self._longest_observed == 0 or self._is_told
        self._item_seconds = seconds if is_first else (self._item_seconds + seconds) / 2
        self._is_told = False
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


class ThreadTuner:
    """How many threads to use, from what becomes of the time that an item takes, and of the rate.

    It doubles while that pays (the method that came out best of seven: docs/design.md), holds, and
    tries a few more and a few less now and then. While items take as long as with fewer threads, more
    threads mean more items a second (Little's law), so it need not wait for the rate to show it.
    """

    def __init__(self, count: int, *, most: int) -> None:
        """Begin with so many threads.

        Args:
            count: How many there are.
            most: How many there may be.
        """
        self.count = count
        self._most = most
        self._is_growing = True
        self._ceiling: int | None = None  # the other side took no more
        self._refused = 0  # items, since the last change
        self._before: tuple[int, float] | None = (
            None  # count and rate that the present one is held against
        )
        self._asked = RISE  # times that rate, for which the present count stays
        self._quiet = 0  # windows since the last trial
        self._trial = 0
        self._changed_at = 0.0
        self._items = 0  # that began since then
        self._busy_seconds = 0.0

    def observe(self, items: int, busy_seconds: float, now: float) -> None:
        """Learn that a chunk came back, after so many seconds in the function."""
        if now - busy_seconds < self._changed_at:  # it began with another number of threads
            return
        self._items += items
        self._busy_seconds += busy_seconds

    def refuse(self, items: int) -> None:
        """Learn that the other side says it is too much: fewer threads from now on, and never so many again.

        What was under way before the last change does not count twice.
        """
        self._refused += items
        if self._items + self._refused < self.count and self._ceiling is not None:
            return
        self._ceiling = self._most = max(1, int(self.count * REFUSED_SHARE))
        self._is_growing = False
        self._before = None

    def propose(self, now: float, remaining: int | None) -> int | None:
        """Return another number of threads, or None to go on as it is.

        Args:
            now: Monotonic seconds.
            remaining: Items not handed out yet, or None where nobody knows.
        """
        if self._ceiling is not None and self.count > self._ceiling:
            return self._set(self._ceiling, now)
        least = max(self.count * WINDOW_SHARE, LEAST_WINDOW_ITEMS)
        if self._items < least or self._busy_seconds <= 0:
            return None
        rate = self.count * self._items / self._busy_seconds
        return self._judge(rate, remaining, now)

    def _judge(self, rate: float, remaining: int | None, now: float) -> int | None:
        """Draw the conclusion from a window."""
        before, self._before = self._before, None
        if before is not None and rate < self._asked * before[1]:
            was_growing, self._is_growing = self._is_growing, False
            if rate < FALL * before[1] or not was_growing:
                return self._set(before[0], now)
        if self._is_growing:
            return self._grow(rate, remaining, now)
        self._quiet += 1
        self._begin(now)
        return self._try(rate, now) if self._quiet >= WINDOWS_BETWEEN_TRIALS else None

    def _grow(self, rate: float, remaining: int | None, now: float) -> int | None:
        growth = FEW_GROWTH if self.count <= FEW_THREADS else MOST_GROWTH
        more = min(self.count * growth, self._most)
        if remaining is not None:
            more = min(more, remaining)
            saved = remaining / rate * (1 - self.count / more) if more else 0.0
            if saved < WORTH_SECONDS + THREAD_SECONDS * (more - self.count):
                return None
        if more <= self.count:
            self._is_growing = False
            return None
        self._before = (self.count, rate)
        self._asked = 1 + (RISE - 1) * (more / self.count - 1)
        return self._set(more, now)

    def _try(self, rate: float, now: float) -> int | None:
        times, self._asked = TRIALS[self._trial % len(TRIALS)]
        self._trial += 1
        self._quiet = 0
        count = max(1, min(round(self.count * times), self._most))
        if count == self.count:
            return None
        self._before = (self.count, rate)
        return self._set(count, now)

    def _set(self, count: int, now: float) -> int:
        self.count = count
        self._begin(now)
        return count

    def _begin(self, now: float) -> None:
        """Begin a window."""
        self._changed_at = now
        self._items = self._refused = 0
        self._busy_seconds = 0.0
