"""How far a run is, told now and then to whoever shows it.

    pump.step -> Meter.tick -> every 0.1 s: show(Progress)

It has no thread, and so stands still while no item ends: beside a thread, worker processes
could not be forked. A tick that shows nothing is a comparison of two numbers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Display", "Meter", "Progress"]

SHOW_SECONDS = 0.1
_RATE_SECONDS = 5.0  # about how far back the rate looks


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        done: Items with an outcome.
        total: Items in all, where that is known.
        failed: Those of the done that failed.
        seconds: Since the run began.
        rate: Items a second, of late.
        engine: Name of the engine.
        workers: Its workers.
        finished: Nothing more will come.
    """

    done: int
    total: int | None
    failed: int
    seconds: float
    rate: float
    engine: str
    workers: int
    finished: bool = False

    @property
    def seconds_left(self) -> float | None:
        """What the rest will take at this rate, where that can be said."""
        if self.total is None or self.rate <= 0:
            return None
        return max(0, self.total - self.done) / self.rate


class Display(Protocol):
    """Shows progress to people."""

    def show(self, progress: Progress) -> None:
        """Draw it."""
        ...

    def pause(self) -> None:
        """Leave the terminal as it was found; another `show` may come."""
        ...


class Meter:
    """Calls a display when it is time."""

    def __init__(self, display: Display, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without having shown anything."""
        self._display = display
        self._clock = clock
        self.due_at: float = 0.0
        self._before: tuple[float, int] | None = None
        self._rate = 0.0
        self._has_ended = False

    def show(self, now: float, look: Callable[[float], Progress]) -> None:
        """Show how far it is now.

        Args:
            now: The time.
            look: Returns the state, given the rate to put in.
        """
        self.due_at = now + SHOW_SECONDS
        progress = look(self._rate)
        self._note(now, progress.done)
        self._display.show(look(self._rate))

    def pause(self) -> None:
        """Leave the terminal as it was found."""
        self._display.pause()

    def end(self, look: Callable[[float], Progress]) -> None:
        """Show the end, once."""
        if not self._has_ended:
            self._has_ended = True
            self._note(self._clock(), look(0.0).done)
            self._display.show(look(self._rate))
            self._display.pause()

    def _note(self, now: float, done: int) -> None:
        """Learn the rate: what came of late weighs more."""
        if self._before is not None and now > self._before[0]:
            seconds = now - self._before[0]
            latest = (done - self._before[1]) / seconds
            weight = min(1.0, seconds / _RATE_SECONDS) if self._rate else 1.0
            self._rate += (latest - self._rate) * weight
        self._before = (now, done)
