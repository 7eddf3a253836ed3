"""The key presses of a Tk window as a live source.

    Tk's thread: <KeyPress> -> our callback -> Channel.put -> the run, in any thread

Apart from `channel` for what Tk wants: to be asked in its own thread, and never to be
made wait. It imports no tkinter: the window's own methods are all it needs.

Invariant: after `close` none of our bindings is left, and those of others all are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gearshift.streams.sources.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift.engines.base import Wakeup
    from gearshift.streams.sources.base import Clock, LiveSource
    from gearshift.streams.sources.channel import ChannelFeed

__all__ = ["keys"]

BUFFERSIZE = 1024  # minutes of fast typing


def keys(window: Any, *names: str) -> LiveSource:
    """Return the key presses of a Tk window as a source; it ends when the window is closed.

    Start and close the run in the window's thread, as everything that asks Tk for
    something; the items may be taken in another. A run that is 1,024 presses behind
    loses the oldest, counted in its report, since Tk must not wait. Of several bindings of
    one window that fit a press Tk calls the closest, so what is bound to "Up" does not come
    to those who listen to all keys.

    Args:
        window: The `tkinter.Tk`, `Toplevel` or widget that has the focus.
        names: Tk's names of the keys, such as "Up", "a" or "Control-c"; none for all.

    Returns:
        A recipe of strings: the name that was asked for, or without names Tk's keysym.
    """
    return _Keys(window, tuple(dict.fromkeys(names)))


@dataclass(frozen=True, slots=True, eq=False)
class _Keys:
    window: Any
    names: tuple[str, ...]

    def open(self, wakeup: Wakeup, clock: Clock) -> ChannelFeed:
        """Bind the keys for one run."""
        channel: Channel[str] = Channel(when_full="drop_oldest", buffersize=BUFFERSIZE)
        bindings = _Bindings(self.window)
        try:
            if not self.names:
                bindings.add("<KeyPress>", lambda event: channel.put(event.keysym))
            for name in self.names:
                bindings.add(_sequence(name), _putter(channel, name))
            bindings.add("<Destroy>", lambda event: self._end(event, bindings, channel))
        except BaseException:  # Tk knows no such key: what was bound before it goes, too
            bindings.remove()
            raise
        feed = channel.open(wakeup, clock)
        feed.call_at_close(bindings.remove)
        return feed

    def _end(self, event: Any, bindings: _Bindings, channel: Channel[str]) -> None:
        # A window hears of the end of each widget in it, too.
        if event.widget is self.window:
            bindings.forget()
            channel.close()


class _Bindings:
    """Ours among those of a window."""

    __slots__ = ("_bound", "_window")

    def __init__(self, window: Any) -> None:
        self._window = window
        self._bound: list[tuple[str, str]] = []

    def add(self, sequence: str, function: Callable[[Any], None]) -> None:
        """Bind it beside what is bound already."""
        self._bound.append((sequence, self._window.bind(sequence, function, add="+")))

    def forget(self) -> None:
        """Let them be: they went with their window."""
        self._bound.clear()

    def remove(self) -> None:
        """Unbind them."""
        while self._bound:
            sequence, name = self._bound.pop()
            others = "\n".join(
                line for line in self._window.bind(sequence).split("\n") if name not in line
            )
            self._window.unbind(sequence, name)
            # Older tkinters take the others along (cpython gh-75666), as 3.11.7 does: put
            # them back, and only then, since newer ones delete what is replaced.
            if others.strip() and not self._window.bind(sequence):
                self._window.bind(sequence, others)


def _putter(channel: Channel[str], name: str) -> Callable[[Any], None]:
    return lambda _event: channel.put(name)


def _sequence(name: str) -> str:
    modifiers, _, key = name.rpartition("-")
    # With "Key": a bare digit would be a mouse button.
    return f"<{modifiers}-Key-{key}>" if modifiers else f"<Key-{key}>"
