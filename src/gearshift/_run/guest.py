"""Carry out the pump's steps as a guest in a loop of somebody else's, such as a window's.

    host: call-back -> Guest.turn -> step, on_next(value), ... for 8 ms at most -> asks to be called again

Nothing here waits: between two turns the host's loop runs, and tells when there is news
(where it can watch descriptors) or is asked again after 10 ms. A handler may run the
host's loop itself, as turtle's animations do; a turn inside of a turn does nothing, so
values reach the handlers one after another.

Invariant: once the run is closed, by whomever, no handler is called and nothing is watched:
Tk's loop would spin on a descriptor that is closed by then.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from gearshift._run.pump import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gearshift._run.mover import Mover
    from gearshift._run.run import Run

__all__ = ["Guest", "Host", "host_of"]

TURN_SECONDS = 0.008  # half of a frame at 60 Hz; the window has the other half
POLL_SECONDS = 0.01  # where nobody tells of news: seen as at once, and 0.5 % of a core
_TK_READABLE = 2  # tkinter.READABLE, without importing tkinter


class Host(Protocol):
    """A loop that runs call-backs, in the one thread that it has."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back once, after so many seconds or a little later."""
        ...

    def watch(self, filenos: Sequence[int], callback: Callable[[], None]) -> bool:
        """Call back when one of them is readable, until told otherwise; False where that cannot be had."""
        ...

    def unwatch(self) -> None:
        """Watch none of them any more."""
        ...

    def leave(self) -> None:
        """Call back no more, where that can be had."""
        ...

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call back when the loop is about to end, where that is known."""
        ...


class Guest:
    """One run in a host's loop."""

    def __init__(
        self,
        run: Run[Any],
        mover: Mover,
        host: Host,
        *,
        on_next: Callable[[Any], object],
        on_error: Callable[[BaseException], object] | None,
        on_completed: Callable[[], object] | None,
    ) -> None:
        """Begin at the host's next turn.

        Args:
            run: Is kept until its end.
            mover: Moves its items; started.
            host: The loop.
            on_next: Is given each value.
            on_error: Is given what the run ends with; else that is raised in the host's loop.
            on_completed: Is called when the run has come to its end by itself.
        """
        self._run = run
        self._mover = mover
        self._host = host
        self._on_next = on_next
        self._on_error = on_error
        self._on_completed = on_completed
        self._is_inside = False
        self._is_over = False
        self._thread = threading.get_ident()
        self._turns = 0  # a call-back that was asked for before the last turn does nothing
        host.when_gone(run.close)  # nobody would call back any more
        self._ask(0.0)

    def leave(self) -> None:
        """Take note that the run is being closed."""
        self._is_over = True
        if threading.get_ident() == self._thread:  # a loop is told nothing from another thread
            self._host.leave()

    def _ask(self, seconds: float) -> None:
        """Ask for a turn."""
        self._turns += 1
        number = self._turns
        self._host.call_later(seconds, lambda: self._turn(number))

    def _turn(self, number: int) -> None:
        """Go on, if that was the last turn that was asked for."""
        if number == self._turns:
            self._go_on()

    def _go_on(self) -> None:
        """Do what there is to do, for about `TURN_SECONDS`."""
        if self._is_inside:
            return
        if self._is_over:  # closed by another thread
            self._host.unwatch()
            return
        self._host.unwatch()
        self._is_inside = True
        try:
            self._advance(time.monotonic() + TURN_SECONDS)
        except BaseException:
            self._is_over = True
            self._run.close()
            raise
        finally:
            self._is_inside = False
            self._mover.pause()

    def _advance(self, until: float) -> None:
        """Carry out steps until there is nothing to do, or the time is over."""
        mover = self._mover
        while True:
            for value in mover.window:
                self._on_next(value)
                if self._is_over:  # it closed the run, or the window
                    return
                if time.monotonic() >= until:
                    self._ask(0.0)
                    return
            step = mover.step()
            if step.action is Action.PULL:
                mover.pull(step.count)
            elif step.action is Action.WAIT:
                self._wait(step.seconds)
                return
            elif step.action is Action.END:
                self._end(step.error)
                return
            if time.monotonic() >= until:
                self._ask(0.0)
                return

    def _wait(self, seconds: float | None) -> None:
        """Come back when there is news, or the time is over."""
        mover = self._mover
        is_watched = self._host.watch([mover.wakeup.fileno(), *mover.filenos()], self._go_on)
        if not is_watched:
            self._ask(POLL_SECONDS if seconds is None else min(seconds, POLL_SECONDS))
        elif seconds is not None:
            self._ask(seconds)
        else:
            self._turns += 1

    def _end(self, error: BaseException | None) -> None:
        """Tell how the run ended.

        Raises:
            BaseException: What it ended with, if nobody takes it.
        """
        self._is_over = True
        self._mover.finish(wait=False)
        self._run.close()
        if error is None:
            if self._on_completed is not None and self._run.report.finished:  # else it was closed
                self._on_completed()
        elif self._on_error is not None:
            self._on_error(error)
        else:
            self._mover.ending_error = None
            raise error


