"""`distinct` and `distinct_until_changed`: items that say something new."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from gearshift.streams.operators.base import Plain
from gearshift.streams.operators.checks import check_function, check_size
from gearshift.streams.operators.columns import appends
from gearshift.streams.operators.scan import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift.streams.batch import Batch

__all__ = ["Distinct", "DistinctUntilChanged"]


class Distinct(Plain):
    """Give each item that was not seen before, for each key on its own."""

    name: str = "distinct"
    __slots__ = ("_by", "_most", "_seen")

    def __init__(self, key: Callable[[Any], Any] | None = None, *, most: int | None = None) -> None:
        """Begin with nothing seen.

        Args:
            key: What of an item counts, and is remembered: something hashable; None
                means the item itself.
            most: How many are remembered at most (for each key under `keyed`): those
                that were seen last. None means all that were ever seen, which an
                endless stream may not have the memory for.

        Raises:
            TypeError: `key` is not callable, or `most` is not a whole number.
            ValueError: `most` is below 1.
        """
        if key is not None:
            check_function("key", key)
        if most is not None:
            check_size("most", most)
        self._by = key
        self._most = most
        self._seen: dict[
            Any, Any
        ] = {}  # of each key: a set, or in the order of when they were seen

    def feed(self, batch: Batch, out: Batch) -> None:
        """Give what is new."""
        if self._most is not None:
            self._feed_bounded(batch, out, self._most)
            return
        by, seen_of = self._by, self._seen
        add, add_key, add_time = appends(out)
        for item, key, time in zip(batch.items, batch.each_key(), batch.each_time(), strict=False):
            value = item if by is None else by(item)
            if key in seen_of:
                seen = seen_of[key]
            else:
                seen = seen_of[key] = set()
            if value not in seen:
                seen.add(value)
                add(item)
                add_key(key)
                add_time(time)

    def _feed_bounded(self, batch: Batch, out: Batch, most: int) -> None:
        """Do the same with a memory that moves what is seen again to its end, and drops its head."""
        by, seen_of = self._by, self._seen
        for item, key, time in zip(batch.items, batch.each_key(), batch.each_time(), strict=False):
            value = item if by is None else by(item)
            seen = seen_of.get(key)
            if seen is None:
                seen = seen_of[key] = OrderedDict()  # a dict's first entry takes long to find
            if value in seen:
                seen.move_to_end(value)
                continue
            seen[value] = None
            if len(seen) > most:
                seen.popitem(last=False)
            out.append(item, key, time)

    def forget(self, key: Any, now: float, out: Batch) -> None:
        """Count all items of that key as new."""
        self._seen.pop(key, None)


class DistinctUntilChanged(Plain):
    """Give each item that is not equal to the one before it, for each key on its own."""

    name: str = "distinct_until_changed"
    __slots__ = ("_by", "_last")

    def __init__(self, key: Callable[[Any], Any] | None = None) -> None:
        """Begin with none before.

        Args:
            key: What of an item is compared, with `==`; None means the item itself.

        Raises:
            TypeError: `key` is not callable.
        """
        if key is not None:
            check_function("key", key)
        self._by = key
        self._last: dict[Any, Any] = {}

    def feed(self, batch: Batch, out: Batch) -> None:
        """Give what changed."""
        by, last_of, get = self._by, self._last, self._last.get
        add, add_key, add_time = appends(out)
        has_times = out.times is not None
        for item, key, time in zip(batch.items, batch.each_key(), batch.each_time(), strict=False):
            value = item if by is None else by(item)
            last = get(key, MISSING)
            if last is not MISSING and last == value:
                continue
            last_of[key] = value
            add(item)
            add_key(key)
            if has_times:
                add_time(time)

    def forget(self, key: Any, now: float, out: Batch) -> None:
        """Let the next item of that key be its first."""
        self._last.pop(key, None)
