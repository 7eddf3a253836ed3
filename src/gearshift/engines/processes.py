"""Processes: pure Python on all cores.

For now the standard library's pool behind `ForeignLane`; a pool of our own replaces it.
What that one cannot do is refused: `task_timeout`, and surviving a worker's death.

Workers are forked where that is safe, all at once and from the caller's thread: no
other thread of the program may exist, since a child forked beside one inherits its
locks, held for ever. Elsewhere they come from a fork server. Those do not import the
main program again, as multiprocessing does: functions of `__main__` travel by value, so
a script needs no `if __name__ == "__main__":` guard, and may come from standard input.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.util import Finalize
from types import ModuleType
from typing import TYPE_CHECKING, Any

import cloudpickle

from gearshift._work.logs import COLLECTED, ears, flush_lines, listen
from gearshift._work.shares import limit_threads, reseed
from gearshift._work.transport import run_heard
from gearshift.engines.base import check_workers
from gearshift.engines.executor import EngineExecutor, finish_submitted
from gearshift.engines.foreign import ForeignLane
from gearshift.errors import UnsupportedError
from gearshift.facts import Traits
from gearshift.host import cores, interrupts_held

if sys.platform != "win32":
    from multiprocessing.context import ForkServerContext, ForkServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import BaseContext

    from gearshift.engines.base import Job, Wakeup

__all__ = ["ProcessExecutor", "obstacle", "start_method"]

TRAITS = Traits(
    name="processes",
    parallel_python=True,
    shares_memory=False,
    pickles=True,
    start_seconds=0.1,
    handoff_seconds=1.5e-4,
)

_HARMLESS_THREADS = (
    "QueueFeederThread",
)  # the standard library's own, which hold no lock of others


class ProcessExecutor(EngineExecutor):
    """Runs tasks in worker processes."""

    def __init__(
        self,
        workers: int | None = None,
        *,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        threads_per_worker: int | None = None,
    ) -> None:
        """Begin without a process; they start at the first use.

        Args:
            workers: Processes, as many as usable cores if not said.
            mp_context: How to start them, from `multiprocessing.get_context`; found out if not said.
            initializer: Called once in every worker at its start.
            initargs: Its arguments.
            threads_per_worker: Threads that BLAS and OpenMP use in each; its share of the cores
                if not said.

        Raises:
            TypeError: `workers` or `threads_per_worker` is not a whole number.
            ValueError: One of them is below 1.
        """
        super().__init__()
        check_workers(workers)
        check_workers(threads_per_worker, "threads_per_worker")
        self._threads_per_worker = threads_per_worker
        self._workers = cores() if workers is None else workers
        self._mp_context = mp_context
        self._initializer = initializer
        self._initargs = initargs
        self._pool: ProcessPoolExecutor | None = None
        self._manager: threading.Thread | None = None
        self._guard = threading.Lock()

    @property
    def traits(self) -> Traits:
        """What it can do and what it costs."""
        return TRAITS

    @property
    def workers(self) -> int:
        """Processes."""
        return self._workers

    @property
    def threads(self) -> list[threading.Thread]:
        """The pool's own thread, once the pool is being shut down."""
        return [] if self._manager is None else [self._manager]

    def open(self, job: Job, wakeup: Wakeup) -> ForeignLane:
        """Return a lane for this job.

        Raises:
            RuntimeError: The engine was shut down.
            TransportError: The function cannot be pickled.
            UnsupportedError: The job has a `task_timeout`, which this pool cannot keep yet, or
                this process may not have children.
        """
        self.check_open()
        return ForeignLane(self._started(), self._workers, TRAITS, job, wakeup, run=run_heard)

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
            self._started()  # from this thread, before there is a courier: so they may be forked
        return super().submit(fn, *args, **kwargs)

    def _started(self) -> ProcessPoolExecutor:
        """Return the pool, with its workers on their way.

        Raises:
            UnsupportedError: This process may not have any.
        """
        with self._guard:
            if self._pool is None:
                self._pool = self._start()
            return self._pool

    def _start(self) -> ProcessPoolExecutor:
        """Start the workers.

        Raises:
            UnsupportedError: This process may not have any.
        """
        reason = obstacle()
        if reason is not None:
            raise UnsupportedError(
                f'engine processes: {reason}; say on="threads" or on="serial" there'
            )
        threads = self._threads_per_worker or max(1, cores() // self._workers)
        begin = cloudpickle.dumps((self._initializer, self._initargs, ears(), threads))
        with interrupts_held():
            pool = ProcessPoolExecutor(
                self._workers,
                self._mp_context or _context(),
                initializer=_begin_worker,
                initargs=(begin,),
            )
            pool.submit(int)  # starts them: all at once where they are forked
        return pool

    def _end(self, *, wait: bool, kill: bool) -> None:
        """Let the workers end after what they run."""
        if self._pool is None:
            return
        # The pool forgets its thread at the first shutdown, and a second one waits for nothing.
        self._manager = getattr(self._pool, "_executor_manager_thread", None) or self._manager
        self._pool.shutdown(wait=wait, cancel_futures=True)
        if wait and self._manager is not None:
            self._manager.join()
            with interrupts_held():  # see ThreadExecutor: a Thread's end must not lose a Ctrl-C
                self._manager = self._pool = None  # they hold pipes

    def _forget(self) -> None:
        """Begin anew in a forked child: the pool is the parent's."""
        super()._forget()
        self._guard = threading.Lock()
        self._pool = None


def obstacle() -> str | None:
    """Return why this process cannot have workers, or None."""
    if multiprocessing.current_process().daemon:
        return "this is itself a daemonic process of multiprocessing, which may not have children"
    return None


def start_method() -> str:
    """Return how workers are started here: "fork" where nothing forbids it."""
    if sys.platform != "linux":
        return "spawn"
    others = [
        thread
        for thread in threading.enumerate()
        if thread is not threading.current_thread()
        and thread.name not in _HARMLESS_THREADS
        and type(thread).__name__ != "_ExecutorManagerThread"
    ]
    return "forkserver" if others else "fork"


class _SpawnWorker(SpawnProcess):
    """A fresh interpreter that leaves the main program alone."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - where multiprocessing starts a process
        with _main_hidden():
            return SpawnProcess._Popen(process_obj)  # noqa: SLF001


class _SpawnContext(SpawnContext):
    Process = _SpawnWorker


if sys.platform != "win32":

    class _ForkServerWorker(ForkServerProcess):
        """A fork of the fork server that leaves the main program alone."""

        @staticmethod
        def _Popen(process_obj: Any) -> Any:  # noqa: N802 - where multiprocessing starts a process
            with _main_hidden():
                return ForkServerProcess._Popen(process_obj)  # noqa: SLF001

    class _ForkServerContext(ForkServerContext):
        Process = _ForkServerWorker


def _context() -> BaseContext:
    """Return how this program starts workers now."""
    method = start_method()
    if method == "forkserver":
        return _ForkServerContext()
    return _SpawnContext() if method == "spawn" else multiprocessing.get_context(method)


class _Faceless(ModuleType):
    """The main module, but for where it came from, which is how multiprocessing would find it again."""

    def __init__(self, main: ModuleType) -> None:
        super().__init__("__main__")
        self._main = main

    def __getattr__(self, name: str) -> Any:
        if name == "__file__":
            raise AttributeError(name)
        return getattr(self._main, name)


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Start a process without telling it about the main program; other threads still see it whole."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = _Faceless(main)
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _begin_worker(initializer: bytes) -> None:
    """Leave Ctrl-C to the parent: with SIG_IGN, programs that tasks start would ignore it too."""
    signal.signal(signal.SIGINT, lambda _signum, _frame: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a forked worker has the program's own handler
    begin, arguments, parent, threads = pickle.loads(initializer)
    listen(parent, COLLECTED, f"process {os.getpid()}")
    Finalize(None, flush_lines, exitpriority=5)  # after the objects of `gs.per_worker`
    limit_threads(threads)
    reseed()
    if begin is not None:
        begin(*arguments)


# The standard library's pools take nothing more once the main thread has ended; what was
# submitted before has to be with them by then. Hooks run last in, first out.
threading._register_atexit(finish_submitted)  # type: ignore[attr-defined]  # noqa: SLF001
