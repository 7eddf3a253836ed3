"""What a worker process does: read a chunk, run it, write what came of it.

    pipe in --EARS, SHARE, JOB, CHUNK, FORGET--> worker --PART, RETURNED, FREED, SAID--> pipe out

Before each item it stamps which one that is, so that its death costs that item alone.
Outcomes go out at least every 50 ms, so a death costs little beside. It ends when its pipe
ends, when it was idle for long, after so many tasks, or when it has grown too large.
"""

from __future__ import annotations

import marshal
import os
import pickle
import select
import signal
import sys
import time
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from itertools import compress, count, filterfalse
from operator import setitem
from typing import TYPE_CHECKING, Any

from gearshift._work.lines import WholeWriter
from gearshift._work.logs import Ears, ForeignProcessError, Voice
from gearshift._work.run_chunk import ChunkRun, Task
from gearshift._work.scope import DEPTH_VARIABLE, Scope
from gearshift._work.shares import limit_threads, reseed
from gearshift.engines.processes import wire
from gearshift.engines.processes.arena import keep_heap, trim_heap
from gearshift.engines.processes.packing import (
    pack_outcomes,
    rebuilding,
    unpack_each,
    unpack_task,
    unpack_together,
)
from gearshift.engines.processes.shelf import take_down
from gearshift.engines.processes.slots import Placed
from gearshift.errors import TransportError
from gearshift.facts import Chunk, Fault, Settled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gearshift.engines.processes.slots import Inbox, Outbox
    from gearshift.engines.processes.wire import Stamps

__all__ = ["Duties", "Worker"]

PART_SECONDS = 0.05
_KEPT_SECONDS = 1.0  # for which an idle worker keeps memory that nobody uses
_READ_BYTES = 1 << 20
_SMALL_BYTES = 1 << 14


@dataclass(frozen=True, slots=True)
class Duties:
    """What a worker has to do and to be.

    Attributes:
        initializer: Pickled: a function and its arguments, called at the start.
        ears: What the parent has set up to hear.
        threads: Threads for BLAS and OpenMP.
        max_tasks: Tasks after which it is replaced, or None.
        memory_limit: Bytes above which it is replaced, or None.
        idle_seconds: How long it waits for work before it leaves, or None.
    """

    initializer: bytes
    ears: Ears
    threads: int
    max_tasks: int | None = None
    memory_limit: int | None = None
    idle_seconds: float | None = None


