"""Coroutine functions on an event loop: thousands of waits in one thread.

    lane.send -> lane._waiting -> loop: claim, one task per item
    lane.poll <- lane._news <---- loop: the task's end, Wakeup.set()

Under `async for` the tasks run on the consumer's own loop; otherwise on a loop in a
daemon thread of the engine, started at the first lane that needs it. A chunk is claimed
as on threads, by taking it out of `_waiting`, so it is either run or revoked, once.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from gearshift._work.run_chunk import ItemCall, Task
from gearshift._work.scope import Scope
from gearshift.engines.base import check_workers, timed_out
from gearshift.engines.executor import EngineExecutor
from gearshift.facts import Chunk, Fault, Returned, Settled, Traits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearshift.engines.base import Job, Wakeup

__all__ = ["AsyncioExecutor"]

TRAITS = Traits(
    name="asyncio",
    stops="cancel",
    coroutines_only=True,
    resizable=True,
    start_seconds=1e-3,
    handoff_seconds=1e-4,
)
DEFAULT_WORKERS = 1000


class AsyncioExecutor(EngineExecutor):
    """Runs coroutine functions, many at a time, on one event loop."""

    def __init__(self, workers: int | None = None) -> None:
        """Begin without a loop.

        Args:
            workers: Tasks in flight at most, 1,000 if not said.

        Raises:
            TypeError: `workers` is not a whole number.
            ValueError: `workers` is below 1.
        """
        super().__init__()
        check_workers(workers)
        self._target = DEFAULT_WORKERS if workers is None else workers
        self._loop_thread: _LoopThread | None = None
        self._guard = threading.Lock()

    @property
    def traits(self) -> Traits:
        """What it can do and what it costs."""
        return TRAITS

    @property
    def workers(self) -> int:
        """Tasks in flight at most."""
        return self._target

    @property
    def threads(self) -> list[threading.Thread]:
        """The thread of the engine's own loop, if there is one."""
        return [] if self._loop_thread is None else [self._loop_thread.thread]

    def open(self, job: Job, wakeup: Wakeup) -> _AsyncioLane:
        """Return a lane for this job.

        Raises:
            RuntimeError: The engine was shut down.
        """
        self.check_open()
        if job.loop is not None:
            return _AsyncioLane(self, job, wakeup, job.loop, Scope(self), owns_scope=True)
        with self._guard:
            if self._loop_thread is None:
                self._loop_thread = _LoopThread(self)
        there = self._loop_thread
        return _AsyncioLane(self, job, wakeup, there.loop, there.scope, owns_scope=False)

    def resize(self, workers: int) -> None:
        """Change how many tasks are in flight at most.

        Raises:
            TypeError: `workers` is not a whole number.
            ValueError: `workers` is below 1.
        """
        check_workers(workers)
        self._target = workers

    def _end(self, *, wait: bool, kill: bool) -> None:
        """Let the loop end after its tasks, or cancel them."""
        with self._guard:
            there = self._loop_thread
        if there is not None:
            there.stop(kill=kill)
            if wait and threading.current_thread() is not there.thread:
                there.thread.join()

    def __del__(self) -> None:
        """Let the loop end: nobody can use it any more."""
        there = getattr(self, "_loop_thread", None)
        if there is not None:
            there.stop(kill=True)

    def _forget(self) -> None:
        """Begin anew in a forked child, which has no loop thread."""
        super()._forget()
        self._guard = threading.Lock()
        self._loop_thread = None


class _LoopThread:
    """A daemon thread with an event loop, until it is told to stop."""

    def __init__(self, owner: AsyncioExecutor) -> None:
        self.scope = Scope(owner)
        self._is_up = threading.Event()
        self._kill = False
        self._runner = asyncio.Runner()
        self.loop = (
            self._runner.get_loop()
        )  # here: where there are no descriptors left, it says so to the caller
        self.thread = threading.Thread(target=self._run, name="gearshift-asyncio-loop", daemon=True)
        self.thread.start()
        self._is_up.wait()

    def stop(self, *, kill: bool) -> None:
        """Have the loop end; with `kill`, cancel what runs."""
        self._kill = self._kill or kill
        if not self.loop.is_closed():
            try:
                self.loop.call_soon_threadsafe(self._stop.set)
            except RuntimeError:
                return  # it closed in between

    def _run(self) -> None:
        with self._runner as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._is_up.set()
        await self._stop.wait()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if self._kill:
            for task in others:
                task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.scope.aclose()


