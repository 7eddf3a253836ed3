"""A clock that stands still until a test moves it, so that no test of a stream has to wait.

Any thread may call any method; a lock guards the time and who watches it. Wake-ups are
set outside of it, and held weakly: a run that was dropped costs nothing.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from gearshift.engines.base import Wakeup

__all__ = ["VirtualClock"]


class VirtualClock:
    """Seconds that pass when somebody says so.

    Attributes:
        is_virtual: True: it stands still.

    Example:
        >>> clock = VirtualClock()
        >>> clock.advance(30)
        >>> clock.now()
        30.0
    """

    is_virtual: bool = True

    def __init__(self, *, autojump: bool = False) -> None:
        """Begin at 0.

        Args:
            autojump: A stream that has nothing to do before some moment moves the time
                there at once. For one stream at a time: another one may have had
                something to do before.
        """
        self._autojump = autojump
        self._lock = threading.Lock()
        self._now = 0.0
        self._watchers: WeakSet[Wakeup] = WeakSet()

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Args:
            seconds: How much.

        Raises:
            ValueError: It is below 0, or not a finite number.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds={seconds!r} is not a finite number from 0 up: time goes on")
        with self._lock:
            self._now += seconds
            watchers = list(self._watchers)
        for wakeup in watchers:
            wakeup.set()

    def now(self) -> float:
        """Return the time, in seconds since the clock was made."""
        with self._lock:
            return self._now

    def seconds_until(self, due: float) -> float | None:
        """Return 0 when that moment has come, else None: whoever moves the time wakes the stream."""
        return 0.0 if due <= self.now() else None

    def idle(self, due: float) -> bool:
        """Move the time to `due` if it jumps by itself and that moment is still to come.

        Returns:
            Whether the time was moved.
        """
        with self._lock:
            if not self._autojump or not self._now < due < math.inf:
                return False
            self._now = due
            watchers = list(self._watchers)
        for wakeup in watchers:
            wakeup.set()
        return True

    def watch(self, wakeup: Wakeup) -> None:
        """Set this wake-up whenever the time is moved, as long as somebody else holds it."""
        with self._lock:
            self._watchers.add(wakeup)

    def unwatch(self, wakeup: Wakeup) -> None:
        """Set it no more."""
        with self._lock:
            self._watchers.discard(wakeup)
