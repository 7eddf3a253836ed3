"""A guest whose run is closed, by a handler or by its host: nothing is called or watched any more."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import Callable


class Schedule:
    """A host that is a function: it keeps the call-backs until it is told to run them."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, _seconds: float, callback: Callable[[], None]) -> None:
        self.waiting.append(callback)

    def turn(self) -> None:
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()


class Widget(Schedule):
    """What a guest needs of a Tk widget: as `Schedule`, and it watches descriptors."""

    def __init__(self) -> None:
        super().__init__()
        self.tk = self
        self.timers: list[Callable[[], None]] = []
        self.watched: dict[int, Callable[[int, int], None]] = {}
        self.destroyed: list[Callable[[Any], None]] = []
        self.widget = self  # it is the event of its own end, too

    def after(self, _milliseconds: int, callback: Callable[[], None]) -> str:
        self(0.0, callback)
        self.timers.append(callback)
        return str(len(self.timers) - 1)

    def after_cancel(self, name: str) -> None:
        if (callback := self.timers[int(name)]) in self.waiting:
            self.waiting.remove(callback)

    def bind(self, _sequence: str, callback: Callable[[Any], None], add: str) -> None:
        self.destroyed.append(callback)

    def createfilehandler(self, fd: int, _mask: int, callback: Callable[[int, int], None]) -> None:
        self.watched[fd] = callback

    def deletefilehandler(self, fd: int) -> None:
        del self.watched[fd]


def waiting_run(widget: Widget, heard: list[object]) -> gs.Run[bool]:
    """Return a run that waits for items."""
    channel: Any = gs.sources.channel()
    run = gs.stream(channel).guest(widget, heard.append, on_completed=lambda: heard.append("over"))
    widget.turn()
    assert widget.watched
    return run


def test_close_watches_nothing_any_more() -> None:
    widget, heard = Widget(), list[object]()
    waiting_run(widget, heard).close()
    assert not widget.watched
    widget.turn()
    assert heard == []


def test_close_leaves_no_timer_behind() -> None:
    widget, heard = Widget(), list[object]()
    run = gs.stream([1, 2, 3]).guest(widget, heard.append)
    assert len(widget.waiting) == 1
    run.close()
    assert widget.waiting == []


def test_close_leaves_no_timer_in_an_asyncio_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        heard = asyncio.Event()
        channel: Any = gs.sources.channel()
        run = gs.stream(channel).guest(loop, lambda _: heard.set())
        channel.put(1)
        await heard.wait()
        run.close()
        assert not [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]

    asyncio.run(main())


def test_end_of_the_window_watches_nothing_any_more() -> None:
    widget, heard = Widget(), list[object]()
    run = waiting_run(widget, heard)
    widget.destroyed[0](widget)
    assert not widget.watched
    assert heard == []
    with pytest.raises(gs.RunClosedError):
        list(run)


def test_close_in_another_thread_tells_the_loop_nothing() -> None:
    widget, heard = Widget(), list[object]()
    run = waiting_run(widget, heard)
    watched = dict(widget.watched)
    other = threading.Thread(target=run.close)
    other.start()
    other.join()
    assert widget.watched == watched
    for fd, callback in watched.items():
        callback(fd, 2)
    assert not widget.watched
    assert heard == []


def test_completion_is_not_told_when_a_turn_comes_after_close() -> None:
    schedule, heard = Schedule(), list[object]()
    run = gs.stream([1, 2]).guest(schedule, heard.append, on_completed=lambda: heard.append("over"))
    run.close()
    schedule.turn()
    assert heard == []


def test_handler_that_closes_the_run_is_the_last_one() -> None:
    schedule, heard = Schedule(), list[object]()

    def take(value: int) -> None:
        heard.append(value)
        run.close()

    run = gs.stream([1, 2, 3]).guest(schedule, take, on_completed=lambda: heard.append("over"))
    while schedule.waiting:
        schedule.turn()
    assert heard == [1]
