"""Those who wait for room in a buffer: a thread, or a coroutine on its event loop.

Apart from `buffer` since how to wait is all that differs between the two. It imports
asyncio only where that is there already.

Invariant: `wake` never blocks and never raises, from any thread, also when nobody is
left to be woken.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["LoopWaiter", "ThreadWaiter", "Waiter", "runs_event_loop"]


class Waiter(Protocol):
    """Somebody who waits for room."""

    def wake(self) -> None:
        """Let it look again; may be called more than once."""
        ...


class ThreadWaiter:
    """A thread that waits; unlike `Condition.wait`, Ctrl-C leaves it in a sane state."""

    __slots__ = ("_gate",)

    def __init__(self) -> None:
        """Begin with the gate shut."""
        self._gate = threading.Lock()
        self._gate.acquire()

    def wake(self) -> None:
        """Open the gate."""
        with suppress(RuntimeError):  # it is open
            self._gate.release()

    def wait(self) -> None:
        """Block until somebody opens it; a signal handler may raise from here."""
        self._gate.acquire()


class LoopWaiter:
    """A coroutine that waits on its event loop."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin with nothing to tell."""
        self._loop = loop
        self._future: asyncio.Future[None] = loop.create_future()

    def wake(self) -> None:
        """Let its loop go on with it."""
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be woken
            self._loop.call_soon_threadsafe(self._settle)

    async def wait(self) -> None:
        """Give the loop to others until somebody wakes us."""
        await self._future

    def _settle(self) -> None:
        if not self._future.done():  # cancelled, or woken twice
            self._future.set_result(None)


def runs_event_loop() -> bool:
    """Say whether this thread runs one, which would stop if the thread waited."""
    if "asyncio" not in sys.modules:  # not imported, so no loop of its kind runs
        return False
    from asyncio import get_running_loop

    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True
