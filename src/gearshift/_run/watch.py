"""Look from beside at an item that takes long in the caller's thread.

    caller:   begin() -> lane.work() ............................ -> end()
    watcher:            3 ms: what does it wait for? -> beside(...) -> over

One thread for one turn, gone before the next step of the pump, so that the two never touch the
pump at the same time, and worker processes can be forked between turns. It is started by `_thread`:
an item that takes less than 3 ms pays 60 us for it, and `threading` would take twice that.
"""

from __future__ import annotations

import _thread
import random
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from gearshift._measure.blocked import ThreadTimes, blocked_on, thread_times, times_blocked
from gearshift.host import interrupts_held, run_delay_seconds, short_turns

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Sight", "Watch"]

FIRST_SECONDS = 0.003  # into a turn
PEEKS = 5  # at what the caller's thread waits for, so long apart:
PEEK_SECONDS = 0.0005
GIL_LOOKS = 10
LEAST_GIL_LOOKS = 6  # if the item ends meanwhile
HELD_SECONDS = 0.006  # late to begin or to wake up: longer than the turns of Python code (5 ms), so C held the GIL
TURN_SECONDS = 0.002  # late, from which on it counts as some looks that found the GIL held
TURN_LOOKS = 3
GIL_SLEEP_SECONDS = (0.0002, 0.0006)  # jittered, so that no rhythm of the function's fools it
GIL_LATE_SECONDS = 0.0003  # of waking up, from which on somebody held the GIL (turns are 0.5 ms)
COMPUTING_SHARE = 0.5  # of the time, from which on the GIL is worth a look
_IMPORT_FILES = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")


class Sight:
    """What was seen of an item that has not ended.

    Attributes:
        seconds: Since the turn began.
        times: CPU time and run-queue delay of the caller's thread meanwhile, or None.
        waits_on: What it was seen to wait for, or None.
        gil_share: Share of moments in which the GIL was held, or None where nobody looked.
        is_importing: It is inside an import: what comes will not be like it.
    """

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.seconds: float = 0.0
        self.times: ThreadTimes | None = None
        self.waits_on: str | None = None
        self.gil_share: float | None = None
        self.is_importing: bool = False


