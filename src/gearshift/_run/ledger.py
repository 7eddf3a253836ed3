"""The state of every item between admit and emit.

Pure: no thread, no clock, no I/O; whoever calls says what time it is. Invariant: every
admitted item is emitted exactly once, as a value or a `Failure`, in order when asked.

    admit -> waiting -> next_chunk -> out -> settle -> ready -> emit
                ^                      |        |
                +------ returned ------+        +-> retry, due later -> next_chunk

It counts by entry (the items admitted together) and singles an item out only when
something happens to it, so a trivial item costs tens of nanoseconds. An outcome counts
only while its item is out: settling twice, or late, changes nothing.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from gearshift.facts import Chunk, Failure, FailureKind, Fault, Retry, Settled, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["Errors", "Ledger"]

Errors = Literal["raise", "return", "skip"]

_KEPT_FAILURES = 1000  # the report's share of a run that fails on every item
_KEPT_KINDS = 100  # of failures
_WINDOW_ITEMS = 1024  # emitted at once at most (or one entry), so that lanes are fed in between
_MISSING: Any = object()  # stands where an outcome is still to come


class _Entry:
    """Items admitted together and, in an ordered run, their outcomes."""

    __slots__ = ("attempts", "emitted", "failures", "first", "items", "missing", "outcomes", "sent")

    def __init__(self, first: int, items: Sequence[Any]) -> None:
        self.first = first
        self.items = items
        self.outcomes: Sequence[Any] | None = None
        self.missing = len(items)
        self.sent = 0  # handed out for the first time, from the first on
        self.emitted = 0
        self.failures: dict[int, Failure] = {}  # by offset
        self.attempts: dict[int, int] = {}  # failed ones, by offset


class Ledger:
    """What is inside a run; see the module's head."""

    def __init__(
        self,
        *,
        ordered: bool = True,
        errors: Errors = "raise",
        retry: Retry | None = None,
        instead: Callable[[Failure], Any] | None = None,
        pairs: bool = False,
        chance: Callable[[], float] = lambda: 0.0,
        describe: Callable[[Failure], None] = lambda _failure: None,
    ) -> None:
        """Begin empty.

        Args:
            ordered: Emit in the order of admission.
            errors: What becomes of an item that failed for good.
            retry: Which failures are tried again.
            instead: With "return", gives what stands in the place of a failure; what it raises ends the run.
            pairs: Emit `(index, item, outcome)` instead of the outcome.
            chance: Source of the retries' jitter, from 0 to 1.
            describe: Told of every item that failed for good, when it did.
        """
        self._ordered = ordered
        self._errors = errors
        self._retry = retry if retry is not None else Retry(0)
        self._instead = instead
        self._pairs = pairs
        self._chance = chance
        self.describe = describe
        self.keep: Callable[[int, Sequence[Any], Sequence[Any]], None] | None = None
        self.note: Callable[[Failure], None] | None = None
        self._waiting: deque[_Entry] = deque()  # not handed out in full
        self._again: deque[tuple[_Entry, int, int]] = deque()  # returned: entry, first, stop
        self._retries: list[tuple[float, int, _Entry]] = []  # heap of due, index, entry
        self._out: dict[int, tuple[int, _Entry]] = {}  # ranges with a lane: first -> stop, entry
        self._order: deque[_Entry] = deque()  # ordered: not emitted in full
        self._ready: deque[tuple[_Entry, int, Sequence[Any]]] = (
            deque()
        )  # unordered: entry, first, outcomes
        self._final: Failure | None = (
            None  # errors="raise": the earliest failure, nothing after it counts
        )
        self._stopped = False
        self.admitted: int = 0
        self.emitted: int = 0  # given out or, with "skip", passed over
        self.outstanding: int = 0  # with a lane
        self.unsent: int = 0  # admitted and with no lane
        self.succeeded: int = 0
        self.failed: int = 0
        self.retried: int = 0
        self.failures: list[Failure] = []
        self.kinds: dict[str, FailureKind] = {}

    @property
    def inside(self) -> int:
        """Items admitted and not emitted."""
        return self.admitted - self.emitted

    @property
    def is_ending(self) -> bool:
        """Whether no further item is to be admitted: a failure is final, or the run was stopped."""
        return self._stopped or self._final is not None

    @property
    def raised(self) -> Failure | None:
        """The failure that ends the run, once all that comes before it has been emitted."""
        if self._final is None or self._ready:
            return None
        return self._final if not self._ordered or self._position == self._final.index else None

    @property
    def next_due(self) -> float | None:
        """When the earliest retry may start, or None."""
        return self._retries[0][0] if self._retries else None

    def admit(self, items: Sequence[Any]) -> None:
        """Take the next items in."""
        entry = _Entry(self.admitted, items)
        self.admitted += len(items)
        self.unsent += len(items)
        self._waiting.append(entry)
        if self._ordered:
            self._order.append(entry)

    def admit_kept(
        self, items: Sequence[Any], outcomes: Sequence[Any], *, counted: bool = True
    ) -> None:
        """Take in items whose values are known: they are ready at once, and never sent.

        Args:
            items: The next items.
            outcomes: Their values.
            counted: They count as succeeded.
        """
        entry = _Entry(self.admitted, items)
        entry.outcomes = outcomes
        entry.missing = 0
        entry.sent = len(items)
        self.admitted += len(items)
        if counted:
            self.succeeded += len(items)
        if self._ordered:
            self._order.append(entry)
        else:
            self._ready.append((entry, entry.first, outcomes))

    def next_chunk(self, length: int, now: float) -> Chunk | None:
        """Hand out at most `length` items, or None when there is nothing to send now.

        A retry that is due comes first, alone; then what was returned; then the next in order.
        """
        if self._retries and self._retries[0][0] <= now:
            _, first, entry = heapq.heappop(self._retries)
            self.retried += 1
            return self._hand_out(entry, first, first + 1)
        if self._again:
            entry, first, stop = self._again.popleft()
            if stop - first > length:
                self._again.appendleft((entry, first + length, stop))
                stop = first + length
            return self._hand_out(entry, first, stop)
        if self._waiting:
            entry = self._waiting[0]
            first = entry.first + entry.sent
            entry.sent = min(entry.sent + length, len(entry.items))
            if entry.sent == len(entry.items):
                self._waiting.popleft()
            return self._hand_out(entry, first, entry.first + entry.sent)
        return None

    def returned(self, first: int, count: int) -> None:
        """Take back items that were not run, or whose outcome is gone."""
        for low, high, entry in self._withdraw(first, count):
            if not self._is_void(low):
                self._again.append((entry, low, high))
                self.unsent += high - low

    def settle(self, settled: Settled, now: float) -> None:
        """Take the outcomes of consecutive items."""
        first, count = settled.first, len(settled.values)
        for low, high, entry in self._withdraw(first, count):
            values = settled.values
            if high - low < count:
                values = values[low - first : high - first]
            if settled.failed:
                values = self._judge(entry, low, values, settled.failed, now)
            else:
                self.succeeded += high - low
                entry.missing -= high - low
                if self.keep is not None:
                    self._tell(entry, low, values)
            self._keep(entry, low, values)

    def has_sendable(self, now: float) -> bool:
        """Whether `next_chunk` would hand something out."""
        return bool(self._waiting or self._again or (self._retries and self._retries[0][0] <= now))

    def stop(self) -> None:
        """Admit and hand out nothing more; what is out may still settle."""
        self._stopped = True
        self._drop_unsent()

    def forget_outstanding(self) -> None:
        """Expect nothing more of what is out: whoever has it is gone."""
        self._out.clear()
        self.outstanding = 0

    def emit(self) -> Sequence[Any] | None:
        """Return outcomes whose turn has come, each once, or None."""
        return self._emit_ordered() if self._ordered else self._emit_unordered()

    # Handing out

    def _hand_out(self, entry: _Entry, first: int, stop: int) -> Chunk:
        """Note that a lane holds the range."""
        self._out[first] = (stop, entry)
        self.outstanding += stop - first
        self.unsent -= stop - first
        items = entry.items
        if stop - first < len(items):
            items = items[first - entry.first : stop - entry.first]
        return Chunk(first, items, entry.attempts.get(first - entry.first, 0) + 1)

    def _withdraw(self, first: int, count: int) -> Iterable[tuple[int, int, _Entry]]:
        """Take the parts of a range that are out from their lanes, and return them."""
        stop = first + count
        exact = self._out.get(first)
        if exact is not None and exact[0] == stop:
            del self._out[first]
            self.outstanding -= count
            return ((first, stop, exact[1]),)
        return self._withdraw_parts(first, stop)

    def _withdraw_parts(self, first: int, stop: int) -> Iterator[tuple[int, int, _Entry]]:
        ranges = [
            (low, high, entry)
            for low, (high, entry) in self._out.items()
            if low < stop and first < high
        ]
        for low, high, entry in ranges:
            del self._out[low]
            if low < first:
                self._out[low] = (first, entry)
            if stop < high:
                self._out[stop] = (high, entry)
            part = max(low, first), min(high, stop)
            self.outstanding -= part[1] - part[0]
            yield *part, entry

    def _drop_unsent(self) -> None:
        """Forget what no lane holds, as far as it no longer counts."""
        self._waiting = deque(
            entry for entry in self._waiting if not self._is_void(entry.first + entry.sent)
        )
        self._again = deque(part for part in self._again if not self._is_void(part[1]))
        self._retries = [retry for retry in self._retries if not self._is_void(retry[1])]
        heapq.heapify(self._retries)
        self.unsent = (
            sum(len(entry.items) - entry.sent for entry in self._waiting)
            + sum(stop - first for _, first, stop in self._again)
            + len(self._retries)
        )

    def _is_void(self, index: int) -> bool:
        """Whether the item would never be emitted: the run ends before it."""
        if self._stopped:
            return True
        return self._final is not None and (not self._ordered or index > self._final.index)

    # Settling

    def _judge(
        self,
        entry: _Entry,
        first: int,
        values: Sequence[Any],
        failed: Mapping[int, Fault],
        now: float,
    ) -> Sequence[Any]:
        """Return the outcomes with failures and retries put in the failed items' places."""
        outcomes = list(values)
        good = first  # from here to the next fault
        for index in range(first, first + len(outcomes)):
            fault = failed.get(index)
            if fault is None:
                self.succeeded += 1
                entry.missing -= 1
                continue
            self._tell(entry, good, outcomes[good - first : index - first])
            good = index + 1
            offset = index - entry.first
            attempts = entry.attempts.get(offset, 0) + 1
            entry.attempts[offset] = attempts
            if self._retry.wants(fault.exception, attempts) and not self._is_void(index):
                due = now + self._retry.delay(fault.exception, attempts, self._chance())
                heapq.heappush(self._retries, (due, index, entry))
                self.unsent += 1
                outcomes[index - first] = _MISSING
                continue
            failure = Failure(index, entry.items[offset], fault.exception, attempts, fault.seconds)
            entry.failures[offset] = failure
            entry.missing -= 1
            self._count_failure(failure)
            outcomes[index - first] = self._stand_in(failure)
        self._tell(entry, good, outcomes[good - first :])
        return outcomes

    def _tell(self, entry: _Entry, first: int, values: Sequence[Any]) -> None:
        """Pass values on to whoever keeps them."""
        if self.keep is not None and values:
            start = first - entry.first
            self.keep(first, entry.items[start : start + len(values)], values)

    def _count_failure(self, failure: Failure) -> None:
        """Keep it for the report and, where it ends the run, drop what comes after it."""
        self.failed += 1
        self.describe(failure)
        if self.note is not None:
            self.note(failure)
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(failure)
        name = type_name(failure.exception)
        kind = self.kinds.get(name)
        if kind is not None:
            example = kind.example if kind.example.index < failure.index else failure
            self.kinds[name] = FailureKind(name, kind.count + 1, example)
        elif len(self.kinds) < _KEPT_KINDS:
            self.kinds[name] = FailureKind(name, 1, failure)
        if self._errors == "raise":
            self._end_with(failure)

    def _stand_in(self, failure: Failure) -> Any:
        """Return what takes the place of a failure."""
        if self._instead is None:
            return failure
        try:
            return self._instead(failure)
        except Exception as error:  # as if the item had raised it
            self._end_with(replace(failure, exception=error))
            return failure

    def _end_with(self, failure: Failure) -> None:
        """End the run at its turn, and drop what comes after it."""
        if self._final is None or (self._ordered and failure.index < self._final.index):
            self._final = failure
            self._drop_unsent()

    def _keep(self, entry: _Entry, first: int, outcomes: Sequence[Any]) -> None:
        """Store outcomes where their turn will find them."""
        if not self._ordered:
            self._ready.append((entry, first, outcomes))
        elif len(outcomes) == len(entry.items):
            entry.outcomes = outcomes
        else:
            if entry.outcomes is None:
                entry.outcomes = [_MISSING] * len(entry.items)
            offset = first - entry.first
            assert isinstance(entry.outcomes, list)
            entry.outcomes[offset : offset + len(outcomes)] = outcomes

    # Emitting

    @property
    def _position(self) -> int:
        """Ordered: index of the next item to emit."""
        return self._order[0].first + self._order[0].emitted if self._order else self.admitted

    def _emit_ordered(self) -> Sequence[Any] | None:
        window: list[Any] = []
        while self._order and len(window) < _WINDOW_ITEMS:
            entry = self._order[0]
            end = self._end_of_ready(entry)
            if end > entry.emitted:
                outcomes = entry.outcomes if entry.outcomes is not None else [_MISSING] * end
                if end < len(entry.items) or entry.emitted:
                    outcomes = outcomes[entry.emitted : end]
                part = self._presented(entry, entry.first + entry.emitted, outcomes)
                self.emitted += end - entry.emitted
                entry.emitted = end
                if not window and end == len(entry.items) == len(part) and len(self._order) == 1:
                    self._order.popleft()
                    return part  # the whole of one entry: nothing to copy
                window.extend(part)
            if entry.emitted < len(entry.items):
                break
            self._order.popleft()
        return window or None

    def _end_of_ready(self, entry: _Entry) -> int:
        """Return the offset up to which an entry may be emitted."""
        end = len(entry.items)
        if self._final is not None:
            end = max(entry.emitted, min(end, self._final.index - entry.first))
        if entry.missing == 0 or (self._stopped and not self.outstanding):
            return end
        if entry.outcomes is None:
            return entry.emitted
        for offset in range(entry.emitted, end):
            if entry.outcomes[offset] is _MISSING:
                return offset
        return end

    def _emit_unordered(self) -> Sequence[Any] | None:
        window: list[Any] = []
        while self._ready and len(window) < _WINDOW_ITEMS:
            entry, first, outcomes = self._ready.popleft()
            part = self._presented(entry, first, outcomes)
            settled = (
                len(outcomes) - sum(outcome is _MISSING for outcome in outcomes)
                if entry.attempts
                else len(outcomes)
            )
            self.emitted += settled
            window.extend(part)
        return window or None

    def _presented(self, entry: _Entry, first: int, outcomes: Sequence[Any]) -> Sequence[Any]:
        """Return outcomes as the consumer gets them: without holes and skipped failures, paired if asked."""
        presented: Sequence[Any] = outcomes
        if self._pairs:
            items = entry.items[first - entry.first : first - entry.first + len(outcomes)]
            presented = list(zip(range(first, first + len(outcomes)), items, outcomes, strict=True))
        may_have_holes = self._stopped if self._ordered else bool(entry.attempts)
        if not may_have_holes and (not entry.failures or self._errors == "return"):
            return presented
        failures = entry.failures if self._errors != "return" else {}
        return [
            shown
            for offset, (shown, outcome) in enumerate(
                zip(presented, outcomes, strict=True), first - entry.first
            )
            if outcome is not _MISSING and offset not in failures
        ]
