"""One call of `gs.map`: as text to paste, and as a measurement.

Apart from the stations so that a row cannot show another call than the one measured:
both come from the same value.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Call", "Measured", "best_of", "measure"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of `gs.map`.

    Attributes:
        function: What is called on each item.
        items: The items.
        names: How the reader's program calls the items.
        on: The engine, as in `gs.map`.
        workers: The workers, as in `gs.map`; None is not written.
    """

    function: Callable[..., Any]
    items: Sequence[Any]
    names: str
    on: str
    workers: int | None = None

    @property
    def text(self) -> str:
        """The call as Python code."""
        workers = "" if self.workers is None else f", workers={self.workers}"
        options = f'on="{self.on}"{workers}'
        return f"list(gs.map({self.function.__name__}, {self.names}, {options}))"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a call gave.

    Attributes:
        call: The call.
        values: What it returned.
        seconds: Wall time of all of it, workers that it started included.
        report: The run's own report.
    """

    call: Call
    values: list[Any]
    seconds: float
    report: gs.Report


def measure(call: Call) -> Measured:
    """Make a call once, in full, and time it."""
    begin = time.perf_counter()
    with gs.map(call.function, call.items, on=call.on, workers=call.workers) as run:
        values = list(run)
    return Measured(call, values, time.perf_counter() - begin, run.report)


def best_of(
    calls: Sequence[Call],
    *,
    rounds: int,
    enough_seconds: float,
    make: Callable[[Call], Measured] = measure,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[Measured], int]:
    """Make all calls in turn, round by round, and keep the fastest time of each.

    In turn, so that a busy moment of the machine falls on all calls alike.

    Args:
        calls: The calls.
        rounds: Rounds at most; one is always made.
        enough_seconds: After this long no further round begins.
        make: Makes a call.
        clock: Tells the time in seconds.

    Returns:
        One measurement per call in their order, and how many rounds were made.
    """
    begin = clock()
    best = [make(call) for call in calls]
    made = 1
    while made < rounds and clock() - begin < enough_seconds:
        best = [min(known, make(known.call), key=attrgetter("seconds")) for known in best]
        made += 1
    return best, made