class Watch:
    """See the module's head; used by one thread, the caller's."""

    def __init__(
        self, beside: Callable[[Sight, Callable[[float], bool]], None], wake: Callable[[], None]
    ) -> None:
        """Prepare.

        Args:
            beside: Called in the watcher's thread with what was seen, if the turn takes long, and with
                what waits so many seconds for the turn's end and says whether it is over.
            wake: Ends the waits of `beside`.
        """
        self._beside = beside
        self._wake = wake
        self._caller = threading.get_ident()
        self._number = threading.get_native_id()
        self._over: _thread.LockType | None = None
        self._ended: _thread.LockType | None = None
        self.is_over: bool = False
        self._was_late = False
        self.gil_share: float | None = None  # of the turn, where that was seen
        self.cpu_seconds: float = 0.0  # of the watcher's thread, once it has ended

    def begin(self) -> None:
        """Start to watch; nothing is watched where the system gives no thread."""
        over, ended = _thread.allocate_lock(), _thread.allocate_lock()
        over.acquire()
        ended.acquire()
        with interrupts_held():  # else `end` may wait for a thread that never began
            began = time.perf_counter(), time.thread_time()
            try:
                _thread.start_new_thread(self._look, (over, ended, *began))
            except RuntimeError:
                return
            self._over, self._ended = over, ended

    def end(self) -> None:
        """Return once nobody watches any more; may be called again."""
        with interrupts_held():  # one in between would leave the watcher, or us, to wait for ever
            over, self._over = self._over, None
            if over is not None:
                self.is_over = True
                over.release()
                self._wake()
            if self._ended is not None:
                self._ended.acquire()
                self._ended = None

    def _look(
        self, over: _thread.LockType, ended: _thread.LockType, asked: float, cpu_seconds: float
    ) -> None:
        """Wait, look, and let `beside` do what follows (the watcher's thread)."""
        began = time.perf_counter()
        try:
            before = thread_times(self._number, self._caller)
            self._note_lateness(began - asked, 0.0, cpu_seconds)  # to begin, too, takes the GIL
            delay = run_delay_seconds()
            if over.acquire(timeout=FIRST_SECONDS):
                return
            if before is not None:
                late = time.perf_counter() - began - FIRST_SECONDS
                self._note_lateness(late, delay, before.cpu_seconds)
            sight = self._see(began, before, over)
            if sight is not None:
                self._beside(sight, lambda seconds: over.acquire(timeout=seconds))
        finally:
            self.cpu_seconds = time.thread_time()
            ended.release()

    def _see(
        self, began: float, before: ThreadTimes | None, over: _thread.LockType
    ) -> Sight | None:
        """Return what can be seen, or None if the turn ended meanwhile."""
        sight = Sight()
        sight.is_importing = _is_importing(self._caller)
        if not self._measure(sight, began, before):
            if not self._peek(sight, over):
                return None
            self._measure(sight, began, before)
        elif not sight.is_importing:
            sight.gil_share = self.gil_share or self._gil_share(over)
            self.gil_share = sight.gil_share
        return sight

    def _note_lateness(
        self, late_seconds: float, delay_before: float | None, cpu_before: float
    ) -> None:
        """Take a late waking up for what it shows, if the caller's thread computed, and we had a core."""
        if late_seconds <= TURN_SECONDS or delay_before is None or _is_importing(self._caller):
            return
        delay = run_delay_seconds()
        after = thread_times(self._number, self._caller)
        if delay is None or after is None:
            return
        late_seconds = min(late_seconds - (delay - delay_before), after.cpu_seconds - cpu_before)
        self._was_late = self._was_late or late_seconds > TURN_SECONDS
        if late_seconds > HELD_SECONDS:
            self.gil_share = 1.0

    def _peek(self, sight: Sight, over: _thread.LockType) -> bool:
        """Look a few times at what the caller's thread waits for; return False if the turn ended meanwhile.

        Who looks has the GIL, and a thread that wants it waits for a lock, too; but that wait ends when we
        sleep, and another begins.
        """
        before = times_blocked(self._number)
        for _ in range(PEEKS):
            sight.waits_on = blocked_on(self._number) or sight.waits_on
            if over.acquire(timeout=PEEK_SECONDS):
                return False
        if sight.waits_on == "lock" and times_blocked(self._number) != before:
            sight.waits_on = None
        return True

    def _measure(self, sight: Sight, began: float, before: ThreadTimes | None) -> bool:
        """Note what the caller's thread has had; return whether it computes."""
        after = thread_times(self._number, self._caller)
        sight.seconds = time.perf_counter() - began
        if before is None or after is None:
            return False
        sight.times = ThreadTimes(after[0] - before[0], after[1] - before[1])
        alone = sight.seconds - sight.times.delay_seconds
        return sight.times.cpu_seconds > COMPUTING_SHARE * alone

    def _gil_share(self, over: _thread.LockType) -> float | None:
        """Return in which share of moments somebody else held the GIL, or None if there were too few."""
        late = looks = TURN_LOOKS if self._was_late else 0
        short_turns(wanted=True)
        try:
            while looks < GIL_LOOKS:
                seconds = random.uniform(*GIL_SLEEP_SECONDS)  # noqa: S311 - a rhythm to be broken, no secret
                began = time.perf_counter()
                if over.acquire(timeout=seconds):
                    over.release()
                    break
                looks += 1
                late += time.perf_counter() - began > seconds + GIL_LATE_SECONDS
        finally:
            short_turns(wanted=False)
        return late / looks if looks >= LEAST_GIL_LOOKS else None


def _is_importing(thread: int) -> bool:
    """Whether a thread is inside an import."""
    with suppress(Exception):
        frame = sys._current_frames().get(thread)  # noqa: SLF001 - the one way to look at another thread
        while frame is not None:
            if frame.f_code.co_filename in _IMPORT_FILES:
                return True
            frame = frame.f_back
    return False
