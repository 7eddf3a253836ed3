"""`scan` and `pairwise`: what an item makes with those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gearshift.streams.operators.base import Plain
from gearshift.streams.operators.checks import check_function
from gearshift.streams.operators.columns import appends, copy_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift.streams.batch import Batch

__all__ = ["MISSING", "Pairwise", "Scan"]


class _Missing:
    """Stands where there is no value: None is one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()


class Scan(Plain):
    """Give every accumulated value: `function(value so far, item)`, for each key on its own."""

    name: str = "scan"
    __slots__ = ("_function", "_seed", "_values")

    def __init__(self, function: Callable[[Any, Any], Any], seed: Any = MISSING) -> None:
        """Begin with nothing accumulated.

        Args:
            function: Makes the next value of the one before it and an item.
            seed: The value before the first item. Each key begins with this very
                object, so a function that changes a list in place changes it for all.
                Without it the first item is the first value.

        Raises:
            TypeError: `function` is not callable.
        """
        check_function("function", function, takes="the value so far and the item")
        self._function = function
        self._seed = seed
        self._values: dict[Any, Any] = {}

    def feed(self, batch: Batch, out: Batch) -> None:
        """Give a value for each item."""
        function, seed, values = self._function, self._seed, self._values
        items, before, get = out.items, len(out.items), values.get
        try:
            for item, key in zip(batch.items, batch.each_key(), strict=False):
                value = get(key, seed)
                value = item if value is MISSING else function(value, item)
                values[key] = value
                items.append(value)
        finally:
            copy_columns(batch, out, len(items) - before)

    def forget(self, key: Any, now: float, out: Batch) -> None:
        """Begin that key with the seed again."""
        self._values.pop(key, None)


class Pairwise(Plain):
    """Give `(previous, item)` from the second item on, for each key on its own."""

    name: str = "pairwise"
    __slots__ = ("_previous",)

    def __init__(self) -> None:
        """Begin with no previous item."""
        self._previous: dict[Any, Any] = {}

    def feed(self, batch: Batch, out: Batch) -> None:
        """Give a pair for each item that has one before it."""
        previous = self._previous
        add, add_key, add_time = appends(out)
        for item, key, time in zip(batch.items, batch.each_key(), batch.each_time(), strict=False):
            if key in previous:
                add((previous[key], item))
                add_key(key)
                add_time(time)
            previous[key] = item

    def forget(self, key: Any, now: float, out: Batch) -> None:
        """Let the next item of that key be its first."""
        self._previous.pop(key, None)
