"""Push items, time and the end through the operators between two stages.

    feed(batch) -> what comes out     first of what was due before it, then of the items
    tick(now)   -> what comes out     `due` has come
    end(now)    -> what comes out     the stream is complete

Apart from the chain because the marbles drive it too, with times of their own. No
thread, no clock. Without a column of times all operators go from moment to moment
together: what the first gives at 3 is the second's item of 3, before a timer of its own
that is due at 4. With one they need not: each has gone through the whole batch, timers
included, before the next one begins, and the times say the rest; only where a key may
leave is such a batch cut, since `ForgetIdle` is told to the operators by moments.

Invariant: what comes out depends on the items and their times, not on their batches.
The one exception is an error in event time: operators behind it then stay at the time
of the last item that they got.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from gearshift.streams.batch import Batch
from gearshift.streams.operators.keyed import ForgetIdle, Keyed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gearshift.streams.operators.base import Operator

    Step = Callable[[Operator, Batch], None]

__all__ = ["Pipeline"]

# At once through all operators: what one makes for the next is dropped before the garbage collector,
# which looks after 700 new objects (2,000 in CPython 3.13), takes it for something that stays.
PIECE_ITEMS = 512


class Pipeline:
    """The operators between two stages, in one run.

    Attributes:
        error: What a user's function raised. What came before it was given; the
            pipeline takes nothing more, and has nothing due.
    """

    __slots__ = (
        "_forgetters",
        "_has_keys",
        "_has_times",
        "_keyed_from",
        "_now",
        "_operators",
        "error",
    )

    def __init__(self, operators: Sequence[Operator]) -> None:
        """Hold the operators, the first one first; they must be of this run alone."""
        self._operators = tuple(operators)
        keyed = [index for index, one in enumerate(self._operators) if isinstance(one, Keyed)]
        self._keyed_from: float = min(keyed, default=math.inf)
        # Those whose keys a `ForgetIdle` sees: the next `keyed` has keys of its own.
        self._forgetters = [
            (
                one,
                index,
                self._operators[index + 1 : min((k for k in keyed if k > index), default=None)],
            )
            for index, one in enumerate(self._operators)
            if isinstance(one, ForgetIdle)
        ]
        self._has_keys = False
        self._has_times = False
        self._now = -math.inf
        self.error: Exception | None = None

    @property
    def due(self) -> float:
        """When `tick` has something to do, or infinity."""
        if self.error is not None:
            return math.inf
        return min((one.due for one in self._operators), default=math.inf)

    def feed(self, batch: Batch) -> Batch:
        """Take the next items, and what is due before `batch.now`.

        Args:
            batch: The items; read only. Those that are late count as of the time that
                was reached.

        Returns:
            What comes out of the last operator, in the order of time.
        """
        if not self._operators:
            return batch
        self._has_keys, self._has_times = batch.keys is not None, batch.times is not None
        if batch.times is None:
            now = self._now = max(self._now, batch.now)
            result = self._blank(len(self._operators) - 1, now)
            self._tick_through(_before(now), result)
            for start in range(0, len(batch), PIECE_ITEMS):
                self._push(_piece(batch, start, now), _nothing, result)
            return result
        times = self._in_order(batch.times)
        self._now = max(self._now, batch.now, times[-1] if times else batch.now)
        result = self._blank(len(self._operators) - 1, self._now)
        self._feed_timed(batch, times, result)
        return result

    def tick(self, now: float) -> Batch:
        """Do what is due at `now` or earlier.

        Returns:
            What comes out of the last operator.
        """
        self._now = max(self._now, now)
        result = self._blank(len(self._operators) - 1, self._now)
        self._tick_through(self._now, result)
        return result

    def end(self, now: float) -> Batch:
        """Do what is due at `now` or earlier, and give what is held back then.

        Returns:
            What comes out of the last operator; nothing comes after it.
        """
        result = self.tick(now)
        end = self._now

        def step(operator: Operator, out: Batch) -> None:
            operator.end(end, out)

        self._push(self._blank(-1, end), step, result)
        return result

    def _blank(self, index: int, now: float) -> Batch:
        """Return an empty batch with the columns of what that operator gives."""
        has_keys = self._has_keys or index >= self._keyed_from
        return Batch([], [] if has_keys else None, [] if self._has_times else None, now=now)

    def _in_order(self, times: list[float]) -> list[float]:
        """Return the times without a step back: what is late counts as of the time reached."""
        if times and (times[0] < self._now or sorted(times) != times):
            return list(accumulate(times, max, initial=self._now))[1:]
        return times

    def _feed_timed(self, batch: Batch, times: list[float], result: Batch) -> None:
        """Push a batch with times through, in parts that end where a key may leave."""
        now, start = self._now, 0
        while (until := self._next_leave(times[start] if start < len(times) else math.inf)) < now:
            if self.error is not None:
                return
            stop = bisect_right(times, until, start)
            self._push(_part(batch, times, start, stop, until), _ticking(_before(until)), result)
            self._tick_through(until, result)
            start = stop
        self._push(_part(batch, times, start, len(times), now), _ticking(_before(now)), result)

    def _next_leave(self, time: float) -> float:
        """Return a moment before which no key leaves, if the next item comes at `time`."""
        if not self._forgetters:
            return math.inf
        earliest = min(time, self.due)  # an operator in front may give an item when it is due
        return min(min(one.due, one.leaves(earliest)) for one, _, _ in self._forgetters)

    def _tick_through(self, until: float, result: Batch) -> None:
        """Go from moment to moment, all operators together, through `until`."""
        while (at := self.due) <= until and at < math.inf:
            self._push(self._blank(-1, at), _ticking(at), result)
            for one, index, behind in self._forgetters:
                if one.idle:
                    self._let_go(one, index, behind, at, result)

    def _let_go(
        self, one: ForgetIdle, index: int, behind: Sequence[Operator], at: float, result: Batch
    ) -> None:
        """Let the idle keys leave, but for those that some operator still has to do with."""
        keys = [key for key in one.idle if not any(other.owes(key, at) for other in behind)]
        one.leave(keys, at)

        def step(operator: Operator, out: Batch) -> None:
            if operator in behind:
                for key in keys:
                    operator.forget(key, at, out)

        if keys:
            self._push(self._blank(index, at), step, result, first=index + 1)

    def _push(self, batch: Batch, then: Step, result: Batch, *, first: int = 0) -> None:
        """Feed each operator with what the one before it gave, and let it do its step after that."""
        if self.error is not None:
            return
        failed, last = False, len(self._operators) - 1
        for index in range(first, last + 1):
            operator = self._operators[index]
            out = result if index == last else self._blank(index, batch.now)
            try:
                if batch.items:
                    operator.feed(batch, out)
                if not failed:
                    then(operator, out)
            except Exception as error:
                with suppress(Exception):  # an exception may refuse notes
                    error.add_note(f"gearshift: in the stream's operator {operator.name}")
                self.error = error  # one further down is of an earlier item, so it comes first
                failed = True
            batch = out


def _piece(batch: Batch, start: int, now: float) -> Batch:
    """Return the next items of a batch without times."""
    if len(batch) <= PIECE_ITEMS:
        return Batch(batch.items, batch.keys, now=now)
    part = slice(start, start + PIECE_ITEMS)
    return Batch(batch.items[part], None if batch.keys is None else batch.keys[part], now=now)


def _before(time: float) -> float:
    """Return the last moment before that one: items come before timers."""
    return math.nextafter(time, -math.inf)


def _part(batch: Batch, times: list[float], start: int, stop: int, now: float) -> Batch:
    keys: list[Any] | None = None if batch.keys is None else batch.keys[start:stop]
    return Batch(batch.items[start:stop], keys, times[start:stop], now=now)


def _nothing(operator: Operator, out: Batch) -> None:
    """Do nothing after the items."""


def _ticking(until: float) -> Step:
    """Return the step that lets time go on."""

    def step(operator: Operator, out: Batch) -> None:
        if operator.due <= until:
            operator.tick(until, out)

    return step
