"""What workers said, said again here: in turns, one frame of each, and under no lock of the pool's.

    pump -> hear -> a queue a worker ... say -> `replay` -> the parent's loggers, streams, warnings

Handlers may raise, take long, wait for other threads, and use this very pool.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from gearshift._work.replay import replay

__all__ = ["Hearing"]


class Hearing:
    """Frames that are to be said yet."""

    def __init__(self) -> None:
        """Begin with none."""
        self._speakers: deque[deque[bytes]] = deque()  # queues that are not empty
        self._guard = threading.Lock()  # of the line above; held for moments only
        self._turn = threading.Lock()  # who says something
        self._teller: int | None = None

    @property
    def is_pending(self) -> bool:
        """Whether something is still to be said, and nobody is at it."""
        return bool(self._speakers) and self._teller is None

    @property
    def is_telling(self) -> bool:
        """Whether this thread is at it: a handler has called."""
        return self._teller == threading.get_ident()

    @property
    def is_busy(self) -> bool:
        """Whether any thread is at it."""
        return self._teller is not None

    def hear(self, queue: deque[bytes], frame: bytes) -> None:
        """Add to what a worker said."""
        with self._guard:
            queue.append(frame)
            if len(queue) == 1:
                self._speakers.append(queue)

    def say(self, until: float) -> None:
        """Say what there is, until then; not where another thread is at it, or this one is already.

        Raises:
            BaseException: A handler interrupts, or exits; the rest is said the next time.
        """
        if not self._speakers or self.is_telling or not self._turn.acquire(blocking=False):
            return
        self._teller = threading.get_ident()
        try:
            while time.monotonic() < until:
                with self._guard:
                    if not self._speakers:
                        break
                    queue = self._speakers.popleft()
                self._say_one(queue)
        finally:
            self._teller = None
            self._turn.release()

    def _say_one(self, queue: deque[bytes]) -> None:
        try:
            replay(queue[0])
        finally:
            with self._guard:
                if queue:  # else it was forgotten meanwhile
                    queue.popleft()  # not before it was said: see `ProcessLane.settle`
                if queue:
                    self._speakers.append(queue)

    def forget(self) -> None:
        """Say nothing more of what there is."""
        with self._guard:
            for queue in self._speakers:
                queue.clear()
            self._speakers.clear()
