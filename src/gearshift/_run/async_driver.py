"""Carry out the pump's steps under `async for`.

Apart from the blocking driver because it needs asyncio, which takes 30 ms to import.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gearshift._run.pump import Action

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gearshift._run.mover import Mover

__all__ = ["AsyncDriver"]


class AsyncDriver:
    """Waits on the consumer's event loop, and pulls asynchronous sources there."""

    def __init__(self, pump: Mover) -> None:
        """Begin; the loop is the one that runs at the first step."""
        self._pump = pump
        self._pulling: asyncio.Task[None] | None = None
        self._consumer: asyncio.Task[Any] | None = (
            None  # that waits for a step, not the consumer's turn
        )

    async def drive(self, ended: Callable[[], None]) -> AsyncGenerator[Any, None]:
        """Yield outcomes; raise what the run ends with, and say `ended` before."""
        pump = self._pump
        try:
            while True:
                self._consumer = None
                for value in pump.window:
                    yield value
                self._check_consumer()
                step = pump.step()
                if self._pulling is not None and self._pulling.done():
                    self._pulling = None
                if step.action is Action.PULL:
                    pump.pull(step.count)
                elif step.action is Action.EMIT:
                    await asyncio.sleep(
                        0
                    )  # a consumer that never waits must not starve the loop's other tasks
                elif step.action is Action.END:
                    await self.finish(wait=step.error is None)
                    ended()
                    error = step.error
                    if error is not None:
                        pump.ending_error = (
                            None  # no interrupt can come between this and the next line
                        )
                        raise error
                    return
                else:
                    if step.count > 0 and self._pulling is None:
                        self._pulling = asyncio.create_task(pump.apull(step.count))
                    await self._wait(step.seconds)
        finally:
            pump.pause()

    def _check_consumer(self) -> None:
        """Refuse a second task while one is under way.

        Raises:
            RuntimeError: There is one.
        """
        task = asyncio.current_task()
        if self._consumer not in {None, task}:
            raise RuntimeError(
                "this run is being iterated by another task: give each task a run of its own"
            )
        self._consumer = task

    def abandon(self) -> None:
        """Stop pulling, from any thread: nobody holds the run any more."""
        pulling = self._pulling
        if pulling is not None and not pulling.get_loop().is_closed():
            pulling.get_loop().call_soon_threadsafe(pulling.cancel)

    async def finish(self, *, wait: bool) -> None:
        """End the pulling and the lane; what runs on this loop has ended then, and with `wait` our engine too."""
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.gather(self._pulling, return_exceptions=True)
        self._pump.finish(wait=False)
        await self._pump.wait_closed()
        if wait:
            self._pump.wait_engines()

    async def close(self) -> None:
        """Revoke what has not started, stop what can be stopped, wait for the rest."""
        if self._pump.revoke():
            while (seconds := self._pump.drain()) is not None:
                await self._wait(seconds)
        await self.finish(wait=True)

    async def _wait(self, seconds: float | None) -> None:
        """Return when there is news, an item was pulled, or the time is over."""
        pump = self._pump
        loop = asyncio.get_running_loop()
        news: asyncio.Future[None] = loop.create_future()
        watched = [pump.wakeup.fileno(), *pump.filenos()]
        if pump.wakeup.is_set:
            await asyncio.sleep(0)
            return
        timer = loop.call_later(seconds, _resolve, news) if seconds is not None else None
        try:
            for fd in watched:
                loop.add_reader(fd, _resolve, news)
            await news
            pump.wakeup.mark()
        finally:
            for fd in watched:
                loop.remove_reader(fd)
            if timer is not None:
                timer.cancel()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
