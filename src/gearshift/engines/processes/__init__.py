"""Processes: pure Python on all cores, on a pool of our own.

    ProcessExecutor -> Pool (the parent's side) -> keeper -> workers
    run -> ProcessLane -> Pool

The keeper is forked from the caller where that is safe: no other thread exists, since a child
forked beside one inherits its locks, held for ever. Elsewhere it is a fresh interpreter, which
does not import the main program again, as multiprocessing does: functions of `__main__` travel
by value, so a script needs no `if __name__ == "__main__":` guard.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import cloudpickle

from gearshift._work.faults import pack_fault, unpack_fault
from gearshift._work.logs import ears
from gearshift.engines.base import check_workers
from gearshift.engines.executor import EngineExecutor, finish_submitted
from gearshift.engines.processes.lane import ProcessLane
from gearshift.engines.processes.pool import Pool
from gearshift.engines.processes.worker import Duties
from gearshift.errors import UnsupportedError, WorkerDiedError
from gearshift.facts import Fault, Traits
from gearshift.host import cores, interrupts_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.context import BaseContext

    from gearshift._work.faults import PackedFault
    from gearshift.engines.base import Job, Wakeup

__all__ = ["ProcessExecutor", "obstacle", "start_method"]

TRAITS = Traits(
    name="processes",
    parallel_python=True,
    shares_memory=False,
    pickles=True,
    stops="kill",
    survives_death=True,
    start_seconds=0.02,
    handoff_seconds=5e-5,
)

T = TypeVar("T")

# Whose threads a fork survives, and whose it does not (DESIGN, section 6).
_FORKABLE = "openblas"
_UNFORKABLE = ("libgomp", "libiomp", "libcuda", "grpc", "libtbb", "libtorch", "libmkl")


class ProcessExecutor(EngineExecutor):
    """Runs tasks in worker processes; a worker's death or a task's time-out costs its item only."""

    def __init__(
        self,
        workers: int | None = None,
        *,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        threads_per_worker: int | None = None,
        max_tasks_per_worker: int | None = None,
        worker_memory_limit: int | None = None,
        idle_seconds: float | None = None,
        start_method: str | None = None,
        max_workers: int | None = None,
        max_tasks_per_child: int | None = None,
    ) -> None:
        """Begin without a process; they start at the first use.

        Args:
            workers: Processes, as many as usable cores if not said.
            mp_context: How to start them, as the standard library's pool takes it: a context of
                "fork" forks, any other starts a fresh interpreter.
            initializer: Called once in every worker at its start.
            initargs: Its arguments.
            threads_per_worker: Threads that BLAS and OpenMP use in each; its share of the cores
                if not said.
            max_tasks_per_worker: Tasks after which a worker is replaced.
            worker_memory_limit: Bytes of resident memory above which a worker is replaced, after
                the task that it is on.
            idle_seconds: How long a worker waits for work before it leaves; for ever if not said.
            start_method: "fork" or "exec" a fresh interpreter; what is safe if not said.
            max_workers: The standard library's name for `workers`.
            max_tasks_per_child: The standard library's name for `max_tasks_per_worker`.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument has a wrong value.
        """
        super().__init__()
        workers = _one_of("workers", workers, "max_workers", max_workers)
        max_tasks_per_worker = _one_of(
            "max_tasks_per_worker",
            max_tasks_per_worker,
            "max_tasks_per_child",
            max_tasks_per_child,
        )
        check_workers(workers)
        check_workers(threads_per_worker, "threads_per_worker")
        check_workers(max_tasks_per_worker, "max_tasks_per_worker")
        check_workers(worker_memory_limit, "worker_memory_limit")
        if start_method not in {None, "fork", "exec"}:
            raise ValueError(f"start_method={start_method!r} is not 'fork', 'exec' or None")
        if idle_seconds is not None and not idle_seconds > 0:
            raise ValueError(f"idle_seconds={idle_seconds!r} is not a number of seconds above 0")
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer={initializer!r} is not callable")
        self._workers = cores() if workers is None else workers
        self._method = start_method
        if self._method is None and mp_context is not None:
            self._method = "fork" if mp_context.get_start_method() == "fork" else "exec"
        self._begin = (initializer, initargs)
        self._options: dict[str, Any] = {
            "threads": threads_per_worker or max(1, cores() // self._workers),
            "max_tasks": max_tasks_per_worker,
            "memory_limit": worker_memory_limit,
            "idle_seconds": idle_seconds,
        }
        self._pool: Pool | None = None
        self._guard = threading.Lock()

    @property
    def traits(self) -> Traits:
        """What it can do and what it costs."""
        return TRAITS

    @property
    def workers(self) -> int:
        """Processes."""
        return self._workers

    def open(self, job: Job, wakeup: Wakeup) -> ProcessLane:
        """Return a lane for this job.

        Raises:
            RuntimeError: The engine was shut down.
            TransportError: The function cannot be pickled.
            UnsupportedError: This process may not have children.
            WorkerDiedError: The pool's workers cannot be started.
        """
        self.check_open()
        pool = self._started()
        if pool.death:
            raise WorkerDiedError(pool.death)
        pool.heed(ears())
        return ProcessLane(pool, job, TRAITS, wakeup)

    def resize(self, workers: int) -> None:
        """Refuse: this pool keeps its size.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(
            f"workers={workers!r}: engine processes has {self._workers} and cannot be resized yet; make a new one"
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Schedule one call; see `concurrent.futures.Executor.submit`."""
        if not self._is_shut:
            # From this thread, before there is a courier: so they may be forked.
            self._started().heed(ears())
        return super().submit(fn, *args, **kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **options: Any,
    ) -> Iterator[T]:
        """Call a function with items, as `concurrent.futures.Executor.map` does.

        Args:
            fn: What to call.
            iterables: Its arguments, side by side; taken at once.
            timeout: Seconds from now within which each value is to be there.
            chunksize: Calls that travel together; an exception costs its own call only.
            options: What later versions of Python add, as `buffersize`.

        Returns:
            The values in order; the first exception is raised at its turn.

        Raises:
            ValueError: `chunksize` is below 1.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize={chunksize!r} is below 1: say how many calls go together")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **options)
        chunks = _chunks(zip(*iterables, strict=False), chunksize)
        outcomes = super().map(partial(_call_each, fn), chunks, timeout=timeout, **options)
        return _values(outcomes)

    def _started(self) -> Pool:
        """Return the pool, with its workers on their way.

        Raises:
            UnsupportedError: This process may not have any.
        """
        with interrupts_held(), self._guard:
            if self._pool is None:
                reason = obstacle()
                if reason is not None:
                    raise UnsupportedError(
                        f'engine processes: {reason}; say on="threads" or on="serial" there'
                    )
                duties = Duties(cloudpickle.dumps(self._begin), ears(), **self._options)
                self._pool = Pool(self._workers, duties, method=self._method or start_method())
            return self._pool

    def _end(self, *, wait: bool, kill: bool) -> None:
        """Let the workers end after what they run, or kill them."""
        pool = self._pool
        if pool is None:
            return
        pool.end(kill=kill, wait=wait or self._is_waited)
        if wait:
            pool.wait_ended()

    def _forget(self) -> None:
        """Begin anew in a forked child: the pool is the parent's."""
        super()._forget()
        self._guard = threading.Lock()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.disown()

    def __del__(self) -> None:
        """Let the workers end: nobody can use them any more; never blocks."""
        pool = getattr(self, "_pool", None)
        if pool is not None and not pool.is_closed:
            with suppress(RuntimeError):  # the interpreter ends; the keeper sees that
                _thread.start_new_thread(pool.end, (), {"kill": True})


def _chunks(arguments: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield lists of so many."""
    arguments = iter(arguments)
    while chunk := list(islice(arguments, size)):
        yield chunk


def _call_each(
    fn: Callable[..., Any], chunk: list[tuple[Any, ...]]
) -> tuple[list[Any], PackedFault | None]:
    """Make calls in a worker, up to the first that raises; nobody would see what comes after."""
    values: list[Any] = []
    for arguments in chunk:
        try:
            values.append(fn(*arguments))
        except BaseException as exception:
            return values, pack_fault(Fault(exception))
    return values, None


def _values(outcomes: Iterator[tuple[list[Any], PackedFault | None]]) -> Iterator[Any]:
    """Yield the values of chunks, and raise where one ends with an exception."""
    try:
        for values, fault in outcomes:
            yield from values
            if fault is not None:
                raise unpack_fault(fault).exception
    finally:
        outcomes.close()  # type: ignore[attr-defined] # it is a generator: what waits is cancelled


def obstacle() -> str | None:
    """Return why this process cannot have workers, or None."""
    if sys.platform == "win32":
        return "this pool needs pipes and signals as POSIX has them"
    multiprocessing = sys.modules.get("multiprocessing.process")  # loaded in a process of its
    if multiprocessing is not None and multiprocessing.current_process().daemon:
        return "this is itself a daemonic process of multiprocessing, which may not have children"
    return None


def start_method(ending: int = 0) -> str:
    """Return how workers are started here: "fork" where nothing forbids it, else "exec".

    Args:
        ending: Threads that will have ended by then.
    """
    if sys.platform != "linux" or threading.active_count() > 1 + ending:
        return "exec"
    try:
        tasks = os.listdir("/proc/self/task")  # noqa: PTH208 - the number is all we need
        others = len(tasks) - 1 - ending
        if others == 0:
            return "fork"
        maps = Path("/proc/self/maps").read_text("utf-8", "replace")
    except OSError:
        return "exec"
    is_known = _FORKABLE in maps and not any(name in maps for name in _UNFORKABLE)
    return "fork" if is_known else "exec"


def _one_of(name: str, value: int | None, other: str, theirs: int | None) -> int | None:
    """Return what one of two names was given.

    Raises:
        TypeError: Both were.
    """
    if value is not None and theirs is not None:
        raise TypeError(
            f"{name}={value!r} and {other}={theirs!r} are two names of one thing: say one"
        )
    return value if theirs is None else theirs


# The standard library's pools take nothing more once the main thread has ended; what was
# submitted before has to be with them by then. Hooks run last in, first out.
threading._register_atexit(finish_submitted)  # type: ignore[attr-defined]  # noqa: SLF001
