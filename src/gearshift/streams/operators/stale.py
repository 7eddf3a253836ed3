"""`stale`: tell of a key that nothing comes from any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gearshift.streams.operators.base import Plain, Timers
from gearshift.streams.operators.checks import check_seconds
from gearshift.streams.operators.columns import appends

if TYPE_CHECKING:
    from gearshift.streams.batch import Batch

__all__ = ["Stale", "StaleAfter"]


@dataclass(frozen=True, slots=True)
class Stale:
    """Nothing came for a while.

    Attributes:
        key: The key from which nothing came; None without `keyed`.
        last: The last item that came.
        seconds: How long ago that was.
    """

    key: Any
    last: Any
    seconds: float


class StaleAfter(Plain):
    """Give every item, and a `Stale` once `seconds` passed without another, for each key on its own."""

    __slots__ = ("_last", "_seconds", "_timers")

    def __init__(self, seconds: float) -> None:
        """Begin with no item: before its first a key is not stale.

        Args:
            seconds: How long nothing may come.

        Raises:
            TypeError: `seconds` is not a number.
            ValueError: `seconds` is not above 0.
        """
        check_seconds("seconds", seconds)
        self._seconds = seconds
        self._last: dict[Any, Any] = {}  # of the keys that are not stale
        self._timers = Timers()

    @property
    def due(self) -> float:
        """When the first key may be stale."""
        return self._timers.due

    def feed(self, batch: Batch, out: Batch) -> None:
        """Give the items, and begin to wait for the next ones."""
        seconds, last, timers = self._seconds, self._last, self._timers
        moments = timers.at
        add, add_key, add_time = appends(out)
        for item, key, time in zip(batch.items, batch.each_key(), batch.each_time(), strict=False):
            if timers.due < time:
                self._give(time, out, with_ties=False)
            last[key] = item
            if key in moments:
                moments[key] = time + seconds  # half the cost of `set`
            else:
                timers.set(key, time + seconds)
            add(item)
            add_key(key)
            add_time(time)

    def _give(self, until: float, out: Batch, *, with_ties: bool) -> None:
        for at, key in self._timers.pop(until, with_ties=with_ties):
            out.append(Stale(key, self._last.pop(key), self._seconds), key, at)

    def tick(self, now: float, out: Batch) -> None:
        """Tell of the keys that are stale now."""
        self._give(now, out, with_ties=True)

    def owes(self, key: Any, now: float) -> bool:
        """Say whether that key may still become stale."""
        return key in self._last
