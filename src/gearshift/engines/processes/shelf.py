"""Values of `gs.shared` on a pool: each is put into shared memory once, for all of its workers.

lane: pickles a handle -> Shelf.put -> memory
Shelf.frames --SHARE, before the chunk that needs it--> worker: attach -> arrays over that memory
the handle is gone -> Shelf.dropped --SHARE--> worker: detach ... its arrays are gone -> Shelf.free
"""

from __future__ import annotations

import marshal
import pickle
from collections import deque
from typing import TYPE_CHECKING, Any
from weakref import finalize

from gearshift._work.faults import transport_error
from gearshift._work.pickling import dumps_apart
from gearshift._work.shared import attach, detach
from gearshift.engines.processes import wire
from gearshift.engines.processes.slots import Outbox, Placed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearshift._work.shared import Shared
    from gearshift.engines.processes.slots import Arena, Inbox

__all__ = ["SHARED_RANGE", "Shelf", "gone_frame", "take_down"]

SHARED_RANGE = 0  # of the arena; see `slots.ranges_of`


class _Value:
    """One value: where it is, and which workers may look at it."""

    def __init__(self, placed: list[Placed], inline: list[bytes]) -> None:
        self.placed = placed
        self.inline = inline
        self.readers: dict[int, set[int]] = {}  # offsets in use, by the worker's pid


class Shelf:
    """The parent's side, under the pool's lock."""

    def __init__(self, arena: Arena) -> None:
        """Begin without a value."""
        self._outbox = Outbox(arena, SHARED_RANGE, kept_bytes=0)
        self._values: dict[str, _Value] = {}
        self._gone: deque[str] = deque()  # of which no handle is left here; from any thread
        self._is_gone: set[str] = set()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is shared."""
        return not self._values

    def put(self, handle: Shared[Any]) -> None:
        """Have a value in memory, unless it is there.

        Raises:
            TransportError: It cannot be pickled.
        """
        if handle.key in self._values:
            return
        buffers: list[pickle.PickleBuffer] = []
        try:
            data = dumps_apart(handle.value, buffers)
        except Exception as exception:
            error = transport_error("a value of gs.shared", handle.value, exception)
            raise error from exception
        placed, inline = self._outbox.place([pickle.PickleBuffer(data), *buffers], 0)
        self._values[handle.key] = _Value(placed, [bytes(each) for each in inline])
        finalize(handle, self._gone.append, handle.key).atexit = False

    def frames(self, key: str, pid: int) -> list[bytes]:
        """Return what tells a worker of a value."""
        value = self._values[key]
        value.readers[pid] = {each.offset for each in value.placed if not each.is_inline}
        where: tuple[Any, ...] = tuple(map(tuple, value.placed))
        meta = marshal.dumps((key, where))
        size = sum(map(len, value.inline))
        return [wire.header(wire.SHARE, meta=len(meta), body=size), meta, *value.inline]

    def take_gone(self) -> list[str]:
        """Return the keys of which no handle is left, once; their readers are to be told."""
        gone = []
        while self._gone:
            gone.append(self._gone.popleft())
        self._is_gone.update(gone)
        for key in gone:
            self._free_if_unread(key)
        return gone

    def free(self, pid: int, offsets: Sequence[int]) -> None:
        """A worker does not look at these any more."""
        for key, value in list(self._values.items()):
            if pid in value.readers:
                value.readers[pid].difference_update(offsets)
                self._free_if_unread(key)

    def forget(self, pid: int) -> None:
        """A worker is gone."""
        for key, value in list(self._values.items()):
            if value.readers.pop(pid, None) is not None:
                self._free_if_unread(key)

    def close(self) -> None:
        """The pool is gone."""
        self._values.clear()
        self._outbox.close()

    def _free_if_unread(self, key: str) -> None:
        value = self._values[key]
        if key in self._is_gone and not any(value.readers.values()):
            del self._values[key]
            self._is_gone.discard(key)
            self._outbox.free([each.offset for each in value.placed if not each.is_inline])


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
