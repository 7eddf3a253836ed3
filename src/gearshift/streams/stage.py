"""A stage: one function of a stream, with an engine of its own, moved by a pump as in `gs.map`.

    the node before -> Link -> Pump (ledger, lanes) -> outcomes -> the batch that goes on

The pump knows its function and items only. What else belongs to an item, its key, its
time, and for `filter` the item itself, waits in `_Beside` until the outcome is there.
"""

from __future__ import annotations

import functools
import operator
import time
from contextlib import suppress
from itertools import compress, islice, repeat
from typing import TYPE_CHECKING, Any

from gearshift._run.pump import Action, Step
from gearshift._run.source import Source
from gearshift.facts import Failure
from gearshift.streams.batch import Batch
from gearshift.streams.listed import Listed
from gearshift.streams.needs import Act, Idle, Over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearshift._run.pump import Pump
    from gearshift.engines.base import Job
    from gearshift.streams.listed import Kind
    from gearshift.streams.needs import Node, Setting

__all__ = ["Link", "Stage"]

_AWAITING = Step(Action.WAIT)


class Link(Source):
    """What the node before gave, as the source of a pump; its pulls never block."""

    def __init__(self, total: int | None) -> None:
        """Begin empty.

        Args:
            total: How many items will come, where that is known.
        """
        super().__init__(iter(()), total=total, may_block=False)
        self._inbox: list[Any] = []
        self._first = 0  # of it that was not handed over; so handing over does not copy the rest
        self._is_ended = False

    @property
    def tells(self) -> bool:
        """It does."""
        return True

    @property
    def _left(self) -> int:
        return len(self._inbox) - self._first

    def give(self, items: list[Any]) -> None:
        """Take the next items in."""
        self._inbox = [*self._inbox[self._first :], *items] if self._left else items
        self._first = 0

    def end(self, error: BaseException | None) -> None:
        """Nothing will come any more."""
        self._is_ended = True
        self.error = error
        self.is_exhausted = not self._left

    def available(self, count: int) -> int:
        """Return how many of `count` items are there."""
        return min(count, self._left)

    def filenos(self) -> Sequence[int]:
        """Return nothing: the node before has them."""
        return ()

    def pull(self, count: int) -> None:
        """Hand over up to `count` items."""
        if count <= 0:
            return
        if self._first == 0 and count >= len(self._inbox):
            taken, self._inbox = self._inbox, []
        else:
            taken = self._inbox[self._first : self._first + count]
            self._first += len(taken)
            if not self._left:
                self._inbox, self._first = [], 0
        self.pulled.extend(taken)
        self.is_exhausted: bool = self._is_ended and not self._left


class Stage:
    """See the module's head."""

    def __init__(
        self,
        child: Node,
        link: Link,
        pump: Pump,
        job: Job,
        *,
        kind: Kind,
        in_turn: bool,
        keeps_all: bool,
        may_fail: bool,
    ) -> None:
        """Put the parts together; nothing runs yet.

        Args:
            child: The node before.
            link: The source of the pump.
            pump: Moves the items of the function.
            job: The pump's.
            kind: What outcomes mean.
            in_turn: The pump gives one outcome for each item, in order, and no more; else
                it gives `(index, item, outcome)`.
            keeps_all: Each item has an outcome, unless one ends the run: failures are not skipped.
            may_fail: There may be a `Failure` among the outcomes.
        """
        self.pump: Pump = pump
        self._child = child
        self._link = link
        self._job = job
        self._kind = kind
        self._keeps_all = keeps_all
        self._may_fail = may_fail
        self._beside: _InTurn | _ByIndex = _InTurn() if in_turn else _ByIndex()
        self._held: Batch | None = None
        self._over: Over | None = None
        self._patient_until: float | None = None

    @property
    def total(self) -> int | None:
        """How many items will go on, where that is known."""
        return self._link.total if self._kind == "map" and self._keeps_all else None

    def start(self, setting: Setting) -> None:
        """Start the node before, then the pump."""
        self._child.start(setting)
        self._setting: Setting = setting
        self.pump.wakeup = setting.wakeup
        if setting.is_guest:
            self.pump.be_guest()
        job = self._job
        if setting.loop is not None:
            from dataclasses import replace  # loaded with the rest

            job = replace(job, loop=setting.loop)
        self.pump.start(job)

    def step(self) -> Batch | Act | Idle | Over:
        """Return the next outcomes, or why there are none now."""
        if self._held is not None:
            batch, self._held = self._held, None
            return batch
        is_dry = self.pump.is_dry  # then its bookkeeping would find nothing, for 10 us
        while self._over is None:
            step = _AWAITING if is_dry else self.pump.advance()
            is_dry = False
            if step.action is Action.EMIT:
                return self._going_on(list(self.pump.window))
            if step.action is Action.WORK:
                return Act(functools.partial(self.pump.work, step.seconds or 0.0))
            if step.action is Action.PULL:
                self.pump.pull(step.count)
            elif step.action is Action.END:
                self._over = Over(step.error)
            elif self.pump.is_awaiting:
                need = self._ask(step.seconds)
                if need is not None:
                    return need
            else:
                return self._own_idle(step.seconds).beside(self._tend())
        return self._over

    def _ask(self, seconds: float | None) -> Act | Idle | None:
        """Ask the node before; None means that there is something new for the pump."""
        need = self._child.step()
        if isinstance(need, Batch):
            self._patient_until = None
            self._beside.put(need, self._kind)
            self._link.give(need.items)
            return None
        if isinstance(need, Over):
            self._link.end(need.error)
            return None
        own = self._own_idle(seconds)
        if isinstance(need, Idle):
            return own.beside(need)
        if need.patience is not None and self.pump.is_busy:
            now = time.monotonic()
            if self._patient_until is None:
                self._patient_until = now + need.patience(self._start_seconds())
            if now < self._patient_until:
                return own.beside(Idle(seconds=self._patient_until - now))
        self._patient_until = None
        return need

    def _start_seconds(self) -> float:
        """Return what the engine needs to give its first outcome."""
        engine = self.pump.gears.engine
        return engine.traits.start_seconds if engine is not None else 0.0

    def forget(self, failure: Failure) -> None:
        """Drop what belongs to an item that was skipped."""
        if isinstance(self._beside, _ByIndex):
            self._beside.forget(failure.index)

    def _tend(self) -> Idle:
        """Let the node before go on with what it has under way, while this one has enough to do."""
        if isinstance(self._child, Stage):
            return self._child.tend()
        return Idle()

    def tend(self) -> Idle:
        """Go on as far as that takes neither work nor items from the source."""
        if self._held is None and self._over is None and not self.pump.is_in_caller:
            need = self.step()
            if isinstance(need, Batch):
                self._held = need
            elif isinstance(need, Idle):
                return need
        return Idle()

    def _own_idle(self, seconds: float | None) -> Idle:
        return Idle(seconds, filenos=tuple(self.pump.filenos()), is_busy=self.pump.is_busy)

    def _going_on(self, outcomes: list[Any]) -> Batch:
        """Return the batch that outcomes make; it may be empty, and then tells the time at least."""
        batch, values = self._beside.take(outcomes)
        batch.now = max(batch.now, self._reached())
        if self._kind == "map":
            batch.items = values
        elif self._kind == "filter":
            # Asked here and not by the worker: a function around a predicate takes as long as a short one.
            error = _filter(batch, values, may_fail=self._may_fail)
            if error is not None:
                self._over = Over(error)
        else:
            _flatten(batch, values)
        return batch

    def _reached(self) -> float:
        return -float("inf") if self._setting.in_event_time else self._setting.clock.now()


class _InTurn:
    """What belongs to items beside their outcomes, where those come one for each and in order."""

    def __init__(self) -> None:
        self._inside = 0
        self._items: list[Any] = []  # of a filter
        self._keys: list[Any] = []
        self._times: list[float] = []
        self._now = -float("inf")

    def put(self, batch: Batch, kind: Kind) -> None:
        """Keep what the outcomes of these items will want."""
        if kind == "filter":
            self._items.extend(batch.items)
        if batch.keys is not None:
            self._keys.extend(batch.keys)
        if batch.times is not None or self._times:  # merged: some have times of their own
            self._times.extend(repeat(self._now, self._inside - len(self._times)))
            self._times.extend(islice(batch.each_time(), len(batch.items)))
        self._inside += len(batch.items)
        self._now = batch.now

    def take(self, outcomes: list[Any]) -> tuple[Batch, list[Any]]:
        """Return what belongs to the next outcomes, and these."""
        count = len(outcomes)
        self._inside -= count
        times = _taken(self._times, count)
        batch = Batch(
            _taken(self._items, count) or [],
            _taken(self._keys, count),
            times,
            now=self._now if not times else times[-1],
        )
        return batch, outcomes


class _ByIndex:
    """The same, where outcomes come in any order or are left out."""

    def __init__(self) -> None:
        self._first = 0
        self._left: dict[int, tuple[Any, Any]] = {}
        self._has_keys = False
        self._has_times = False
        self._now = -float("inf")

    def put(self, batch: Batch, _kind: Kind) -> None:
        """Keep the key and the time of each item."""
        self._now = batch.now
        self._has_keys = batch.keys is not None
        self._has_times = batch.times is not None
        first, self._first = self._first, self._first + len(batch.items)
        if self._has_keys or self._has_times:
            keys_times = zip(batch.each_key(), batch.each_time(), strict=False)
            self._left.update(zip(range(first, self._first), keys_times, strict=False))

    def forget(self, index: int) -> None:
        """Drop what belongs to an item that will have no outcome."""
        self._left.pop(index, None)

    def take(self, outcomes: list[Any]) -> tuple[Batch, list[Any]]:
        """Return what belongs to outcomes, and these without their indices."""
        beside = [self._left.pop(index, (None, self._now)) for index, _, _ in outcomes]
        batch = Batch(
            [item for _, item, _ in outcomes],
            [key for key, _ in beside] if self._has_keys else None,
            [at for _, at in beside] if self._has_times else None,
            now=max((at for _, at in beside), default=self._now),
        )
        return batch, [outcome for _, _, outcome in outcomes]


def _taken(column: list[Any], count: int) -> list[Any] | None:
    """Return the next entries of a column, or None where there is no such column."""
    if not column:
        return None
    taken = column[:count]
    del column[:count]  # moves the rest, which is a few thousand at most: faster than a deque
    return taken


def _filter(batch: Batch, kept: list[Any], *, may_fail: bool) -> Exception | None:
    """Leave the items that are wanted; a failure takes its item's place.

    Returns:
        What was raised by an answer that is neither true nor false; items from there on are gone.
    """
    if may_fail:
        batch.items = [
            outcome if _is_failure(outcome) else item
            for item, outcome in zip(batch.items, kept, strict=True)
        ]
    if batch.keys is None and batch.times is None:
        with suppress(Exception):  # which is found below
            batch.items = list(compress(batch.items, kept))
            return None
    wanted: list[bool] = []
    error = None
    try:
        wanted.extend(map(bool, kept))
    except Exception as raised:
        error = raised
    batch.items = list(compress(batch.items, wanted))
    if batch.keys is not None:
        batch.keys = list(compress(batch.keys, wanted))
    if batch.times is not None:
        batch.times = list(compress(batch.times, wanted))
    return error


def _flatten(batch: Batch, values: list[Any]) -> None:
    """Put the items of each list one after another; a failure, which is no list, stays one item."""
    lists = [value if type(value) is Listed else (value,) for value in values]
    if batch.keys is not None:
        batch.keys = _repeated(batch.keys, lists)
    if batch.times is not None:
        batch.times = _repeated(batch.times, lists)
    batch.items = functools.reduce(operator.iadd, lists, [])


def _repeated(column: list[Any], lists: list[Any]) -> list[Any]:
    return [entry for entry, part in zip(column, lists, strict=True) for _ in part]


def _is_failure(value: object) -> bool:
    return type(value) is Failure
