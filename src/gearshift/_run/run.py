"""`Run`: one execution of a function over its inputs, as the user holds it."""

from __future__ import annotations

import _thread
import contextlib
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from gearshift._run.drivers import drive
from gearshift.errors import RunClosedError
from gearshift.host import interrupts_held

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import TracebackType

    from gearshift._run.async_driver import AsyncDriver
    from gearshift._run.guest import Guest
    from gearshift._run.mover import Mover
    from gearshift.engines.base import Job
    from gearshift.facts import Report

__all__ = ["Run"]

# of the loop, in which the iterator that a `break` left is closed: asyncio makes a task of it
_CLOSING_TURNS = 3

R_co = TypeVar("R_co", covariant=True)


class Run(Generic[R_co]):
    """The values of a run, for `for` and `async for`; nothing runs before the first is asked for.

    Leaving `with` (or `close`) revokes what has not started, stops what can be stopped,
    waits for the rest, and leaves nothing behind. A loop that ends early without `with`
    does the same in the background once nobody holds the run. After an interrupt a new
    loop over the same run goes on where the last one stopped.
    """

    def __init__(self, pump: Mover, job: Job) -> None:
        """Hold what moves the items; `gs.map` makes runs."""
        self._pump = pump
        self._job = job
        self._driver: AsyncDriver | None = None
        self._guest: Guest | None = None
        self._is_closed = False
        self._release: _Release | None = _Release(pump)

    @property
    def report(self) -> Report:
        """What the run did so far."""
        return self._pump.report()

    def __iter__(self) -> Iterator[R_co]:
        """Return an iterator over the values.

        Raises:
            RunClosedError: The run was closed before its end.
            RuntimeError: The run was begun with `async for`.
            TypeError: The inputs are asynchronous.
        """
        if self._driver is not None:
            raise RuntimeError("this run was begun with `async for`; go on with that")
        if self._pump.is_async:
            self._pump.was_tried = True
            raise TypeError("the inputs are an asynchronous iterable: loop with `async for`")
        self._check_open()
        return drive(self._pump, self._job, self._ended)

    def __next__(self) -> R_co:
        """Return the next value.

        Raises:
            StopIteration: There is none.
        """
        for value in self:
            return value
        raise StopIteration

    async def __aiter__(self) -> AsyncIterator[R_co]:
        """Return an asynchronous iterator over the values.

        Raises:
            RunClosedError: The run was closed before its end.
            RuntimeError: The run was begun with `for`.
        """
        self._check_open()
        if self._driver is None:
            import asyncio  # 30 ms that only `async for` pays

            from gearshift._run.async_driver import AsyncDriver  # the same

            if self._pump.has_started:
                raise RuntimeError("this run was begun with `for`; go on with that")
            self._job = replace(self._job, loop=asyncio.get_running_loop())
            self._driver = AsyncDriver(self._pump)
            if self._release is not None:
                self._release.driver = self._driver
            self._pump.start(self._job)
        values = self._driver.drive(self._ended)
        try:
            async for value in values:
                yield value
        finally:
            await values.aclose()

    def guest(
        self,
        host: object,
        on_next: Callable[[R_co], object],
        *,
        on_error: Callable[[BaseException], object] | None = None,
        on_completed: Callable[[], object] | None = None,
    ) -> None:
        """Iterate the run as a guest in a loop of somebody else's, such as a window's; returns at once.

        The handlers are called in that loop's thread, one after another, also where one of them
        runs the loop itself. The function of the run never runs there: what would be
        serial is done by a thread.

        Args:
            host: A Tk widget, whose end ends the run; an asyncio loop; or a function
                `schedule(seconds, callback)` that has the loop call back once.
            on_next: Is given each value; what it raises ends the run.
            on_error: Is given the exception that the run ends with; without it that is raised in
                the host's loop.
            on_completed: Is called when the run has come to its end by itself.

        Raises:
            RunClosedError: The run was closed before its end.
            RuntimeError: The run was begun already.
            TypeError: `host` is none, or the inputs are asynchronous.
        """
        from gearshift._run.guest import Guest, host_of  # for those who have a window

        loop = host_of(host)
        self._check_open()
        if self._pump.has_started:
            raise RuntimeError("this run was begun already: start another for the guest")
        if self._pump.is_async:
            self._pump.was_tried = True
            raise TypeError("the inputs are an asynchronous iterable: loop with `async for`")
        self._pump.be_guest()
        self._pump.start(self._job)
        self._guest = Guest(
            self,
            self._pump,
            loop,
            on_next=on_next,
            on_error=on_error,
            on_completed=on_completed,
        )

    def cancel(self, *, grace: float = 0.0) -> None:
        """End the run soon, from any thread or signal handler.

        Nothing more is started. Whoever iterates it gets what had settled, and then
        RunCancelledError. A second call may shorten the grace.

        Args:
            grace: Seconds in which tasks that run may still end, and count; then they are
                stopped where that is possible.

        Raises:
            ValueError: `grace` is no length of time.
        """
        if not 0 <= grace < float("inf"):
            raise ValueError(f"grace={grace!r} is not a number of seconds, 0 or more")
        self._pump.cancel(grace)

    def close(self) -> None:
        """End the run now: revoke what has not started, stop what can be stopped, wait for the rest.

        That of a guest is closed in its loop's thread; `cancel` is for the others.

        Raises:
            RuntimeError: It is called by a function or the source of the run itself, which would be
                waited for.
        """
        if self._pump.is_ours and not self._pump.has_ended:
            self._pump.check_outside("closed")
        self._is_closed = True
        if self._guest is not None:
            guest, self._guest = self._guest, None
            guest.leave()
        if self._pump.is_ours:
            self._close()
            self._ended()

    def _close(self) -> None:
        """Do the work of `close`."""
        pump = self._pump
        if not pump.has_started:
            pump.finish(wait=False)
            return
        if self._driver is not None and self._cannot_wait():
            pump.revoke()  # its tasks end when the loop runs again, if ever: nothing can wait for them here
            pump.finish(wait=False)
            return
        is_drained = False
        try:
            if pump.revoke():
                while (seconds := pump.drain()) is not None:
                    pump.wait(seconds)
            is_drained = True
        finally:
            pump.finish(wait=is_drained)

    async def aclose(self) -> None:
        """End the run now, from the event loop that iterates it."""
        if self._driver is None or not self._pump.is_ours:
            self.close()
        else:
            import asyncio  # loaded already: there is a driver

            self._is_closed = True
            await self._driver.close()
            self._ended()
            for _ in range(_CLOSING_TURNS):
                await asyncio.sleep(0)

    def __enter__(self) -> Self:
        """Return the run; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the run."""
        self.close()

    async def __aenter__(self) -> Self:
        """Return the run; leaving the block closes it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the run."""
        await self.aclose()

    def __repr__(self) -> str:
        """Say which engine, and how far it is."""
        report = self.report
        return (
            f"<gearshift.Run on {report.engine}: {report.items} items done, {report.failed} failed>"
        )

    def _ended(self) -> None:
        """Keep nothing that is to be let go of."""
        with interrupts_held():
            self._release = None

    def _check_open(self) -> None:
        if self._is_closed and not self._pump.report().finished:
            raise RunClosedError("this run was closed before its end: start another with gs.map")

    def _cannot_wait(self) -> bool:
        """Whether the consumer's loop runs in this very thread, or not at all."""
        import asyncio  # loaded already: there is a driver

        loop = self._job.loop
        if loop is None or not loop.is_running():
            return True
        try:
            return asyncio.get_running_loop() is loop
        except RuntimeError:
            return False


class _Release:
    """Lets go of what a run has under way, once nobody holds the run.

    Apart from the run, which drops it at its end while interrupts are held: CPython cannot
    raise a Ctrl-C out of a `__del__` and drops it, so that a run which is over must have none.
    """

    def __init__(self, pump: Mover) -> None:
        self._pump = pump
        self.driver: AsyncDriver | None = None

    def __del__(self) -> None:
        """Never blocks, never takes a lock."""
        pump = self._pump
        if pump.has_ended or not pump.is_ours:
            return
        if not pump.has_started and pump.was_tried:
            return
        if not pump.has_started:
            warnings.warn(
                "a run of gearshift was never iterated, so nothing ran: "
                "loop over it, or call gs.each for the side effect",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )
            with contextlib.suppress(RuntimeError):  # the interpreter ends
                _thread.start_new_thread(pump.discard, ())
            return
        pump.leave()
        if self.driver is not None:
            self.driver.abandon()
        if pump.is_in_caller:  # what its worker made is closed where it was made
            pump.abandon()
            return
        with contextlib.suppress(
            RuntimeError
        ):  # the interpreter ends; the engines see to it themselves
            _thread.start_new_thread(pump.abandon, ())
