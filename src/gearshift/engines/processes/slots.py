"""Large buffers on their way between parent and workers: slots of shared memory, used again.

    Outbox.place --memory--> Inbox.views --> arrays over it
    Outbox.free <--with the next message-- Inbox.freed <-- the last of them is gone

Each writer has ranges of its own in the pool's `Arena`, so nobody has to agree with anybody.
Writing into pages that exist costs a tenth of making new ones (0.26 and 4.6 ms for 8 MB), hence
the use again. The receiver's arrays lie in the slot itself and may be written to; a fork makes
them its own, see `Inbox.retire`. Over 400 lines because what one side places the other finds.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet, finalize, ref

from gearshift.engines.processes.arena import array_at, copy_pages, memory_at, unmap
from gearshift.host import interrupts_postponed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pickle import PickleBuffer

    from gearshift.engines.processes.arena import Arena

__all__ = [
    "KEPT_BYTES",
    "Inbox",
    "Outbox",
    "Placed",
    "ranges_of",
]

KEPT_BYTES = 256 << 20  # of memory that nobody uses, in the hope that somebody will; a pool
_SLOT_BYTES = 1 << 19  # up to which buffers share a slot, which is free when all of them are gone
_RANGE_BYTES = 1 << 38  # for what one process sends to another
_ALIGNED = 64  # a cache line, and the widest vectors
_MOST_MAPS = 4096  # that a receiver keeps of slots that it does not use
_MOST_LIVE = 1 << 14  # slots in use here; Linux allows a process 65,530 mappings (vm.max_map_count)
_INLINE = -1  # instead of an offset: the buffers come with the message


class Placed(NamedTuple):
    """Where buffers are.

    Attributes:
        offset: Of their slot, or -1 where they come with the message.
        size: Of the slot, in bytes.
        spans: Of each buffer: where it begins in the slot or message, and its bytes.
    """

    offset: int
    size: int
    spans: tuple[tuple[int, int], ...]

    @property
    def is_inline(self) -> bool:
        """Whether they come with the message."""
        return self.offset == _INLINE


def ranges_of(worker: int) -> tuple[int, int]:
    """Return the ranges of a worker's items and outcomes; the first is number 1."""
    return 2 * worker, 2 * worker + 1


class _Slot:
    """Some of a writer's range."""

    __slots__ = ("address", "has_memory", "offset", "size")

    def __init__(self, offset: int, size: int) -> None:
        self.offset = offset
        self.size = size
        self.address = 0
        self.has_memory = False


