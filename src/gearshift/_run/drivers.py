"""Carry out the pump's steps under `for`.

It keeps nothing that a new iterator would miss: one that an interrupt has ended is
followed by the next, which goes on where it stopped.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from gearshift._run.pump import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gearshift._run.mover import Mover
    from gearshift._run.pump import Step
    from gearshift.engines.base import Job

__all__ = ["drive"]


def drive(pump: Mover, job: Job, ended: Callable[[], None]) -> Iterator[Any]:
    """Return an iterator over outcomes, which raises what the run ends with.

    It holds `ended`, and with it the run: one that nobody holds any more is let go.

    An item goes from a list's iterator in `pump.window` to the consumer in one C call: nothing in
    between can be interrupted, so what leaves the window reaches the consumer. (A `yield from` in
    a generator does the same, but takes three times as long.)
    """
    return chain.from_iterable(_windows(pump, job, ended))


def _windows(pump: Mover, job: Job, ended: Callable[[], None]) -> Iterator[Iterator[Any]]:
    """Yield what is being given out, window by window."""
    if not pump.has_started:
        pump.start(job)
    step: Step | None = None
    error: BaseException | None = None
    try:
        while True:
            yield pump.window
            step = pump.step()
            if step.action is Action.WORK:
                pump.work(step.seconds or 0.0)
            elif step.action is Action.PULL:
                pump.pull(step.count)
            elif step.action is Action.WAIT:
                pump.wait(step.seconds)
            elif step.action is Action.END:
                pump.finish(wait=step.error is None)
                ended()
                error = step.error
                if error is not None:
                    pump.ending_error = None  # no interrupt can come between this and the next line
                    raise error
                return
    finally:
        pump.pause()
        # An exception keeps this frame, and the run keeps the exception: without this its descriptors
        # would stay open until a garbage collection.
        del pump, ended, step, error
