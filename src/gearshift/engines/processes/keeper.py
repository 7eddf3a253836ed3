"""The keeper: one small process that alone forks, watches, times out and ends the workers.

    parent --WANT, KILL, WATCH, EXIT--> keeper --fork--> worker
    parent <--WORKER (with its pipes), DIED-- keeper <--exit-- worker

It has one thread, runs no code of the user's, and holds none of the workers' pipes, so the
death of any process is seen by the others. When the parent goes, by whatever cause, it
kills all workers and leaves. It works while the consumer is away: time-outs and deaths are
charged when they happen, from the stamps.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from gearshift.engines.processes import wire
from gearshift.engines.processes.arena import Arena
from gearshift.engines.processes.shelf import SHARED_RANGE
from gearshift.engines.processes.slots import KEPT_BYTES, Inbox, Outbox, ranges_of
from gearshift.engines.processes.wire import Message, Stamps
from gearshift.engines.processes.worker import Duties, Worker

__all__ = ["Keeper", "begin", "main"]

_NEVER = float("inf")
_LEFT = {
    wire.SPENT_STATUS: wire.SPENT,
    wire.IDLE_STATUS: wire.IDLE,
    wire.GROWN_STATUS: wire.GROWN,
}
END_SECONDS = 0.5  # for idle workers to close what they have, where the end is not to wait
PARENT_SECONDS = 1.0  # between two looks at whether the parent is still there, beside its socket


@dataclass(slots=True)
class _Watched:
    """A worker, as its keeper sees it."""

    pid: int
    slot: int
    reason: int = wire.CRASHED  # what it will have died of, once it has


class Keeper:
    """The loop; see the module's head."""

    def __init__(
        self, control: socket.socket, stamps: Stamps, arena: Arena, duties: Duties
    ) -> None:
        """Begin without workers.

        Args:
            control: To the parent.
            stamps: Shared with all.
            arena: For large buffers.
            duties: What a worker has to do and to be.
        """
        self._control = control
        self._stamps = stamps
        self._arena = arena
        self._forked = 0  # workers so far
        self._duties = duties
        self._parent = os.getppid()
        self._workers: dict[int, _Watched] = {}  # by pid
        self._wanted = 0
        self._size = 1  # workers, as far as was ever wanted
        self._tick_seconds = PARENT_SECONDS
        self._is_ending = False
        self._kill_at = _NEVER
        self._noted, self._note = os.pipe()
        for fd in (self._noted, self._note):
            os.set_blocking(fd, False)

    def run(self) -> None:
        """Keep workers until the parent is gone or says so."""
        signal.signal(signal.SIGINT, lambda _number, _frame: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked by `start` until here
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._note, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._noted, select.POLLIN)
        while not (self._is_ending and not self._workers):
            ready = {fd for fd, _ in poll.poll(self._wait_seconds() * 1000)}
            if self._noted in ready:
                with suppress(BlockingIOError):
                    os.read(self._noted, 4096)
            if self._control.fileno() in ready and not self._hear_all():
                poll.unregister(self._control)  # it has let go, and waits for us; or it is gone
                self._end(kill=not self._is_ending)
            if os.getppid() != self._parent:
                self._end(kill=True)
            self._time_out()
            self._reap()
            self._fill()
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._workers:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def _wait_seconds(self) -> float:
        if self._is_ending:
            return min(self._tick_seconds, END_SECONDS / 4)
        return min(self._tick_seconds, PARENT_SECONDS)

    def _hear_all(self) -> bool:
        """Do all that the parent says before anybody is forked; return whether it is still there."""
        while True:
            try:
                data = self._control.recv(wire.MESSAGE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if len(data) < wire.MESSAGE_BYTES:
                return False
            self._hear(Message.unpack(data))

    def _hear(self, message: Message) -> None:
        """Do what the parent says."""
        if message.kind == wire.WANT:
            self._wanted = 0 if self._is_ending else message.a
            self._size = max(self._size, message.a)
        elif message.kind == wire.WATCH:
            self._tick_seconds = message.seconds
        elif message.kind == wire.KILL:
            self._kill(slot=message.a, job=message.b)
        elif message.kind == wire.EXIT:
            self._end(kill=bool(message.a))

    def _end(self, *, kill: bool) -> None:
        """Begin to end; with `kill` whoever runs something is killed, now.

        Who is idle sees the end of its pipe, and closes what tasks made there; but not for ever.
        """
        self._is_ending = True
        self._wanted = 0
        if kill and self._kill_at == _NEVER:
            self._kill_at = time.monotonic() + END_SECONDS
            for worker in self._workers.values():
                if self._stamps.item(worker.slot) is not None:
                    os.kill(worker.pid, signal.SIGKILL)

    def _kill(self, *, slot: int, job: int) -> None:
        """Kill the worker of a slot if it is on that job, as the parent believed."""
        for worker in self._workers.values():
            is_on_it = self._stamps.job(slot) == job and self._stamps.item(slot) is not None
            if worker.slot == slot and is_on_it:
                worker.reason = wire.KILLED
                os.kill(worker.pid, signal.SIGKILL)

    def _time_out(self) -> None:
        """Kill who is past its time."""
        now = time.monotonic()
        if now >= self._kill_at:
            for worker in self._workers.values():
                os.kill(worker.pid, signal.SIGKILL)
        for worker in self._workers.values():
            deadline = self._stamps.deadline(worker.slot)
            if deadline is not None and now >= deadline and worker.reason == wire.CRASHED:
                worker.reason = wire.TIMED_OUT
                os.kill(worker.pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Tell the parent of every worker that has ended."""
        while self._workers:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            if worker is not None:
                self._tell_died(worker, os.waitstatus_to_exitcode(status))

    def _tell_died(self, worker: _Watched, status: int) -> None:
        slot = worker.slot
        reason = worker.reason
        if reason == wire.CRASHED:
            reason = _LEFT.get(status, reason)
        if reason == wire.IDLE:
            self._wanted = min(self._wanted, len(self._workers))
        item = self._stamps.item(slot)
        started = self._stamps.started(slot)
        self._send(
            Message(
                wire.DIED,
                slot,
                (reason << 32) | (status & 0xFFFFFFFF),
                self._stamps.job(slot),
                -2 if item is None else item,
                time.monotonic() - started if started else 0.0,
            )
        )
        self._stamps.clear(slot)

    def _fill(self) -> None:
        """Fork the workers that are missing."""
        taken = {worker.slot for worker in self._workers.values()}
        slot = 0
        while len(self._workers) < self._wanted:
            while slot in taken:
                slot += 1
            taken.add(slot)
            self._fork(slot)

    def _fork(self, slot: int) -> None:
        """Fork one worker, and hand its pipes to the parent."""
        to_read, to_worker = os.pipe()
        from_worker, to_write = os.pipe()
        self._forked += 1
        pid = os.fork()
        if pid == 0:
            _leave_with(self._become_worker, slot, to_read, to_write, (to_worker, from_worker))
        self._workers[pid] = _Watched(pid, slot)
        self._send(Message(wire.WORKER, slot, pid, self._forked), to_worker, from_worker)
        for fd in (to_read, to_worker, from_worker, to_write):
            os.close(fd)

    def _become_worker(self, slot: int, to_read: int, to_write: int, others: Any) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (self._noted, self._note, *others):
            os.close(fd)
        self._control.close()
        items, outcomes = ranges_of(self._forked)
        kept_bytes = KEPT_BYTES // self._size
        boxes = (
            Inbox(self._arena, items, kept_bytes=kept_bytes),
            Outbox(self._arena, outcomes, kept_bytes=kept_bytes),
            Inbox(self._arena, SHARED_RANGE, is_private=True),
        )
        Worker(self._duties, self._stamps, slot, to_read, to_write, boxes).work()

    def _send(self, message: Message, *fds: int) -> None:
        with suppress(OSError):  # the parent is gone, as the next look will show
            socket.send_fds(self._control, [message.pack()], fds)


def begin(control: socket.socket, stamps: Stamps, arena: Arena, duties: Duties) -> NoReturn:
    """Be the keeper from here on, in a fork of the parent."""
    gc.freeze()  # what the parent had is never collected here, nor copied by a collection
    _leave_with(Keeper(control, stamps, arena, duties).run)


def main(control_fd: int, stamps_fd: int, arena_fd: int, duties_fd: int, workers: int) -> NoReturn:
    """Be the keeper from here on, in a program of its own.

    Args:
        control_fd: Socket to the parent.
        stamps_fd: File of the stamps.
        arena_fd: File for large buffers, or -1.
        duties_fd: File with the pickled duties, and what the parent has in `sys`.
        workers: Slots among the stamps.
    """
    control = socket.socket(fileno=control_fd)
    with open(duties_fd, "rb") as file:
        argv, duties = pickle.load(file)
    sys.argv = argv
    begin(control, Stamps(stamps_fd, workers), Arena(arena_fd), duties)


def _leave_with(function: Any, *arguments: Any) -> NoReturn:
    """Call something, and leave without the interpreter's own end: that is the parent's."""
    status = 1
    try:
        function(*arguments)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        with suppress(Exception):
            traceback.print_exc()
    finally:
        os._exit(status)
