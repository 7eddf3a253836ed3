"""A batch: what travels through a stream at once, in columns.

Apart from the operators because sources and stages make and take batches too. The
columns have one length; `keys` and `times` are there only under `keyed` and in event
time, since most streams need neither.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Batch"]


class Batch:
    """Items with the key and the time of each, in the order of the stream.

    Attributes:
        items: The items.
        keys: The key of each under `keyed`, else None.
        times: When each happened, in seconds, in event time; else None: all happen now.
        now: The time that the stream has reached: the clock's, or in event time the
            latest that was seen in front of this operator, items that it did not get included.
    """

    __slots__ = ("items", "keys", "now", "times")

    def __init__(
        self,
        items: list[Any],
        keys: list[Any] | None = None,
        times: list[float] | None = None,
        *,
        now: float,
    ) -> None:
        """Hold the columns; none is copied."""
        self.items: list[Any] = items
        self.keys: list[Any] | None = keys
        self.times: list[float] | None = times
        self.now: float = now

    def each_key(self) -> Iterable[Any]:
        """Return the key of each item; without `keyed` it is None for all."""
        return repeat(None) if self.keys is None else self.keys

    def each_time(self) -> Iterable[float]:
        """Return when each item happened."""
        return repeat(self.now) if self.times is None else self.times

    def part(self, start: int, stop: int) -> Batch:
        """Return some of the items; in event time the batch has reached the time of the last of them."""
        times = None if self.times is None else self.times[start:stop]
        is_last = stop >= len(self.items)
        return Batch(
            self.items[start:stop],
            None if self.keys is None else self.keys[start:stop],
            times,
            now=times[-1] if times and not is_last else self.now,
        )

    def append(self, item: Any, key: Any, time: float) -> None:
        """Add an item; of its key and its time, what there is a column for."""
        self.items.append(item)
        if self.keys is not None:
            self.keys.append(key)
        if self.times is not None:
            self.times.append(time)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.items)
