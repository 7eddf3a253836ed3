"""What outcomes add up to, for the report: time, bytes, time-outs, deaths, and who was how busy.

Pure: whoever calls says what time it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gearshift.errors import TaskTimeoutError, WorkerDiedError

if TYPE_CHECKING:
    from gearshift.facts import Settled

__all__ = ["Tally"]


class Tally:
    """Sums over the outcomes of a run."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.busy_seconds: float = 0.0
        self.cpu_seconds: float = 0.0
        self.sent_bytes: int = 0
        self.received_bytes: int = 0
        self.timeouts: int = 0
        self.deaths: int = 0
        self.lane_began_at: float = 0.0
        self._busy: dict[str, float] = {}  # seconds by worker, since the lane began

    def add(self, settled: Settled) -> None:
        """Take outcomes, retried ones too."""
        self.busy_seconds += settled.busy_seconds
        self.cpu_seconds += settled.cpu_seconds
        self.sent_bytes += settled.sent_bytes
        self.received_bytes += settled.received_bytes
        if settled.worker:
            busy = self._busy.get(settled.worker, 0.0)
            self._busy[settled.worker] = busy + settled.busy_seconds
        for fault in settled.failed.values():
            self.timeouts += isinstance(fault.exception, TaskTimeoutError)
            self.deaths += isinstance(fault.exception, WorkerDiedError)

    def begin_lane(self, now: float) -> None:
        """Count the workers of another lane."""
        self.lane_began_at = now
        self._busy.clear()

    def shares(self, until: float) -> dict[str, float]:
        """Return the busy part of each worker's time since the lane began, 0 to 1."""
        seconds = until - self.lane_began_at
        if seconds <= 0:
            return {}
        return {name: min(1.0, busy / seconds) for name, busy in self._busy.items()}