class Worker:
    """A worker process, from its first look at its pipe to its end."""

    def __init__(
        self,
        duties: Duties,
        stamps: Stamps,
        slot: int,
        to_read: int,
        to_write: int,
        boxes: tuple[Inbox, Outbox, Inbox],
    ) -> None:
        """Begin without having done anything.

        Args:
            duties: What to do and to be.
            stamps: Where to say what it is on.
            slot: Its place there.
            to_read: Pipe from the parent.
            to_write: Pipe to the parent.
            boxes: Where it finds large buffers, where it places them, and where it finds what is shared.
        """
        self._inbox, self._outbox, self._shared = boxes
        self._expects_buffers = False
        self._duties = duties
        self._stamps = stamps
        self._slot = slot
        self._to_read = to_read
        self._data = b""  # what was read of the pipe; what is before `at` was taken
        self._at = 0
        self._writer = WholeWriter(to_write)  # tasks may log from threads and finalizers
        self._pid = os.getpid()
        self._jobs: dict[int, tuple[bytes, float]] = {}
        self._tasks: dict[int, Task | Exception] = {}
        self._scope = Scope(name=f"process {os.getpid()}")
        self._context = Context()  # of which each chunk has a copy
        self._done = 0
        self._round = 0  # in which the chunk was sent; see `Stamps.revoke`
        self._stamp = partial(setitem, stamps.words, stamps.word_of(slot))

    def work(self) -> None:
        """Be a worker until there is no more to do.

        Raises:
            SystemExit: It leaves before that, for a reason that its status says.
        """
        signal.signal(signal.SIGINT, lambda _number, _frame: None)  # the parent's; not SIG_IGN,
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which programs of tasks would have too
        self._voice = Voice(self._duties.ears, self._say, self._scope.name)
        try:
            if self._begin():
                self._run_all()
        except BrokenPipeError:  # the parent is gone, or has no more use for it
            pass
        finally:
            self._stamps.clear(self._slot)
            self._end()

    def _begin(self) -> bool:
        """Set the process up; return whether that went well."""
        os.environ[DEPTH_VARIABLE] = "1"
        with suppress(OSError, ValueError):
            sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for the process's life
        limit_threads(self._duties.threads)
        reseed()
        try:
            function, arguments = pickle.loads(self._duties.initializer)
            if function is not None:
                function(*arguments)
        except BaseException as error:
            words = f"{type(error).__name__}: {error}"
            self._write(wire.BROKEN, body=words.encode("utf-8", "replace"))
            return False
        self._write(wire.READY)
        return True

    def _run_all(self) -> None:
        """Serve frames until the pipe ends.

        Raises:
            SystemExit: It leaves for another reason, which its status says; so does what it calls.
        """
        while True:
            self._wait()
            frame = self._next()
            if frame is None:
                return
            kind, job, first, meta, body = frame
            if kind == wire.CHUNK:
                self._serve(job, first, meta, body)
            elif kind == wire.EARS:
                self._voice.heed(pickle.loads(body))
            elif kind == wire.JOB:
                self._jobs[job] = body, *marshal.loads(meta)
            elif kind == wire.SHARE:
                take_down(self._shared, meta, body)
                if freed := self._shared.take_freed():
                    self._write(wire.FREED, meta=marshal.dumps(freed))
            else:
                assert kind == wire.FORGET
                self._jobs.pop(job, None)
                self._tasks.pop(job, None)

    def _end(self) -> None:
        """Close what tasks made here."""
        with suppress(BaseException):
            self._scope.close()
        with suppress(BaseException):
            self._voice.end()

    def _wait(self) -> None:
        """Wait for a frame, unless that takes too long; meanwhile give back what is not needed.

        Raises:
            SystemExit: It does.
        """
        idle = self._duties.idle_seconds
        if self._at < len(self._data) or (idle is None and not self._outbox.keeps_memory):
            return
        poll = select.poll()
        poll.register(self._to_read, select.POLLIN)
        if self._outbox.keeps_memory and (idle is None or idle > _KEPT_SECONDS):
            if poll.poll(_KEPT_SECONDS * 1000):
                return
            self._outbox.trim()
            trim_heap()
        if idle is not None and not poll.poll(idle * 1000):
            raise SystemExit(wire.IDLE_STATUS)

    def _serve(self, job: int, first: int, meta: bytes, body: bytes) -> None:
        """Run a chunk.

        Raises:
            SystemExit: After that it is to be replaced.
        """
        length, self._round, number, sizes, counts, placed, freed = marshal.loads(meta)
        if freed:
            self._outbox.free(freed)
        if number and not self._stamps.begins(self._slot, number):
            self._inbox.freed.extend(offset for offset, *_ in placed if offset >= 0)
            return
        timeout = self._jobs[job][1]
        if self._is_revoked(job):
            self._return(job, first, length)
            return
        self._stamps.begin_chunk(self._slot, job, time.monotonic(), timeout)
        self._stamp(wire.LOADING)
        task = self._task(job)
        if isinstance(task, Exception):
            faults = dict.fromkeys(range(first, first + length), Fault(task))
            self._send(job, Settled(first, [None] * length, faults), is_last=True)
        else:
            buffers: list[memoryview] = []
            if placed:
                self._expect_buffers()
                buffers = self._inbox.views([Placed(*each) for each in placed], body)
            if (
                sizes is None
            ):  # the items are in no variable, or what they hold would be so for long
                self._run(job, task, Chunk(first, unpack_together(body, buffers)))
            else:
                rebuilds = unpack_each(body, first, sizes, buffers, counts)
                self._run(job, rebuilding(task), Chunk(first, rebuilds))

    def _task(self, job: int) -> Task | Exception:
        """Return the function, rebuilt once a job, or why it cannot be."""
        task = self._tasks.get(job)
        if task is None:
            try:
                task = unpack_task(self._jobs[job][0])
            except TransportError as error:
                task = error
            self._tasks[job] = task
        return task

    def _run(self, job: int, task: Task, chunk: Chunk) -> None:
        """Run items, and send what comes of them.

        Raises:
            SystemExit: After that it is to be replaced.
        """
        left = None if self._duties.max_tasks is None else self._duties.max_tasks - self._done
        first, stop = chunk.first, chunk.first + len(chunk.items)
        if left is not None and left < len(chunk.items):
            chunk = Chunk(first, chunk.items[:left])
        end = first + len(chunk.items)
        run = ChunkRun(task, chunk, self._scope, self._context, stamped=self._stamped)
        del chunk  # what is held of a slot is to be free as soon as may be
        while not run.is_done:
            run.advance(PART_SECONDS)
            at = run.index
            leaves = at == end and end < stop
            if at < stop and not leaves:
                leaves = self._is_too_large()
            if at < end and (leaves or self._is_revoked(job)):
                run.end()
                end = at
            self._send(job, run.take(), is_last=at == stop)
            if at == end:
                break
        if end < stop:
            self._return(job, end, stop - end)
        if self._is_spent():
            raise SystemExit(wire.SPENT_STATUS)
        if self._is_too_large():
            raise SystemExit(wire.GROWN_STATUS)

    def _stamped(self, items: Iterable[Any], index: int) -> Iterable[Any]:
        """Return the items, each stamped when it is taken: one C call each, some 50 ns."""
        return compress(items, filterfalse(self._stamp, count(index + 1)))

    def _is_revoked(self, job: int) -> bool:
        """Whether the run has no more use for the chunk."""
        return self._stamps.is_revoked(job, self._round)

    def _is_spent(self) -> bool:
        limit = self._duties.max_tasks
        return limit is not None and self._done >= limit

    def _is_too_large(self) -> bool:
        """Whether the process has grown above its limit (resident, from /proc where there is one)."""
        if self._duties.memory_limit is None:
            return False
        with suppress(OSError, ValueError):
            with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - read once a chunk
                pages = int(file.read().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") > self._duties.memory_limit
        return False

    def _send(self, job: int, settled: Settled | None, *, is_last: bool) -> None:
        """Write outcomes."""
        assert settled is not None
        first, count = settled.first, len(settled.values)
        self._done += count
        packed, faults = pack_outcomes(settled, stamp=lambda index: self._stamp(index + 1))
        seconds = settled.busy_seconds, settled.cpu_seconds
        del settled  # what it holds of a slot is free now
        placed: list[Placed] = []
        inline: list[memoryview] = []
        if packed.buffers:
            self._expect_buffers()
            placed, inline = self._outbox.place(packed.buffers, len(packed.data))
            packed.buffers = []
        if is_last:
            self._stamp(0)  # before the parent can know that it is idle
        freed = self._inbox.take_freed() + self._shared.take_freed()
        where: tuple[Any, ...] = tuple(map(tuple, placed))
        told = pickle.dumps(faults) if faults else b""
        meta = (count, is_last, packed.sizes, packed.counts, where, freed, told, *seconds)
        self._write(wire.PART, job, first, marshal.dumps(meta), packed.data, *inline)

    def _expect_buffers(self) -> None:
        """Be ready for more of them."""
        if not self._expects_buffers:
            self._expects_buffers = True
            keep_heap()

    def _return(self, job: int, first: int, length: int) -> None:
        """Give back the last items of a chunk, which have not begun."""
        self._stamp(0)
        self._write(wire.RETURNED, job, first, marshal.dumps(length))

    def _say(self, frame: bytes) -> None:
        """Write what was logged or printed, at once.

        Raises:
            ForeignProcessError: This is a child that a task forked: the pipe is not its own.
        """
        if os.getpid() != self._pid:
            raise ForeignProcessError
        with suppress(BrokenPipeError), self._stamps.paused(self._slot):  # the parent is gone
            self._write(wire.SAID, body=frame)

    def _write(
        self,
        kind: int,
        job: int = 0,
        first: int = 0,
        meta: bytes = b"",
        body: bytes = b"",
        *more: memoryview,
    ) -> None:
        """Write a frame whole, whose body has one part or more; waits while the consumer is away.

        Raises:
            BrokenPipeError: The parent is gone.
        """
        size = len(body) + sum(map(len, more))
        head = wire.header(kind, job, first, len(meta), size)
        if size < _READ_BYTES:
            self._writer.write(b"".join((head, meta, body, *more)))
        else:
            self._writer.write(head + meta, body, *more)

    def _next(self) -> tuple[int, int, int, bytes, bytes] | None:
        """Return the next frame, as `wire.Frame` has it, or None at the pipe's end."""
        head = self._read(wire.HEADER_BYTES)
        if not head:
            return None
        kind, job, first, meta_bytes, body_bytes = wire.read_header(head)
        data, at = self._data, self._at
        body_at = at + meta_bytes
        stop = body_at + body_bytes
        if stop <= len(data):  # as with small frames nearly always
            self._at = stop
            return kind, job, first, data[at:body_at], data[body_at:stop]
        return kind, job, first, self._read(meta_bytes), self._read(body_bytes)

    def _read(self, size: int) -> bytes:
        """Read so many bytes, or none at the pipe's end; several small frames take one system call."""
        data, at = self._data, self._at
        if len(data) - at >= size:
            self._at = at + size
            return data[at : at + size]
        parts, have = [data[at:]], len(data) - at
        while have < size:
            left = size - have
            more = os.read(
                self._to_read, _SMALL_BYTES if left < _SMALL_BYTES else min(left, _READ_BYTES)
            )
            if not more:
                self._data, self._at = b"", 0
                return b""
            parts.append(more)
            have += len(more)
        data = b"".join(parts)
        self._data, self._at = data, size
        return data[:size]