class _AsyncioLane:
    """Items of one run as tasks of one loop."""

    def __init__(
        self,
        engine: AsyncioExecutor,
        job: Job,
        wakeup: Wakeup,
        loop: asyncio.AbstractEventLoop,
        scope: Scope,
        *,
        owns_scope: bool,
    ) -> None:
        self._engine = engine
        self._job = job
        self._task = Task(job.function, star=job.star, seed=job.seed)
        self._context = job.context if job.context is not None else copy_context()
        self._wakeup = wakeup
        self._loop = loop
        self._scope = scope
        self._owns_scope = owns_scope
        self._numbers = itertools.count()
        self._waiting: dict[int, Chunk] = {}
        self._tasks: set[asyncio.Task[Settled]] = set()
        self._in_flight = 0  # items sent and not settled; the consumer's thread counts them
        self._news: list[Settled | Returned] = []
        self._is_begin_due = False
        self._is_closed = False
        self._closing: asyncio.Task[None] | None = None

    def room(self) -> int:
        return 0 if self._is_closed else self._engine.workers - self._in_flight

    def send(self, chunk: Chunk) -> None:
        self._engine.check_alive()
        self._waiting[next(self._numbers)] = chunk
        self._in_flight += len(chunk.items)
        if self._job.loop is not None:
            self._begin()
        elif not self._is_begin_due:
            self._is_begin_due = True
            self._loop.call_soon_threadsafe(self._begin)

    def poll(self) -> Sequence[Settled | Returned]:
        return self._news.copy()

    def ack(self, count: int) -> None:
        for each in self._news[:count]:
            self._in_flight -= each.count if isinstance(each, Returned) else len(each.values)
        del self._news[:count]

    def filenos(self) -> Sequence[int]:
        return ()

    def deadline(self) -> float | None:
        return None  # the loop keeps the time of its tasks itself

    def work(self, seconds: float) -> None:
        """Nothing is to be done in the caller's thread."""

    def revoke(self) -> None:
        for number in list(self._waiting):
            chunk = self._waiting.pop(number, None)  # None: the loop claimed it first
            if chunk is not None:
                self._news.append(Returned(chunk.first, len(chunk.items)))

    def close(self, *, kill: bool = False) -> None:
        was_closed, self._is_closed = self._is_closed, True
        self.revoke()
        if self._loop.is_closed() or (was_closed and not kill):
            return
        on_loop = self._job.loop is not None and _running_loop() is self._loop
        if on_loop:
            self._finish(kill=kill)
        else:
            try:
                self._loop.call_soon_threadsafe(lambda: self._finish(kill=kill))
            except RuntimeError:
                return  # the loop closed in between and ended its tasks

    async def wait_closed(self) -> None:
        """Return when the tasks have ended and the worker's objects are closed."""
        if self._closing is not None:
            await self._closing

    def _finish(self, *, kill: bool) -> None:
        """Cancel what runs, if asked, and close the worker's objects after it (on the loop)."""
        if kill:
            for task in self._tasks:
                task.cancel()
        if self._closing is None and self._owns_scope:
            self._closing = self._loop.create_task(self._end())

    async def _end(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._scope.aclose()

    def _begin(self) -> None:
        """Make the tasks of what was sent (on the loop)."""
        self._is_begin_due = False  # first: what is sent from here on asks again
        for number in list(self._waiting):
            chunk = self._waiting.pop(number, None)
            if chunk is not None:  # else it was revoked
                self._begin_chunk(chunk)

    def _begin_chunk(self, chunk: Chunk) -> None:
        for index, item in enumerate(chunk.items, chunk.first):
            task = self._loop.create_task(self._run_item(index, item), context=self._context.copy())
            self._tasks.add(task)
            task.add_done_callback(partial(self._settle, index))

    async def _run_item(self, index: int, item: Any) -> Settled:
        """Return the item's outcome."""
        call = ItemCall(self._task, index, item, self._scope)
        if self._job.task_timeout is None:
            return await call.run()
        started = self._loop.time()
        try:
            async with asyncio.timeout(self._job.task_timeout):
                settled = await call.run()
        except TimeoutError:  # ours: what the item raises is an outcome already
            settled = None
        if (
            settled is None or self._loop.time() - started > self._job.task_timeout
        ):  # it may have blocked the loop
            fault = Fault(timed_out(self._job, index, TRAITS), self._loop.time() - started)
            settled = Settled(index, [None], {index: fault})
        return settled

    def _settle(self, index: int, task: asyncio.Task[Settled]) -> None:
        """Report a task's end, also of one that was cancelled before it began."""
        self._tasks.discard(task)
        if task.cancelled() and (self._is_closed or self._engine.has_ended):
            self._news.append(Returned(index, 1))  # we did it: not the item's failure
        elif task.cancelled():
            self._news.append(
                Settled(
                    index, [None], {index: Fault(asyncio.CancelledError("the task was cancelled"))}
                )
            )
        else:
            self._news.append(task.result())
        self._wakeup.set()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
