"""The only loop of a run: it moves items from the source through a lane to the consumer.

    step: collect (poll, settle, ack) -> shift -> feed (next_chunk, send) -> decide
    decide -> EMIT | PULL | WORK | WAIT | END, carried out by the driver, then again

A step is bookkeeping and never blocks; a Ctrl-C waits until it is over. What may block
is carried out between steps and keeps what it has done where the next step finds it, so
an interrupt loses nothing: pulled items stay in the source, values in the lane until
`ack`, and what is being emitted in `window`. Only the consumer's thread runs any of it.
Over 400 lines because the parts of a step share its state; what is pure lies beside it
(ledger, limits, tune), and what knows of engines in gears.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from gearshift._choose.tune import ChunkTuner
from gearshift._measure.memory import memory
from gearshift._run.limits import Buffer, MemoryGate, RateGate
from gearshift._run.tally import Tally
from gearshift._work.scope import CURRENT
from gearshift.engines.base import Wakeup
from gearshift.errors import JournalError, RunCancelledError
from gearshift.facts import Report, Returned, Settled
from gearshift.host import interrupts_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gearshift._run.gears import Gears
    from gearshift._run.journal import Journal, Logbook
    from gearshift._run.ledger import Ledger
    from gearshift._run.progress import Meter, Progress
    from gearshift._run.source import Source
    from gearshift._run.watch import Sight
    from gearshift.engines.base import Job, Lane
    from gearshift.facts import Chunk, Failure, Rate

__all__ = ["Action", "Pump", "Step"]

WORK_SECONDS = 0.002  # in the caller's thread at a time; short enough to feel at once
CHUNK_SECONDS = {
    True: (WORK_SECONDS / 2, WORK_SECONDS / 2),  # in the caller's thread: mostly done in one turn
    False: (0.004, 0.05),
}
MOST_CHUNK_BYTES = 4 * 2**20  # a chunk of values exists several times on its way between processes
MOST_CHUNK_ITEMS = 16384  # of trivial ones: 1 ms of work


class Action(Enum):
    """What the driver is to do next."""

    EMIT = auto()  # give out `window`
    PULL = auto()  # source.pull(count)
    WORK = auto()  # lane.work(seconds)
    WAIT = auto()  # for the wake-up, at most `seconds`
    END = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """An action and how much of it."""

    action: Action
    count: int = 0
    seconds: float | None = None
    error: BaseException | None = None  # END: the run ends with it


_HELD = "for want of memory less was started at a time than there were workers for"
_AWAY = {Action.EMIT, Action.PULL}  # that take the caller's thread elsewhere
_EMIT = Step(Action.EMIT)
_WORK = Step(Action.WORK, seconds=WORK_SECONDS)


class Pump:
    """See the module's head."""

    def __init__(
        self,
        source: Source,
        ledger: Ledger,
        gears: Gears,
        *,
        chunksize: int | None = None,
        buffersize: int | None = None,
        limit: Rate | None = None,
        memory_limit: float | None = None,
        journal: Journal | None = None,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put the parts together; nothing runs yet.

        Args:
            source: Where items come from.
            ledger: Their state.
            gears: Engine and lane.
            chunksize: Items in a chunk, or None to keep it tuned.
            buffersize: Items inside at most, or None for an automatic bound.
            limit: Starts per time, or None.
            memory_limit: Memory that may be in use, as a share or in bytes, or None for four fifths.
            journal: Where outcomes are kept, or None.
            meter: Told now and then how far it is, or None.
            clock: Monotonic seconds.
        """
        self.source = source
        self.gears = gears
        self.wakeup: Wakeup = Wakeup()
        self.window: Iterator[Any] = iter(())
        self.was_tried: bool = False
        self.ending_error: BaseException | None = None  # until a driver has raised it
        self._ledger = ledger
        self._chunksize = chunksize
        self._buffer = Buffer(buffersize)
        self._gate = None if limit is None else RateGate(limit)
        self._memory = MemoryGate(memory_limit, memory)
        self._journal = journal
        self._book: Logbook | None = None
        self._is_replaying = journal is not None  # what was pulled last had its values already
        self._clock = clock
        self._tuner: ChunkTuner | None = None
        self._tuned_for: Lane | None = None
        self._left_at: float | None = None  # to the consumer or the source
        self._single = False
        self._is_inside = False  # a function of the user's runs, or the source is asked
        self._thread: int | None = None  # that carries out a step, not the consumer's turn
        self._is_awaiting = False  # items of a source that tells when they come
        self._started_at: float | None = None
        self._ended_at: float | None = None
        self._pull_at: float | None = None  # may-block sources: patience ends
        self._is_revoked = False
        self._is_finished = False
        self._is_closed = False
        self._pid = os.getpid()
        self._is_cancelled = False
        self._grace_ends_at = 0.0  # of a cancelled run
        self._is_stopped = False  # what ran when the grace was over
        self._error: BaseException | None = None
        self._abandoned = 0
        self._peak = 0  # items with the lane at once
        self._tally = Tally()
        self._meter = meter

    @property
    def is_dry(self) -> bool:
        """Whether only another item of a source that tells could change anything."""
        return (
            self._is_awaiting
            and not self.is_busy
            and self.is_in_caller
            and not (self._is_cancelled or self._is_closed or self.source.is_exhausted)
            and self._book is None
            and self._meter is None
        )

    def note_failures(self, note: Callable[[Failure], None]) -> None:
        """Have a function told of every item that failed for good, too."""
        describe = self._ledger.describe

        def both(failure: Failure) -> None:
            describe(failure)
            note(failure)

        self._ledger.describe = both

    @property
    def has_started(self) -> bool:
        """Whether a first step was made."""
        return self._started_at is not None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self._ended_at is not None

    @property
    def is_async(self) -> bool:
        """Whether its items come from an asynchronous iterable."""
        return self.source.is_async

    @property
    def is_awaiting(self) -> bool:
        """Whether it waits for items of a source that tells when they come."""
        return self._is_awaiting

    @property
    def is_busy(self) -> bool:
        """Whether items are with a lane, or wait to be tried again."""
        return self._ledger.outstanding > 0 or self._ledger.unsent > 0

    def discard(self) -> None:
        """Do nothing: a run that never started has opened nothing."""

    def be_guest(self) -> None:
        """Run nothing in the consumer's thread, since it has a loop of its own; before `start`."""
        self.gears.has_loop_in_caller = True

    def start(self, job: Job) -> None:
        """Open the first lane; where that fails, the run has not started and may be tried again."""
        with interrupts_held():
            self.was_tried = True
            self._single = job.task_timeout is not None or self._gate is not None
            if self._journal is not None:
                self._open_book(job, self._journal)
            try:
                self.gears.start(job, self.wakeup)
            except BaseException:
                self.close_book()
                raise
            self._started_at = self._clock()
            self._tally.begin_lane(self._started_at)

    def _open_book(self, job: Job, journal: Journal) -> None:
        """Have the ledger tell the journal."""
        self._book = journal.begin(job, self.source.total)
        self._ledger.keep = self._book.keep
        self._ledger.note = self._book.fail

    def close_book(self) -> None:
        """Commit what is to be kept, and let go of the journal.

        Raises:
            JournalError: It cannot be written, and the run has not said so already.
        """
        if self._book is None:
            return
        try:
            with interrupts_held():
                self._book.close()
        except JournalError:
            if self._error is None:
                raise

    def step(self) -> Step:
        """Do all the bookkeeping there is, and say what comes next.

        An END carries the error that the run ends with, if any: a failure whose turn has
        come (`errors="raise"`), what the source raised, WorkerDiedError, RunCancelledError.

        Raises:
            RuntimeError: Another thread is in a step of this run, or it is a parent process's.
        """
        with interrupts_held():
            self.check_process()
            self._check_thread()
            self.check_outside("asked for items")
            step = self.advance()
            if step.action is Action.EMIT or step.action is Action.END:
                self._thread = None  # the consumer has the word, and may go on in another thread
            return step

    def advance(self) -> Step:
        """Do the work of `step` for whoever has made sure of the thread and holds interrupts back."""
        self.gears.end_watch()  # an interrupt may have struck before that was done
        if self.wakeup.is_set:
            self.wakeup.clear()
        if self._left_at is not None and self.gears.auto is not None:
            self.gears.auto.away_seconds += self._clock() - self._left_at
        self._admit()
        self._collect()
        self._commit()
        if self._meter is not None and (now := self._clock()) >= self._meter.due_at:
            self._meter.show(now, self.progress)
        self._end_early()
        self._shift()
        if not self.source.may_block:  # then a pull is bookkeeping too, and the lane stays full
            self.source.pull(self._wanted())
            self._admit()
        self._feed()
        if self._is_closed or self.has_ended:
            step = Step(Action.END, error=self.ending_error)
        else:
            step = self._decide()
            self.ending_error = step.error
        is_away = step.action in _AWAY and self.gears.auto is not None
        self._left_at = self._clock() if is_away else None
        return step

    @property
    def is_ours(self) -> bool:
        """Whether this process made the run; a forked child has neither its workers nor its wake-up."""
        return os.getpid() == self._pid

    def check_process(self) -> None:
        """Refuse to go on with a run of the parent's.

        Raises:
            RuntimeError: This process was forked while the run was under way.
        """
        if not self.is_ours:
            raise RuntimeError(
                "this run belongs to the process that began it: start another with gs.map"
            )

    def _check_thread(self) -> None:
        """Refuse a second thread while one is under way.

        Raises:
            RuntimeError: There is one.
        """
        thread = threading.get_ident()
        if self._thread not in {None, thread}:
            raise RuntimeError(
                "this run is being iterated by another thread: give each thread a run of its own"
            )
        self._thread = thread

    def pull(self, count: int) -> None:
        """Take items from the source; may block."""
        self._is_inside = True
        try:
            self.source.pull(count)
        finally:
            self._is_inside = False

    async def apull(self, count: int) -> None:
        """Take items from an asynchronous source."""
        await self.source.apull(count, self.wakeup)

    def work(self, seconds: float) -> None:
        """Run items in the caller's thread for about that long."""
        # The journal and the clock of a rate are the caller's: beside it nothing is sent then.
        is_open = self._journal is None and self._gate is None
        self._is_inside = True
        try:
            self.gears.work(seconds, self._go_on_beside if is_open else None)
        finally:
            self._is_inside = False

    def check_outside(self, what: str) -> None:
        """Refuse what a function or the source of the run cannot do to it.

        Raises:
            RuntimeError: It is called from inside of a task, or while the source is asked, and
                would wait for itself.
        """
        if self._is_inside and self._thread == threading.get_ident():
            raise RuntimeError(
                f"the run is {what} from inside of itself, by its function or its source: "
                "use cancel() there, or another run"
            )
        call = CURRENT.get()
        if (
            call is not None
            and self.gears.engine is not None
            and call.scope.belongs_to(getattr(self.gears.engine, "owner", self.gears.engine))
        ):
            raise RuntimeError(
                f"the run is {what} by a task on its own engine, and would wait for it: use cancel() there"
            )

    def wait(self, seconds: float | None) -> None:
        """Block until there is news, at most so long."""
        self.wakeup.wait(seconds, self.filenos())

    def filenos(self) -> Sequence[int]:
        """Return what becomes readable with news, beside the wake-up."""
        lane = self.gears.lane
        filenos = lane.filenos() if lane is not None else ()
        return (*filenos, *self.source.filenos()) if self._is_awaiting else filenos

    def cancel(self, grace: float = 0.0) -> None:
        """End the run soon, what runs after `grace` seconds; from any thread or signal handler."""
        self._grace_ends_at = self._clock() + grace if grace else 0.0
        self._is_cancelled = True
        self.wakeup.set()

    def forget_errors(self) -> None:
        """Let go of what it ended with: its traceback holds whoever raised it, and so the run."""
        self.ending_error = None
        self.source.error = None
        self._error = None

    def leave(self) -> None:
        """Tell the journal that `abandon` comes, from whatever thread; never blocks."""
        if self._book is not None:
            self._book.leave()

    def abandon(self) -> None:
        """Let everything go without waiting: nobody holds the run any more."""
        self.gears.close(kill=True)
        self.source.close()
        self.pause()
        with suppress(JournalError):
            self.close_book()

    def revoke(self) -> bool:
        """Begin to close: take back what has not started, stop what can be stopped.

        Returns:
            Whether anything is still with the lane; see `drain`.
        """
        with interrupts_held():
            self.gears.end_watch()
            self._ledger.stop()
            self._is_closed = True
            deque(self.window, maxlen=0)  # an iterator in the middle of it finds nothing more
            lane = self.gears.lane
            if lane is not None:
                lane.close(kill=True)
            return self._ledger.outstanding > 0

    def drain(self) -> float | None:
        """Collect what settles after `revoke`.

        Returns:
            Seconds until the next call at the latest (or on the wake-up), or None when
            nothing runs any more.
        """
        with interrupts_held():
            self.wakeup.fileno()  # made here, where no interrupt can lose it
            self.wakeup.clear()
            self._collect()
            if self._ledger.outstanding == 0 or self._error is not None:
                return None
            until = self._until(None)
            return 3600.0 if until is None else until

    def finish(self, *, wait: bool) -> None:
        """Mark the end and let our engine go."""
        if self._ended_at is None:
            self._ended_at = self._clock()
            self.gears.end_trial(self._ended_at)
        self.gears.close(kill=True)
        if wait:
            self.gears.wait_closed()
        self.source.close()
        self._end_meter()
        self.close_book()

    async def wait_closed(self) -> None:
        """Return when what ran on the consumer's event loop has ended."""
        closing = getattr(self.gears.lane, "wait_closed", None)
        if closing is not None:
            await closing()

    def wait_engines(self) -> None:
        """Return when the engine that was made for the run is gone."""
        self.gears.wait_closed()

    def report(self) -> Report:
        """Say what the run did so far."""
        ledger = self._ledger
        started = self._started_at
        until = self._ended_at if self._ended_at is not None else self._clock()
        engine = self.gears.engine
        tally = self._tally
        planned = self.gears.planned_seconds
        return Report(
            engine=self.gears.name,
            workers=min(engine.workers, max(self._peak, 1)) if engine is not None else 0,
            reasons=(*self.gears.reasons, *((_HELD,) if self._memory.held else ())),
            items=ledger.succeeded + ledger.failed,
            succeeded=ledger.succeeded,
            failed=ledger.failed,
            retried=ledger.retried,
            replayed=0 if self._book is None else self._book.replayed,
            abandoned=self._abandoned,
            failures=tuple(ledger.failures),
            seconds=0.0 if started is None else until - started,
            busy_seconds=tally.busy_seconds,
            cpu_seconds=tally.cpu_seconds,
            finished=self._is_finished,
            timeouts=tally.timeouts,
            deaths=tally.deaths,
            replaced=dict(getattr(self.gears.lane, "replaced", {})),
            kinds=tuple(sorted(ledger.kinds.values(), key=lambda kind: -kind.count)),
            plan=self.gears.plan,
            planned_seconds=planned,
            actual_seconds=None if planned is None else until - tally.lane_began_at,
            shares=tally.shares(until) if started is not None else {},
            sent_bytes=tally.sent_bytes,
            received_bytes=tally.received_bytes,
        )

    def progress(self, rate: float, *, finished: bool = False) -> Progress:
        """Say how far the run is, at a rate that somebody else knows."""
        from gearshift._run.progress import Progress  # for those who watch

        ledger = self._ledger
        engine = self.gears.engine
        return Progress(
            done=ledger.succeeded + ledger.failed,
            total=self.source.total,
            failed=ledger.failed,
            seconds=0.0 if self._started_at is None else self._clock() - self._started_at,
            rate=rate,
            engine=self.gears.name,
            workers=0 if engine is None or engine.traits.in_caller else engine.workers,
            finished=finished,
        )

    def pause(self) -> None:
        """Leave the terminal alone: the consumer has left its loop."""
        if self._meter is not None:
            self._meter.pause()

    def _end_meter(self) -> None:
        if self._meter is not None:
            self._meter.end(lambda rate: self.progress(rate, finished=True))

    # The parts of a step

    def _admit(self) -> None:
        """Take in what was pulled."""
        if not self.source.pulled:
            return
        pulled, self.source.pulled = self.source.pulled, []
        self._buffer.observe(_size_bytes(pulled[0]))
        if self._book is None:
            self._ledger.admit(pulled)
        else:
            self._admit_by_book(self._book, pulled)

    def _admit_by_book(self, book: Logbook, pulled: list[Any]) -> None:
        """Take in what was pulled; what the journal has is ready at once."""
        self._is_replaying = True
        try:
            for items, values in book.known(self._ledger.admitted, pulled):
                if values is None:
                    self._ledger.admit(items)
                    self._is_replaying = False
                else:
                    self._ledger.admit_kept(items, values, counted=values[0] is not book.left)
        except Exception as error:  # another item than before; or the user's `key` raises
            self._break(error)

    def _commit(self) -> None:
        """Have what settled kept, if that is due."""
        if self._book is None or isinstance(self._error, JournalError):
            return
        try:
            self._book.tick(self._clock())
        except Exception as error:  # such as a full disk
            self._break(error)

    def _break(self, error: Exception) -> None:
        """End the run with an error, once what is under way has ended."""
        if self._error is None:
            self._error = error
        self._ledger.stop()

    def _collect(self) -> None:
        """Take outcomes from the lanes."""
        if self.gears.lane is not None:
            self._collect_from(self.gears.lane)
        caller = self.gears.caller
        if caller is None:
            return
        if self.gears.is_filling_in and not self._ledger.is_ending:
            self._collect_from(caller)
        else:  # its turn is over: what it has not begun runs on the other lane
            caller.revoke()
            self._collect_from(caller)
            self.gears.leave_caller()

    def _collect_from(self, lane: Lane) -> None:
        """Take outcomes from a lane."""
        try:
            news = lane.poll()
        except Exception as error:  # WorkerDiedError, or a lane that is broken in its own way
            self._error = error
            self._ledger.stop()
            self._ledger.forget_outstanding()
            return
        now = self._clock()
        count = 0
        for each in news:
            count += 1
            if isinstance(each, Returned):
                self._ledger.returned(each.first, each.count)
            else:
                self._settle(each, now, lane)
        if count:
            lane.ack(count)

    def _go_on_beside(self, sight: Sight, is_over: Callable[[float], bool]) -> None:
        """Run other items beside one that takes long in the caller's thread (a watcher's thread).

        The caller's thread is in that item all the while, and takes part again when this has returned.
        """
        if self._is_cancelled or self.source.is_async:
            return
        remaining = self._remaining()
        if not self.gears.shift_amid(sight, remaining, self._clock()):
            return
        self._tally.begin_lane(self._clock())
        lane = self.gears.lane
        while lane is not None and not is_over(0.0) and not self._is_cancelled:
            self.wakeup.reset()  # its owner looks at everything once the item is over
            self._collect_from(lane)
            self.gears.tune(self._clock(), self._remaining())
            if not self.source.may_block:
                self.source.pull(self._wanted())
                self._admit()
            self._feed()
            if is_over(0.0):
                return
            self.wakeup.wait(self._until(None), lane.filenos())

    def _settle(self, settled: Settled, now: float, lane: Lane) -> None:
        self._ledger.settle(settled, now)
        before = self._tally.timeouts
        self._tally.add(settled)
        if self._tally.timeouts > before and self.gears.stops == "abandon":
            self._abandoned += self._tally.timeouts - before
        if self._tuner is not None:
            self._tuner.observe(len(settled.values), settled.busy_seconds)
        self._buffer.observe(_size_bytes(settled.values[0]))
        self.gears.observe(settled, now, lane)

    def _end_early(self) -> None:
        """Revoke what no longer counts: a failure is final, or the run was cancelled."""
        lane = self.gears.lane
        if self._is_cancelled and self._error is None:
            self._error = RunCancelledError("the run was cancelled; what had settled was given out")
            self._ledger.stop()
        if self._is_cancelled and not self._is_stopped and self._clock() >= self._grace_ends_at:
            self._is_stopped = True
            if lane is not None:
                lane.close(kill=True)
                self._collect()
            engine = self.gears.engine
            if engine is None or engine.traits.stops not in {"kill", "cancel"}:
                self._ledger.forget_outstanding()
        if self._ledger.is_ending and not self._is_revoked and lane is not None:
            self._is_revoked = True
            lane.revoke()
            self._collect()

    @property
    def is_in_caller(self) -> bool:
        """Whether items run in the thread that iterates the run."""
        engine = self.gears.engine
        return engine is not None and engine.traits.in_caller

    def _shift(self) -> None:
        """Under auto, choose when enough was seen, and go to another engine when nothing is out."""
        gears = self.gears
        if gears.auto is None or self._ledger.is_ending:
            return
        now = self._clock()
        if gears.is_choice_due(now):
            if gears.choose(self._remaining(with_outstanding=True), now):
                self._tally.begin_lane(now)
            if gears.is_trial_over:
                self.cancel()
                self._end_early()
                return
            if gears.is_shifting and gears.lane is not None:
                gears.lane.revoke()  # what has not begun need not stay there
                self._collect()
        if not gears.is_shifting:
            gears.tune(now, self._remaining())
        elif self._ledger.outstanding == 0:
            gears.shift(self.wakeup, self._clock)
            self._tally.begin_lane(now)

    @property
    def _is_held(self) -> bool:
        """Whether nothing more is sent, until the lane that is there has ended its work."""
        return self.gears.is_shifting and not self._ledger.is_ending

    def _feed(self) -> None:
        """Send chunks while the lane has room, and first to the caller's thread, if it fills in."""
        lane = self.gears.lane
        if lane is None or not self._ledger.unsent or self._is_held:
            return
        caller = self.gears.caller
        if caller is not None and self.gears.is_filling_in:
            seconds = self.gears.item_seconds or WORK_SECONDS
            self._feed_lane(caller, 1 if self._single else max(1, int(WORK_SECONDS / seconds)))
        self._feed_lane(lane, self._chunk_length())

    def _feed_lane(self, lane: Lane, length: int) -> None:
        """Send chunks while a lane has room."""
        now = self._clock()
        memory = None if self.is_in_caller else self._memory
        ledger, gate = self._ledger, self._gate
        while (room := lane.room()) > 0:
            chunks: list[Chunk] = []
            while len(chunks) < room:
                if memory is not None and not memory.is_open(now, ledger.outstanding):
                    break
                if gate is not None and gate.opens_at(now) > now:
                    break
                chunk = ledger.next_chunk(length, now)
                if chunk is None:
                    break
                if gate is not None:
                    gate.start(now)
                chunks.append(chunk)
            if not chunks or not self._send(lane, chunks):
                return
            self.gears.sent(chunks[-1])
            self._peak = max(self._peak, ledger.outstanding)

    def _send(self, lane: Lane, chunks: list[Chunk]) -> bool:
        """Send chunks, all at once to a lane that takes them so; return whether that went well."""
        unsent = deque(chunks)
        send_all = getattr(lane, "send_all", None)
        try:
            if send_all is not None:
                send_all(chunks)
                return True
            while unsent:
                lane.send(unsent[0])
                unsent.popleft()
        except Exception as error:  # such as RuntimeError: its owner shut the executor down
            self._error = error
            for chunk in unsent:
                self._ledger.returned(chunk.first, len(chunk.items))
            self._ledger.stop()
            return False
        return True

    def _decide(self) -> Step:
        """Say what comes next."""
        self._is_awaiting = False
        ledger = self._ledger
        window = ledger.emit()
        if window is not None:
            self.window = iter(window)
            return _EMIT
        if ledger.raised is not None:
            return Step(Action.END, error=ledger.raised.exception)
        if ledger.outstanding and (self.is_in_caller or self.gears.is_caller_busy):
            return _WORK
        count = self._wanted()
        if count > 0 and not self.source.is_async:
            return self._pull_or_listen(count)
        if (
            ledger.outstanding == 0
            and ledger.unsent == 0
            and (self.source.is_exhausted or ledger.is_ending)
        ):
            self._commit_all()
            error = self._error or self.source.error
            self._is_finished = error is None and not ledger.is_ending
            return Step(Action.END, error=error)
        return self._listen(None, count=count)

    def _commit_all(self) -> None:
        """Have everything kept before the run is said to be over."""
        if self._book is not None and not isinstance(self._error, JournalError):
            try:
                self._book.commit()
            except Exception as error:
                self._break(error)

    def _pull_or_listen(self, count: int) -> Step:
        """Pull, after listening for outcomes for as long as the source's nature asks."""
        available = self.source.available(count)
        self._is_awaiting = available == 0 and not self.source.is_exhausted
        if available == 0:
            return self._listen(None) if self._is_awaiting else Step(Action.PULL)
        count = available
        if self._ledger.outstanding and self.source.may_block and not self.source.tells:
            now = self._clock()
            if self._pull_at is None:
                engine = self.gears.engine
                self._pull_at = now + self.source.patience(
                    engine.traits.start_seconds if engine is not None else 0.0
                )
            if now < self._pull_at:
                return self._listen(self._pull_at)
        self._pull_at = None
        return Step(Action.PULL, count=count)

    def _listen(self, until: float | None, *, count: int = 0) -> Step:
        """Wait for news; `count` items of an asynchronous source may be pulled meanwhile."""
        self.wakeup.fileno()  # made here, where no interrupt can lose it
        return Step(Action.WAIT, count=count, seconds=self._until(until))

    def _wanted(self) -> int:
        """Return how many items to pull now: what the lane takes and the buffer holds."""
        ledger = self._ledger
        lane = self.gears.lane
        if self.source.is_exhausted or ledger.is_ending or lane is None or self._is_held:
            return 0
        if ledger.has_sendable(self._clock()):
            return 0
        room = lane.room() + self.gears.is_caller_free
        if room <= 0 or (self._memory.look_at is not None and ledger.outstanding):
            return 0
        length = self._chunk_length()
        capacity = (room + self.gears.workers) * length
        space = self._buffer.space(ledger.inside, capacity, self.gears.workers)
        most = space if self._is_replaying else min(space, room * length)
        return max(0, min(self.source.batch, most))

    def _chunk_length(self) -> int:
        """Return the length of the next chunk."""
        engine = self.gears.engine
        is_loop = (
            engine is not None and engine.traits.coroutines_only
        )  # each item is a task of its own there
        if self._single or is_loop or self._memory.look_at is not None:
            return 1
        if self._tuner is None or self._tuned_for is not self.gears.lane:
            in_caller = engine is not None and engine.traits.in_caller
            shortest, longest = self.gears.chunk_seconds or CHUNK_SECONDS[in_caller]
            self._tuner = ChunkTuner(
                workers=self.gears.workers,
                shortest_seconds=shortest,
                longest_seconds=longest,
                most_items=MOST_CHUNK_ITEMS,
                fixed=self._chunksize,
                item_seconds=None if in_caller else self.gears.item_seconds,
            )
            self._tuned_for = self.gears.lane
        self._tuner.workers = self.gears.workers  # there may be more by now
        length = self._tuner.length(self._remaining())
        return (
            length
            if self._chunksize is not None
            else min(length, self._buffer.items_of(MOST_CHUNK_BYTES))
        )

    def _remaining(self, *, with_outstanding: bool = False) -> int | None:
        """Return how many items are not handed out yet (or not settled), where that is known."""
        ledger = self._ledger
        here = ledger.unsent + (ledger.outstanding if with_outstanding else 0)
        if self.source.is_exhausted:
            return here
        if (
            self.source.total is None or self.source.total < ledger.admitted
        ):  # `total=` may be wrong
            return None
        return max(0, self.source.total - ledger.admitted) + here

    def _until(self, at: float | None) -> float | None:
        """Return the seconds to the next thing that happens by itself, or None."""
        lane = self.gears.lane
        times = [
            at,
            lane.deadline() if lane is not None else None,
            self._memory.look_at,
            self.gears.look_at,
        ]
        if self._is_cancelled and not self._is_stopped:
            times.append(self._grace_ends_at)
        now = self._clock()
        if (
            lane is not None and not self._is_held and lane.room() > 0
        ):  # else only news can change anything
            start = now if self._ledger.has_sendable(now) else self._ledger.next_due
            if start is not None:
                times.append(start if self._gate is None else max(start, self._gate.opens_at(now)))
        known = [time_ for time_ in times if time_ is not None and time_ < math.inf]
        return max(0.0, min(known) - now) if known else None


def _size_bytes(value: object) -> int:
    """Return about what a value occupies: its buffer where it says so, else its own size."""
    try:
        size = getattr(value, "nbytes", None)
        return size if isinstance(size, int) else sys.getsizeof(value)
    except Exception:
        return 0
