"""The parent's side of the pool: which worker has which chunks, and what came of them.

    lane.send -> waiting -> assign -> worker's pipe ... worker's pipe -> pump -> lane's news
                    ^                                                      |
                    +-------- not begun, its worker is gone (keeper: DIED) +

It has no thread: whichever lane is polled moves everything, under one lock, and wakes the
lanes whose news it found. What workers said is said again after that, under no lock (`hearing`).
One epoll descriptor is readable when anything is to be done, the writing of a large chunk included,
so that nobody ever blocks in a pipe. Over 400 lines because what it moves is one state, under one
lock.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import socket
import sys
import threading
import time
import warnings
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gearshift._work.pickling import dumps
from gearshift.engines.processes import wire
from gearshift.engines.processes.arena import Arena
from gearshift.engines.processes.deaths import how
from gearshift.engines.processes.hearing import Hearing
from gearshift.engines.processes.packing import unpack_outcomes
from gearshift.engines.processes.shelf import Shelf, gone_frame
from gearshift.engines.processes.slots import KEPT_BYTES, Inbox, Outbox, Placed, ranges_of
from gearshift.engines.processes.start import (
    TO_REAP,
    exec_keeper,
    fill_standard_descriptors,
    fork_keeper,
    is_reaped,
)
from gearshift.engines.processes.wire import Died, FrameReader, Message, Stamps
from gearshift.facts import Fault, Settled
from gearshift.host import interrupts_held

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from gearshift._work.logs import Ears
    from gearshift.engines.processes.lane import Part, ProcessLane
    from gearshift.engines.processes.wire import Frame
    from gearshift.engines.processes.worker import Duties

__all__ = ["Pool"]

_READ_BYTES = 1 << 18
_SMALL_BYTES = 1 << 14
_PIPE_BYTES = 1 << 20
_JOINED_BYTES = 1 << 16  # to copy so much is cheaper than another system call
_MOST_EARLY_DEATHS = 2  # in a row and beside one of each worker, of those that never got to a task
_KILL_SECONDS = 1.0  # for which an end that does not wait still looks whether it is over
_SAY_SECONDS = 0.1  # for which handlers of what workers say hold up an end, and interrupts
_LONG_SECONDS = 0.005  # that a part runs before the one behind it goes to an idle worker
_HOLED_QUEUED = 2  # parts of a worker that has some taken back before it: more are not one range
_MOST_HEARD = 10_000  # frames of a worker that wait while a handler runs
_REPLACED = {  # why a worker is, in the report
    wire.CRASHED: "died",
    wire.TIMED_OUT: "task_timeout",
    wire.SPENT: "max_tasks_per_worker",
    wire.GROWN: "worker_memory_limit",
}


class _Worker:
    """One worker, as the parent sees it."""

    def __init__(
        self, slot: int, pid: int, fds: tuple[int, int], ears: Ears, boxes: tuple[Inbox, Outbox]
    ) -> None:
        self.inbox, self.outbox = boxes
        self.ears = ears  # as it knows them
        self.slot = slot
        self.pid = pid
        self.name = f"process {pid}"
        self.to_fd, self.from_fd = fds
        self.reader = FrameReader()
        self.heard: deque[bytes] = deque()  # what it said, as far as that is not said here
        self.queue: deque[Part] = deque()  # the first is being run
        self.jobs: set[int] = set()
        self.shared: set[str] = set()  # keys that it knows
        self.outgoing: list[bytes] = []  # small frames that go together, at the end of `assign`
        self.unsent: deque[bytes | memoryview] = deque()
        self.is_ready = False
        self.is_full = False  # its pipe: the rest waits in `unsent`
        for fd in fds:
            os.set_blocking(fd, False)


class Pool:
    """A keeper and its workers, from start to end."""

    def __init__(self, workers: int, duties: Duties, *, method: str) -> None:
        """Start the keeper, which starts the workers while the caller goes on.

        Args:
            workers: How many.
            duties: What a worker has to do and to be.
            method: "fork" from this process, as it is; or "exec" a fresh interpreter.
        """
        for pid in list(TO_REAP):
            is_reaped(pid)
        fill_standard_descriptors()
        self.size: int = workers
        self.ears: Ears = duties.ears  # as they are now
        self._first_ears = duties.ears
        self._packed_ears = b""
        self.lock: AbstractContextManager[bool] = threading.RLock()
        self.death: str = ""  # why the pool is of no more use
        self._workers: dict[int, _Worker] = {}  # by slot
        self._by_fd: dict[int, _Worker] = {}
        self._given = [0] * workers  # parts that were queued behind others, by slot
        self._lanes: list[ProcessLane] = []
        self.look_at: float | None = None  # when a part is to be taken back (monotonic seconds)
        self._early_deaths = 0
        self._is_ending = False
        self._is_leaving = False  # workers were told to go, and are heard a last time
        self._has_left = False  # all of them have
        self._is_waited = False
        self._is_closed = False
        self.hearing: Hearing = Hearing()
        self._control = -1
        self._pid = os.getpid()
        self._arena = Arena.make()
        self.shelf: Shelf = Shelf(self._arena)
        self._inline_bytes = 0  # of buffers that had to go through the pipe
        self._has_warned = sys.platform != "linux"  # there is no other way there
        try:
            self._start(workers, duties, method)
            self._epoll.register(self._control, select.EPOLLIN)
        except BaseException:  # no descriptors, or no process
            self._abandon()
            raise
        self._has_asked = True  # for workers that are on their way
        self._tell(Message(wire.WANT, workers))

    def _abandon(self) -> None:
        """Let go of what a start has got so far."""
        self._arena.close()
        for name in ("stamps", "_epoll"):
            if hasattr(self, name):
                getattr(self, name).close()
        if self._control >= 0:
            os.close(self._control)

    def _start(self, workers: int, duties: Duties, method: str) -> None:
        """Start the keeper."""
        self._epoll = select.epoll()
        stamps_fd = wire.shared_file(Stamps.size_for(workers))
        self.stamps: Stamps = Stamps(stamps_fd, workers)
        kind = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_STREAM)
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        ours.settimeout(0)
        self._control = ours.detach()
        with theirs, interrupts_held():
            if method == "fork":
                self._keeper = fork_keeper(theirs, self._control, self.stamps, self._arena, duties)
            else:
                self._keeper = exec_keeper(theirs, stamps_fd, self._arena.fd, duties, workers)

    @property
    def is_ending(self) -> bool:
        """Whether no further chunk is taken."""
        return self._is_ending

    @property
    def is_closed(self) -> bool:
        """Whether its descriptors are gone."""
        return self._is_closed

    @property
    def has_news(self) -> bool:
        """Whether its descriptor means anything any more."""
        return not self._is_closed and not self._is_leaving

    def fileno(self) -> int:
        """Return the descriptor that is readable when `pump` has something to do."""
        return self._epoll.fileno()

    # Lanes

    def heed(self, ears: Ears) -> None:
        """Have workers know what this process hears, before the next chunk of each."""
        if ears != self.ears:
            self.ears = ears
            self._packed_ears = dumps(ears)

    def add(self, lane: ProcessLane) -> None:
        """Take a lane in; called under the lock, as all that follow."""
        self._lanes.append(lane)

    def watch(self, timeout: float) -> None:
        """Have the keeper look often enough for such a `task_timeout`."""
        self._tell(Message(wire.WATCH, seconds=min(0.05, max(0.002, timeout / 20))))

    def forget(self, lane: ProcessLane) -> None:
        """Let go of a lane of which nothing is left."""
        if lane in self._lanes:
            self._lanes.remove(lane)
            for worker in self._workers.values():
                if lane.number in worker.jobs:
                    worker.jobs.discard(lane.number)
                    self._write(worker, wire.header(wire.FORGET, lane.number))
        self._end_if_idle()

    def _take_down(self) -> None:
        """Have workers let go of values of which no handle is left."""
        for key in self.shelf.take_gone():
            for worker in self._workers.values():
                if key in worker.shared:
                    worker.shared.discard(key)
                    self._write(worker, gone_frame(key))

    def kill(self, lane: ProcessLane) -> None:
        """Stop what runs of a lane."""
        for worker in self._workers.values():
            if worker.queue and worker.queue[0].lane is lane:
                self._tell(Message(wire.KILL, worker.slot, lane.number))

    # The pump

    def pump(self) -> None:
        """Move everything that can be moved without waiting."""
        if self._is_closed or self._is_leaving:
            return
        self._move(0.0)
        if not self._is_closed:
            self.assign()
            self._end_if_idle()

    def _move(self, seconds: float) -> None:
        """Read what is there to be read, and write what can be written; wait so long for either."""
        for fd, event in self._epoll.poll(seconds):
            if self._is_closed:  # the keeper has gone
                return
            if fd == self._control:
                self._hear()
                continue
            worker = self._by_fd.get(fd)
            if worker is None:
                continue
            if fd == worker.from_fd:
                self._read(worker)
            elif event & select.EPOLLOUT:
                self._go_on_writing(worker)
            elif worker.is_full:  # it is gone; the keeper tells
                worker.unsent.clear()
                self._go_on_writing(worker)

    def assign(self) -> None:
        """Give waiting parts to the workers that have the least, one lane after another."""
        try:
            self._assign()
        finally:
            for worker in self._workers.values():
                if worker.outgoing:
                    self._flush(worker)

    def _assign(self) -> None:
        lanes = self._lanes
        if self.shelf.has_gone and not self._is_leaving:
            self._take_down()
        while self._workers and not self.death and not self._is_leaving:
            worker, queued = self._least_busy()
            lane = self._next_lane()
            if lane is None:
                if queued:
                    self.look_at = None
                elif self._take_back():
                    continue
                return
            if queued >= lane.queued or (
                queued >= _HOLED_QUEUED and self.stamps.is_holed(worker.slot)
            ):
                return
            self._give(worker, lane, lane.waiting[0])
            lane.waiting.popleft()
            if len(lanes) > 1:
                lanes.remove(lane)
                lanes.append(lane)
        is_lacking = not self._workers and not self._is_leaving and not self._has_asked
        if is_lacking and any(lane.waiting for lane in lanes):
            self._has_asked = True
            self._tell(Message(wire.WANT, self.size))  # they had left, having been idle

    def _next_lane(self) -> ProcessLane | None:
        for lane in self._lanes:
            if lane.waiting:
                return lane
        return None

    def _least_busy(self) -> tuple[_Worker, int]:
        """Return the first worker with the fewest parts, and how many that is; there is one."""
        workers = iter(self._workers.values())
        worker = next(workers)
        least = len(worker.queue)
        for each in workers:
            if (length := len(each.queue)) < least:
                worker, least = each, length
        return worker, least

    def _take_back(self) -> bool:
        """Take back a part that waits behind a long one while another worker is idle.

        Returns:
            Whether one waits for a worker now. If not, `look_at` says when to look again.
        """
        self.look_at = None
        if len(self._workers) < 2:  # noqa: PLR2004 - there is no other
            return False
        now = time.monotonic()
        for worker in self._workers.values():
            if len(worker.queue) < 2:  # noqa: PLR2004 - one that runs, and one behind it
                continue
            due = self.stamps.started(worker.slot) + _LONG_SECONDS
            part = worker.queue[-1]
            if due <= now and self.stamps.take_back(worker.slot, part.number):
                worker.queue.pop()
                part.lane.taken_back(part)
                return True
            due = max(due, now + _LONG_SECONDS / 5)
            self.look_at = due if self.look_at is None else min(due, self.look_at)
        return False

    def _give(self, worker: _Worker, lane: ProcessLane, part: Part) -> None:
        """Send a part, and before it what its worker does not know yet.

        Raises:
            MemoryError: Nothing is sent, and nothing has changed.
        """
        packed = part.packed
        where: tuple[tuple[Any, ...], ...] = ()
        body = [packed.data]
        if packed.buffers:
            placed, inline = worker.outbox.place(packed.buffers, len(packed.data))
            self._note_inline(placed)
            where = tuple(map(tuple, placed))
            body += map(bytes, inline)  # their owner may change them before the pipe has taken them
        parts = self._news_for(worker, lane, part)
        number = 0
        if worker.queue:
            self._given[worker.slot] += 1
            number = self._given[worker.slot]
        freed = worker.inbox.take_freed()
        meta = marshal.dumps(
            (part.count, part.round, number, packed.sizes, packed.counts, where, freed)
        )
        size = sum(map(len, body))
        parts += (wire.header(wire.CHUNK, lane.number, part.first, len(meta), size), meta)
        part.number = number
        part.sent_bytes += sum(each[1] for each in where)
        packed.buffers = []
        worker.queue.append(part)
        worker.outgoing += parts
        if size < _JOINED_BYTES:
            worker.outgoing += body
        else:
            self._flush(worker)
            self._write(worker, *body)

    def _flush(self, worker: _Worker) -> None:
        """Write small frames, all at once."""
        together = b"".join(worker.outgoing)
        worker.outgoing.clear()
        self._write(worker, together)

    def _news_for(self, worker: _Worker, lane: ProcessLane, part: Part) -> list[bytes]:
        """Return the frames that a worker needs before a part, and take them for sent."""
        parts: list[bytes] = []
        if worker.ears is not self.ears:
            worker.ears = self.ears
            parts += [wire.header(wire.EARS, 0, 0, 0, len(self._packed_ears)), self._packed_ears]
        for key in (*lane.shared, *part.packed.shared):
            if key not in worker.shared:
                worker.shared.add(key)
                parts += self.shelf.frames(key, worker.pid)
        if lane.number not in worker.jobs:
            worker.jobs.add(lane.number)
            meta = marshal.dumps((lane.timeout,))
            parts += [wire.header(wire.JOB, lane.number, 0, len(meta), len(lane.packed)), meta]
            parts.append(lane.packed)
        return parts

    def _note_inline(self, placed: Sequence[Placed]) -> None:
        """Note that buffers go through the pipe."""
        if placed[0].is_inline and not self._inline_bytes:
            self._inline_bytes = sum(count for _, count in placed[0].spans)

    def warn(self) -> None:
        """Say once that buffers go through the pipe; not amid the sending, since a warning may raise."""
        if self._inline_bytes and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"no shared memory can be had for {self._inline_bytes:,} bytes of arrays (ulimit "
                "-f, or memory): they go through a pipe, which is slower",
                RuntimeWarning,
                stacklevel=2,
            )

    def _write(self, worker: _Worker, *pieces: bytes) -> None:
        """Write as much as the pipe takes, and the rest when it takes more."""
        is_first = not worker.unsent
        worker.unsent.extend(pieces)
        if is_first:
            self._go_on_writing(worker)

    def _go_on_writing(self, worker: _Worker) -> None:
        unsent = worker.unsent
        try:
            while unsent:
                piece = unsent[0]
                written = os.write(worker.to_fd, piece)
                if written < len(piece):
                    unsent[0] = memoryview(piece)[written:]
                else:
                    unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:  # it is gone; the keeper tells
            unsent.clear()
        if bool(unsent) != worker.is_full:
            worker.is_full = not worker.is_full
            if worker.is_full:
                self._epoll.register(worker.to_fd, select.EPOLLOUT)
            else:
                self._epoll.unregister(worker.to_fd)

    def _read(self, worker: _Worker, *, is_last: bool = False) -> None:
        """Take what a worker has written; all of it where it has ended."""
        if not is_last and self._is_behind(worker):
            return
        size = _SMALL_BYTES  # the buffer for a large read is made, and given back, each time
        while not self._is_closed:
            try:
                data = os.read(worker.from_fd, size)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                with suppress(OSError, KeyError):
                    self._epoll.unregister(worker.from_fd)
                return
            worker.reader.feed(data)
            frames = worker.reader.frames
            while frames:
                self._take(worker, frames.popleft())
            if len(data) < size or (not is_last and self._is_behind(worker)):
                return
            size = _READ_BYTES

    def _is_behind(self, worker: _Worker) -> bool:
        """Whether a worker is to wait, since what it said is not said here yet.

        While a handler runs it may go on for long: the handler may wait for its outcomes.
        """
        return len(worker.heard) > (_MOST_HEARD if self.hearing.is_busy else 0)

    def _take(self, worker: _Worker, frame: Frame) -> None:
        if frame.kind == wire.SAID:
            self.hearing.hear(worker.heard, frame.body)
        elif frame.kind == wire.FREED:
            self._take_freed(worker, marshal.loads(frame.meta))
        elif self._is_leaving:
            pass  # its lane has gone
        elif frame.kind == wire.READY:
            worker.is_ready = True
        elif frame.kind == wire.BROKEN:
            words = frame.body.decode("utf-8", "replace")
            self._break(f"the initializer of a worker of processes raised {words}")
        else:
            self._early_deaths = 0
            part = worker.queue[0]
            if frame.kind == wire.PART:
                settled, is_last = self._settled(worker, part, frame)
                part.lane.settle(part, settled, worker.heard)
            else:
                is_last = True
                part.lane.returned(part, frame.first, marshal.loads(frame.meta))
            if is_last:
                worker.queue.popleft()
                part.lane.finished(part)

    def _settled(self, worker: _Worker, part: Part, frame: Frame) -> tuple[Settled, bool]:
        """Return outcomes, rebuilt, and whether they are the part's last."""
        count, is_last, sizes, counts, where, freed, faults, *seconds = marshal.loads(frame.meta)
        if freed:
            self._take_freed(worker, freed)
        received_bytes = len(frame.body)
        buffers: list[memoryview] = []
        values: Sequence[Any]
        failed: dict[int, Fault]
        try:
            if where:
                placed = [Placed(*each) for each in where]
                self._note_inline(placed)
                received_bytes += sum(each.size for each in placed if not each.is_inline)
                buffers = worker.inbox.views(placed, frame.body)
            values, failed = unpack_outcomes(
                frame.first, frame.body, sizes, buffers, counts, faults
            )
        except (
            Exception
        ) as error:  # MemoryError: the worker is done with them, and cannot repeat it
            values = [None] * count
            failed = dict.fromkeys(range(frame.first, frame.first + count), Fault(error))
        assert len(values) == count
        sent_bytes, part.sent_bytes = part.sent_bytes, 0
        busy, cpu = seconds
        settled = Settled(
            frame.first, values, failed, busy, cpu, worker.name, sent_bytes, received_bytes
        )
        return settled, is_last

    def _take_freed(self, worker: _Worker, freed: Sequence[int]) -> None:
        """Have slots again that a worker does not look at any more."""
        if freed:
            worker.outbox.free(freed)
            self.shelf.free(worker.pid, freed)

    # The keeper's words

    def _hear(self) -> None:
        """Take what the keeper says."""
        while not self._is_closed:
            try:
                data, fds = self._receive()
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if len(data) < wire.MESSAGE_BYTES:
                self._lose_keeper()
                return
            message = Message.unpack(data)
            if message.kind == wire.WORKER:
                items, outcomes = ranges_of(message.c)
                kept_bytes = KEPT_BYTES // self.size
                boxes = (
                    Inbox(self._arena, outcomes, kept_bytes=kept_bytes),
                    Outbox(self._arena, items, kept_bytes=kept_bytes),
                )
                if len(fds) < 2:  # noqa: PLR2004 - the kernel has cut what did not fit
                    for fd in fds:
                        os.close(fd)
                    self._break(
                        "a worker's pipes could not be opened: this program has as many files open "
                        "as it may (ulimit -n)"
                    )
                    continue
                pipes = fds[0], fds[1]
                self._welcome(_Worker(message.a, message.b, pipes, self._first_ears, boxes))
            elif message.kind == wire.DIED:
                status = (message.b & 0xFFFFFFFF) - ((message.b & 0x80000000) << 1)
                index = None if message.d == -2 else message.d  # noqa: PLR2004 - as it is sent
                died = Died(message.b >> 32, status, message.c, index, message.seconds)
                self._bury(message.a, died)

    def _receive(self) -> tuple[bytes, list[int]]:
        """Return the keeper's next message, and the descriptors with it.

        Raises:
            BlockingIOError: There is none yet.
            OSError: The keeper is gone.
        """
        # No socket object is kept: a garbage collection that finds our run would close it first.
        control = socket.socket(fileno=self._control)
        try:
            data, fds, _, _ = socket.recv_fds(control, wire.MESSAGE_BYTES, 2)
            return data, fds
        finally:
            control.detach()

    def _welcome(self, worker: _Worker) -> None:
        self._has_asked = False
        self._workers[worker.slot] = worker
        self._by_fd[worker.to_fd] = self._by_fd[worker.from_fd] = worker
        for fd in (worker.to_fd, worker.from_fd):
            with suppress(ImportError, OSError, AttributeError):
                import fcntl

                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._epoll.register(worker.from_fd, select.EPOLLIN)
        if self._is_leaving:  # nobody has anything for it, but it may say something
            self._let_go(worker)

    def _bury(self, slot: int, died: Died) -> None:
        """Take a worker's last outcomes, and see to what it had."""
        self._has_asked = False  # the keeper may have taken what was asked for as answered
        worker = self._workers.pop(slot, None)
        if worker is None:
            return
        self._read(worker, is_last=True)
        self._drop(worker)
        self.stamps.pass_over(slot, self._given[slot])
        if self._is_leaving:
            return
        if (why := _REPLACED.get(died.reason)) is not None:
            for lane in self._lanes:
                lane.replaced[why] += 1
        is_early = died.reason == wire.CRASHED and (
            not worker.is_ready or died.item == wire.LOADING
        )
        if is_early:
            self._early_deaths += 1
        if is_early and self._early_deaths >= _MOST_EARLY_DEATHS + self.size:
            where = "rebuilding the function" if died.item == wire.LOADING else "starting"
            self._break(
                f"{self._early_deaths} workers of processes in a row died while {where} "
                f"({how(died)}): nothing was run. What the function's module or the initializer "
                'does at its start kills the process; on="serial" shows where'
            )
        for place, part in enumerate(worker.queue):
            index = died.item if place == 0 and died.item != wire.LOADING else None
            part.lane.bereaved(part, died, index, worker.pid)

    def _lose_keeper(self) -> None:
        """End: nobody would tell of deaths any more."""
        for worker in self._workers.values():  # it would have told of their deaths
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
        if self._is_leaving:
            self._has_left = True
            for worker in self._workers.values():
                self._read(worker, is_last=True)
        else:
            self._break("the keeper of the workers of processes died, and with it the pool")
            self._close()

    def _break(self, why: str) -> None:
        """Be of no more use, and say why to every lane."""
        self.death = self.death or why
        for lane in self._lanes:
            lane.wakeup.set()

    # The end

    def end(self, *, kill: bool, wait: bool = False) -> None:
        """Begin to end: when nothing is under way any more, or now; with `wait`, `wait_ended` follows."""
        until = time.monotonic() + _KILL_SECONDS
        with interrupts_held():
            with self.lock:
                self._is_ending = True
                self._is_waited = self._is_waited or wait
                if kill:
                    self._leave(kill=True)
                else:
                    self._end_if_idle()
            if not kill:
                if not self._is_waited:
                    self.hearing.say(until)
                return
            try:
                self._hear_out(until)
            finally:
                self._finish()
                while not is_reaped(self._keeper) and time.monotonic() < until:
                    time.sleep(0.0005)

    def wait_ended(self) -> None:
        """Return when no process is left."""
        while True:
            with interrupts_held():
                with self.lock:
                    self.pump()
                self.hearing.say(time.monotonic() + _SAY_SECONDS)
            if self._is_closed or self._is_leaving:
                break
            if not self.hearing.is_pending:
                with suppress(ValueError):  # another thread has ended it at this moment
                    watched = select.poll()  # not select(): it cannot watch descriptors from 1,024
                    watched.register(self._epoll, select.POLLIN)
                    watched.poll(1000)
        try:
            while not self._is_closed:
                with interrupts_held():
                    if self._hear_out(time.monotonic() + _SAY_SECONDS):
                        with self.lock:
                            self._close()
        except BaseException:  # of a handler: nobody may ask again
            self._finish()
            raise
        finally:
            if self._is_closed and self._keeper in TO_REAP:
                with suppress(ChildProcessError):
                    os.waitpid(self._keeper, 0)
                    TO_REAP.discard(self._keeper)

    def _finish(self) -> None:
        """Let go of everything, said or not."""
        with self.lock:
            self._close()
        if not self.hearing.is_busy:
            self.hearing.forget()

    def _end_if_idle(self) -> None:
        if not self._is_ending or self._is_leaving or self._is_closed:
            return
        is_idle = not any(lane.waiting for lane in self._lanes)
        if is_idle and not any(worker.queue for worker in self._workers.values()):
            self._leave(kill=False)
            if not self._is_waited:
                self._close()

    def _leave(self, *, kill: bool) -> None:
        """Have the workers go: they see the end of their pipes, and close what tasks made there."""
        if self._is_closed:
            return
        self._is_leaving = True
        self._tell(Message(wire.EXIT, int(kill)))
        for worker in self._workers.values():
            self._let_go(worker)
        for lane in self._lanes:
            lane.wakeup.set()

    def _let_go(self, worker: _Worker) -> None:
        """Have a worker see the end of its pipe."""
        if worker.to_fd >= 0:
            if worker.is_full:
                self._epoll.unregister(worker.to_fd)
            self._by_fd.pop(worker.to_fd, None)
            os.close(worker.to_fd)
            worker.to_fd = -1

    def _hear_out(self, until: float) -> bool:
        """Hear what workers say at their end; their outcomes count no more.

        Returns:
            Whether they are all gone, and what they said is said.
        """
        while not self._is_closed and (seconds := until - time.monotonic()) > 0:
            if self.hearing.is_pending:
                self.hearing.say(until)
            elif self.hearing.is_busy and not self.hearing.is_telling:
                time.sleep(min(seconds, 0.005))  # another thread says it
            elif self._has_left:
                return True
            else:
                with self.lock:
                    if not self._is_closed:
                        self._move(seconds)
        return self._is_closed

    def _close(self) -> None:
        """Let go of every descriptor: what is left sees that and ends."""
        if self._is_closed:
            return
        for lane in self._lanes:
            lane.wakeup.set()
        self.disown()

    def disown(self) -> None:
        """Close the descriptors: at the end, in a forked child, or where nobody holds the engine any more.

        Takes no lock, and closes each once, whoever else does the same at this moment.
        """
        self._is_closed = True
        if os.getpid() == self._pid:
            TO_REAP.add(self._keeper)
        while self._workers:
            with suppress(KeyError):
                _, worker = self._workers.popitem()
                if worker.to_fd >= 0:
                    os.close(worker.to_fd)
                os.close(worker.from_fd)
                if os.getpid() == self._pid:  # workers may still be there, and look at it
                    worker.outbox.close()
                    worker.inbox.close()
        self._lanes.clear()  # they hold us, and the wake-ups of their runs
        self.stamps.close()
        if os.getpid() == self._pid:
            self.shelf.close(is_read=not self._has_left)
            self._arena.leave()
        else:
            self._arena.close()
        control, self._control = self._control, -1
        if control >= 0:
            os.close(control)
        self._epoll.close()

    def _drop(self, worker: _Worker) -> None:
        self._let_go(worker)
        self._by_fd.pop(worker.from_fd, None)
        with suppress(OSError, KeyError):
            self._epoll.unregister(worker.from_fd)
        with suppress(OSError):
            os.close(worker.from_fd)
        worker.outbox.drop()
        worker.inbox.drop()
        self.shelf.forget(worker.pid)

    def _tell(self, message: Message) -> None:
        with suppress(OSError):  # it is gone, as reading will show
            os.write(self._control, message.pack())
