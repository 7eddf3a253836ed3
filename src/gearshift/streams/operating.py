"""The node of operators that stand one after another, and the node of several streams in one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gearshift.streams.batch import Batch
from gearshift.streams.needs import Act, Idle, Over

if TYPE_CHECKING:
    from gearshift.streams.needs import Node, Setting
    from gearshift.streams.operators.pipeline import Pipeline

__all__ = ["Merge", "Operating"]


class Operating:
    """Passes batches through operators, and gives out what is due."""

    def __init__(self, child: Node, pipeline: Pipeline) -> None:
        """Stand behind a node."""
        self._child = child
        self._pipeline = pipeline
        self._over: Over | None = None

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
        need = self._child.step()
        if isinstance(need, Batch):
            return self._checked(self._pipeline.feed(need))
        if not isinstance(need, Over):
            return self._due(need)
        self._over = need
        if need.error is not None:
            now = math.nextafter(self._setting.clock.now(), -math.inf)
            return need if self._setting.in_event_time else self._checked(self._pipeline.tick(now))
        # In event time nothing has happened since the last item.
        end = -math.inf if self._setting.in_event_time else self._setting.clock.now()
        return self._checked(self._pipeline.end(end))

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
        totals = [child.total for child in self._children]
        return None if None in totals else sum(each for each in totals if each is not None)

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
