"""Events from another thread, one by one: the event-driven way, with the standard library and with ours.

Apart from the stations, since each function is a whole program that the table shows:
what gives the events runs in a thread of its own, and the handler in the caller's.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Counter", "by_channel", "by_emitter", "by_queue", "by_simple_queue"]

ROOM = 1024  # events that may wait where there is a bound


class Counter:
    """A handler of events: counts the open doors.

    Attributes:
        heard: Events that came.
        total: The sum of their numbers, so that a lost or doubled one shows.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.heard: int = 0
        self.total: int = 0

    def on_open(self, number: int) -> None:
        """Hear of a door."""
        self.heard += 1
        self.total += number


def by_queue(count: int) -> tuple[int, int]:
    """Give events through a `queue.Queue` with room for 1,024.

    Args:
        count: How many.

    Returns:
        How many were heard, and their sum.
    """
    events: queue.Queue[int | None] = queue.Queue(ROOM)
    counter = Counter()
    with _Giver(events.put, count, lambda: events.put(None)):
        while (number := events.get()) is not None:
            counter.on_open(number)
    return counter.heard, counter.total


def by_simple_queue(count: int) -> tuple[int, int]:
    """Give events through a `queue.SimpleQueue`, which has no bound.

    Args:
        count: How many.

    Returns:
        How many were heard, and their sum.
    """
    events: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    counter = Counter()
    with _Giver(events.put, count, lambda: events.put(None)):
        while (number := events.get()) is not None:
            counter.on_open(number)
    return counter.heard, counter.total


def by_channel(count: int) -> tuple[int, int]:
    """Give events through a channel with room for 1,024.

    Args:
        count: How many.

    Returns:
        How many were heard, and their sum.
    """
    events = gs.sources.channel(buffersize=ROOM)
    counter = Counter()
    with _Giver(events.put, count, events.close):
        gs.stream(events).each(counter.on_open)
    return counter.heard, counter.total


def by_emitter(count: int) -> tuple[int, int]:
    """Give named events to whoever listens, each with room for 1,024.

    Args:
        count: How many.

    Returns:
        How many were heard, and their sum.
    """
    hall = gs.sources.emitter(when_full="wait", buffersize=ROOM)
    counter = Counter()
    run = gs.stream(hall.on("open")).start()  # hears what is emitted from here on
    with _Giver(lambda number: hall.emit("open", number), count, hall.close), run:
        for number in run:
            counter.on_open(number)
    return counter.heard, counter.total


class _Giver:
    """A thread that gives the numbers from 0, and then says that there are no more."""

    def __init__(
        self, give: Callable[[int], object], count: int, end: Callable[[], object]
    ) -> None:
        self._give = give
        self._count = count
        self._end = end
        self._thread = threading.Thread(target=self._run, name="tour-events", daemon=True)

    def _run(self) -> None:
        give = self._give
        for number in range(self._count):
            give(number)
        self._end()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:  # else it may wait for room for ever; it is a daemon
            self._thread.join()
