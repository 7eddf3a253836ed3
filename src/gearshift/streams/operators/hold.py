"""`hold_for`: a condition that was true for a while without a break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gearshift.streams.operators.base import Plain, Timers
from gearshift.streams.operators.checks import check_function, check_seconds
from gearshift.streams.operators.scan import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift.streams.batch import Batch

__all__ = ["HoldFor"]

_GIVEN: Any = object()  # stands for the item of a stretch that was given already


class HoldFor(Plain):
    """Give the latest item once the predicate was true for `seconds` without a break.

    Once per stretch, and when the time is up, not when the next item comes. A stretch
    ends with an item for which the predicate is false. Each key has its own.
    """

    __slots__ = ("_predicate", "_seconds", "_stretches", "_timers")

    def __init__(self, seconds: float, predicate: Callable[[Any], object]) -> None:
        """Begin outside of a stretch.

        Args:
            seconds: How long the predicate must have been true. A stretch that the end
                of the stream cuts short gives nothing.
            predicate: Says of an item whether the condition is met.

        Raises:
            TypeError: `seconds` is not a number, or `predicate` is not callable.
            ValueError: `seconds` is not above 0.
        """
        check_seconds("seconds", seconds)
        check_function("predicate", predicate)
        self._seconds = seconds
        self._predicate = predicate
        self._stretches: dict[Any, Any] = {}  # the latest item of each
        self._timers = Timers()  # that of a broken stretch stays, and is moved by the next one

    @property
    def due(self) -> float:
        """When the first stretch may have been long enough."""
        return self._timers.due

    def feed(self, batch: Batch, out: Batch) -> None:
        """Begin, continue and break stretches."""
        predicate, stretches, timers = self._predicate, self._stretches, self._timers
        for item, key, time in zip(batch.items, batch.each_key(), batch.each_time(), strict=False):
            if timers.due < time:
                self._give(time, out, with_ties=False)
            if predicate(item):
                latest = stretches.get(key, MISSING)
                if latest is _GIVEN:
                    continue
                if latest is MISSING:
                    timers.set(key, time + self._seconds)
                stretches[key] = item
            elif key in stretches:
                del stretches[key]

    def _give(self, until: float, out: Batch, *, with_ties: bool) -> None:
        stretches = self._stretches
        for at, key in self._timers.pop(until, with_ties=with_ties):
            if key in stretches:
                out.append(stretches[key], key, at)
                stretches[key] = _GIVEN

    def tick(self, now: float, out: Batch) -> None:
        """Give the items of the stretches that are long enough."""
        self._give(now, out, with_ties=True)

    def owes(self, key: Any, now: float) -> bool:
        """Say whether a stretch goes on that is not long enough yet."""
        return self._stretches.get(key, _GIVEN) is not _GIVEN

    def forget(self, key: Any, now: float, out: Batch) -> None:
        """Let the next item of that key begin a new stretch."""
        self._stretches.pop(key, None)