class _FunctionHost:
    """A function that schedules a call-back, as the host."""

    def __init__(self, schedule: Callable[[float, Callable[[], None]], object]) -> None:
        self._schedule = schedule

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._schedule(seconds, callback)

    def watch(self, filenos: Sequence[int], callback: Callable[[], None]) -> bool:
        del filenos, callback
        return False

    def unwatch(self) -> None:
        pass

    def leave(self) -> None:
        pass

    def when_gone(self, callback: Callable[[], None]) -> None:
        pass


class _TkHost:
    """A Tk widget as the host: its loop watches descriptors, but for Windows."""

    def __init__(self, widget: Any) -> None:
        self._widget = widget
        self._watched: list[int] = []
        self._timer: str | None = None

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._cancel()
        self._timer = self._widget.after(int(1000 * seconds), callback)

    def watch(self, filenos: Sequence[int], callback: Callable[[], None]) -> bool:
        create = getattr(self._widget.tk, "createfilehandler", None)
        if create is None:
            return False
        for fd in filenos:
            create(fd, _TK_READABLE, lambda _fd, _mask: callback())
            self._watched.append(fd)
        return True

    def unwatch(self) -> None:
        watched, self._watched = self._watched, []
        for fd in watched:
            self._widget.tk.deletefilehandler(fd)

    def leave(self) -> None:
        self.unwatch()
        self._cancel()

    def _cancel(self) -> None:
        # One that outlives its window is an error on stderr, in the next window's loop.
        if self._timer is not None:
            timer, self._timer = self._timer, None
            self._widget.after_cancel(timer)

    def when_gone(self, callback: Callable[[], None]) -> None:
        def gone(event: Any) -> None:
            if event.widget is self._widget:
                callback()

        self._widget.bind("<Destroy>", gone, add="+")


class _AsyncioHost:
    """An asyncio event loop as the host."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._watched: list[int] = []
        self._timer: Any = None

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._cancel()
        self._timer = self._loop.call_later(seconds, callback)

    def watch(self, filenos: Sequence[int], callback: Callable[[], None]) -> bool:
        for fd in filenos:
            self._loop.add_reader(fd, callback)
            self._watched.append(fd)
        return True

    def unwatch(self) -> None:
        watched, self._watched = self._watched, []
        for fd in watched:
            self._loop.remove_reader(fd)

    def leave(self) -> None:
        self.unwatch()
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def when_gone(self, callback: Callable[[], None]) -> None:
        pass


def host_of(given: Any) -> Host:
    """Return the host that is meant.

    Raises:
        TypeError: It is none.
    """
    if isinstance(given, _FunctionHost | _TkHost | _AsyncioHost):
        return given
    if hasattr(given, "after") and hasattr(given, "tk"):
        return _TkHost(given)
    if hasattr(given, "call_later") and hasattr(given, "add_reader"):
        return _AsyncioHost(given)
    if callable(given) and not isinstance(given, type):
        return _FunctionHost(given)
    raise TypeError(
        f"host={given!r} is neither a Tk widget, an asyncio loop, nor a function schedule(seconds, callback)"
    )
