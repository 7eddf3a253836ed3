"""What parent, keeper and workers write to each other, and where workers stamp what they are on.

    parent <-- worker pipes: frames (header, meta, body) --> worker
    parent <-- control socket: messages of one size, descriptors with them --> keeper
    stamps: one page that all of them share, a slot a worker, and the jobs that were revoked

Apart from the three so that each side reads what the other wrote.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Died",
    "Frame",
    "FrameReader",
    "Message",
    "Stamps",
    "shared_file",
]

# Frames to a worker
JOB, CHUNK, FORGET, EARS, SHARE = 1, 2, 3, 4, 5
# Frames from a worker
READY, PART, RETURNED, SAID, BROKEN, FREED = 11, 12, 13, 14, 15, 16
# Messages to the keeper
WANT, KILL, WATCH, EXIT = 21, 22, 23, 24
# Messages from the keeper
WORKER, DIED = 31, 32
# Why a worker is gone
CRASHED, TIMED_OUT, KILLED, SPENT, IDLE, GROWN = 0, 1, 2, 3, 4, 5

# Exit statuses of workers that leave by themselves; shells and Python use none of these.
SPENT_STATUS, IDLE_STATUS, GROWN_STATUS = 201, 202, 203

_HEADER = struct.Struct("<BIqIQ")
_MESSAGE = struct.Struct("<Bqqqqd")
HEADER_BYTES = _HEADER.size
MESSAGE_BYTES = _MESSAGE.size

LOADING = -1  # instead of an item: the function is being rebuilt
_SLOT_WORDS = 8  # a cache line, so that workers do not slow each other down
_REVOKED_WORDS = 512
_MOST_ROUNDS = 1 << 20  # of revoking, in one job


class Frame(NamedTuple):
    """One frame, as read."""

    kind: int
    job: int
    first: int
    meta: bytes
    body: bytes


class Message(NamedTuple):
    """One message between parent and keeper; what the numbers mean depends on the kind."""

    kind: int
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    seconds: float = 0.0

    def pack(self) -> bytes:
        """Return it as bytes, always as many."""
        return _MESSAGE.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> Message:
        """Read it."""
        return cls(*_MESSAGE.unpack(data))


class Died(NamedTuple):
    """How a worker ended.

    Attributes:
        reason: CRASHED, TIMED_OUT, KILLED, SPENT, IDLE or GROWN.
        status: As `os.waitstatus_to_exitcode` gives it: minus the signal, or the exit code.
        job: What it was on.
        item: Index of the item it was on, LOADING, or None where it was on none.
        seconds: How long it had been on its chunk.
    """

    reason: int
    status: int
    job: int
    item: int | None
    seconds: float


def header(kind: int, job: int = 0, first: int = 0, meta: int = 0, body: int = 0) -> bytes:
    """Return the header of a frame whose parts are that long."""
    return _HEADER.pack(kind, job, first, meta, body)


class FrameReader:
    """Takes frames out of bytes as they come.

    Attributes:
        frames: Those that are complete, for somebody to take.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.frames: deque[Frame] = deque()
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= HEADER_BYTES:
            kind, job, first, meta_bytes, body_bytes = _HEADER.unpack_from(buffer, start)
            meta_at = start + HEADER_BYTES
            body_at = meta_at + meta_bytes
            stop = body_at + body_bytes
            if len(buffer) < stop:
                break
            view = memoryview(buffer)
            meta, body = bytes(view[meta_at:body_at]), bytes(view[body_at:stop])
            view.release()
            start = stop
            self.frames.append(Frame(kind, job, first, meta, body))
        del buffer[:start]


def read_header(data: bytes) -> tuple[int, int, int, int, int]:
    """Return kind, job, first, and the lengths of meta and body."""
    kind, job, first, meta, body = _HEADER.unpack(data)
    return kind, job, first, meta, body


