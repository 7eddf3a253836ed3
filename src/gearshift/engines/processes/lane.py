"""One job on the pool: chunks in, news out.

All of its state is guarded by the pool's lock: whichever lane is polled moves the news of all.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gearshift._work.run_chunk import Task
from gearshift._work.shared import noting
from gearshift._work.transport import pack_task
from gearshift.engines.base import timed_out
from gearshift.engines.processes import wire
from gearshift.engines.processes.deaths import died_of
from gearshift.engines.processes.packing import pack_items
from gearshift.errors import RunClosedError, WorkerDiedError
from gearshift.facts import Chunk, Fault, Returned, Settled
from gearshift.host import interrupts_held

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gearshift._work.shared import Shared
    from gearshift.engines.base import Job, Wakeup
    from gearshift.engines.processes.packing import Packed
    from gearshift.engines.processes.pool import Pool
    from gearshift.engines.processes.wire import Died
    from gearshift.facts import Traits

__all__ = ["Part", "ProcessLane"]

_NUMBERS = itertools.count(1)
_SAY_SECONDS = 0.1  # for which handlers of what workers say hold up the consumer, and interrupts
_HELD_SECONDS = 10.0  # for which an outcome waits until what its worker said before is said
_BUSY_SECONDS = 0.1  # the same where another thread's handler is at it, and may wait for it
_LOOK_SECONDS = 0.02  # between two looks at that
_AHEAD_SECONDS = 0.0005  # of work that a worker has before it, where chunks are shorter than that
_MOST_QUEUED = 64  # chunks of a worker: more are no faster (docs/design.md)
_SMALL_BYTES = 4096  # of such chunks with their outcomes; larger ones stay two at a time
_SHUT = "this ProcessExecutor was shut down while a run was using it"


@dataclass(slots=True, eq=False)
class Part:
    """Consecutive items, packed, and how far they are settled."""

    lane: ProcessLane
    first: int
    items: Sequence[Any]
    packed: Packed
    at: int  # the first that is not settled
    round: int  # how often the lane had been revoked when it came
    sent_bytes: int  # on the way to its worker
    number: int = 0  # among those of its worker, where it was queued behind another

    @property
    def count(self) -> int:
        """How many items."""
        return len(self.items)

    @property
    def stop(self) -> int:
        """Index after the last item."""
        return self.first + len(self.items)


class ProcessLane:
    """See the module's head."""

    def __init__(self, pool: Pool, job: Job, traits: Traits, wakeup: Wakeup) -> None:
        """Pickle the function.

        Raises:
            TransportError: It cannot be.
        """
        self.number: int = next(_NUMBERS)
        self.wakeup: Wakeup = wakeup
        self.queued: int = job.queued
        self.timeout: float = job.task_timeout or 0.0
        with noting() as found:
            self.packed: bytes = pack_task(Task(job.function, star=job.star, seed=job.seed)).data
        self.shared: dict[str, Shared[Any]] = {handle.key: handle for handle in found}
        self.waiting: deque[Part] = deque()
        self.replaced: Counter[str] = Counter()  # workers, by why
        self._least_queued = job.queued
        self._job = job
        self._traits = traits
        self._pool = pool
        self._news: list[Settled | Returned] = []
        self._held: list[tuple[deque[bytes], float, Settled]] = []  # see `settle`
        self._inside = 0  # parts that wait or are with a worker
        self._round = 1
        self._is_closed = False
        self._is_polled = False  # by the thread that has the pool's lock
        with pool.lock:
            for handle in found:
                pool.shelf.put(handle)
            pool.add(self)
            if self.timeout:
                pool.watch(self.timeout)

    # What the run calls

    def room(self) -> int:
        """Return how many chunks it takes now."""
        if self._is_closed or self._pool.death:
            return 0
        return self.queued * self._pool.size - self._inside

    def send(self, chunk: Chunk) -> None:
        """Take a chunk; an item that cannot be pickled settles as a fault.

        Raises:
            RunClosedError: The engine was shut down.
        """
        self.send_all((chunk,))

    def send_all(self, chunks: Iterable[Chunk]) -> None:
        """Take chunks, which go to each worker with one system call.

        Raises:
            RunClosedError: The engine was shut down; none was taken.
        """
        if self._pool.is_ending:
            raise RunClosedError(_SHUT)
        packed_chunks = [pack_items(chunk, self._share) for chunk in chunks]
        with self._pool.lock:
            for ranges, faults in packed_chunks:
                if faults:
                    self._refuse(faults)
                for first, items, packed in ranges:
                    self.waiting.append(self._part(first, items, packed))
                    self._inside += 1
            self._pool.assign()

    def poll(self) -> Sequence[Settled | Returned]:
        """Return what is new.

        Raises:
            RunClosedError: The engine was shut down, and killed what ran.
            WorkerDiedError: No worker can be had any more.
        """
        pool, hearing = self._pool, self._pool.hearing
        pool.warn()
        with pool.lock:
            self._is_polled = True
            try:
                pool.pump()
            finally:
                self._is_polled = False
        hearing.say(time.monotonic() + _SAY_SECONDS)
        with pool.lock:
            if self._held:
                self._release()
            if hearing.is_pending:
                self.wakeup.set()
            if self._news:
                if pool.death:
                    self.wakeup.set()  # the death has its turn after this news
                return tuple(self._news)
        if self._held:
            return ()
        if pool.death and not self._is_closed:
            raise WorkerDiedError(pool.death)
        if pool.is_closed and self._inside:  # nothing comes any more, to a closed lane neither
            raise RunClosedError(_SHUT)
        return ()

    def ack(self, count: int) -> None:
        """Forget the first news."""
        with self._pool.lock:
            del self._news[:count]

    def filenos(self) -> Sequence[int]:
        """Return what is readable when anything of the pool is to be moved."""
        return (self._pool.fileno(),) if self._pool.has_news else ()

    def deadline(self) -> float | None:
        """Return when a queued chunk is to be taken back; the keeper watches time-outs."""
        if self._held:
            return time.monotonic() + _LOOK_SECONDS
        return self._pool.look_at

    def work(self, seconds: float) -> None:
        """Do nothing: nothing runs in the caller's thread."""

    def revoke(self) -> None:
        """Give back what has not started; what waits in a worker's pipe, its worker gives back."""
        with self._pool.lock:
            while self.waiting:
                part = self.waiting.popleft()
                self._inside -= 1
                self._news.append(Returned(part.at, part.stop - part.at))
            if not self._pool.is_closed:
                self._pool.stamps.revoke(self.number, self._round)
            self._round += 1

    def close(self, *, kill: bool = False) -> None:
        """Take nothing more; with `kill`, stop what runs."""
        with interrupts_held(), self._pool.lock:
            if not self._is_closed:
                self._is_closed = True
                self.revoke()
            if kill and self._inside:
                self._pool.kill(self)
            if not self._inside:
                self._pool.forget(self)

    # What the pool calls, under its lock

    def settle(self, part: Part, settled: Settled, heard: deque[bytes]) -> None:
        """Take outcomes; what their worker said before comes first, but not for ever."""
        part.at = settled.first + len(settled.values)
        self._tune(settled)
        if heard:
            self._held.append((heard, time.monotonic() + _HELD_SECONDS, settled))
        else:
            self._news.append(settled)
        if not self._is_polled:  # else it sees for itself
            self.wakeup.set()

    def _tune(self, settled: Settled) -> None:
        """Queue more chunks while they are short, and the parent busier than its workers.

        One more at a time, and few again at once: behind a long item each is only in the way, though
        an idle worker gets it (`Pool._take_back`).
        """
        seconds = settled.busy_seconds
        if (
            seconds * self._least_queued < _AHEAD_SECONDS
            and settled.sent_bytes + settled.received_bytes <= _SMALL_BYTES
        ):
            if self.queued < _MOST_QUEUED and seconds * self.queued < _AHEAD_SECONDS:
                self.queued += 1
        else:
            self.queued = self._least_queued

    def _release(self) -> None:
        """Give out what was held back, as far as all before it is said, or takes too long."""
        now = time.monotonic()
        hearing = self._pool.hearing
        if hearing.is_busy and not hearing.is_telling:
            now += _HELD_SECONDS - _BUSY_SECONDS
        held, self._held = self._held, []
        for heard, until, settled in held:
            if not heard or hearing.is_telling or now >= until:  # telling: a handler waits for it
                self._news.append(settled)
            else:
                self._held.append((heard, until, settled))

    def returned(self, part: Part, first: int, count: int) -> None:
        """Take items back that a worker has not run: it leaves, or the run has no more use for them."""
        self._again(part, first, first + count)
        part.at = part.stop

    def taken_back(self, part: Part) -> None:
        """Have a part run by another worker: it waits behind a long one, and has not begun."""
        self._again(part, part.first, part.stop)
        self.finished(part)

    def finished(self, part: Part) -> None:
        """Note that a worker is done with a part."""
        self._inside -= 1
        if self._is_closed and not self._inside:
            self._pool.forget(self)

    def bereaved(self, part: Part, died: Died, index: int | None, pid: int) -> None:
        """See to a part whose worker is gone; `index` is the item that it was on, if any."""
        if index is None or not part.at <= index < part.stop or died.reason == wire.KILLED:
            self._again(part, part.at, part.stop)
        else:
            error: Exception
            if died.reason == wire.TIMED_OUT:
                error = timed_out(self._job, index, self._traits)
            else:
                error = died_of(index, died, pid)
            self._news.append(Settled(index, [None], {index: Fault(error, died.seconds)}))
            self._again(part, index + 1, part.stop)
            self._again(part, part.at, index)
        self.wakeup.set()
        self.finished(part)

    def _again(self, part: Part, first: int, stop: int) -> None:
        """Have items run by another worker, before those that wait; or give them back to a run that ends."""
        if first >= stop:
            return
        if self._is_closed or part.round < self._round:
            self._news.append(Returned(first, stop - first))
            self.wakeup.set()
            return
        items = part.items[first - part.first : stop - part.first]
        ranges, faults = pack_items(Chunk(first, items), self._share)
        self._refuse(faults)  # what could be pickled once may have changed since
        for start, these, packed in reversed(ranges):
            self.waiting.appendleft(self._part(start, these, packed))
            self._inside += 1

    def _part(self, first: int, items: Sequence[Any], packed: Packed) -> Part:
        return Part(self, first, items, packed, first, self._round, len(packed.data))

    def _share(self, handle: Shared[Any]) -> None:
        """Have what an item shares at hand.

        Raises:
            TransportError: It cannot be pickled.
        """
        with self._pool.lock:
            self._pool.shelf.put(handle)

    def _refuse(self, faults: dict[int, Fault]) -> None:
        """Settle items that cannot be pickled."""
        for index, fault in faults.items():
            self._news.append(Settled(index, [None], {index: fault}))
            self.wakeup.set()
