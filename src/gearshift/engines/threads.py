"""Threads: many tasks that wait at the same time, in one process.

    lane.send -> lane._waiting, engine ticket queue -> worker thread: claim, run
    lane.poll <- lane._news <------------------------- worker thread, Wakeup.set()

A worker claims a chunk by taking it out of `_waiting`, one atomic operation, so that a
chunk is either run once or revoked once. Workers are daemon threads, started when there
is work for them, and joined at the program's end for a moment: a task that hangs must
not hang the program. The engine's lock guards the set of threads; lanes need none.
"""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING

from gearshift._work.run_chunk import ChunkRun, Task
from gearshift._work.scope import Scope
from gearshift.engines.base import check_workers, timed_out
from gearshift.engines.executor import EngineExecutor
from gearshift.facts import Chunk, Fault, Returned, Settled, Traits
from gearshift.host import interrupts_held

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearshift.engines.base import Job, Wakeup

__all__ = ["ThreadExecutor"]

TRAITS = Traits(
    name="threads",
    stops="abandon",
    resizable=True,
    survives_death=False,
    start_seconds=2e-4,
    handoff_seconds=5e-5,
)
_NUMBERS = itertools.count(1)
DEFAULT_WORKERS = 32  # for tasks that wait: the ceiling of concurrent.futures' own default


class ThreadExecutor(EngineExecutor):
    """Runs tasks on threads; pure Python takes turns, waits and C code overlap."""

    def __init__(self, workers: int | None = None) -> None:
        """Begin without a thread; they start as work comes.

        Args:
            workers: Threads at most, 32 if not said.

        Raises:
            TypeError: `workers` is not a whole number.
            ValueError: `workers` is below 1.
        """
        super().__init__()
        check_workers(workers)
        self._target = DEFAULT_WORKERS if workers is None else workers
        self._tickets: SimpleQueue[tuple[_ThreadLane, int] | None] = SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._load = 0  # chunks waiting or running, over all lanes
        self._guard = threading.Lock()

    @property
    def traits(self) -> Traits:
        """What it can do and what it costs."""
        return TRAITS

    @property
    def workers(self) -> int:
        """Threads at most."""
        return self._target

    @property
    def threads(self) -> list[threading.Thread]:
        """The workers that are there now, but for abandoned ones."""
        with self._guard:
            return list(self._threads)

    def open(self, job: Job, wakeup: Wakeup) -> _ThreadLane:
        """Return a lane for this job; with a `task_timeout`, send chunks of one item.

        Raises:
            RuntimeError: The engine was shut down.
        """
        self.check_open()
        return _ThreadLane(self, job, wakeup)

    def resize(self, workers: int) -> None:
        """Change the number of threads at most; surplus ones leave after their chunk.

        Raises:
            TypeError: `workers` is not a whole number.
            ValueError: `workers` is below 1.
        """
        check_workers(workers)
        with self._guard:
            self._target = workers
            surplus = len(self._threads) - workers
            missing = min(self._load, workers) - len(self._threads)
        for _ in range(surplus):
            self._tickets.put(None)
        for _ in range(missing):
            self._start()

    def dispatch(self, lane: _ThreadLane, number: int) -> None:
        """Have a worker claim that chunk of the lane (called by lanes)."""
        self.check_alive()
        with self._guard:
            self._load += 1
            lacking = len(self._threads) < min(self._load, self._target)
        self._tickets.put((lane, number))
        if lacking:
            self._start()

    def abandon(self, thread: threading.Thread) -> None:
        """Count a thread out whose task is past its time; another may take its place (called by lanes)."""
        with self._guard:
            self._threads.discard(thread)
            self._load -= 1
            lacking = len(self._threads) < min(self._load, self._target)
        if lacking:
            self._start()

    def _start(self) -> None:
        """Start one worker.

        Raises:
            RuntimeError: The system gives no thread, and there is none yet.
        """
        thread = threading.Thread(
            target=_serve, args=(weakref.ref(self), self._tickets), daemon=True
        )
        thread.name = f"gearshift-threads-{next(_NUMBERS)}"
        with self._guard:
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more: go on with those there are
            with self._guard:
                self._threads.discard(thread)
                if not self._threads:
                    raise

    def leaves(self, thread: threading.Thread, *, after_chunk: bool) -> bool:
        """Say whether a worker is to leave, and then count it out (called by workers)."""
        with self._guard:
            if thread not in self._threads:
                return True  # abandoned: its place is taken
            if after_chunk:
                self._load -= 1
            elif self._is_shut:
                self._threads.discard(thread)
                return True
            if len(self._threads) > self._target:
                self._threads.discard(thread)
                return True
            return False

    def _end(self, *, wait: bool, kill: bool) -> None:
        """Let the workers go; a thread cannot be killed."""
        threads = self.threads
        thread: threading.Thread | None
        for _ in threads:
            self._tickets.put(None)
        if not wait:
            return
        for thread in threads:
            # One that another thread is about to start has no number yet, and finds its ticket to leave.
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join()
        with (
            interrupts_held()
        ):  # freeing a Thread runs a callback that swallows a KeyboardInterrupt
            thread = None
            threads.clear()
            with self._guard:
                self._threads = {each for each in self._threads if each.is_alive()}

    def __del__(self) -> None:
        """Let idle workers go; puts on a queue only, which is safe here."""
        for _ in getattr(self, "_threads", ()):
            self._tickets.put(None)

    def _forget(self) -> None:
        """Begin anew in a forked child, which has none of the threads."""
        super()._forget()
        self._guard = threading.Lock()
        self._tickets = SimpleQueue()
        self._threads = set()
        self._load = 0


