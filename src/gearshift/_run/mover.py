"""What a run and its drivers need of whatever moves the items: a pump, or a chain of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gearshift._run.pump import Step
    from gearshift.engines.base import Job, Wakeup
    from gearshift.facts import Report

__all__ = ["Mover"]


class Mover(Protocol):
    """Moves items when it is told to; only the consumer's thread tells, but for `cancel` and `leave`."""

    wakeup: Wakeup
    window: Iterator[Any]  # what is being given out
    was_tried: bool
    ending_error: BaseException | None  # until a driver has raised it

    @property
    def has_started(self) -> bool:
        """Whether a first step was made."""
        ...

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        ...

    @property
    def is_ours(self) -> bool:
        """Whether this process made the run."""
        ...

    @property
    def is_async(self) -> bool:
        """Whether its items come from an asynchronous iterable."""
        ...

    @property
    def is_in_caller(self) -> bool:
        """Whether items run in the thread that iterates the run."""
        ...

    def discard(self) -> None:
        """Let go of what was opened before the start: the run was never iterated."""
        ...

    def be_guest(self) -> None:
        """Run nothing in the consumer's thread, since it has a loop of its own; before `start`."""
        ...

    def start(self, job: Job) -> None:
        """Open what is to be opened before the first step."""
        ...

    def step(self) -> Step:
        """Do all the bookkeeping there is, and say what comes next."""
        ...

    def pull(self, count: int) -> None:
        """Take items from the source; may block."""
        ...

    async def apull(self, count: int) -> None:
        """Take items from an asynchronous source."""
        ...

    def work(self, seconds: float) -> None:
        """Run items in the caller's thread for about that long."""
        ...

    def wait(self, seconds: float | None) -> None:
        """Block until there is news, at most so long."""
        ...

    def filenos(self) -> Sequence[int]:
        """Return what becomes readable with news, beside the wake-up."""
        ...

    def check_outside(self, what: str) -> None:
        """Refuse what a function or the source of the run cannot do to it."""
        ...

    def cancel(self, grace: float = 0.0) -> None:
        """End the run soon; from any thread or signal handler."""
        ...

    def leave(self) -> None:
        """Take note that `abandon` comes; never blocks."""
        ...

    def abandon(self) -> None:
        """Let everything go without waiting."""
        ...

    def revoke(self) -> bool:
        """Begin to close, and say whether anything still runs."""
        ...

    def drain(self) -> float | None:
        """Collect what settles after `revoke`: seconds to the next call, or None at the end."""
        ...

    def finish(self, *, wait: bool) -> None:
        """Mark the end and let the engines go."""
        ...

    async def wait_closed(self) -> None:
        """Return when what ran on the consumer's event loop has ended."""
        ...

    def wait_engines(self) -> None:
        """Return when the engines that were made for the run are gone."""
        ...

    def pause(self) -> None:
        """Leave the terminal alone: the consumer has left its loop."""
        ...

    def report(self) -> Report:
        """Say what the run did so far."""
        ...
