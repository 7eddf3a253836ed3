"""The standard library's face for any engine: `submit`, `map`, `shutdown`.

    submit -> inbox -> courier thread -> lane -> worker
       Future <----------- courier <---- poll

One courier thread per executor moves the calls; it starts at the first `submit` and
leaves when nothing is left to do, so an executor that is only used with `on=` never
has it, and a program's end waits for what was submitted. It owns the lane; `_lock`
guards the inbox and the question whether a courier is there.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from abc import abstractmethod
from collections import deque
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from gearshift.engines.base import Job, Lane, Wakeup
from gearshift.errors import RunClosedError, WorkerDiedError
from gearshift.facts import Chunk, Returned, Settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift.facts import Traits

__all__ = ["EngineExecutor", "finish_submitted"]

P = ParamSpec("P")
R = TypeVar("R")

_LINGER_SECONDS = 0.02  # spares a new thread to callers that submit one call after another
_WORK_SECONDS = 0.01
EXIT_SECONDS = 1.0  # what runs at the program's end gets this long, all engines together

# By id, and without the callbacks of a WeakSet: CPython cannot raise a KeyboardInterrupt out
# of those, so that a Ctrl-C at an engine's end would be lost. Swept when one is added.
_LIVE: dict[int, weakref.ref[EngineExecutor]] = {}

_Call = tuple["Callable[..., Any]", tuple[Any, ...], dict[str, Any]]


class EngineExecutor(Executor):
    """Base of our engines: an `Engine` that is a `concurrent.futures.Executor` too."""

    def __init__(self) -> None:
        """Begin without a courier."""
        self._lock = threading.Lock()
        self._inbox: deque[tuple[Future[Any], _Call]] = deque()
        self._courier: threading.Thread | None = None
        self._submitted: _Submitted | None = None
        self._is_shut = False
        self._is_waited = False
        self.has_ended: bool = False  # its workers were let go
        for key in [key for key, engine in _LIVE.items() if engine() is None]:
            _LIVE.pop(key, None)
        _LIVE[id(self)] = weakref.ref(self)

    @property
    @abstractmethod
    def traits(self) -> Traits:
        """What it can do and what it costs."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """Tasks that it runs at once."""

    @abstractmethod
    def open(self, job: Job, wakeup: Wakeup) -> Lane:
        """Return a lane for this job; see `gearshift.engines.Engine`."""

    @abstractmethod
    def resize(self, workers: int) -> None:
        """Change the number of workers; see `gearshift.engines.Engine`."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Schedule one call; see `concurrent.futures.Executor.submit`.

        Raises:
            RuntimeError: The executor was shut down.
            WorkerDiedError: Its workers died, and it does not survive that.
        """
        future: Future[R] = Future()
        with self._lock:
            if self._is_shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._submitted is None:
                self._submitted = _Submitted(self)
            if self._submitted.broken is not None:
                raise WorkerDiedError(str(self._submitted.broken)) from self._submitted.broken
            if self._courier is None:
                courier = threading.Thread(
                    target=self._carry, name=f"gearshift-{self.traits.name}-courier"
                )
                courier.start()  # it waits for the lock, and looks into the inbox then
                self._courier = courier
            self._inbox.append((future, (fn, args, kwargs)))
            self._submitted.wakeup.set()
        return future

    def shutdown(
        self,
        wait: bool = True,  # noqa: FBT001, FBT002 - the signature of concurrent.futures
        *,
        cancel_futures: bool = False,
        kill: bool = False,
    ) -> None:
        """End the workers; what was submitted is run first, unless it is cancelled.

        Args:
            wait: Return when nothing is left.
            cancel_futures: Cancel what has not started.
            kill: Also stop what runs, as the traits allow.
        """
        with self._lock:
            self._is_shut = True
            self._is_waited = self._is_waited or wait
            courier = self._courier
            if cancel_futures or kill:
                while self._inbox:
                    future, _ = self._inbox.popleft()
                    if future.cancel():
                        future.set_running_or_notify_cancel()  # or concurrent.futures.wait never hears of it
            if self._submitted is not None:
                self._submitted.kill = kill
                self._submitted.wakeup.set()
        if courier is None:
            if self._submitted is not None:
                self._submitted.close()
            self._finish(wait=wait, kill=kill)
            self._submitted = None
        elif wait:
            courier.join()
            self._finish(wait=True, kill=kill)

    def check_open(self) -> None:
        """Refuse to open a lane on an engine that was shut down.

        Raises:
            RunClosedError: It was.
        """
        if self._is_shut:
            raise RunClosedError(f"this {type(self).__name__} was shut down: make a new one")

    def check_alive(self) -> None:
        """Refuse to start a task on an engine whose workers have gone; called by lanes.

        Raises:
            RunClosedError: They have; what was submitted before a shutdown still runs.
        """
        if self.has_ended:
            raise RunClosedError(
                f"this {type(self).__name__} was shut down while a run was using it"
            )

    def _finish(self, *, wait: bool, kill: bool) -> None:
        """End this engine's own workers, and take no further task."""
        self.has_ended = True
        self._end(wait=wait, kill=kill)

    @property
    def threads(self) -> list[threading.Thread]:
        """The engine's own threads, which the program's end waits for a moment."""
        return []

    def _end(self, *, wait: bool, kill: bool) -> None:
        """End this engine's own workers; called once or more."""

    def _forget(self) -> None:
        """Begin anew in a forked child, which has none of the threads."""
        self._lock = threading.Lock()
        self._inbox = deque()
        self._courier = None
        self._submitted = None

    def _carry(self) -> None:
        """Move calls until there are none (the courier thread)."""
        with self._lock:
            submitted = self._submitted
        assert submitted is not None
        try:
            while True:
                submitted.step(self._inbox)
                if submitted.is_idle and not self._inbox:
                    submitted.wakeup.wait(_LINGER_SECONDS)
                    with self._lock:
                        if not self._inbox:
                            self._courier = None
                            break
        except BaseException as error:  # nobody would ever hear of the calls that are left
            with self._lock:
                self._courier = None
                submitted.fail(error, self._inbox)
        if self._is_shut:
            submitted.close()
            self._finish(wait=False, kill=submitted.kill)
            self._submitted = None  # and with it goes a descriptor


