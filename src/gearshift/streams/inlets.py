"""The first node of a stream: it asks the source.

iterable   pulled in the consumer's thread, a pull may block
live       has items when it likes, and tells; a pull never blocks
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from gearshift.streams.batch import Batch
from gearshift.streams.needs import Act, Idle, Over

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift._run.source import Source
    from gearshift.engines.base import Wakeup
    from gearshift.streams.needs import Node, Setting
    from gearshift.streams.sources.base import Clock, Feed, LiveSource

__all__ = ["IterableInlet", "LiveInlet", "Stamp"]

MOST_ITEMS = 8192  # of a batch: some milliseconds of a chain of operators


class IterableInlet:
    """Items of an iterable."""

    def __init__(self, source: Source) -> None:
        """Begin; `source` pulls."""
        self._source = source
        self.made: int = 0

    @property
    def total(self) -> int | None:
        """How many items there are, where that is known."""
        return self._source.total

    def start(self, setting: Setting) -> None:
        """Learn where the run is."""
        self._setting: Setting = setting

    def step(self) -> Batch | Act | Idle | Over:
        """Return what was pulled, or ask for a pull."""
        source = self._source
        if self._setting.ended_by:
            return Over(self._setting.ended_by[0])
        if not source.pulled and not source.is_exhausted:
            if source.may_block:
                return Act(self._pull, may_block=True, patience=source.patience)
            self._pull()
        if source.pulled:
            items, source.pulled = source.pulled, []
            self.made += len(items)
            return Batch(items, now=self._setting.clock.now())
        return Over(source.error)

    def close(self) -> None:
        """Tell the source that nothing more is wanted."""
        self._source.close()

    def _pull(self) -> None:
        self._source.pull(min(self._source.batch, MOST_ITEMS))


class LiveInlet:
    """Items of a live source."""

    def __init__(self, source: LiveSource) -> None:
        """Begin closed."""
        self._source = source
        self._feed: Feed | None = None
        self.made: int = 0

    @property
    def total(self) -> int | None:
        """Nobody knows."""
        return None

    @property
    def dropped(self) -> int:
        """How many items the source gave up."""
        return 0 if self._feed is None else self._feed.dropped

    def open(self, wakeup: Wakeup, clock: Clock) -> None:
        """Open the feed: from now on nothing is missed."""
        self._feed = self._source.open(wakeup, clock)

    def start(self, setting: Setting) -> None:
        """Learn where the run is."""
        self._setting: Setting = setting

    def step(self) -> Batch | Act | Idle | Over:
        """Return what is there."""
        feed = self._feed
        assert feed is not None
        if self._setting.ended_by:
            return Over(self._setting.ended_by[0])
        try:
            batch = feed.take(MOST_ITEMS, self._setting.clock.now())
        except Exception as error:
            return Over(error)
        if batch is not None:
            self.made += len(batch)
            return batch
        if feed.is_over:
            return Over()
        return Idle(due=feed.due, filenos=tuple(feed.filenos()))

    def close(self) -> None:
        """Close the feed; may be called again."""
        if self._feed is not None:
            self._feed.close()


class Stamp:
    """Event time: asks each item when it happened. Time never goes backward: a late item counts as of now."""

    def __init__(self, child: Node, time: Callable[[Any], float]) -> None:
        """Stand behind the inlet.

        Args:
            child: The inlet.
            time: Gives the time of an item, in seconds.
        """
        self._child = child
        self._time = time
        self._reached = -float("inf")
        self._over: Over | None = None

    @property
    def total(self) -> int | None:
        """As many as come in."""
        return self._child.total

    def start(self, setting: Setting) -> None:
        """Start the inlet."""
        self._child.start(setting)

    def step(self) -> Batch | Act | Idle | Over:
        """Return the next items with their times."""
        if self._over is not None:
            return self._over
        batch = self._child.step()
        if not isinstance(batch, Batch) or not batch.items:
            return batch
        times, error = self._times_of(batch.items)
        if error is not None:  # what came before it goes on
            self._over = Over(error)
            if not times:
                return self._over
            batch.items = batch.items[: len(times)]
        batch.times = list(accumulate([max(times[0], self._reached), *times[1:]], max))
        batch.now = self._reached = batch.times[-1]
        return batch

    def _times_of(self, items: list[Any]) -> tuple[list[float], Exception | None]:
        """Return when items happened, up to the first that does not say so, and what is wrong with that."""
        times: list[float] = []
        error: Exception | None = None
        try:
            times.extend(map(float, map(self._time, items)))
            if len(times) < len(items):  # `extend` took a StopIteration for the end of the items
                error = RuntimeError("the function `time` raised StopIteration")
        except Exception as raised:
            error = raised
        if not all(map(math.isfinite, times)):
            first = next(n for n, time in enumerate(times) if not math.isfinite(time))
            error = ValueError(
                f"time={times[first]!r} of the item {items[first]!r:.200} is no moment: "
                "have `time` return seconds"
            )
            del times[first:]
        return times, error