class Outbox:
    """Where one process places buffers for another."""

    def __init__(self, arena: Arena, number: int, *, kept_bytes: int) -> None:
        """Begin without a slot.

        Args:
            arena: The file.
            number: Of the range.
            kept_bytes: Memory of free slots that is kept.
        """
        self._arena = arena
        self._next = number * _RANGE_BYTES
        self._stop = self._next + _RANGE_BYTES
        self._most = kept_bytes
        self._kept = 0
        self._used: dict[int, _Slot] = {}
        self._free: dict[int, list[_Slot]] = {}  # by size; the last was used last
        self._oldest: dict[int, _Slot] = {}  # of those with memory, by offset; the first is

    @property
    def keeps_memory(self) -> bool:
        """Whether there is memory that nobody uses."""
        return self._kept > 0

    def place(
        self, buffers: Sequence[PickleBuffer], inline_at: int
    ) -> tuple[list[Placed], list[memoryview]]:
        """Copy buffers to where the other process finds them.

        Args:
            buffers: What to copy.
            inline_at: Where in the message they begin if there is no memory for them.

        Returns:
            Where they are, in order, and what has to follow in the message.
        """
        raws = [buffer.raw() for buffer in buffers]
        placed: list[Placed] = []
        try:
            for group in _groups(raws):
                spans, size = _spans(group, 0, _ALIGNED)
                slot = self._slot(size)
                self._write(slot, group, spans)
                self._used[slot.offset] = slot
                placed.append(Placed(slot.offset, slot.size, spans))
        except OSError:
            self.free([each.offset for each in placed])
            spans, size = _spans(raws, inline_at, 1)
            return [Placed(_INLINE, size, spans)], raws
        return placed, []

    def free(self, offsets: Sequence[int]) -> None:
        """Take slots back that the other process has done with."""
        for offset in offsets:
            slot = self._used.pop(offset, None)
            if slot is not None:
                self._take_back(slot)

    def trim(self) -> None:
        """Give back the memory that nobody uses."""
        self._keep_at_most(0)

    def drop(self) -> None:
        """Give back all memory: the reader is gone."""
        self.close()
        self._arena.punch(self._stop - _RANGE_BYTES, _RANGE_BYTES)

    def close(self) -> None:
        """Let go of what is mapped here; the reader may still look at what was placed."""
        for slot in [*self._used.values(), *(each for few in self._free.values() for each in few)]:
            unmap(slot.address, slot.size)
        self._used.clear()
        self._free.clear()

    def _slot(self, size: int) -> _Slot:
        """Return a free one that is large enough.

        Raises:
            OSError: There is none, nor room for one.
        """
        size = _size_class(size)
        free = self._free.get(size)
        if free:
            slot = free.pop()
            if self._oldest.pop(slot.offset, None) is not None:
                self._kept -= slot.size
            return slot
        if self._arena.fd < 0 or self._next + size > self._stop:
            raise OSError("there is no room")
        slot = _Slot(self._next, size)
        self._next += size
        return slot

    def _write(
        self, slot: _Slot, raws: Sequence[memoryview], spans: Sequence[tuple[int, int]]
    ) -> None:
        """Copy.

        Raises:
            OSError: There is no memory; the slot is free again.
        """
        try:
            if not slot.has_memory:  # to make pages and fill them in one call saves to clear them
                for raw, (start, _) in zip(raws, spans, strict=True):
                    _write_all(self._arena.fd, raw, slot.offset + start)
                slot.has_memory = True
                return
            if not slot.address:
                slot.address = self._arena.map(slot.offset, slot.size)
        except OSError:
            self._drop_memory(slot)
            self._free.setdefault(slot.size, []).insert(0, slot)
            raise
        memory = memory_at(slot.address, slot.size)
        for raw, (start, count) in zip(raws, spans, strict=True):
            memory[start : start + count] = raw

    def _take_back(self, slot: _Slot) -> None:
        self._free.setdefault(slot.size, []).append(slot)
        self._oldest[slot.offset] = slot
        self._kept += slot.size
        self._keep_at_most(self._most)

    def _keep_at_most(self, count: int) -> None:
        while self._kept > count:
            slot = self._oldest.pop(next(iter(self._oldest)))
            self._kept -= slot.size
            self._drop_memory(slot)

    def _drop_memory(self, slot: _Slot) -> None:
        self._arena.punch(slot.offset, slot.size)
        slot.has_memory = False


