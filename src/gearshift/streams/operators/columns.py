"""Fill the columns of a batch fast: what the loops of the operators share.

`Batch.append` asks for each item which columns there are; a loop over a batch asks once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift.streams.batch import Batch

__all__ = ["appends", "copy_columns"]

_drop: Callable[[Any], None] = deque[Any](maxlen=0).append  # four times as fast as a function


def appends(
    out: Batch,
) -> tuple[Callable[[Any], None], Callable[[Any], None], Callable[[float], None]]:
    """Return what adds an item, its key and its time, each to be called once an item."""
    return (
        out.items.append,
        _drop if out.keys is None else out.keys.append,
        _drop if out.times is None else out.times.append,
    )


def copy_columns(batch: Batch, out: Batch, count: int) -> None:
    """Add the keys and the times of the first `count` items, whose values were added already."""
    if out.keys is not None and batch.keys is not None:
        out.keys.extend(batch.keys[:count])
    if out.times is not None and batch.times is not None:
        out.times.extend(batch.times[:count])
