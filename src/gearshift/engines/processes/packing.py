"""Items and outcomes as bytes and buffers, for workers of ours.

    pack_items --Packed--> unpack_together, unpack_each        (to a worker)
    pack_outcomes --Packed--> unpack_outcomes                  (from it)

What is of built-in types and NumPy's alone goes together, the rest one by one: what users'
`__reduce__` and `__setstate__` do, SystemExit included, is charged to its item. Large
buffers (pickle protocol 5, PEP 574) travel apart; see `slots`.
"""

from __future__ import annotations

import pickle
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from gearshift._work.faults import PackedFault, caused, pack_fault, transport_error, unpack_fault
from gearshift._work.faults import words as words_of
from gearshift._work.pickling import dumps_apart, dumps_plain
from gearshift._work.run_chunk import Task
from gearshift._work.shared import noting
from gearshift.errors import TransportError
from gearshift.facts import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gearshift._work.shared import Shared
    from gearshift.facts import Chunk, Settled

__all__ = [
    "Packed",
    "Rebuild",
    "pack_items",
    "pack_outcomes",
    "rebuilding",
    "unpack_each",
    "unpack_outcomes",
    "unpack_task",
    "unpack_together",
]


@dataclass(slots=True)
class Packed:
    """Values as bytes.

    Attributes:
        data: The pickles, one after another.
        sizes: Bytes of each, -1 for one that could not be made; None where one has all values.
        buffers: What the pickles need besides, in order.
        counts: How many of them each pickle needs; empty where none does, or one has all values.
        shared: Handles that the pickles refer to, by key.
    """

    data: bytes
    sizes: tuple[int, ...] | None = None
    buffers: list[pickle.PickleBuffer] = field(default_factory=list)
    counts: tuple[int, ...] = ()
    shared: Mapping[str, Shared[Any]] = field(default_factory=dict)


def pack_items(
    chunk: Chunk, share: Callable[[Shared[Any]], object]
) -> tuple[list[tuple[int, Sequence[Any], Packed]], dict[int, Fault]]:
    """Pickle a chunk.

    Args:
        chunk: The items.
        share: Told of each handle of a shared value; what it raises is the item's fault.

    Returns:
        First index, items and what they are packed to, for ranges of consecutive items that
        can be sent; and a fault, by index, for each item that cannot.
    """
    buffers: list[pickle.PickleBuffer] = []
    whole = dumps_plain(chunk.items, buffers)
    if whole is not None:
        return [(chunk.first, chunk.items, Packed(whole, None, buffers))], {}
    ranges: list[tuple[int, Sequence[Any], Packed]] = []
    faults: dict[int, Fault] = {}
    begun = 0

    def close_range(stop: int) -> None:
        if stop > begun:
            items = chunk.items[begun:stop]
            ranges.append((chunk.first + begun, items, maker.packed()))

    maker = _Maker(share)
    for place, item in enumerate(chunk.items):
        try:
            maker.add(item)
        except BaseException as exception:
            index = chunk.first + place
            faults[index] = Fault(transport_error(f"item {index}", item, exception))
            close_range(place)
            maker, begun = _Maker(share), place + 1
    close_range(len(chunk.items))
    return ranges, faults


def pack_outcomes(
    settled: Settled, stamp: Callable[[int], object]
) -> tuple[Packed, tuple[tuple[int, PackedFault], ...]]:
    """Pickle outcomes in a worker.

    Args:
        settled: The outcomes.
        stamp: Told the index of each value that is pickled by itself, before it is.

    Returns:
        The values, and the faults by index.
    """
    faults = {index: pack_fault(fault) for index, fault in settled.failed.items()}
    buffers: list[pickle.PickleBuffer] = []
    whole = dumps_plain(settled.values, buffers)
    if whole is not None:
        return Packed(whole, None, buffers), tuple(faults.items())
    maker = _Maker()
    for index, value in enumerate(settled.values, settled.first):
        stamp(index)
        try:
            maker.add(value)
        except BaseException as exception:
            maker.skip()
            what = f"the result of item {index}"
            faults[index] = pack_fault(Fault(transport_error(what, value, exception)))
    return maker.packed(), tuple(faults.items())


