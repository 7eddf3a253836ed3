"""Named events as live sources: who emits does not know who listens.

    emit("door", item) -> a channel for each run that reads on("door") or on()

Apart from `channel`, of which each listening run has one: so a slow run holds up or
loses its own events only, by the same `when_full`.

Invariant: a run gets what is emitted from its start to its end, in the order of each
thread that emits; who listens is read once per `emit`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gearshift.errors import ChannelClosedError, ChannelFullError
from gearshift.streams.sources.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from gearshift.engines.base import Wakeup
    from gearshift.streams.sources.base import Clock, LiveSource
    from gearshift.streams.sources.channel import ChannelFeed, WhenFull

__all__ = ["Emitter", "emitter"]

# Events must not be lost in silence and a GUI must not block, so who emits hears of it;
# but only from so many events behind that the run is stuck rather than slow.
BUFFERSIZE = 16_384


def emitter(*, when_full: WhenFull = "error", buffersize: int = BUFFERSIZE) -> Emitter:
    """Return a source of named events: `emit` gives them, `on` is what a stream reads.

    Args:
        when_full: What `emit` does for a run that is `buffersize` events behind. "error"
            raises, after the others got it: nothing is lost in silence and no thread
            waits, as a GUI needs. "wait" blocks the emitting thread, "drop_oldest" and
            "latest" count what they drop in that run's report.
        buffersize: How many events may wait for each run, at least 1.

    Returns:
        An emitter that is open.

    Raises:
        ValueError: An unknown `when_full`, or `buffersize` is below 1.
    """
    return Emitter(when_full=when_full, buffersize=buffersize)


class Emitter:
    """Gives named events to every run that listens."""

    __slots__ = ("_buffersize", "_error", "_is_closed", "_listeners", "_lock", "_when_full")

    def __init__(self, *, when_full: WhenFull = "error", buffersize: int = BUFFERSIZE) -> None:
        """Open it; see `emitter`."""
        Channel[Any](when_full=when_full, buffersize=buffersize)  # refuses what is wrong
        self._when_full: WhenFull = when_full
        self._buffersize = buffersize
        self._lock = threading.RLock()  # reentrant: a feed may be closed by `__del__`
        # Replaced, never changed, so that `emit` reads them without the lock.
        self._listeners: dict[str | None, tuple[Channel[Any], ...]] = {}
        self._is_closed = False
        self._error: BaseException | None = None

    def emit(self, name: str, value: Any = None) -> int:
        """Give an event to every run that listens, from any thread.

        Args:
            name: What happened.
            value: What `on(name)` gives.

        Returns:
            How many runs got it; that nobody listens is no error.

        Raises:
            ChannelFullError: A run is too far behind, with when_full="error"; the others got it.
            ChannelClosedError: The emitter was closed.
        """
        self._check_open()
        got = 0
        full: ChannelFullError | None = None
        for channel, event in self._each(name, value):
            try:
                channel.put(event)
                got += 1
            except ChannelFullError as error:
                full = error
            except ChannelClosedError:
                self._check_open()  # else that run alone has ended
        if full is not None:
            raise full
        return got

    async def aemit(self, name: str, value: Any = None) -> int:
        """Give an event as `emit` does, and let the event loop go on while a run has no room.

        Args:
            name: What happened.
            value: What `on(name)` gives.

        Returns:
            How many runs got it.

        Raises:
            ChannelFullError: A run is too far behind, with when_full="error"; the others got it.
            ChannelClosedError: The emitter was closed.
        """
        self._check_open()
        got = 0
        full: ChannelFullError | None = None
        for channel, event in self._each(name, value):
            try:
                await channel.aput(event)
                got += 1
            except ChannelFullError as error:
                full = error
            except ChannelClosedError:
                self._check_open()
        if full is not None:
            raise full
        return got

    def on(self, name: str | None = None) -> LiveSource:
        """Return the events of a name as a source; any number of runs may read it.

        Args:
            name: Which; None for all, as pairs of name and value.

        Returns:
            A recipe: each run that reads it gets what is emitted from its start on.
        """
        return _Events(self, name)

    def close(self) -> None:
        """Say that nothing more happens; runs end when they have taken the rest."""
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """End all runs that listen, now or later, with an error.

        Args:
            error: The exception. After `close` or another `fail` it counts no more.

        Raises:
            TypeError: `error` is no exception.
        """
        if not isinstance(error, BaseException):
            raise TypeError(f"fail({error!r}): give the exception that the runs are to raise.")
        self._end(error)

    def listen(self, name: str | None, wakeup: Wakeup, clock: Clock) -> ChannelFeed:
        """Begin to listen for one run; for the run, not for users.

        Args:
            name: Which events; None for all.
            wakeup: Set when there is something to take.
            clock: Stamps the events if it is virtual.

        Returns:
            What that run takes from.
        """
        channel: Channel[Any] = Channel(when_full=self._when_full, buffersize=self._buffersize)
        feed = channel.open(wakeup, clock)
        feed.call_at_close(lambda: self._leave(name, channel))
        with self._lock:
            if self._is_closed:
                _end(channel, self._error)
            else:
                now = self._listeners
                self._listeners = {**now, name: (*now.get(name, ()), channel)}
        return feed

    def _each(self, name: str, value: Any) -> Iterator[tuple[Channel[Any], Any]]:
        listeners = self._listeners
        for channel in listeners.get(name, ()):
            yield channel, value
        for channel in listeners.get(None, ()):
            yield channel, (name, value)

    def _leave(self, name: str | None, channel: Channel[Any]) -> None:
        channel.close()
        with self._lock:
            left = tuple(one for one in self._listeners.get(name, ()) if one is not channel)
            others = {key: ones for key, ones in self._listeners.items() if key != name}
            self._listeners = {**others, name: left} if left else others

    def _check_open(self) -> None:
        if self._is_closed:
            how = "was closed" if self._error is None else f"failed with {self._error!r}"
            raise ChannelClosedError(f"the emitter {how}: nobody gets its events. Make a new one.")

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._error = error
            self._is_closed = True
            listeners = self._listeners
        for channels in listeners.values():
            for channel in channels:
                _end(channel, error)

    def __enter__(self) -> Self:
        """Return the emitter."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; after an exception fail with that, since who died is not done."""
        self._end(error if isinstance(error, Exception) else None)


@dataclass(frozen=True, slots=True)
class _Events:
    emitter: Emitter
    name: str | None

    def open(self, wakeup: Wakeup, clock: Clock) -> ChannelFeed:
        """Begin to listen for one run."""
        return self.emitter.listen(self.name, wakeup, clock)


def _end(channel: Channel[Any], error: BaseException | None) -> None:
    if error is None:
        channel.close()
    else:
        channel.fail(error)
