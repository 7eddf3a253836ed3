"""A run as a guest in a loop of somebody else's."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import Callable

wrong: Any = gs


class Loop:
    """A loop of call-backs, as a window has one."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Callable[[], None]]] = []
        self.errors: list[BaseException] = []
        self.is_over = False

    def __call__(self, seconds: float, callback: Callable[[], None]) -> None:
        self._waiting.append((time.monotonic() + seconds, callback))

    def turn(self) -> None:
        """Run what is due, as the loop of a window does: what a call-back raises is noted."""
        now = time.monotonic()
        due = [each for each in self._waiting if each[0] <= now]
        self._waiting = [each for each in self._waiting if each[0] > now]
        for _, callback in due:
            try:
                callback()
            except Exception as error:
                self.errors.append(error)
                self.is_over = True
        time.sleep(0.0005)

    def run(self, seconds: float = 20.0) -> None:
        """Run until it is told to end, for so long at most."""
        until = time.monotonic() + seconds
        while not self.is_over:
            assert time.monotonic() < until
            self.turn()

    def end(self, *_: object) -> None:
        self.is_over = True


def blocked(number: int) -> tuple[int, int]:
    time.sleep(0.002)
    return number, threading.get_ident()


@pytest.mark.parametrize("on", ["auto", "serial", "threads", "processes"])
def test_values_come_in_the_loops_thread_and_the_function_runs_elsewhere(on: str) -> None:
    loop, got = Loop(), []
    threads = set()

    def on_next(value: tuple[int, int]) -> None:
        threads.add(threading.get_ident())
        got.append(value)

    gs.map(blocked, range(30), on=on).guest(loop, on_next, on_completed=loop.end)
    loop.run()
    assert [number for number, _ in got] == list(range(30))
    assert threads == {threading.get_ident()}
    if on != "processes":
        assert threading.get_ident() not in {thread for _, thread in got}


def test_a_stream_of_what_the_loop_itself_puts_is_handled_in_order() -> None:
    loop, got = Loop(), []
    keys: gs.sources.Channel[str] = gs.sources.channel()

    def on_next(key: str) -> None:
        for _ in range(3):
            loop.turn()  # an animation runs the loop inside of a handler
        got.append(key)

    gs.stream(keys).map(str.upper).guest(loop, on_next, on_completed=loop.end)
    for key in "abcdefgh":
        keys.put(key)
        loop.turn()
    keys.close()
    loop.run()
    assert got == list("ABCDEFGH")


def test_the_loop_stays_alive_beside_an_endless_stream() -> None:
    loop, got = Loop(), []

    def on_next(number: int) -> None:
        got.append(number)

    run = gs.stream(iter(range(10**12))).scan(max).guest(loop, on_next)
    turns = []
    for _ in range(5):
        started = time.monotonic()
        loop.turn()
        turns.append(time.monotonic() - started)
    run.close()
    assert len(got) > 100
    assert min(turns) < 0.5


def test_an_error_goes_to_its_handler_once_and_nothing_after_it() -> None:
    loop = Loop()
    seen: list[Any] = []

    def on_error(error: BaseException) -> None:
        seen.append(error)
        loop.end()

    gs.map(lambda n: 1 // (2 - n), range(9), on="serial").guest(
        loop, seen.append, on_error=on_error, on_completed=lambda: seen.append("completed")
    )
    loop.run()
    for _ in range(20):
        loop.turn()
    assert seen[:2] == [0, 1]
    assert isinstance(seen[2], ZeroDivisionError)
    assert len(seen) == 3


def test_an_error_without_a_handler_is_raised_in_the_loop() -> None:
    loop = Loop()
    gs.map(lambda n: 1 // n, [0], on="threads").guest(loop, print)
    loop.run()
    assert isinstance(loop.errors[0], ZeroDivisionError)


def test_what_a_handler_raises_ends_the_run() -> None:
    loop = Loop()
    channel: gs.sources.Channel[int] = gs.sources.channel()

    def on_next(_: int) -> None:
        raise KeyError("handler")

    gs.stream(channel).guest(loop, on_next)
    channel.put(1)
    loop.run()
    assert isinstance(loop.errors[0], KeyError)
    with gs.stream(channel).start():
        pass  # nobody reads it any more


def test_an_asyncio_loop_is_a_host() -> None:
    got: list[tuple[int, int]] = []

    async def main() -> int:
        done = asyncio.get_running_loop().create_future()
        gs.map(blocked, range(20), on="threads").guest(
            asyncio.get_running_loop(), got.append, on_completed=lambda: done.set_result(None)
        )
        beats = 0
        while not done.done():
            await asyncio.sleep(0.001)
            beats += 1
        return beats

    assert asyncio.run(main()) > 1
    assert [number for number, _ in got] == list(range(20))


class Widget:
    """A widget of a Tk without descriptors, as on Windows."""

    tk = object()

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.gone: Callable[[Any], None] | None = None

    def after(self, milliseconds: int, callback: Callable[[], None]) -> None:
        self._loop(milliseconds / 1000, callback)

    def bind(self, event: str, function: Callable[[Any], None], add: str) -> None:
        assert (event, add) == ("<Destroy>", "+")
        self.gone = function


class Event:
    """Tk's event, of some widget."""

    def __init__(self, widget: object) -> None:
        self.widget = widget


def test_the_end_of_its_window_ends_a_run() -> None:
    loop = Loop()
    widget = Widget(loop)
    channel: gs.sources.Channel[int] = gs.sources.channel()
    got: list[int] = []
    gs.stream(channel).guest(widget, got.append)
    channel.put(1)
    while not got:
        loop.turn()
    assert widget.gone is not None
    widget.gone(Event("a child of the window"))
    with pytest.raises(RuntimeError, match="another run"):
        gs.stream(channel).start()
    widget.gone(Event(widget))
    with gs.stream(channel).start():
        pass


def test_a_guest_is_refused_what_makes_no_sense() -> None:
    run = gs.map(abs, [1, 2], on="serial")
    with pytest.raises(TypeError, match="host=3"):
        run.guest(3, print)
    next(run)
    with pytest.raises(RuntimeError, match="begun already"):
        run.guest(Loop(), print)

    async def numbers() -> Any:
        yield 1

    with pytest.raises(TypeError, match="async for"):
        gs.stream(numbers()).guest(Loop(), print)


@pytest.mark.parametrize("inside", [True, False])
def test_a_guest_whose_run_is_closed_is_over_but_not_complete(inside: bool) -> None:
    loop, got = Loop(), []

    def on_next(item: int) -> None:
        got.append(item)
        if inside:
            run.close()

    run = gs.stream(gs.sources.every(1e-3)).guest(
        loop, on_next, on_completed=lambda: got.append(-1)
    )
    until = time.monotonic() + 20.0
    while not got:
        assert time.monotonic() < until
        loop.turn()
    run.close()
    count = len(got)
    for _ in range(50):
        loop.turn()
    assert got == list(range(count))