class Stamps:
    """The shared page: who is on what since when, and which jobs were revoked."""

    def __init__(self, fd: int, workers: int) -> None:
        """Map it.

        Args:
            fd: A file of `size_for(workers)` bytes that the processes share; taken over.
            workers: Slots.
        """
        size = self.size_for(workers)
        self._fd = fd
        self._map = mmap.mmap(fd, size)
        self.words: memoryview = memoryview(self._map).cast("q")
        self._floats = memoryview(self._map).cast("d")
        self._revoked_at = workers * _SLOT_WORDS

    @staticmethod
    def size_for(workers: int) -> int:
        """Return the bytes that so many workers need."""
        return (workers * _SLOT_WORDS + _REVOKED_WORDS) * 8

    @staticmethod
    def word_of(slot: int) -> int:
        """Return where a worker's item stands among `words`, plus 1 so that 0 is none."""
        return slot * _SLOT_WORDS

    def begin_chunk(self, slot: int, job: int, now: float, timeout: float) -> None:
        """Stamp a chunk's job and start (called by its worker); the items follow by themselves."""
        at = slot * _SLOT_WORDS
        self.words[at] = 0
        self.words[at + 1] = job
        self._floats[at + 2] = now
        self._floats[at + 3] = timeout

    def item(self, slot: int) -> int | None:
        """Return the index of the item a worker is on, LOADING, or None."""
        word = self.words[slot * _SLOT_WORDS]
        return None if word == 0 else word - 1 if word > 0 else LOADING

    def job(self, slot: int) -> int:
        """Return the job it is on, or was last."""
        return self.words[slot * _SLOT_WORDS + 1]

    def started(self, slot: int) -> float:
        """Return when its chunk began (monotonic seconds)."""
        return self._floats[slot * _SLOT_WORDS + 2]

    def deadline(self, slot: int) -> float | None:
        """Return when its task has to end, or None."""
        at = slot * _SLOT_WORDS
        timeout = self._floats[at + 3]  # before the start; see `paused`
        return self._floats[at + 2] + timeout if self.words[at] != 0 and timeout else None

    @contextmanager
    def paused(self, slot: int) -> Iterator[None]:
        """Let no time count for a while (called by its worker): it waits for the consumer."""
        at = slot * _SLOT_WORDS
        timeout = self._floats[at + 3]
        if not timeout or threading.get_ident() != threading.main_thread().ident:
            yield
            return
        began = time.monotonic()
        self._floats[at + 3] = 0.0
        try:
            yield
        finally:
            self._floats[at + 2] += time.monotonic() - began
            self._floats[at + 3] = timeout  # after the start: the keeper reads them the other way

    # A chunk that is queued behind another may be taken back as long as it has not begun. Who is
    # first, the worker or the parent, is settled under a POSIX record lock (fcntl(2)) on the slot.
    # Numbers grow for as long as the slot is there, whoever has it: a worker may have died meanwhile.

    def begins(self, slot: int, number: int) -> bool:
        """Begin a queued chunk (called by its worker); return False where it was taken back."""
        at = slot * _SLOT_WORDS
        fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, slot)
        try:
            is_there = not self.words[at + 5] <= number <= self.words[at + 6]
            self.words[at + 4] = number
            return is_there
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, slot)

    def take_back(self, slot: int, number: int) -> bool:
        """Take a queued chunk back (called by the parent); return False where that cannot be, now."""
        at = slot * _SLOT_WORDS
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:  # it is just about to begin something
            return False
        try:
            passed, low, high = self.words[at + 4], self.words[at + 5], self.words[at + 6]
            if number <= passed:
                return False
            if passed >= high:
                self.words[at + 5] = self.words[at + 6] = number
            elif number == high + 1:
                self.words[at + 6] = number
            elif number == low - 1:
                self.words[at + 5] = number
            else:
                return False  # what is taken back is one range
            return True
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, slot)

    def is_holed(self, slot: int) -> bool:
        """Whether chunks were taken back that the worker still has to pass over."""
        at = slot * _SLOT_WORDS
        return self.words[at + 6] > self.words[at + 4]

    def pass_over(self, slot: int, number: int) -> None:
        """Have the slot's next worker begin after a number (called by the parent, before it has any)."""
        self.words[slot * _SLOT_WORDS + 4] = number

    def clear(self, slot: int) -> None:
        """Be on nothing."""
        for word in range(4):
            self.words[slot * _SLOT_WORDS + word] = 0

    def revoke(self, job: int, round_: int) -> None:
        """Have workers give back what they were sent of a job up to a round, and have not begun."""
        self.words[self._revoked_at + job % _REVOKED_WORDS] = job * _MOST_ROUNDS + round_

    def is_revoked(self, job: int, round_: int) -> bool:
        """Whether what was sent of a job in a round was revoked."""
        revoked_job, until = divmod(
            self.words[self._revoked_at + job % _REVOKED_WORDS], _MOST_ROUNDS
        )
        return revoked_job == job and round_ <= until

    def close(self) -> None:
        """Let go of the memory; may be called again, by a forked child that disowns its parent's."""
        self.words.release()
        self._floats.release()
        self._map.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def shared_file(size: int) -> int:
    """Return the descriptor of a nameless file in memory, so long; it goes with its last descriptor."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("gearshift", os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd
