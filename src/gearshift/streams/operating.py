"""The node of operators that stand one after another, and the node of several streams in one."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from gearshift.streams.batch import Batch
from gearshift.streams.needs import Act, Idle, Over

if TYPE_CHECKING:
    from gearshift.streams.needs import Node, Setting
    from gearshift.streams.operators.pipeline import Pipeline

__all__ = ["Merge", "MergeByTime", "Operating"]

FIRST_PIECE_ITEMS = 1  # nobody knows yet how long the functions take
MOST_PIECE_ITEMS = 8192
FAST_PIECE_SECONDS = 0.001
SLOW_PIECE_SECONDS = 0.01


class Operating:
    """Passes batches through operators, and gives out what is due.

    A batch goes in pieces that take about a millisecond: a Ctrl-C waits for the end of a step, and
    nobody knows how long the users' functions take.
    """

    def __init__(self, child: Node, pipeline: Pipeline) -> None:
        """Stand behind a node."""
        self._child = child
        self._pipeline = pipeline
        self._over: Over | None = None
        self._rest: Batch | None = None  # of the last batch
        self._piece_items = FIRST_PIECE_ITEMS

    @property
    def total(self) -> int | None:
        """Nobody knows."""
        return None

    def start(self, setting: Setting) -> None:
        """Start the node before."""
        self._child.start(setting)
        self._setting: Setting = setting

    def step(self) -> Batch | Act | Idle | Over:
        """Return what comes out; a batch may be empty."""
        if self._over is not None:
            return self._over
        need = self._child.step() if self._rest is None else self._rest
        if isinstance(need, Batch):
            return self._checked(self._fed(need))
        if not isinstance(need, Over):
            return self._due(need)
        self._over = need
        if need.error is not None:
            now = math.nextafter(self._setting.clock.now(), -math.inf)
            return need if self._setting.in_event_time else self._checked(self._pipeline.tick(now))
        # In event time nothing has happened since the last item.
        end = -math.inf if self._setting.in_event_time else self._setting.clock.now()
        return self._checked(self._pipeline.end(end))

    def _fed(self, batch: Batch) -> Batch:
        """Return what comes out of the first items of a batch, and keep the rest for the next step."""
        count = self._piece_items
        if len(batch) <= count:
            piece, self._rest = batch, None
        else:
            piece, self._rest = batch.part(0, count), batch.part(count, len(batch))
        started = time.perf_counter()
        out = self._pipeline.feed(piece)
        seconds = time.perf_counter() - started
        if seconds > SLOW_PIECE_SECONDS:
            self._piece_items = max(1, count // 8)
        elif seconds < FAST_PIECE_SECONDS and len(piece) == count:
            self._piece_items = min(2 * count, MOST_PIECE_ITEMS)
        return out

    def _due(self, need: Act | Idle) -> Batch | Act | Idle:
        """Give out what is due, or wait for that too."""
        if self._setting.in_event_time:  # then only items move the time
            return need
        now = self._setting.clock.now()
        if self._pipeline.due <= now:
            return self._checked(self._pipeline.tick(now))
        return need.beside(Idle(due=self._pipeline.due)) if isinstance(need, Idle) else need

    def _checked(self, batch: Batch) -> Batch:
        """Return a batch, and note whether it is the last, since a user's function raised."""
        if self._pipeline.error is not None:
            self._rest = None
            self._over = Over(self._pipeline.error)
        return batch


class Merge:
    """Gives what several nodes give, as it comes; over when all are, or at the first error."""

    def __init__(self, children: list[Node]) -> None:
        """Stand behind nodes."""
        self._children = children
        self._next = 0

    @property
    def total(self) -> int | None:
        """The sum, where all are known."""
        return _sum_of(self._children)

    def start(self, setting: Setting) -> None:
        """Start all."""
        for child in self._children:
            child.start(setting)

    def step(self) -> Batch | Act | Idle | Over:
        """Return the next batch of whichever has one; one that may block is asked last."""
        blocking: Act | None = None
        idle = Idle()
        for _ in range(len(self._children)):
            child = self._children[self._next % len(self._children)]
            need = child.step()
            if isinstance(need, Over):
                if need.error is not None:
                    return need
                self._children.remove(child)
                continue
            self._next = (self._next + 1) % len(self._children)
            if isinstance(need, Batch):
                return need
            if isinstance(need, Idle):
                idle = idle.beside(need)
            elif need.may_block:
                blocking = blocking or need
            else:
                return need
        if not self._children:
            return Over()
        return blocking or idle


class MergeByTime:
    """Merge in event time: gives the items of several nodes in the order of their times.

    An item is held back until every node that is not over has reached its time; so the node
    that is furthest behind is the one that is asked, and of the others at most a batch is held.
    """

    def __init__(self, children: list[Node]) -> None:
        """Stand behind nodes."""
        self._children = children
        self._rows: list[list[tuple[float, Any, Any]]] = [[] for _ in children]  # time, item, key
        self._reached = [-math.inf] * len(children)  # infinite: it is over
        self._is_keyed = False

    @property
    def total(self) -> int | None:
        """The sum, where all are known."""
        return _sum_of(self._children)

    def start(self, setting: Setting) -> None:
        """Start all."""
        for child in self._children:
            child.start(setting)

    def step(self) -> Batch | Act | Idle | Over:
        """Return what is known to be next, or ask the node that is furthest behind."""
        while True:
            behind = min(range(len(self._children)), key=self._reached.__getitem__)
            until = self._reached[behind]
            if any(rows and rows[0][0] <= until for rows in self._rows):
                return self._until(until)
            if until == math.inf:
                return Over()
            need = self._children[behind].step()
            if isinstance(need, Batch):
                self._take(behind, need)
            elif not isinstance(need, Over) or need.error is not None:
                return need
            else:
                self._reached[behind] = math.inf

    def _take(self, place: int, batch: Batch) -> None:
        """Hold what a node gave."""
        self._reached[place] = max(self._reached[place], batch.now)
        self._is_keyed = self._is_keyed or batch.keys is not None
        self._rows[place] += zip(batch.each_time(), batch.items, batch.each_key(), strict=False)

    def _until(self, until: float) -> Batch:
        """Return what is held of the times up to `until`, in their order; ties in the order of the nodes."""
        ready: list[tuple[float, Any, Any]] = []
        for rows in self._rows:
            count = bisect_right(rows, until, key=itemgetter(0))
            ready += rows[:count]
            del rows[:count]
        ready.sort(key=itemgetter(0))
        return Batch(
            [item for _, item, _ in ready],
            [key for _, _, key in ready] if self._is_keyed else None,
            [at for at, _, _ in ready],
            now=ready[-1][0] if until == math.inf else until,
        )


def _sum_of(children: list[Node]) -> int | None:
    """Return how many items nodes will give together, where all of them know."""
    totals = [child.total for child in children]
    return None if None in totals else sum(each for each in totals if each is not None)
