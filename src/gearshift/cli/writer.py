"""When the lines go: each as soon as it is ready, without a system call for each in a flood.

Apart from where they go, which does not matter here. No thread writes: beside one, worker
processes could not be forked, and `auto` would not start any unasked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LineWriter"]

_HELD_BYTES = 1 << 16  # as much as a pipe takes at once
_WRITING_SHARE = 0.1  # of the time may go into writing lines singly
_RESERVE_SECONDS = 0.25  # for bursts; beside busy threads a write can take 5 ms
_COSTLY_SECONDS = 0.01  # a reader that paused for a minute is not to be punished for it


class LineWriter:
    """Passes lines on: singly while that is cheap, together when it is not.

    Writing may take a tenth of the time that passes, with a quarter of a second of it in
    reserve. So a slow item's line is seen at once, and a million fast ones do not cost a
    system call each; what such a flood holds back, the next line or `flush` takes along.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        patient: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Begin without lines.

        Args:
            write: Takes whole lines.
            patient: Nobody watches: lines may wait until there are many.
            clock: Seconds.
        """
        self._write = write
        self._patient = patient
        self._clock = clock
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._allowance_seconds = _RESERVE_SECONDS
        self._then = clock()

    def add(self, line: bytes) -> None:
        """Take a line.

        Raises:
            OSError: The reader is gone, or the disk is full.
        """
        self._held.append(line)
        self._held_bytes += len(line)
        if self._held_bytes >= _HELD_BYTES or (not self._patient and self._may_write()):
            self.flush()

    def flush(self) -> None:
        """Pass on what is held.

        Raises:
            OSError: The reader is gone, or the disk is full.
        """
        if not self._held:
            return
        data = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        began = self._clock()
        self._write(data)
        self._allowance_seconds -= min(self._clock() - began, _COSTLY_SECONDS)

    def _may_write(self) -> bool:
        """Say whether the time that passed pays for another write."""
        now = self._clock()
        grown = self._allowance_seconds + _WRITING_SHARE * (now - self._then)
        self._allowance_seconds = min(grown, _RESERVE_SECONDS)
        self._then = now
        return self._allowance_seconds > 0
