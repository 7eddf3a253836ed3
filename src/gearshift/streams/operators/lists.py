"""`batch` and `window`: items in lists, by their number or by time; no list is ever empty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gearshift.streams.operators.base import Plain, Timers
from gearshift.streams.operators.checks import check_seconds, check_size

if TYPE_CHECKING:
    from gearshift.streams.batch import Batch

__all__ = ["BatchItems", "Window"]


class BatchItems(Plain):
    """Give lists of at most `size` items, each at the latest `seconds` after its first item."""

    __slots__ = ("_open", "_seconds", "_size", "_timers")

    def __init__(self, size: int | None = None, seconds: float | None = None) -> None:
        """Begin with no list; each key has its own.

        Args:
            size: A list of so many items is given at once; None means any number.
            seconds: A list is given so long after its first item, however many it has;
                None means that it waits for more. At the end the rest is given.

        Raises:
            TypeError: `size` is not a whole number, or `seconds` not a number.
            ValueError: One of them is not above 0, or neither is given.
        """
        if size is None and seconds is None:
            raise ValueError("size=None and seconds=None: give one of them, or both")
        if size is not None:
            check_size("size", size)
        if seconds is not None:
            check_seconds("seconds", seconds)
        self._size: float = math.inf if size is None else size
        self._seconds = seconds
        self._open: dict[Any, list[Any]] = {}
        self._timers = Timers()  # one whose list was full is not dropped, but moved or idle

    @property
    def due(self) -> float:
        """When the first list may have waited for long enough."""
        return self._timers.due

    def feed(self, batch: Batch, out: Batch) -> None:
        """Add to the lists, and give those that are full."""
        size, seconds, lists, timers = self._size, self._seconds, self._open, self._timers
        for item, key, time in zip(batch.items, batch.each_key(), batch.each_time(), strict=False):
            if timers.due < time:
                self._give(time, out, with_ties=False)
            items = lists.get(key)
            if items is None:
                items = lists[key] = []
                if seconds is not None and size > 1:
                    timers.set(key, time + seconds)
            items.append(item)
            if len(items) >= size:
                del lists[key]
                out.append(items, key, time)

    def _give(self, until: float, out: Batch, *, with_ties: bool) -> None:
        for at, key in self._timers.pop(until, with_ties=with_ties):
            items = self._open.pop(key, None)
            if items is not None:
                out.append(items, key, at)

    def tick(self, now: float, out: Batch) -> None:
        """Give the lists that have waited for long enough."""
        self._give(now, out, with_ties=True)

    def end(self, now: float, out: Batch) -> None:
        """Give the rest, in the order of their first items."""
        for key, items in self._open.items():
            out.append(items, key, now)
        self._open.clear()

    def owes(self, key: Any, now: float) -> bool:
        """Say whether a list waits for its time."""
        return self._seconds is not None and key in self._open

    def forget(self, key: Any, now: float, out: Batch) -> None:
        """Give the rest of that key."""
        items = self._open.pop(key, None)
        if items is not None:
            out.append(items, key, now)


class Window(Plain):
    """Give the items of each stretch of time as a list, when it is over.

    The stretches lie side by side, from `k * seconds` up to but without `(k + 1) * seconds`:
    since the stream's clock began, or in event time since 0, so that windows of 60 s begin
    with the minutes. All keys have the same ones, each with a list of its own.
    """

    __slots__ = ("_lists", "_over", "_seconds")

    def __init__(self, seconds: float) -> None:
        """Begin with no item.

        Args:
            seconds: How long each stretch is.

        Raises:
            TypeError: `seconds` is not a number.
            ValueError: `seconds` is not above 0.
        """
        check_seconds("seconds", seconds)
        self._seconds = seconds
        self._lists: dict[Any, list[Any]] = {}
        self._over = math.inf  # when the window of the lists ends

    @property
    def due(self) -> float:
        """When the window is over, if it has items."""
        return self._over

    def feed(self, batch: Batch, out: Batch) -> None:
        """Add to the window; an item of the moment it ends is the next one's."""
        lists = self._lists
        for item, key, time in zip(batch.items, batch.each_key(), batch.each_time(), strict=False):
            if time >= self._over:
                self.end(self._over, out)
            if key not in lists:
                lists[key] = []
                self._over = self._end_of(time)
            lists[key].append(item)

    def _end_of(self, time: float) -> float:
        over = (time // self._seconds + 1) * self._seconds
        return over if over > time else over + self._seconds  # the product was rounded down

    def tick(self, now: float, out: Batch) -> None:
        """Give the window that is over."""
        if self._over <= now:
            self.end(self._over, out)

    def end(self, now: float, out: Batch) -> None:
        """Give the window as far as it got, in the order of each key's first item."""
        for key, items in self._lists.items():
            out.append(items, key, now)
        self._lists.clear()
        self._over = math.inf

    def owes(self, key: Any, now: float) -> bool:
        """Say whether a window has items of that key."""
        return key in self._lists
