"""The protocols of live sources and of the clock of a stream.

    stream.start() -> source.open(wakeup, clock) -> Feed, of that run alone
    any thread, a timer, a file -> feed; wakeup.set() -> the run looks: feed.take()

A stream is a recipe, so a source is one too: each run opens a feed of its own. A feed
never blocks. Only the run's thread takes from it and closes it; what comes from other
threads is the source's business to guard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearshift.engines.base import Wakeup
    from gearshift.streams.batch import Batch

__all__ = ["Clock", "Feed", "LiveSource"]


class Clock(Protocol):
    """What time it is for the operators of a stream: real or virtual seconds."""

    @property
    def is_virtual(self) -> bool:
        """Whether time stands still until somebody moves it; sources then stamp what they are given."""
        ...

    def now(self) -> float:
        """Return the time, in seconds; it never goes backward."""
        ...

    def seconds_until(self, due: float) -> float | None:
        """Return the real seconds to wait for that moment, or None: whoever moves the time wakes us."""
        ...

    def idle(self, due: float) -> bool:
        """Take note that nothing happens before `due`, and say whether the time was moved there."""
        ...

    def watch(self, wakeup: Wakeup) -> None:
        """Set this wake-up whenever the time is moved."""
        ...

    def unwatch(self, wakeup: Wakeup) -> None:
        """Set it no more."""
        ...


@runtime_checkable
class LiveSource(Protocol):
    """Something that gives items when it has them, not when it is asked."""

    def open(self, wakeup: Wakeup, clock: Clock) -> Feed:
        """Begin for one run.

        Args:
            wakeup: To be set, from any thread, when there is something new to take.
            clock: The time of the stream, for what has to do with time.

        Raises:
            RuntimeError: Another run reads this source, which can have only one.
        """
        ...


class Feed(Protocol):
    """What one run takes from a live source."""

    @property
    def due(self) -> float:
        """When, by the stream's clock, `take` has something by itself, or infinity."""
        ...

    @property
    def dropped(self) -> int:
        """How many items were given up because they came faster than they were taken."""
        ...

    def take(self, count: int, now: float) -> Batch | None:
        """Return what is there, or None: at most `count` items, without waiting.

        It has a column of times where the items have times of their own (`every`, or
        whatever was put while a virtual clock stood still).

        Raises:
            Exception: What the source failed with, once all before it was taken.
        """
        ...

    @property
    def is_over(self) -> bool:
        """Whether everything was taken and nothing more will come."""
        ...

    def filenos(self) -> Sequence[int]:
        """Return what becomes readable with news, beside the wake-up."""
        ...

    def close(self) -> None:
        """Let go: the run has ended. May be called again."""
        ...
