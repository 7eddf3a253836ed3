"""The real clock of a stream.

Apart from the operators, which have none. `gearshift.testing` has the virtual one.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gearshift.engines.base import Wakeup

__all__ = ["RealClock"]


class RealClock:
    """Seconds since it was made, so that windows begin with the stream and not with the machine.

    Attributes:
        is_virtual: False: it goes on by itself.
    """

    __slots__ = ("_began",)

    is_virtual: bool = False

    def __init__(self) -> None:
        """Begin at 0."""
        self._began = time.monotonic()

    def now(self) -> float:
        """Return the time, in seconds."""
        return time.monotonic() - self._began

    def seconds_until(self, due: float) -> float | None:
        """Return how long to wait for that moment; None means that it never comes."""
        return None if due == math.inf else max(0.0, due - self.now())

    def idle(self, due: float) -> bool:
        """Return False: nobody can move it."""
        return False

    def watch(self, wakeup: Wakeup) -> None:
        """Do nothing, since it is never moved."""

    def unwatch(self, wakeup: Wakeup) -> None:
        """Do nothing."""