class _ThreadLane:
    """Chunks of one run on the threads of one engine."""

    def __init__(self, engine: ThreadExecutor, job: Job, wakeup: Wakeup) -> None:
        self._engine = engine
        self._job = job
        self._task = Task(job.function, star=job.star, seed=job.seed)
        self._context = job.context if job.context is not None else copy_context()
        self._wakeup = wakeup
        self._numbers = itertools.count()
        self._waiting: dict[int, Chunk] = {}
        self._running: dict[int, tuple[Chunk, float, threading.Thread]] = {}
        self._news: list[Settled | Returned] = []
        self._is_closed = False

    def room(self) -> int:
        if self._is_closed:
            return 0
        return self._job.queued * self._engine.workers - len(self._waiting) - len(self._running)

    def send(self, chunk: Chunk) -> None:
        number = next(self._numbers)
        self._waiting[number] = chunk
        self._engine.dispatch(self, number)

    def poll(self) -> Sequence[Settled | Returned]:
        if self._job.task_timeout is not None:
            self._abandon_overdue(time.monotonic() - self._job.task_timeout)
        return self._news.copy()

    def ack(self, count: int) -> None:
        del self._news[:count]

    def filenos(self) -> Sequence[int]:
        return ()

    def deadline(self) -> float | None:
        if self._job.task_timeout is None or not self._running:
            return None
        return (
            min(started for _, started, _ in self._running.copy().values()) + self._job.task_timeout
        )

    def work(self, seconds: float) -> None:
        """Nothing is to be done in the caller's thread."""

    def revoke(self) -> None:
        for number in list(self._waiting):
            chunk = self._waiting.pop(number, None)  # None: a worker claimed it first
            if chunk is not None:
                self._news.append(Returned(chunk.first, len(chunk.items)))

    def close(self, *, kill: bool = False) -> None:
        self._is_closed = True
        self.revoke()

    def run(self, number: int, scope: Scope) -> None:
        """Run a chunk, unless it was revoked (called by workers)."""
        chunk = self._waiting.pop(number, None)
        if chunk is None:
            return
        self._running[number] = (chunk, time.monotonic(), threading.current_thread())
        if self._job.task_timeout is not None:
            self._wakeup.set()  # there is a deadline now
        settled = _outcomes(ChunkRun(self._task, chunk, scope, self._context))
        if self._running.pop(number, None) is not None:  # else its time was up
            self._news.append(settled)
            self._wakeup.set()
        del chunk, settled  # an exception that somebody keeps has this frame, and all that it holds

    def _abandon_overdue(self, latest_start: float) -> None:
        """Settle what runs for too long, whatever it still does."""
        for number, (chunk, started, thread) in self._running.copy().items():
            if started > latest_start or self._running.pop(number, None) is None:
                continue
            self._engine.abandon(thread)
            faults = {
                index: Fault(timed_out(self._job, index, TRAITS), time.monotonic() - started)
                for index in range(chunk.first, chunk.first + len(chunk.items))
            }
            self._news.append(Settled(chunk.first, [None] * len(faults), faults))


def _outcomes(run: ChunkRun) -> Settled:
    """Run a chunk; a worker does not die with its items, whatever happens."""
    first, count = run.chunk.first, len(run.chunk.items)
    try:
        run.advance()
        settled = run.take()
        assert settled is not None
    except BaseException as exception:
        return Settled(
            first, [None] * count, dict.fromkeys(range(first, first + count), Fault(exception))
        )
    return settled


def _serve(
    engine_ref: weakref.ref[ThreadExecutor], tickets: SimpleQueue[tuple[_ThreadLane, int] | None]
) -> None:
    """Run chunks until told to leave (a worker thread); an engine that nobody holds ends its threads."""
    thread = threading.current_thread()
    scope = Scope(engine_ref(), name=thread.name)
    try:
        while True:
            ticket = tickets.get()
            if ticket is not None:
                lane, number = ticket
                lane.run(number, scope)
                del lane
            engine = engine_ref()
            if engine is None or engine.leaves(thread, after_chunk=ticket is not None):
                return
            del engine, ticket
    finally:
        scope.close()
