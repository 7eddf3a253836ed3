"""A channel: a live source for whatever pushes, from any thread or event loop.

    producer threads, coroutines -> Channel.put -> Buffer -> ChannelFeed.take -> run

Apart from `buffer`, which keeps the state: here is what users see. `put` takes no lock
where it can, since it is called for each single item.

Invariant: an item put is taken once, by one run, or counted as dropped; and a `put`
that raises left nothing of its item behind.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias, TypeVar

from gearshift.streams.sources.buffer import Buffer, ChannelCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from gearshift.engines.base import Wakeup
    from gearshift.streams.batch import Batch
    from gearshift.streams.sources.base import Clock

__all__ = ["Channel", "ChannelFeed", "WhenFull", "channel"]

T = TypeVar("T")
WhenFull: TypeAlias = Literal["wait", "drop_oldest", "latest", "error"]

WHEN_FULL = ("wait", "drop_oldest", "latest", "error")


def channel(*, when_full: WhenFull = "wait", buffersize: int = 1024) -> Channel[Any]:
    """Return a live source for whatever pushes.

    Args:
        when_full: What `put` does without room: "wait" until a run takes some;
            "drop_oldest" gives up what waits longest; "latest" keeps the newest item
            only, whatever `buffersize` says; "error" raises. Every drop is counted.
        buffersize: How many items may wait to be taken, at least 1. Threads that put at the
            same moment may exceed it by one each, unless it is 1.

    Returns:
        A channel that is open, and that one run at a time may read.

    Raises:
        ValueError: An unknown `when_full`, or `buffersize` is below 1.
    """
    return Channel(when_full=when_full, buffersize=buffersize)


class Channel(Generic[T]):
    """Items of many threads and event loops for one run at a time.

    What was put before a run, or was left by the last one, waits for the next.
    """

    __slots__ = ("_buffer",)

    def __init__(self, *, when_full: WhenFull = "wait", buffersize: int = 1024) -> None:
        """Open it; see `channel`.

        Raises:
            ValueError: An unknown `when_full`, or `buffersize` is below 1.
        """
        if when_full not in WHEN_FULL:
            raise ValueError(f"when_full={when_full!r}: choose one of {', '.join(WHEN_FULL)}.")
        if buffersize < 1:
            raise ValueError(f"buffersize={buffersize!r}: at least 1 item must find room.")
        self._buffer: Buffer[T] = Buffer(when_full, 1 if when_full == "latest" else buffersize)

    def put(self, item: T) -> None:
        """Add an item, from any thread.

        Args:
            item: Anything.

        Raises:
            ChannelFullError: There is no room, and when_full="error"; or to wait for it
                would be for ever, or stop an event loop (use `aput` there).
            ChannelClosedError: It was closed; or there is no room and the run has ended.
        """
        buffer = self._buffer
        if len(buffer.items) >= buffer.quick:
            buffer.put_all((item,))
            return
        try:
            buffer.items.append(item)
        finally:  # Ctrl-C may come as soon as it is in
            if not buffer.is_calm:
                buffer.settle(item)

    def put_many(self, items: Iterable[T]) -> None:
        """Add several items in their order; others' may come between when it has to wait.

        With when_full="error" all of them go in or none. Under "wait", those that went
        in before an error stay in.

        Args:
            items: A finite iterable, read to its end before the first goes in.

        Raises:
            ChannelFullError: As `put`.
            ChannelClosedError: As `put`.
        """
        self._buffer.put_all(_all_of(items))

    async def aput(self, item: T) -> None:
        """Add an item, and let the event loop go on while there is no room.

        Args:
            item: Anything.

        Raises:
            ChannelFullError: There is no room, and when_full="error".
            ChannelClosedError: It was closed; or there is no room and the run has ended.
        """
        await self._buffer.aput_all((item,))

    async def aput_many(self, items: Iterable[T]) -> None:
        """Add several items as `put_many` does, and let the event loop go on meanwhile.

        Args:
            items: A finite iterable, read to its end before the first goes in.

        Raises:
            ChannelFullError: As `aput`.
            ChannelClosedError: As `aput`.
        """
        await self._buffer.aput_all(_all_of(items))

    def close(self) -> None:
        """Say that nothing more comes; a run ends when it has taken the rest. May be called again."""
        self._buffer.end(None)

    def fail(self, error: BaseException) -> None:
        """End it with an error, which the run raises when it has taken the rest.

        Args:
            error: The exception. After `close` or another `fail` it counts no more.

        Raises:
            TypeError: `error` is no exception.
        """
        if not isinstance(error, BaseException):
            raise TypeError(f"fail({error!r}): give the exception that the run is to raise.")
        self._buffer.end(error)

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more."""
        return self._buffer.is_closed

    @property
    def counts(self) -> ChannelCounts:
        """How many items were made, taken and dropped and are inside, all at one moment."""
        return self._buffer.counts

    def open(self, wakeup: Wakeup, clock: Clock) -> ChannelFeed:
        """Let a run read it; for the run, not for users.

        Args:
            wakeup: Set when an item comes to an empty channel, and when it ends.
            clock: Stamps the items if it is virtual.

        Returns:
            What that run takes from.

        Raises:
            RuntimeError: Another run reads it.
        """
        self._buffer.begin_reading(wakeup, clock)
        return ChannelFeed(self._buffer)

    def __enter__(self) -> Self:
        """Return the channel."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; after an exception fail with that, since who died is not done."""
        if isinstance(error, Exception):
            self.fail(error)
        else:
            self.close()


class ChannelFeed:
    """What one run takes from a channel.

    Attributes:
        due: Never: items come when they are put.
    """

    __slots__ = ("_at_close", "_buffer", "_is_closed", "_is_told", "_lost")

    due: float = inf

    def __init__(self, buffer: Buffer[Any]) -> None:
        """Read this buffer until the run lets go."""
        self._buffer = buffer
        self._at_close: Callable[[], None] | None = None
        self._is_closed = False
        self._is_told = False  # the error reached the run
        self._lost = 0

    @property
    def dropped(self) -> int:
        """How many items were given up since the last run ended."""
        return self._lost if self._is_closed else self._buffer.dropped

    @property
    def is_over(self) -> bool:
        """Whether everything was taken and nothing more will come."""
        if self._is_closed or self._is_told:
            return True
        return self._buffer.seal()

    def take(self, count: int, now: float) -> Batch | None:
        """Return at most `count` items, or None.

        Args:
            count: At most so many. Where more are there, the wake-up is set again.
            now: Goes into the batch.

        Returns:
            The items; with times if the run's clock is virtual.

        Raises:
            BaseException: What the channel failed with, once all before it was taken.
        """
        if self._is_closed or self._is_told:
            return None
        try:
            return self._buffer.take(count, now)
        except BaseException as error:
            self._is_told = error is self._buffer.error  # and not a Ctrl-C of this moment
            raise

    def filenos(self) -> Sequence[int]:
        """Return none: the wake-up is all there is."""
        return ()

    def call_at_close(self, function: Callable[[], None]) -> None:
        """Have this called once, when the run lets go."""
        self._at_close = function

    def close(self) -> None:
        """Let the next run read; what was not taken is left for it."""
        if self._is_closed:
            return
        self._lost = self._buffer.end_reading()
        self._is_closed = True
        if self._at_close is not None:
            self._at_close()


def _all_of(items: Iterable[T]) -> Sequence[T]:
    # Read before the lock is taken: an iterable may be anybody's code.
    return items if isinstance(items, (list, tuple)) else list(items)
