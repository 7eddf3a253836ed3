"""The caller's own thread, one item after another: the plain loop as an engine."""

from __future__ import annotations

import threading
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING

from gearshift._work.run_chunk import ChunkRun, Task
from gearshift._work.scope import Scope
from gearshift.engines.base import check_timeout
from gearshift.engines.executor import EngineExecutor
from gearshift.errors import UnsupportedError
from gearshift.facts import Chunk, Returned, Settled, Traits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearshift.engines.base import Job, Wakeup

__all__ = ["SerialExecutor"]

TRAITS = Traits(name="serial", in_caller=True, handoff_seconds=1e-6)


class SerialExecutor(EngineExecutor):
    """Runs tasks in the thread that iterates the run."""

    @property
    def traits(self) -> Traits:
        """What it can do and what it costs."""
        return TRAITS

    @property
    def workers(self) -> int:
        """Always 1."""
        return 1

    def open(self, job: Job, wakeup: Wakeup) -> _SerialLane:
        """Return a lane for this job.

        Raises:
            RuntimeError: The engine was shut down.
            UnsupportedError: The job has a `task_timeout`: the caller's thread cannot stop itself.
        """
        self.check_open()
        check_timeout(job, TRAITS)
        return _SerialLane(job)

    def resize(self, workers: int) -> None:
        """Refuse: there is one caller.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(
            f"workers={workers!r}: engine serial runs in the caller's one thread and cannot be resized"
        )


class _SerialLane:
    """One chunk at a time; only `work` runs anything."""

    def __init__(self, job: Job) -> None:
        self._task = Task(job.function, star=job.star, seed=job.seed)
        self._context = job.context if job.context is not None else copy_context()
        self._scope = Scope(name="the caller")
        self._run: ChunkRun | None = None
        self._news: deque[Settled | Returned] = deque()

    def room(self) -> int:
        return 1 if self._run is None else 0

    def send(self, chunk: Chunk) -> None:
        self._run = ChunkRun(
            self._task, chunk, self._scope, self._context, interruptible=_is_main_thread()
        )

    def work(self, seconds: float) -> None:
        if self._run is not None:
            self._run.advance(seconds)

    def poll(self) -> Sequence[Settled | Returned]:
        run = self._run
        if run is not None:
            settled = run.take()
            if settled is not None:
                self._news.append(settled)
            if run.is_done:
                self._run = None
        return self._news

    def ack(self, count: int) -> None:
        for _ in range(count):
            self._news.popleft()

    def filenos(self) -> Sequence[int]:
        return ()

    def deadline(self) -> float | None:
        return None

    def revoke(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.end()
            settled = run.take()
            if settled is not None:
                self._news.append(settled)
            if not run.is_done:
                self._news.append(
                    Returned(run.index, run.chunk.first + len(run.chunk.items) - run.index)
                )

    def close(self, *, kill: bool = False) -> None:
        self.revoke()
        self._scope.close()


def _is_main_thread() -> bool:
    """Whether a KeyboardInterrupt here is meant for the program; elsewhere only a task can have raised it."""
    return threading.current_thread() is threading.main_thread()
