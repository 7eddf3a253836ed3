"""What lies between those who put and the run that takes: items, room and counts.

    any thread, any loop -> add -> items -> take -> the thread of the run
                             |                |
                         wait for room <- wake all who wait

Apart from `channel` so that the channel and its feed work on one state without
looking into each other. One lock guards everything, save for the quick way in, which
is too short for a lock (0.2 us on CPython 3.11, twice what the rest takes):

    if len(items) < quick: items.append(item), then settle(item) unless is_calm

`deque.append` is atomic. What such an append can be late for is told by `is_calm`,
read after it: a run that may have looked already is woken, and a buffer that has come
to its end gives the item back. So several threads at once may exceed the size by one
each. The lock is reentrant: a signal handler or `__del__` may put while its thread is
in here. User code never runs under it: what is dropped is let go outside.

Over 400 lines, with its reasons: the parts share one lock and one state.

Invariant: made = taken + dropped + what is inside. `made` is the sum, not a counter,
so an append alone is all that an addition needs.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from itertools import repeat
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from gearshift.errors import ChannelClosedError, ChannelFullError
from gearshift.streams.batch import Batch
from gearshift.streams.sources.waiters import LoopWaiter, ThreadWaiter, Waiter, runs_event_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from gearshift.engines.base import Wakeup
    from gearshift.streams.sources.base import Clock

__all__ = ["Buffer", "ChannelCounts"]

T = TypeVar("T")
W = TypeVar("W", bound=Waiter)
V = TypeVar("V")


class ChannelCounts(NamedTuple):
    """How many items went where, all at one moment.

    Attributes:
        made: What was put: the sum of the other three.
        taken: What runs took.
        dropped: What was given up because it came faster than it was taken.
        inside: What waits to be taken.
    """

    made: int
    taken: int
    dropped: int
    inside: int


class Buffer(Generic[T]):
    """Items of many threads for one run at a time.

    Attributes:
        lock: Guards all that is here.
        items: What waits to be taken.
        quick: Below so many items `put` may append without the lock.
        is_calm: Whether nothing is to be done after such an append.
        error: What it failed with.
        is_closed: Whether nothing more may be put.
    """

    __slots__ = (
        "_clock",
        "_dropped",
        "_dropped_before",
        "_drops",
        "_error_traceback",
        "_is_sealed",
        "_quick",
        "_raises",
        "_run_ended",
        "_size",
        "_taken",
        "_taker",
        "_times",
        "_waiting",
        "_wakeup",
        "error",
        "is_calm",
        "is_closed",
        "items",
        "lock",
        "quick",
    )

    def __init__(self, when_full: str, size: int) -> None:
        """Begin empty, and read by nobody."""
        self.lock: threading.RLock = threading.RLock()
        self.items: deque[T] = deque()
        # With one place even one item too many would be wrong: "latest" has no second.
        self._quick = size if size > 1 else 0
        self.quick: int = self._quick
        self.is_calm: bool = True
        self.error: BaseException | None = None
        self.is_closed: bool = False
        self._drops = when_full in {"drop_oldest", "latest"}
        self._raises = when_full == "error"
        self._size = size
        self._taken = 0
        self._dropped = 0
        self._dropped_before = 0  # when the last run ended: those told by that run
        self._times: deque[float] | None = None  # one for each item, under a virtual clock
        self._waiting: list[Waiter] = []
        self._wakeup: Wakeup | None = None  # of the run that reads
        self._clock: Clock | None = None  # the same run's
        self._taker: int | None = None  # the thread in which it takes
        self._run_ended = False
        self._is_sealed = False  # a run was told that all is taken
        self._error_traceback: TracebackType | None = None

    @property
    def counts(self) -> ChannelCounts:
        """How many items went where, at this moment."""
        with self.lock:
            inside = len(self.items)
            made = self._taken + self._dropped + inside
            return ChannelCounts(made, self._taken, self._dropped, inside)

    @property
    def dropped(self) -> int:
        """How many were dropped since the last run ended."""
        with self.lock:
            return self._dropped - self._dropped_before

    # -- putting ----------------------------------------------------------------

    def put_all(self, news: Sequence[T]) -> None:
        """Add all, and block this thread while there is no room."""
        done = 0
        while True:
            done, fell, waiter = self._offer(news, done, ThreadWaiter, self._check_may_block)
            del fell  # outside the lock: the items may have a `__del__`
            if waiter is None:
                return
            try:
                waiter.wait()
            finally:
                self._forget(waiter)

    async def aput_all(self, news: Sequence[T]) -> None:
        """Add all, and let the event loop go on while there is no room."""
        from asyncio import get_running_loop

        loop = get_running_loop()
        done = 0
        while True:
            done, fell, waiter = self._offer(
                news, done, lambda: LoopWaiter(loop), self._check_is_read
            )
            del fell
            if waiter is None:
                return
            try:
                await waiter.wait()
            finally:
                self._forget(waiter)

    def _offer(
        self,
        news: Sequence[T],
        done: int,
        make_waiter: Callable[[], W],
        check_may_wait: Callable[[str], None],
    ) -> tuple[int, list[T], W | None]:
        """Add what there is room for, and get in line for the rest.

        Returns:
            How many are in by now, what fell out for them, and the place in the line.
        """
        with self.lock:
            if self.is_closed:
                self._check_open(done)
            if self._drops:
                return len(news), self._displace(news), None
            done += self._add(news, done)
            if done == len(news):
                return done, [], None
            check_may_wait(f"{done:,} of {len(news):,} are in" if done else "the item is not in")
            waiter = make_waiter()
            self._waiting.append(waiter)
            return done, [], waiter

    def _add(self, news: Sequence[T], start: int) -> int:
        count = len(news) - start
        room = self._size - len(self.items)
        if count > room:
            if self._raises:
                raise ChannelFullError(self._fullness(count, room))
            count = max(room, 0)
        if count:
            self._stamp(count)
            try:
                self.items.extend(news[start : start + count] if count < len(news) else news)
            finally:  # Ctrl-C may come as soon as they are in
                if not self.is_calm:
                    self._tell()
        return count

    def _displace(self, news: Sequence[T]) -> list[T]:
        items, fell = self.items, []
        for item in news:
            while len(items) >= self._size:
                fell.append(items[0])
                # No call between these, so no signal handler: the count stays exact.
                del items[0]
                self._dropped += 1
                if self._times:
                    del self._times[0]
            if self._times is not None:
                self._stamp(1)
            try:
                items.append(item)
            finally:
                if not self.is_calm:
                    self._tell()
        return fell

    def settle(self, item: T) -> None:
        """Do what an append without the lock leaves to be done.

        Raises:
            ChannelClosedError: The item came too late, and is out again.
        """
        with self.lock:
            if not self._is_sealed:
                self._tell()
                return
            for place in reversed(range(len(self.items))):
                if self.items[place] is item:
                    del self.items[place]
                    self._check_open(0)
            # Else a run that began meanwhile has taken it.

    def _tell(self) -> None:
        # Under the lock: a run that wakes up at once then sleeps on it and leaves this thread
        # the GIL; outside, `put` came to 2.0 M/s instead of 3.0 (CPython 3.11, two cores).
        # In this order: an interrupt between the two leaves it to the next `put`.
        if self._wakeup is not None:
            self._wakeup.set()
        self.is_calm = not self.is_closed

    def _stamp(self, count: int) -> None:
        if self._times is not None:
            assert self._clock is not None
            # An append without the lock may have met the begin of the run.
            missing = len(self.items) - len(self._times)
            self._times.extend([self._clock.now()] * (missing + count))

    def _forget(self, waiter: Waiter) -> None:
        with self.lock, suppress(ValueError):  # it was woken, and so taken off
            self._waiting.remove(waiter)

    def _check_open(self, done: int) -> None:
        if not self.is_closed:
            return
        how = "was closed" if self.error is None else f"failed with {self.error!r}"
        before = f" after {done:,} items of this call were in" if done else ""
        raise ChannelClosedError(
            f"the channel {how}{before}: it takes no more. Put before `close`, or make a new one."
        )

    def _check_is_read(self, state: str) -> None:
        if self._run_ended:
            raise ChannelClosedError(
                f"the run that read the channel has ended, and the channel is full "
                f"({self._size:,} items): {state}. Start another run first, or stop putting."
            )

    def _check_may_block(self, state: str) -> None:
        self._check_is_read(state)
        full = f"the channel is full ({self._size:,} items; {state}), and"
        if self._taker == threading.get_ident():
            raise ChannelFullError(
                f"{full} this thread is the one that takes from it: to wait here would be for "
                'ever. Put from another thread, or take when_full="drop_oldest".'
            )
        if runs_event_loop():
            raise ChannelFullError(
                f"{full} to wait here would stop this thread's event loop. "
                "`await channel.aput(item)`, or an emitter's `aemit`, waits without that."
            )

    def _fullness(self, count: int, room: int) -> str:
        return (
            f"no room for {count:,} more: {max(room, 0):,} of {self._size:,} places are free, so none of "
            'them is in. Take faster, or choose a larger buffersize or when_full="wait".'
        )

    def end(self, error: BaseException | None) -> None:
        """Take nothing more; only the first end counts."""
        with self.lock:
            if self.is_closed:
                return
            self.error = error
            self._error_traceback = None if error is None else error.__traceback__
            self.quick = 0
            self.is_closed = True
            self._tell()
            self._wake_all()

    # -- taking -----------------------------------------------------------------

    def begin_reading(self, wakeup: Wakeup, clock: Clock) -> None:
        """Let one run take from here.

        Raises:
            RuntimeError: Another one does.
        """
        with self.lock:
            if self._wakeup is not None:
                raise RuntimeError(
                    "another run reads this channel, and each item goes to one run only. Close that "
                    "run first, or give each its own channel: `emitter()` does so for you."
                )
            self._run_ended = False
            self._clock = clock
            if clock.is_virtual:
                self._times = deque([clock.now()] * len(self.items))
                self.quick = 0  # each item needs its stamp
            self._wakeup = wakeup
            self.is_calm = False
            if self.items or self.is_closed:
                self._tell()

    def take(self, count: int, now: float) -> Batch | None:
        """Return at most `count` items, or None without any.

        Raises:
            BaseException: What it failed with, when all before it is taken.
        """
        with self.lock:
            self._taker = threading.get_ident()
            self.is_calm = False  # from here on, whoever appends tells
            batch = self._cut(count, now) if self.items and count > 0 else None
            if batch is not None:
                self._wake_all()
            elif self.error is not None and not self.items:
                self._is_sealed = True
                raise self.error.with_traceback(self._error_traceback)
        # Again, behind the lock: without a GIL, an append may be seen later than what its
        # thread saw of `is_calm`.
        if self.items and not self.is_calm:
            with self.lock:
                self._tell()
        return batch

    def _cut(self, count: int, now: float) -> Batch:
        items: list[T] = []
        times: list[float] | None = None
        self._stamp(0)
        try:
            _move(self.items, items, min(len(self.items), count))
        finally:  # Ctrl-C may come as soon as they are out
            self._taken += len(items)
        if self._times is not None:
            times = []
            _move(self._times, times, len(items))
        return Batch(items, None, times, now=now)

    def seal(self) -> bool:
        """Say whether all is taken and nothing more comes; if so, keep it like that."""
        with self.lock:
            if self.is_closed and not self.items and self.error is None:
                self._is_sealed = True
            return self._is_sealed

    def end_reading(self) -> int:
        """Let the run go, wake all who wait, and return how many items it lost."""
        with self.lock:
            lost = self._dropped - self._dropped_before
            self._dropped_before = self._dropped
            self._wakeup = self._clock = self._taker = self._times = None
            self._run_ended = True
            self.is_calm = not self.is_closed
            self.quick = 0 if self.is_closed else self._quick
            self._wake_all()
            return lost

    def _wake_all(self) -> None:
        # All, not as many as there is room for: a waiter that was interrupted or whose
        # loop stopped then takes nobody's turn.
        for waiter in self._waiting:
            waiter.wake()
        self._waiting.clear()


def _move(source: deque[V], target: list[V], count: int) -> None:
    # One call into C: no signal handler comes between, and no thread needs a turn.
    target.extend(map(deque.popleft, repeat(source, count)))