class _Submitted:
    """The lane that submitted calls travel on, and their futures by index."""

    def __init__(self, engine: EngineExecutor) -> None:
        self.wakeup = Wakeup()
        self.broken: BaseException | None = None
        self.kill = False
        function = _acall if engine.traits.coroutines_only else _call
        self._in_caller = engine.traits.in_caller
        self._lane = engine.open(Job(function=function, context=Context()), self.wakeup)
        self._futures: dict[int, Future[Any]] = {}
        self._next = 0

    @property
    def is_idle(self) -> bool:
        """Whether no call is with the lane."""
        return not self._futures

    def step(self, inbox: deque[tuple[Future[Any], _Call]]) -> None:
        """Take news from the lane, give it calls, and wait for more of either."""
        self.wakeup.clear()
        self._take_news()
        while inbox and self._lane.room() > 0 and self.broken is None:
            future, call = inbox.popleft()
            if future.set_running_or_notify_cancel():
                index = self._next
                self._futures[index] = future
                self._next += 1
                self._lane.send(Chunk(index, (call,)))
        if self.broken is not None:
            while inbox:
                inbox.popleft()[0].set_exception(self.broken)
        if self.kill:
            self._lane.close(kill=True)
        if self._in_caller:
            self._lane.work(_WORK_SECONDS)
            self._take_news()
        elif self._futures:
            deadline = self._lane.deadline()
            self.wakeup.wait(
                None if deadline is None else deadline - time.monotonic(), self._lane.filenos()
            )

    def fail(self, error: BaseException, inbox: deque[tuple[Future[Any], _Call]]) -> None:
        """Tell every caller that the lane is broken."""
        self.broken = error
        waiting = [*self._futures.values(), *(future for future, _ in inbox)]
        self._futures.clear()
        inbox.clear()
        for future in waiting:
            with suppress(InvalidStateError):  # cancelled at this moment
                future.set_exception(error)

    def close(self) -> None:
        """Give the lane up."""
        self._lane.close()

    def _take_news(self) -> None:
        """Settle futures."""
        try:
            news = tuple(self._lane.poll())
        except WorkerDiedError as death:
            self.broken = death
            for future in self._futures.values():
                future.set_exception(death)
            self._futures.clear()
            return
        for each in news:
            if isinstance(each, Returned):
                for index in range(each.first, each.first + each.count):
                    self._futures.pop(index).set_exception(
                        WorkerDiedError(f"call {index} was given back unrun")
                    )
            else:
                self._settle(each)
        self._lane.ack(len(news))

    def _settle(self, settled: Settled) -> None:
        for index, value in enumerate(settled.values, settled.first):
            future = self._futures.pop(index)
            fault = settled.failed.get(index)
            if fault is None:
                future.set_result(value)
            else:
                future.set_exception(fault.exception)


def _call(call: _Call) -> Any:
    """Make one submitted call."""
    function, args, kwargs = call
    return function(*args, **kwargs)


async def _acall(call: _Call) -> Any:
    """Make one submitted call of a coroutine function."""
    function, args, kwargs = call
    return await function(*args, **kwargs)


def _live() -> list[EngineExecutor]:
    """Return the engines that somebody holds."""
    return [engine for reference in list(_LIVE.values()) if (engine := reference()) is not None]


def finish_submitted() -> None:
    """Wait until everything that was submitted has run."""
    for engine in _live():
        courier = engine._courier  # noqa: SLF001 - the base and its engines are one thing
        if courier is not None:
            courier.join()


def _end_all() -> None:
    """Let running tasks end for a moment at the program's end; daemon threads are stopped after it."""
    until = time.monotonic() + EXIT_SECONDS
    threads = []
    for engine in _live():
        threads += engine.threads
        engine.shutdown(wait=False, cancel_futures=True, kill=True)
        threads += engine.threads
    for thread in threads:
        with suppress(RuntimeError):  # another thread is about to start it
            thread.join(max(0.0, until - time.monotonic()))


def _forget_all() -> None:
    """Make the engines usable in a forked child."""
    for engine in _live():
        engine._forget()  # noqa: SLF001 - the base and its engines are one thing


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