class Inbox:
    """Where one process finds what another has placed."""

    def __init__(
        self, arena: Arena, number: int, *, kept_bytes: int = 0, is_private: bool = False
    ) -> None:
        """Begin.

        Args:
            arena: The file.
            number: Of the range.
            kept_bytes: Memory that may wait for its writer to be told that it is free.
            is_private: Others read the same buffers, and must not see what is written here.
        """
        self.freed: deque[int] = deque()  # offsets, for the writer to be told
        self._arena = arena
        self._number = number
        self._most = kept_bytes
        self._is_private = is_private
        self._freed_bytes = 0
        self._live: dict[int, tuple[int, int, ref[Any]]] = {}  # address, size, array, by offset
        self._maps: dict[int, tuple[int, int]] = {}  # of those that are free
        self._is_closed = False
        _INBOXES.add(self)

    def views(self, placed: Sequence[Placed], message: bytes | bytearray) -> list[memoryview]:
        """Return buffers; a slot is free when the last in it is gone, with all that holds it."""
        views: list[memoryview] = []
        left = list(placed)
        try:
            while left:
                memory = self._memory(left[0], message)
                views += [memory[start : start + count] for start, count in left[0].spans]
                del left[0]
        except BaseException:  # MemoryError; the views that there are go, and their slots with them
            self.freed.extend(each.offset for each in left if not each.is_inline)
            raise
        return views

    def _memory(self, placed: Placed, message: bytes | bytearray) -> memoryview:
        if placed.is_inline:
            return memoryview(bytearray(message))
        try:
            return self._mapped(placed.offset, placed.size)
        except OSError:  # there is no room for the mapping (ulimit -v), or there are too many
            data = _read_all(self._arena.fd, placed.offset, placed.size)
            self.freed.append(placed.offset)
            return memoryview(data)

    def _mapped(self, offset: int, size: int) -> memoryview:
        """Return a slot as memory.

        Raises:
            OSError: There is no room for that.
        """
        if sum(len(inbox._live) for inbox in list(_INBOXES)) >= _MOST_LIVE:  # noqa: SLF001
            raise OSError("there are too many mappings")
        with _fork_lock:
            address, _ = self._maps.pop(offset, (0, 0))
            if not address:
                address = self._arena.map(offset, size, is_private=self._is_private)
            # Not the mapping's memoryview itself: others of it would not keep that alive.
            array = array_at(address, size)
            self._live[offset] = address, size, ref(array)
            self._arena.hold(address)
            finalize(array, self._release, offset, address, size).atexit = False
            return memoryview(array).cast("B")

    def take_freed(self) -> tuple[int, ...]:
        """Return what the writer is to be told, once."""
        if not self.freed:
            return ()
        freed = []
        self._freed_bytes = 0
        with suppress(IndexError):
            while True:
                freed.append(self.freed.popleft())
        return tuple(freed)

    def retire(self) -> None:
        """Make what is in use this process's own: before a fork, whose child has it too.

        Else what one of the two writes would be the other's, and a slot that is used again
        would change under the child's eyes. Costs a copy of each array, once.
        """
        for offset, (address, size, reference) in list(self._live.items()):
            array = reference()  # keeps it, and its address, meanwhile
            if array is None:
                continue
            if not self._is_private:
                self._arena.make_private(address, offset, size)
            copy_pages(address, size)
            del self._live[offset]
            self._free(offset, size)
            self._arena.let_go(address)

    def drop(self) -> None:
        """Give back all memory but what is in use: the writer is gone."""
        self.close()
        at = self._number * _RANGE_BYTES
        for offset, (_, size, _) in sorted(self._live.items()):
            if offset > at:
                self._arena.punch(at, offset - at)
            at = offset + size
        self._arena.punch(at, (self._number + 1) * _RANGE_BYTES - at)

    def close(self) -> None:
        """Let go of what is mapped here and not in use; the writer is told nothing more."""
        self._is_closed = True
        self.freed.clear()
        maps, self._maps = list(self._maps.values()), {}
        for address, size in maps:
            unmap(address, size)

    def _release(self, offset: int, address: int, size: int) -> None:
        """Note that nothing is left of what was in a slot; from whatever thread that is."""
        with interrupts_postponed():
            live = self._live.get(offset)
            if live is None or live[0] != address:  # a fork made it our own
                unmap(address, size)
                return
            del self._live[offset]
            self._arena.let_go(address)  # before another mapping gets the address
            if self._is_private or self._is_closed:
                unmap(address, size)
            else:
                self._maps[offset] = address, size
            self._free(offset, size)
            while len(self._maps) > _MOST_MAPS:
                with suppress(KeyError, StopIteration, RuntimeError):
                    oldest = next(iter(self._maps))
                    unmap(*self._maps.pop(oldest))

    def _free(self, offset: int, size: int) -> None:
        """Have the writer told that a slot is free, or give its memory back where there is none."""
        if self._is_closed:
            self._arena.punch(offset, size)
            return
        self._freed_bytes += size
        if self._freed_bytes > self._most and not self._is_private:
            self._arena.punch(offset, size)  # it may be long until the writer is told
        self.freed.append(offset)


_INBOXES: WeakSet[Inbox] = WeakSet()
_fork_lock = threading.RLock()  # from before a fork until after it nothing new comes into use


def _begin_fork() -> None:
    _fork_lock.acquire()
    for inbox in list(_INBOXES):
        inbox.retire()


def _end_fork() -> None:
    _fork_lock.release()


def _begin_in_child() -> None:
    global _fork_lock  # noqa: PLW0603 - a process has one
    _fork_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_begin_fork, after_in_parent=_end_fork, after_in_child=_begin_in_child
    )


def _groups(raws: Sequence[memoryview]) -> list[list[memoryview]]:
    """Return which buffers share a slot."""
    groups: list[list[memoryview]] = []
    room = 0
    for raw in raws:
        if raw.nbytes > room:
            groups.append([])
            room = _SLOT_BYTES
        groups[-1].append(raw)
        room -= raw.nbytes
    return groups


def _spans(
    raws: Sequence[memoryview], start: int, aligned: int
) -> tuple[tuple[tuple[int, int], ...], int]:
    """Return where each begins and its bytes, one after another, and where they end."""
    spans = []
    for raw in raws:
        spans.append((start, raw.nbytes))
        start += -(-raw.nbytes // aligned) * aligned
    return tuple(spans), start


def _size_class(size: int) -> int:
    """Return the size of a slot for so many bytes: whole pages, at most a quarter more."""
    step = max(mmap.ALLOCATIONGRANULARITY, 1 << max(0, size.bit_length() - 3))
    return -(-size // step) * step


def _write_all(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data = data[written:]
        offset += written


def _read_all(fd: int, offset: int, size: int) -> bytearray:
    data = bytearray(size)
    left = memoryview(data)
    while left:
        count = os.preadv(fd, [left], offset)
        left = left[count:]
        offset += count
    return data
