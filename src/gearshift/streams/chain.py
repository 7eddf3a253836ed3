"""What moves the items of a stream: a chain of nodes, asked from the last to the first.

    step -> last node .step() -> the one before it, where it wants items -> ... -> source
    Batch -> EMIT    Act -> PULL    Idle -> WAIT    Over -> END

It takes the place of a single pump under the drivers, and like it runs only while the
consumer's thread is in it. It alone clears the wake-up that all nodes share, before it
asks them: what any of them was told since then is looked at, or rings again.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from gearshift._run.pump import Action, Step
from gearshift.engines.base import Wakeup
from gearshift.errors import RunCancelledError, RunClosedError
from gearshift.facts import STREAM, Report
from gearshift.host import interrupts_held
from gearshift.streams.batch import Batch
from gearshift.streams.needs import Act, Idle, Over, Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gearshift.engines.base import Job
    from gearshift.streams.needs import Node
    from gearshift.streams.parts import Parts
    from gearshift.streams.sources.base import Clock

__all__ = ["Chain"]


class _Bell(Wakeup):
    """The wake-up of a chain: nodes may only set it."""

    __slots__ = ()

    def clear(self) -> None:
        """Leave it: another node may not have looked yet."""


class _Ended:
    """The last node of a chain that has ended."""

    total: int | None = None

    def start(self, setting: Setting) -> None:
        """Do nothing."""

    def step(self) -> Over:
        """Give nothing."""
        return Over()


class Chain:
    """See the module's head."""

    def __init__(self, last: Node, parts: Parts, clock: Clock, *, in_event_time: bool) -> None:
        """Put the parts together; nothing runs yet.

        Args:
            last: The node that gives what the consumer gets.
            parts: What is to be ended one by one.
            clock: What time it is for operators and sources.
            in_event_time: Items tell their time.
        """
        self._bell = _Bell()
        self.wakeup: Wakeup = self._bell
        self.window: Iterator[Any] = iter(())
        self.was_tried: bool = False
        self.ending_error: BaseException | None = None
        self._last = last
        self._parts = parts
        self._clock = clock
        self._setting = Setting(wakeup=self.wakeup, clock=clock, in_event_time=in_event_time)
        self._act: Callable[[], None] | None = None
        self._filenos: Sequence[int] = ()
        self._is_inside = False  # a function of the user's runs, or a source is asked
        self._thread: int | None = None
        self._pid = os.getpid()
        self._started_at: float | None = None
        self._ended_at: float | None = None
        self._is_closed = False
        self._is_finished = False
        self._given = 0

    @property
    def has_started(self) -> bool:
        """Whether a first step was made."""
        return self._started_at is not None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self._ended_at is not None

    @property
    def is_ours(self) -> bool:
        """Whether this process made the run."""
        return os.getpid() == self._pid

    @property
    def is_async(self) -> bool:
        """Whether a source is an asynchronous iterable."""
        return bool(self._parts.async_inlets)

    @property
    def is_in_caller(self) -> bool:
        """Whether items run in the thread that iterates the run."""
        return any(pump.is_in_caller for pump in self._parts.pumps)

    def open(self) -> None:
        """Open the live sources, so that nothing is missed from here on.

        Raises:
            RuntimeError: One can have one reader, and has one.
        """
        self._clock.watch(self.wakeup)
        try:
            for inlet in self._parts.live_inlets:
                inlet.open(self.wakeup, self._clock)
        except BaseException:
            self._close_sources()
            raise

    def discard(self) -> None:
        """Let the sources go: the run was never iterated."""
        self._close_sources()

    def be_guest(self) -> None:
        """Run no stage in the consumer's thread, since it has a loop of its own; before `start`."""
        self._setting.is_guest = True

    def start(self, job: Job) -> None:
        """Open the lanes."""
        with interrupts_held():
            self.was_tried = True
            self._setting.loop = job.loop
            try:
                self._last.start(self._setting)
            except BaseException:
                self.finish(wait=False)
                raise
            self._started_at = time.monotonic()

    def step(self) -> Step:
        """Ask for the next items, and say what comes next.

        Raises:
            RuntimeError: Another thread is in a step of this run, or it is a parent process's.
        """
        with interrupts_held():
            self._check_caller()
            self.check_outside("asked for items")
            self._bell.reset()
            self._act = None
            self._filenos = ()
            if self._is_closed or self.has_ended:
                step = Step(Action.END, error=self.ending_error)
            else:
                step = self._decide(self._ask())
                self.ending_error = step.error
            if step.action is Action.EMIT or step.action is Action.END:
                self._thread = None
            return step

    def _ask(self) -> Batch | Act | Idle | Over:
        """Ask the last node.

        Raises:
            BaseException: A second Ctrl-C struck a function that takes long; the run cannot go on then.
        """
        self._is_inside = True
        try:
            return self._last.step()
        except BaseException as error:
            self.ending_error = RunClosedError(
                "the run was interrupted inside of an operator's function, and cannot go on"
            )
            self.ending_error.__cause__ = error
            self._is_closed = True
            raise
        finally:
            self._is_inside = False

    def _decide(self, need: Batch | Act | Idle | Over) -> Step:
        """Say what comes next."""
        if isinstance(need, Batch):
            self._given += len(need.items)
            self.window = iter(need.items)
            return Step(Action.EMIT)
        if isinstance(need, Act):
            self._act = need.run
            return Step(Action.PULL, count=1)
        if isinstance(need, Over):
            self._is_finished = need.error is None
            return Step(Action.END, error=need.error)
        if not need.is_busy and self._clock.idle(need.due):
            self.window = iter(())
            return Step(Action.EMIT)  # of nothing: the time has moved
        self.wakeup.fileno()  # made here, where no interrupt can lose it
        self._filenos = need.filenos
        return Step(Action.WAIT, seconds=self._seconds(need))

    def _seconds(self, need: Idle) -> float | None:
        """Return the real seconds until something happens by itself, or None."""
        due = self._clock.seconds_until(need.due)
        known = [each for each in (due, need.seconds) if each is not None]
        return min(known, default=None)

    def pull(self, count: int) -> None:
        """Do what the last step asked for."""
        del count  # whoever asked knows
        if self._act is not None:
            act, self._act = self._act, None
            self._is_inside = True
            try:
                act()
            finally:
                self._is_inside = False

    def check_outside(self, what: str) -> None:
        """Refuse what a function or the source of the run cannot do to it.

        Raises:
            RuntimeError: It is called from inside of a task or an operator, or while a source is
                asked, and would wait for itself.
        """
        if self._is_inside and self._thread == threading.get_ident():
            raise RuntimeError(
                f"the run is {what} from inside of itself, by its function or its source: "
                "use cancel() there, or another run"
            )
        for pump in self._parts.pumps:
            pump.check_outside(what)

    async def apull(self, count: int) -> None:
        """Never asked for: asynchronous sources have tasks of their own."""
        raise NotImplementedError(count)

    def work(self, seconds: float) -> None:
        """Never asked for: whatever may take long is a pull here."""
        raise NotImplementedError(seconds)

    def wait(self, seconds: float | None) -> None:
        """Block until there is news, at most so long."""
        self.wakeup.wait(seconds, self._filenos)

    def filenos(self) -> Sequence[int]:
        """Return what becomes readable with news, beside the wake-up."""
        return self._filenos

    def cancel(self, grace: float = 0.0) -> None:
        """End the run soon, what runs after `grace` seconds; from any thread or signal handler."""
        error = RunCancelledError("the run was cancelled; what had settled was given out")
        self._setting.ended_by.append(error)
        for pump in self._parts.pumps:
            pump.cancel(grace)
        self.wakeup.set()

    def leave(self) -> None:
        """Tell the journals that `abandon` comes; never blocks."""
        for pump in self._parts.pumps:
            pump.leave()

    def abandon(self) -> None:
        """Let everything go without waiting: nobody holds the run any more."""
        for pump in self._parts.pumps:
            pump.abandon()
        for inlet in self._parts.async_inlets:
            inlet.abandon()
        self._close_sources()

    def revoke(self) -> bool:
        """Begin to close: take back what has not started, stop what can be stopped."""
        with interrupts_held():
            self._is_closed = True
            deque(self.window, maxlen=0)  # an iterator in the middle of it finds nothing more
            still = [pump.revoke() for pump in self._parts.pumps]
            return any(still)

    def drain(self) -> float | None:
        """Collect what settles after `revoke`: seconds to the next call, or None at the end."""
        with interrupts_held():
            self.wakeup.fileno()
            self._bell.reset()
            seconds = [pump.drain() for pump in self._parts.pumps]
            self._filenos = [fd for pump in self._parts.pumps for fd in pump.filenos()]
            return min((each for each in seconds if each is not None), default=None)

    def finish(self, *, wait: bool) -> None:
        """Mark the end and let our engines go."""
        if self._ended_at is None:
            self._ended_at = time.monotonic()
        with ExitStack() as ending:  # all of it is done, whatever fails
            ending.callback(self._close_sources)
            for pump in reversed(self._parts.pumps):
                ending.callback(pump.finish, wait=wait)
        # An error that somebody keeps holds the frames that it came through, and so this chain, whose
        # descriptors would stay open until a garbage collection.
        self._setting.ended_by.clear()
        self._last = _Ended()
        for pump in self._parts.pumps:
            pump.forget_errors()
        self.wakeup.set()  # another thread may wait for items of a run that was closed

    def _close_sources(self) -> None:
        self._clock.unwatch(self.wakeup)
        self._parts.close()

    async def wait_closed(self) -> None:
        """Return when what ran on the consumer's event loop has ended."""
        for inlet in self._parts.async_inlets:
            await inlet.wait_closed()
        for pump in self._parts.pumps:
            await pump.wait_closed()

    def wait_engines(self) -> None:
        """Return when the engines that were made for the run are gone."""
        for pump in self._parts.pumps:
            pump.wait_engines()

    def pause(self) -> None:
        """Leave the terminal alone: the consumer has left its loop."""
        for pump in self._parts.pumps:
            pump.pause()

    def report(self) -> Report:
        """Say what the run did so far: what came in, what was given out, and each stage's own report."""
        until = self._ended_at if self._ended_at is not None else time.monotonic()
        stages = tuple(pump.report() for pump in self._parts.pumps)
        return Report(
            engine=STREAM,
            workers=max((stage.workers for stage in stages), default=1),
            reasons=(),
            items=self._parts.made,
            succeeded=self._given,
            failed=sum(stage.failed for stage in stages),
            retried=sum(stage.retried for stage in stages),
            abandoned=sum(stage.abandoned for stage in stages),
            failures=tuple(failure for stage in stages for failure in stage.failures),
            seconds=0.0 if self._started_at is None else until - self._started_at,
            busy_seconds=sum(stage.busy_seconds for stage in stages),
            cpu_seconds=sum(stage.cpu_seconds for stage in stages),
            finished=self._is_finished,
            replayed=sum(stage.replayed for stage in stages),
            timeouts=sum(stage.timeouts for stage in stages),
            deaths=sum(stage.deaths for stage in stages),
            kinds=tuple(kind for stage in stages for kind in stage.kinds),
            sent_bytes=sum(stage.sent_bytes for stage in stages),
            received_bytes=sum(stage.received_bytes for stage in stages),
            dropped=self._parts.dropped,
            stages=stages,
        )

    def _check_caller(self) -> None:
        """Refuse a second thread while one is under way, and a forked child.

        Raises:
            RuntimeError: It is so.
        """
        if not self.is_ours:
            raise RuntimeError(
                "this run belongs to the process that began it: start another of the stream"
            )
        thread = threading.get_ident()
        if self._thread not in {None, thread}:
            raise RuntimeError(
                "this run is being iterated by another thread: start one for each thread"
            )
        self._thread = thread
