"""The engine's face for any `concurrent.futures.Executor`: the standard library's, Dask's, loky's, mpi4py's.

    lane.send -> executor.submit(run_packed, ...) -> Future
    lane.poll <- lane._news <- lane._done <- Future's callback, in a thread of the executor, Wakeup.set()

The callback only notes that the future ended; outcomes are unpickled by `poll`, in the
consumer's thread. Function and items travel as bytes that we made, so that one item
that cannot be pickled does not break the executor.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections import deque
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from gearshift._work.replay import replay
from gearshift._work.run_chunk import ChunkRun, Task
from gearshift._work.scope import Scope
from gearshift._work.transport import PackedOutcome, pack_items, pack_task, run_packed, unpack
from gearshift.engines.base import check_timeout, check_workers
from gearshift.errors import RunClosedError, UnsupportedError, WorkerDiedError
from gearshift.facts import Chunk, Fault, Returned, Settled, Traits
from gearshift.host import cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearshift.engines.base import Job, Wakeup

__all__ = ["ForeignEngine", "ForeignLane"]


class ForeignEngine:
    """An engine made of an executor that somebody else made, and ends."""

    def __init__(
        self, executor: Executor, workers: int | None = None, *, traits: Traits | None = None
    ) -> None:
        """Wrap the executor.

        Args:
            executor: Any `concurrent.futures.Executor`. Its owner shuts it down.
            workers: Calls that it runs at once; found out where it can be.
            traits: What it can do, where that is known; else threads of the standard
                library are taken for threads, and everything else for processes.

        Raises:
            TypeError: `executor` is not an Executor, or `workers` is not a whole number.
            ValueError: `workers` is below 1.
        """
        check_workers(workers)
        if not isinstance(executor, Executor):
            raise TypeError(f"executor={executor!r} is not a concurrent.futures.Executor")
        self._executor = executor
        self._workers = workers or _workers_of(executor) or cores()
        self._traits = traits if traits is not None else _guess_traits(executor)

    @property
    def traits(self) -> Traits:
        """What it can do and what it costs."""
        return self._traits

    @property
    def workers(self) -> int:
        """Calls that it runs at once."""
        return self._workers

    @property
    def owner(self) -> Executor:
        """What the workers belong to."""
        return self._executor

    def open(self, job: Job, wakeup: Wakeup) -> ForeignLane:
        """Return a lane for this job.

        Raises:
            TransportError: The function cannot be pickled.
            UnsupportedError: The job has a `task_timeout`: an executor cannot stop one call.
        """
        return ForeignLane(self._executor, self._workers, self._traits, job, wakeup)

    def resize(self, workers: int) -> None:
        """Refuse: the executor is its owner's.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(
            f"workers={workers!r}: {self._traits.name} belongs to its owner and keeps its {self._workers} workers; "
            "make one of the size you want"
        )

    def shutdown(self, *, wait: bool = True, kill: bool = False) -> None:
        """Do nothing: the executor is its owner's."""


