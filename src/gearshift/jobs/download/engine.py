"""libcurl's multi handle as an engine: thousands of transfers in one thread.

    lane.send -> lane.waiting -> loop.py: begin ... end, finish
    lane.poll <- lane.news <---------------------------+  Wakeup.set()

It is written against `gearshift.engines.base` alone, as anybody's engine would be. Its function does not
do the work but says what it is: it returns a `Transfer` for an item. An item is claimed by taking it out of
`waiting`, so that it is either run or given back, once.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from gearshift.engines.base import check_timeout, check_workers
from gearshift.errors import RunClosedError
from gearshift.facts import Chunk, Fault, Returned, Settled, Traits
from gearshift.jobs.download.loop import TRAITS, Loop, Transfer
from gearshift.jobs.download.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextvars import Context

    from gearshift.engines.base import Job, Wakeup

__all__ = ["CurlEngine", "Transfer"]

AHEAD = 2  # times the connections are with the lane, so that none waits for the consumer


class CurlEngine:
    """An engine of transfers; see the module's head."""

    def __init__(
        self,
        connections: int | None = None,
        *,
        per_host: int | None = None,
        is_lent: bool = True,
    ) -> None:
        """Begin without a thread.

        Args:
            connections: Transfers at once; found while it runs if not said.
            per_host: Transfers from one host at once, at most.
            is_lent: It outlives its lanes; else it ends with the first.

        Raises:
            TypeError: A number is none.
            ValueError: A number is below 1.
        """
        check_workers(connections, "connections")
        check_workers(per_host, "per_host")
        self.pace: Pace = Pace(connections)
        self._per_host = per_host
        self.is_lent: bool = is_lent
        self._guard = threading.Lock()
        self._loop: Loop | None = None
        self._is_shut = False

    @property
    def traits(self) -> Traits:
        """What it can do and what it costs."""
        return TRAITS

    @property
    def workers(self) -> int:
        """Transfers that are under way at once, now."""
        return self.pace.count

    def open(self, job: Job, wakeup: Wakeup) -> _CurlLane:
        """Return a lane for this job.

        Raises:
            RunClosedError: The engine was shut down.
        """
        check_timeout(job, TRAITS)
        with self._guard:
            if self._is_shut:
                raise RunClosedError("this CurlEngine was shut down: make a new one")
            if self._loop is None:
                self._loop = Loop(self.pace, self._per_host)
            return _CurlLane(self, self._loop, job, wakeup)

    def resize(self, workers: int) -> None:
        """Have so many transfers at once, from now on.

        Raises:
            TypeError: `workers` is not a whole number.
            ValueError: `workers` is below 1.
        """
        check_workers(workers)
        self.pace.fix(workers)

    def shutdown(self, *, wait: bool = True, kill: bool = False) -> None:
        """End the thread after the transfers that are under way, or stop them."""
        with self._guard:
            self._is_shut = True
            loop = self._loop
        if loop is not None:
            loop.stop(kill=kill)
            if wait:
                loop.join()
                self._loop = None  # and with it its descriptors

    def __del__(self) -> None:
        """Let the thread end: nobody can use it any more."""
        loop = getattr(self, "_loop", None)
        if loop is not None:
            loop.stop(kill=True)


class _CurlLane:
    """Items of one run."""

    def __init__(self, engine: CurlEngine, loop: Loop, job: Job, wakeup: Wakeup) -> None:
        self._engine = engine  # held: without it the loop ends
        self._loop = loop
        self.job = job
        self.wakeup = wakeup
        self.context: Context | None = job.context
        self.waiting: deque[tuple[int, Any, int]] = deque()  # index, item, attempt
        self.news: list[Settled | Returned] = []
        self._is_closed = False
        self._inside = 0  # items sent and not acknowledged

    def room(self) -> int:
        if self._is_closed:
            return 0
        return max(0, AHEAD * self._engine.workers - self._inside)

    def send(self, chunk: Chunk) -> None:
        if self._loop.is_ended:
            raise RunClosedError("this CurlEngine was shut down while a run was using it")
        self._inside += len(chunk.items)
        for index, item in enumerate(chunk.items, chunk.first):
            self.waiting.append((index, item, chunk.attempt))
        self._loop.offer(self)

    def poll(self) -> Sequence[Settled | Returned]:
        return self.news.copy()

    def ack(self, count: int) -> None:
        for each in self.news[:count]:
            self._inside -= each.count if isinstance(each, Returned) else len(each.values)
        del self.news[:count]

    def filenos(self) -> Sequence[int]:
        return ()

    def deadline(self) -> float | None:
        return None

    def work(self, seconds: float) -> None:
        """Nothing is to be done in the caller's thread."""

    def revoke(self) -> None:
        while (claimed := self.claim()) is not None:
            self.news.append(Returned(claimed[0], 1))

    def close(self, *, kill: bool = False) -> None:
        self._is_closed = True
        self.revoke()
        if kill:
            self._loop.kill(self)
        if not self._engine.is_lent:
            self._engine.shutdown(wait=False)

    # What the loop and the finishers call

    def claim(self) -> tuple[int, Any, int] | None:
        """Take the next item out, for good; in any thread."""
        try:
            return self.waiting.popleft()
        except IndexError:
            return None

    def settle(self, index: int, error: BaseException, seconds: float = 0.0) -> None:
        """Tell of an item that failed."""
        self.news.append(Settled(index, [None], {index: Fault(error, seconds)}, seconds, 0.0))
        self.wakeup.set()

    def give_back(self, index: int) -> None:
        self.news.append(Returned(index, 1))
        self.wakeup.set()
