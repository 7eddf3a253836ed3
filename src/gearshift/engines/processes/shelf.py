"""Values of `gs.shared` on a pool: each is put into shared memory once, for all of its workers.

lane: pickles a handle -> Shelf.put -> memory
Shelf.frames --SHARE, before the chunk that needs it--> worker: attach -> arrays over that memory
no handle is left -> Shelf.take_gone --SHARE--> worker: detach
Shelf.free <--FREED-- worker: the last of its arrays is gone
"""

from __future__ import annotations

import marshal
import pickle
from collections import deque
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, finalize

from gearshift._work.faults import transport_error
from gearshift._work.pickling import dumps_apart
from gearshift._work.shared import attach, detach
from gearshift.engines.processes import wire
from gearshift.engines.processes.slots import Outbox, Placed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearshift._work.shared import Shared
    from gearshift.engines.processes.arena import Arena
    from gearshift.engines.processes.slots import Inbox

__all__ = ["SHARED_RANGE", "Shelf", "gone_frame", "take_down"]

SHARED_RANGE = 0  # of the arena; see `slots.ranges_of`


class _Value:
    """One value: where it is, who holds it here, and which workers may look at it."""

    def __init__(self, placed: list[Placed], inline: list[bytes]) -> None:
        self.placed = placed
        self.inline = inline
        self.handles: WeakSet[Shared[Any]] = WeakSet()
        self.readers: dict[int, set[int]] = {}  # offsets in use, by the worker's pid

    @property
    def offsets(self) -> set[int]:
        """Of its slots."""
        return {each.offset for each in self.placed if not each.is_inline}


class Shelf:
    """The parent's side, under the pool's lock."""

    def __init__(self, arena: Arena) -> None:
        """Begin without a value."""
        self._outbox = Outbox(arena, SHARED_RANGE, kept_bytes=0)
        self._values: dict[str, _Value] = {}
        self._gone: deque[str] = deque()  # of which a handle has gone; from any thread
        self._unheld: list[_Value] = []  # of which none is left, and which are still read

    @property
    def has_gone(self) -> bool:
        """Whether a handle has gone since `take_gone` was asked."""
        return bool(self._gone)

    def put(self, handle: Shared[Any]) -> None:
        """Have a value in memory, unless it is there.

        Raises:
            TransportError: It cannot be pickled.
        """
        value = self._values.get(handle.key)
        if value is None:
            value = self._values[handle.key] = self._placed(handle)
        if handle not in value.handles:
            value.handles.add(handle)
            finalize(handle, self._gone.append, handle.key).atexit = False

    def _placed(self, handle: Shared[Any]) -> _Value:
        """Put a value into memory.

        Raises:
            TransportError: It cannot be pickled.
        """
        buffers: list[pickle.PickleBuffer] = []
        try:
            data = dumps_apart(handle.value, buffers)
        except Exception as exception:
            error = transport_error("a value of gs.shared", handle.value, exception)
            raise error from exception
        placed, inline = self._outbox.place([pickle.PickleBuffer(data), *buffers], 0)
        return _Value(placed, [bytes(each) for each in inline])

    def frames(self, key: str, pid: int) -> list[bytes]:
        """Return what tells a worker of a value."""
        value = self._values[key]
        value.readers[pid] = value.offsets
        where: tuple[Any, ...] = tuple(map(tuple, value.placed))
        meta = marshal.dumps((key, where))
        size = sum(map(len, value.inline))
        return [wire.header(wire.SHARE, meta=len(meta), body=size), meta, *value.inline]

    def take_gone(self) -> list[str]:
        """Return the keys of which no handle is left, once; their readers are to be told.

        Should one come back, its value is put anew, in other slots.
        """
        keys = set()
        while self._gone:
            keys.add(self._gone.popleft())
        gone = [key for key in keys if key in self._values and not self._values[key].handles]
        self._unheld += [self._values.pop(key) for key in gone]
        self._free_unread()
        return gone

    def free(self, pid: int, offsets: Sequence[int]) -> None:
        """A worker does not look at these any more."""
        for value in (*self._values.values(), *self._unheld):
            if pid in value.readers:
                value.readers[pid].difference_update(offsets)
        self._free_unread()

    def forget(self, pid: int) -> None:
        """A worker is gone."""
        for value in (*self._values.values(), *self._unheld):
            value.readers.pop(pid, None)
        self._free_unread()

    def close(self, *, is_read: bool) -> None:
        """Let go of it, and give its memory back unless workers may still look at what is there."""
        if is_read:
            self._outbox.close()
        else:
            self._outbox.drop()

    def _free_unread(self) -> None:
        for value in [each for each in self._unheld if not any(each.readers.values())]:
            self._unheld.remove(value)
            self._outbox.free(list(value.offsets))


def gone_frame(key: str) -> bytes:
    """Return what tells a worker that a value is not needed any more."""
    meta = marshal.dumps((key, None))
    return wire.header(wire.SHARE, meta=len(meta)) + meta


def take_down(inbox: Inbox, meta: bytes, body: bytes) -> None:
    """Do, in a worker, what a frame says: have a value at hand, or let go of it."""
    key, where = marshal.loads(meta)
    if where is None:
        detach(key)
        return
    views = inbox.views([Placed(*each) for each in where], body)

    def load() -> Any:
        value = pickle.loads(views[0], buffers=views[1:])
        views.clear()  # what the value does not hold is free
        return value

    attach(key, load)