class ForeignLane:
    """Chunks of one run as calls of one executor."""

    def __init__(
        self,
        executor: Executor,
        workers: int,
        traits: Traits,
        job: Job,
        wakeup: Wakeup,
    ) -> None:
        """Pickle the function, where the traits say so; see `ForeignEngine.open`."""
        self._nonce = os.urandom(8).hex()
        self._numbers = itertools.count()
        check_timeout(job, traits)
        self._executor = executor
        self._workers = workers
        self._traits = traits
        self._job = job
        self._wakeup = wakeup
        self._task = Task(job.function, star=job.star, seed=job.seed)
        self._packed = pack_task(self._task) if traits.pickles else None
        self._context = job.context if job.context is not None else copy_context()
        self._scopes = _ThreadScopes(executor)
        self._in_flight: dict[Future[Any], Chunk] = {}
        self._done: deque[Future[Any]] = deque()
        self._news: list[Settled | Returned] = []
        self._death: BaseException | None = None
        self._is_closed = False

    def room(self) -> int:
        """Return how many chunks it takes now."""
        if self._is_closed or self._death is not None:
            return 0
        return self._job.queued * self._workers - len(self._in_flight)

    def send(self, chunk: Chunk) -> None:
        """Submit a chunk; an item that cannot be pickled settles as a fault."""
        if self._packed is None:
            self._submit(chunk, self._scopes.run, self._task, chunk, self._context)
        else:
            self._send_packed(chunk, singly=False)

    def poll(self) -> Sequence[Settled | Returned]:
        """Return what is new.

        Raises:
            WorkerDiedError: A worker died; the executor is broken.
        """
        while self._done:
            future = self._done.popleft()
            chunk = self._in_flight.pop(future, None)
            if chunk is not None:  # else it was revoked
                self._take(future, chunk)
        if self._death is not None and self._news:
            self._wakeup.set()  # the death has its turn after this news, and nobody else tells of it
        elif self._death is not None:
            held = ", ".join(_range(chunk) for chunk in self._in_flight.values()) or "none"
            raise WorkerDiedError(
                f"a worker of {self._traits.name} died (killed, crashed or left by os._exit), which breaks this pool; "
                f"items without an outcome: {held} ({self._death}). It cannot tell which of them did it: "
                'on="serial" or chunksize=1 narrows it down'
            ) from self._death
        return self._news.copy()

    def ack(self, count: int) -> None:
        """Forget the first news."""
        del self._news[:count]

    def filenos(self) -> Sequence[int]:
        """Return nothing: callbacks set the wake-up."""
        return ()

    def deadline(self) -> float | None:
        """Return None: nothing is timed here."""
        return None

    def work(self, seconds: float) -> None:
        """Do nothing: nothing runs in the caller's thread."""

    def revoke(self) -> None:
        """Give back the calls that have not started."""
        for future, chunk in list(self._in_flight.items()):
            if future.cancel():
                del self._in_flight[future]
                self._news.append(Returned(chunk.first, len(chunk.items)))

    def close(self, *, kill: bool = False) -> None:
        """Take nothing more; a call that runs goes on to its end."""
        self._is_closed = True
        self.revoke()
        if not self._in_flight:
            self._scopes.close()

    def _send_packed(self, chunk: Chunk, *, singly: bool) -> None:
        ranges, faults = pack_items(chunk, singly=singly)
        for index, fault in faults.items():
            self._news.append(Settled(index, [None], {index: fault}))
            self._wakeup.set()
        for packed in ranges:
            offset = packed.first - chunk.first
            part = Chunk(packed.first, chunk.items[offset : offset + packed.count], chunk.attempt)
            # Dask takes two calls that look the same for one, and cancelling one cancels both.
            self._submit(
                part, run_packed, self._packed, packed, f"{self._nonce}-{next(self._numbers)}"
            )

    def _submit(self, chunk: Chunk, function: Any, *arguments: Any) -> None:
        try:
            future = self._executor.submit(function, *arguments)
        except BrokenExecutor as death:
            self._death = death
            self._wakeup.set()
            return
        except (
            RuntimeError
        ) as error:  # the standard library's word for an executor that was shut down
            raise RunClosedError(
                f"{self._traits.name} takes nothing more while a run is using it: {error}"
            ) from error
        self._in_flight[future] = chunk
        # The callback holds the lane weakly: it would be a cycle, and keep the wake-up's descriptor open.
        future.add_done_callback(partial(_note, weakref.ref(self)))

    def note(self, future: Future[Any]) -> None:
        """Remember that a call ended (called by its future)."""
        self._done.append(future)
        self._wakeup.set()

    def _take(self, future: Future[Any], chunk: Chunk) -> None:
        """Turn a call's end into news."""
        if future.cancelled():
            self._news.append(Returned(chunk.first, len(chunk.items)))
            return
        exception = future.exception()
        if isinstance(exception, BrokenExecutor):
            self._in_flight[future] = chunk  # to be named in the error
            self._death = exception
        elif exception is not None:
            if type(exception).__name__ == "KilledWorker":  # Dask's, who tried several workers
                death = WorkerDiedError(
                    f"items {_range(chunk)}: workers of {self._traits.name} died of it: {exception}"
                )
                death.__cause__, exception = exception, death
            faults = {
                index: Fault(exception)
                for index in range(chunk.first, chunk.first + len(chunk.items))
            }
            self._news.append(Settled(chunk.first, [None] * len(faults), faults))
        else:
            outcome = future.result()
            if not isinstance(outcome, PackedOutcome):
                self._news.append(outcome)
            else:
                self._take_packed(outcome, chunk)
        if self._is_closed and not self._in_flight:
            self._scopes.close()

    def _take_packed(self, outcome: PackedOutcome, chunk: Chunk) -> None:
        """Take what a worker of another process sent."""
        for frame in outcome.said:
            replay(frame)
        if outcome.unreadable:
            self._send_packed(chunk, singly=True)
        else:
            self._news.append(unpack(outcome, chunk.first))


def _note(lane_ref: weakref.ref[ForeignLane], future: Future[Any]) -> None:
    """Remember that a call ended (in a thread of the executor's); nobody asks once the lane is gone."""
    lane = lane_ref()
    if lane is not None:
        lane.note(future)


class _ThreadScopes:
    """A scope for each thread of an executor that shares our memory."""

    def __init__(self, owner: Executor) -> None:
        self._owner = owner
        self._scopes: dict[int, Scope] = {}

    def run(self, task: Task, chunk: Chunk, context: Any) -> Settled:
        """Run a chunk in this thread."""
        scope = self._scopes.setdefault(
            threading.get_ident(), Scope(self._owner, name=threading.current_thread().name)
        )
        run = ChunkRun(task, chunk, scope, context)
        run.advance()
        settled = run.take()
        assert settled is not None
        return settled

    def close(self) -> None:
        """Close what the threads made, since their end is not ours to see.

        In a thread of its own: here an event loop may run, beside which no other can.
        """
        if any(scope.has_work for scope in self._scopes.values()):
            closer = threading.Thread(target=self._close_all, name="gearshift-foreign-closer")
            closer.start()
            closer.join()
        self._scopes.clear()

    def _close_all(self) -> None:
        for scope in list(self._scopes.values()):
            scope.close()


def _workers_of(executor: Executor) -> int | None:
    """Return how many calls an executor runs at once, where it can be asked.

    The standard library and loky keep `_max_workers`, mpi4py has `num_workers`, and Dask
    knows the threads of each worker of its cluster.
    """
    for name in ("_max_workers", "num_workers"):
        count = getattr(executor, name, None)
        if isinstance(count, int) and count > 0:
            return count
    nthreads = getattr(getattr(executor, "_client", None), "nthreads", None)
    return sum(nthreads().values()) if callable(nthreads) else None


def _guess_traits(executor: Executor) -> Traits:
    """Take an executor for threads or for something that pickles."""
    name = type(executor).__name__
    if isinstance(executor, ThreadPoolExecutor) and "Interpreter" not in name:
        return Traits(name=name, handoff_seconds=5e-5)
    return Traits(
        name=name,
        parallel_python=True,
        shares_memory=False,
        pickles=True,
        start_seconds=0.1,
        handoff_seconds=1e-4,
    )


def _range(chunk: Chunk) -> str:
    """Write the items of a chunk as a range."""
    last = chunk.first + len(chunk.items) - 1
    return str(chunk.first) if last == chunk.first else f"{chunk.first} to {last}"
