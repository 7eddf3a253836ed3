"""The first node of a stream of an asynchronous iterable: a task of the consumer's loop pulls it.

Apart from the other inlets because it needs asyncio, which takes 30 ms to import. Only the
loop's thread touches it, but for `abandon`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gearshift.errors import RunClosedError
from gearshift.streams.batch import Batch
from gearshift.streams.needs import Act, Idle, Over

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gearshift.streams.needs import Setting

__all__ = ["AsyncInlet"]

MOST_AHEAD_ITEMS = 256  # taken before they are asked for


class AsyncInlet:
    """Items of an asynchronous iterable, pulled by a task of the consumer's loop."""

    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        """Begin without a task."""
        self._iterator = iterator
        self._ready: list[Any] = []
        self._ahead = 1
        self._task: asyncio.Task[None] | None = None
        self._is_over = False
        self._error: BaseException | None = None
        self.made: int = 0

    @property
    def total(self) -> int | None:
        """Nobody knows."""
        return None

    def start(self, setting: Setting) -> None:
        """Learn where the run is."""
        self._setting: Setting = setting

    def step(self) -> Batch | Act | Idle | Over:
        """Return what has come, and have more pulled."""
        if self._setting.ended_by:
            return Over(self._setting.ended_by[0])
        is_over = self._is_over
        items, self._ready = self._ready, []
        if not is_over and (self._task is None or self._task.done()):
            assert self._setting.loop is not None
            self._task = self._setting.loop.create_task(self._pull(self._ahead))
            self._ahead = min(2 * self._ahead, MOST_AHEAD_ITEMS)
        if items:
            self.made += len(items)
            return Batch(items, now=self._setting.clock.now())
        return Over(self._error) if is_over else Idle(is_busy=True)

    async def _pull(self, count: int) -> None:
        try:
            for _ in range(count):
                item = await anext(self._iterator)  # a line of its own: the list changes meanwhile
                self._ready.append(item)
                self._setting.wakeup.set()
        except StopAsyncIteration:
            self._is_over = True
        except Exception as error:
            self._error, self._is_over = error, True
        except BaseException as interrupt:
            self._is_over = True
            self._error = RunClosedError(
                "the run was interrupted while it took an item from its source, and cannot go on"
            )
            self._error.__cause__ = interrupt
            raise
        finally:
            self._setting.wakeup.set()

    async def wait_closed(self) -> None:
        """End the pulling (on the consumer's loop)."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def abandon(self) -> None:
        """End the pulling, from any thread."""
        task = self._task
        if task is not None and not task.get_loop().is_closed():
            task.get_loop().call_soon_threadsafe(task.cancel)
