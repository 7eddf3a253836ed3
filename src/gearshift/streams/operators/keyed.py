"""`keyed`: which items belong together, and when their key has left.

Apart from the operators that keep something of each key: keys that come and go would
fill the memory of all of them. `ForgetIdle` says which have left, the pipeline tells
the operators behind it. A key leaves when the time for it has come, which depends on
its items only, so the way they were batched does not change what comes out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gearshift.streams.operators.base import Plain
from gearshift.streams.operators.checks import check_function, check_seconds
from gearshift.streams.operators.columns import copy_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gearshift.streams.batch import Batch

__all__ = ["ForgetIdle", "Keyed", "WithKey"]

_LOOKS = 4  # in `seconds`: so a key leaves up to a quarter late, and costs a look four times


class Keyed(Plain):
    """Set the key of each item, in place of an earlier one."""

    name: str = "keyed"
    __slots__ = ("_function",)

    def __init__(self, function: Callable[[Any], Any]) -> None:
        """Hold the function.

        Args:
            function: Returns the key of an item: something hashable.

        Raises:
            TypeError: `function` is not callable.
        """
        check_function("function", function)
        self._function = function

    def feed(self, batch: Batch, out: Batch) -> None:
        """Give the items with their keys.

        Raises:
            RuntimeError: The function raised StopIteration.
            TypeError: A key cannot be hashed.
        """
        if out.keys is None:
            out.keys = []
        before = len(out.keys)
        try:
            out.keys.extend(map(self._function, batch.items))
        finally:
            self._check_first(out.keys, before)
            count = len(out.keys) - before
            out.items.extend(batch.items[:count])
            if out.times is not None and batch.times is not None:
                out.times.extend(batch.times[:count])
        if count < len(batch.items):  # `extend` took a StopIteration for the end of the items
            raise RuntimeError("the function of keyed raised StopIteration")

    @staticmethod
    def _check_first(keys: list[Any], first: int) -> None:
        """Refuse a batch whose first key cannot be hashed: the operator behind could not say what is wrong.

        Raises:
            TypeError: It cannot.
        """
        try:
            hash(keys[first] if first < len(keys) else None)
        except TypeError:
            key = keys[first]
            del keys[first:]
            raise TypeError(
                f"the key {key!r:.100} cannot be hashed: have the function of keyed return "
                "something that can, such as a tuple for a list"
            ) from None


class WithKey(Plain):
    """Give `(key, item)`; without `keyed` the key is None."""

    name: str = "with_key"
    __slots__ = ()

    def feed(self, batch: Batch, out: Batch) -> None:
        """Give the pairs."""
        out.items.extend(zip(batch.each_key(), batch.items, strict=False))
        copy_columns(batch, out, len(batch))


class ForgetIdle(Plain):
    """Give all items, and note which keys had none for `seconds`: the pipeline lets them leave.

    Attributes:
        idle: The keys that the last `tick` found idle.
    """

    name: str = "keyed"
    __slots__ = ("_due", "_seconds", "_seen", "idle")

    def __init__(self, seconds: float) -> None:
        """Begin with no key.

        Args:
            seconds: How long a key must have had no item.

        Raises:
            TypeError: `seconds` is not a number.
            ValueError: `seconds` is not above 0.
        """
        check_seconds("seconds", seconds)
        self._seconds = seconds
        self._seen: dict[Any, float] = {}
        self._due = math.inf
        self.idle: Sequence[Any] = ()

    @property
    def due(self) -> float:
        """When the first key may have been idle for long enough."""
        return self._due

    def leaves(self, time: float) -> float:
        """Return when a key leaves that was seen then for the last time: at a multiple of a quarter."""
        if time == math.inf:
            return math.inf
        step = self._seconds / _LOOKS
        return math.ceil((time + self._seconds) / step) * step

    def feed(self, batch: Batch, out: Batch) -> None:
        """Give the items, and note when each key was seen."""
        if not batch:
            return
        if not self._seen:
            self._due = self.leaves(next(iter(batch.each_time())))
        seen, items, before = self._seen, out.items, len(out.items)
        try:
            for item, key, time in zip(
                batch.items, batch.each_key(), batch.each_time(), strict=False
            ):
                seen[key] = time
                items.append(item)
        finally:  # a key that cannot be hashed ends it
            copy_columns(batch, out, len(items) - before)

    def tick(self, now: float, out: Batch) -> None:
        """Note which keys are idle now."""
        surely_not = now - self._seconds + self._seconds / _LOOKS  # spares most of the sums
        self.idle = [
            key
            for key, seen in self._seen.items()
            if seen < surely_not and self.leaves(seen) <= now
        ]
        self._due = self._next(now)

    def leave(self, keys: Iterable[Any], now: float) -> None:
        """Drop those of the idle keys; the others are looked at again."""
        for key in keys:
            del self._seen[key]
        self.idle = ()
        self._due = self._next(now)

    def _next(self, now: float) -> float:
        if not self._seen:
            return math.inf
        step = self._seconds / _LOOKS
        later = (math.floor(now / step) + 1) * step
        if later <= now:  # rounded down, or a float does not tell a quarter apart
            later = max(later + step, math.nextafter(now, math.inf))
        return max(self.leaves(min(self._seen.values())), later)
