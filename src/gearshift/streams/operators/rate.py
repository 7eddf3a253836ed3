"""`debounce` and `throttle`: fewer items than came, by the time between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gearshift.streams.operators.base import Plain, Timers
from gearshift.streams.operators.checks import check_seconds
from gearshift.streams.operators.columns import appends

if TYPE_CHECKING:
    from gearshift.streams.batch import Batch

__all__ = ["Debounce", "Throttle"]


class Debounce(Plain):
    """Give an item when `seconds` passed without another, for each key on its own."""

    __slots__ = ("_pending", "_seconds", "_timers")

    def __init__(self, seconds: float) -> None:
        """Begin with nothing pending.

        Args:
            seconds: How long nothing else may come; the item that is pending at the
                end of the stream is given then.

        Raises:
            TypeError: `seconds` is not a number.
            ValueError: `seconds` is not above 0.
        """
        check_seconds("seconds", seconds)
        self._seconds = seconds
        self._pending: dict[Any, Any] = {}
        self._timers = Timers()

    @property
    def due(self) -> float:
        """When the first item may have waited for long enough."""
        return self._timers.due

    def feed(self, batch: Batch, out: Batch) -> None:
        """Let each item take the place of the one before it."""
        seconds, pending, timers = self._seconds, self._pending, self._timers
        moments = timers.at
        for item, key, time in zip(batch.items, batch.each_key(), batch.each_time(), strict=False):
            if timers.due < time:
                self._give(time, out, with_ties=False)
            pending[key] = item
            if key in moments:
                moments[key] = time + seconds  # half the cost of `set`
            else:
                timers.set(key, time + seconds)

    def _give(self, until: float, out: Batch, *, with_ties: bool) -> None:
        for at, key in self._timers.pop(until, with_ties=with_ties):
            out.append(self._pending.pop(key), key, at)

    def tick(self, now: float, out: Batch) -> None:
        """Give what has waited for long enough."""
        self._give(now, out, with_ties=True)

    def end(self, now: float, out: Batch) -> None:
        """Give what is pending, in the order of its times."""
        for _, key in self._timers.pop(math.inf, with_ties=True):
            out.append(self._pending.pop(key), key, now)

    def owes(self, key: Any, now: float) -> bool:
        """Say whether an item is pending."""
        return key in self._pending


class Throttle(Plain):
    """Give an item, then none for `seconds`, for each key on its own."""

    __slots__ = ("_open_at", "_seconds")

    def __init__(self, seconds: float) -> None:
        """Begin with the first item of each key.

        Args:
            seconds: How long nothing goes through after an item.

        Raises:
            TypeError: `seconds` is not a number.
            ValueError: `seconds` is not above 0.
        """
        check_seconds("seconds", seconds)
        self._seconds = seconds
        self._open_at: dict[Any, float] = {}

    def feed(self, batch: Batch, out: Batch) -> None:
        """Give what comes when the way is open."""
        seconds, open_at = self._seconds, self._open_at
        add, add_key, add_time = appends(out)
        for item, key, time in zip(batch.items, batch.each_key(), batch.each_time(), strict=False):
            if key not in open_at or time >= open_at[key]:
                open_at[key] = time + seconds
                add(item)
                add_key(key)
                add_time(time)

    def owes(self, key: Any, now: float) -> bool:
        """Say whether the way of that key is still shut."""
        return self._open_at.get(key, -math.inf) > now

    def forget(self, key: Any, now: float, out: Batch) -> None:
        """Let the next item of that key be its first."""
        self._open_at.pop(key, None)