class _Maker:
    """Puts values together, each in a pickle of its own."""

    def __init__(self, share: Callable[[Shared[Any]], object] | None = None) -> None:
        self._share = share
        self._shared: dict[str, Shared[Any]] = {}
        self._pieces: list[bytes] = []
        self._sizes: list[int] = []
        self._buffers: list[pickle.PickleBuffer] = []
        self._counts: list[int] = []

    def add(self, value: Any) -> None:
        """Add one.

        Raises:
            BaseException: It cannot be pickled; the rest is as it was.
        """
        count = len(self._buffers)
        try:
            data = self._dumps(value)
        except BaseException:
            del self._buffers[count:]
            raise
        self._pieces.append(data)
        self._sizes.append(len(data))
        self._counts.append(len(self._buffers) - count)

    def _dumps(self, value: Any) -> bytes:
        if self._share is None:
            return dumps_apart(value, self._buffers)
        with noting() as found:
            data = dumps_apart(value, self._buffers)
        for handle in found:
            self._share(handle)
            self._shared[handle.key] = handle
        return data

    def skip(self) -> None:
        """Have no value in one's place."""
        self._sizes.append(-1)
        self._counts.append(0)

    def packed(self) -> Packed:
        """Return all of them."""
        counts = tuple(self._counts) if self._buffers else ()
        data = b"".join(self._pieces)
        return Packed(data, tuple(self._sizes), self._buffers, counts, self._shared)


def unpack_each(
    data: bytes,
    first: int,
    sizes: Sequence[int],
    buffers: list[memoryview],
    counts: Sequence[int],
) -> list[Rebuild]:
    """Return what rebuilds each of some values.

    Takes the buffers out of their list: their memory is to be used again.
    """
    view = memoryview(data)
    buffers.reverse()
    at = 0
    rebuilds = []
    for place, size in enumerate(sizes):
        piece = view[at : at + size] if size >= 0 else None
        at += max(size, 0)
        needed = [buffers.pop() for _ in range(counts[place])] if counts else []
        rebuilds.append(Rebuild(first + place, piece, needed))
    return rebuilds


def unpack_together(data: bytes, buffers: list[memoryview]) -> Sequence[Any]:
    """Return values that are in one pickle; takes the buffers out of their list."""
    values: Sequence[Any]
    if not buffers:
        values = pickle.loads(data)
    else:
        needed = buffers.copy()
        buffers.clear()
        values = pickle.loads(data, buffers=needed)
    return values


class Rebuild:
    """Rebuilds one value, once."""

    __slots__ = ("_buffers", "_piece", "index")

    def __init__(self, index: int, piece: memoryview | None, buffers: list[memoryview]) -> None:
        """Keep what it is to be made of, or None where there is no value."""
        self.index: int = index
        self._piece = piece
        self._buffers = buffers

    def __call__(self) -> Any:
        """Return the value.

        Raises:
            BaseException: What it is made of raises.
        """
        if self._piece is None:
            return None
        buffers, self._buffers = self._buffers, []
        return pickle.loads(self._piece, buffers=buffers)


def rebuilding(task: Task) -> Task:
    """Return a task whose items are `Rebuild`s: what cannot be rebuilt is its own item's fault."""
    rebuilt = copy(task)
    rebuilt.call = partial(_call_rebuilt, task.call)
    return rebuilt


def _call_rebuilt(call: Callable[[Any], Any], rebuild: Rebuild) -> Any:
    return call(_item(rebuild))


def _item(rebuild: Rebuild) -> Any:
    """Rebuild an item.

    Raises:
        TransportError: It cannot be.
    """
    try:
        return rebuild()
    except BaseException as exception:
        raise TransportError(
            f"item {rebuild.index} cannot be rebuilt in a worker process: {words_of(exception)}"
        ) from exception


def unpack_outcomes(
    first: int,
    data: bytes,
    sizes: Sequence[int] | None,
    buffers: list[memoryview],
    counts: Sequence[int],
    faults: bytes,
) -> tuple[Sequence[Any], dict[int, Fault]]:
    """Rebuild outcomes in the parent; a value that cannot be rebuilt is its item's fault.

    Args:
        first: Index of the first.
        data: The values' pickles.
        sizes: Bytes of each, or None where one has all of them; see `Packed`.
        buffers: What they need besides.
        counts: How many of these each needs.
        faults: By index, pickled; nothing where there are none.

    Returns:
        The values, and the faults by index.
    """
    failed: dict[int, Fault] = {}
    if faults:
        failed = {index: unpack_fault(fault) for index, fault in pickle.loads(faults)}
    if sizes is None:
        return unpack_together(data, buffers), failed
    values: list[Any] = []
    for rebuild in unpack_each(data, first, sizes, buffers, counts):
        try:
            values.append(rebuild())
        except BaseException as exception:
            index = rebuild.index
            words = f"the result of item {index} cannot be rebuilt here: {words_of(exception)}"
            failed[index] = Fault(caused(TransportError(words), exception))
            values.append(None)
    return values, failed


def unpack_task(data: bytes) -> Task:
    """Rebuild a function in a worker.

    Raises:
        TransportError: It cannot be.
    """
    try:
        function, star, seed = pickle.loads(data)
    except BaseException as exception:
        raise TransportError(
            f"the function cannot be rebuilt in a worker process: {words_of(exception)}. "
            "What it imports must be importable there"
        ) from exception
    return Task(function, star=star, seed=seed)
