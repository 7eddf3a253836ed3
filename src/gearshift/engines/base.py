"""The engine protocol: what a concurrency model offers to a run.

Public: whoever implements `Engine` and `Lane` can be given to `on=`, and
`gearshift.testing.contract` says whether it keeps the promises.

    run --Job--> Engine.open() -> Lane           one job on one engine, for one run
    run --Chunk--> Lane.send()                   never blocks
    run <--Settled, Returned-- Lane.poll()       kept until ack()
    any thread --> Wakeup.set()                  poll() has news

A lane is used by one thread at a time, the one that iterates the run. An engine
outlives its lanes: it is the warm pool.
"""

from __future__ import annotations

import math
import os
import select
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from gearshift.errors import TaskTimeoutError, UnsupportedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from contextvars import Context

    from gearshift.facts import Chunk, Returned, Settled, Traits

__all__ = ["Engine", "Job", "Lane", "Wakeup", "check_timeout", "check_workers", "timed_out"]

_POLLIN = select.POLLIN if hasattr(select, "poll") else 1
LONGEST_WAIT_SECONDS = 86_400.0  # poll() takes 24 days at most, in milliseconds


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Job:
    """What every worker of a lane needs to know once.

    Attributes:
        function: The user's function.
        star: Each item is a tuple of arguments or a dict of keywords.
        seed: Of `gs.item_seed()`, or None.
        task_timeout: Seconds a task may run, or None. A lane stops a task past its time
            in the way of its traits and settles it with `TaskTimeoutError`.
        context: The caller's context variables; each task runs in a copy of its own.
        loop: The consumer's event loop under `async for`, else None.
        queued: Chunks that a lane may hold per worker, the running one included.
    """

    function: Callable[..., Any]
    star: bool = False
    seed: int | None = None
    task_timeout: float | None = None
    context: Context | None = None
    loop: asyncio.AbstractEventLoop | None = None
    queued: int = 2


@runtime_checkable
class Lane(Protocol):
    """One job on one engine, for one run; used by one thread at a time."""

    def room(self) -> int:
        """Return how many chunks it takes now."""
        ...

    def send(self, chunk: Chunk) -> None:
        """Take a chunk. Never blocks; an item that cannot be sent settles as a fault.

        A lane to which many at once are cheaper may also have `send_all(chunks)`, which is called instead.
        """
        ...

    def poll(self) -> Sequence[Settled | Returned]:
        """Return what is new, oldest first, and keep it until acknowledged. Never blocks.

        Raises:
            WorkerDiedError: The engine is broken, and its traits say that a death is not survived.
        """
        ...

    def ack(self, count: int) -> None:
        """Forget the first `count` of what `poll` returned."""
        ...

    def filenos(self) -> Sequence[int]:
        """Return descriptors that are readable when `poll` has news, beside the wake-up's."""
        ...

    def deadline(self) -> float | None:
        """Return when `poll` wants to be called again at the latest (monotonic seconds)."""
        ...

    def work(self, seconds: float) -> None:
        """Run items in the calling thread for about that long.

        Only called where the traits say `in_caller`; the one method that may block.
        """
        ...

    def revoke(self) -> None:
        """Give back what has not started: it comes as `Returned`."""
        ...

    def close(self, *, kill: bool = False) -> None:
        """Take nothing more; with `kill` also stop what runs, as the traits allow.

        Never blocks. What still runs settles or is dropped; `poll` stays callable.
        """
        ...


@runtime_checkable
class Engine(Protocol):
    """A concurrency model and its warm workers."""

    @property
    def traits(self) -> Traits:
        """What it can do and what it costs."""
        ...

    @property
    def workers(self) -> int:
        """Tasks that it runs at once."""
        ...

    def open(self, job: Job, wakeup: Wakeup) -> Lane:
        """Return a lane for this job.

        Raises:
            UnsupportedError: The job asks for what the traits exclude.
        """
        ...

    def resize(self, workers: int) -> None:
        """Change the number of workers.

        Raises:
            UnsupportedError: The traits say it is not resizable.
        """
        ...

    def shutdown(self, *, wait: bool = True, kill: bool = False) -> None:
        """End the workers; may be called again. With `wait` none is left when it returns."""
        ...


class Wakeup:
    """A flag with a file descriptor: any thread sets it, one thread waits for it.

    `set` may be called from any thread, from a signal handler and from `__del__`: it
    takes no lock. The descriptor exists from the first wait on, and is closed when
    nobody holds the wake-up any more, so that a late `set` cannot write to a stranger.
    """

    __slots__ = ("__weakref__", "_is_set", "_owners", "_read_fd", "_write_fd")

    def __init__(self) -> None:
        """Begin unset, without a descriptor."""
        self._is_set = False
        self._read_fd = -1
        self._write_fd = -1
        self._owners: list[object] = []  # they close the descriptors

    def set(self) -> None:
        """Wake whoever waits, now or at the next wait."""
        if self._is_set:
            return
        self._is_set = True
        if self._write_fd >= 0:
            _signal(self._write_fd)

    def clear(self) -> None:
        """Unset it; look for news after this, not before, or some may be missed."""
        self._is_set = False
        if self._read_fd >= 0:
            with suppress(BlockingIOError):
                os.read(self._read_fd, 4096)

    def reset(self) -> None:
        """Unset it, for whoever looks at everything after this, also where several share it."""
        Wakeup.clear(self)

    def mark(self) -> None:
        """Take it for set, since its descriptor was readable: a late writer set the flag before it was cleared."""
        self._is_set = True

    @property
    def is_set(self) -> bool:
        """Whether it was set since it was last cleared."""
        return self._is_set

    def fileno(self) -> int:
        """Return a descriptor that is readable once the wake-up is set."""
        if self._read_fd < 0:
            if hasattr(os, "eventfd"):
                read_fd = write_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            else:
                read_fd, write_fd = os.pipe()
                os.set_blocking(read_fd, False)
                os.set_blocking(write_fd, False)
            self._owners += [_owner_of(fd) for fd in {read_fd, write_fd}]
            self._read_fd, self._write_fd = read_fd, write_fd
            if self._is_set:
                _signal(self._write_fd)
        return self._read_fd

    def wait(self, seconds: float | None, filenos: Sequence[int] = ()) -> None:
        """Block until it is set, one of `filenos` is readable, or the time is over.

        Args:
            seconds: At most this long, or None for no bound; it may return earlier for no reason.
            filenos: Further descriptors to watch.
        """
        own = self.fileno()
        if self._is_set:
            return
        watched = select.poll()  # not select(): it cannot watch descriptors from 1,024 on
        watched.register(own, _POLLIN)
        for fd in filenos:
            watched.register(fd, _POLLIN)
        longest = (
            LONGEST_WAIT_SECONDS
            if seconds is None
            else min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)
        )
        if any(fd == own for fd, _ in watched.poll(math.ceil(longest * 1000))):
            self.mark()


def check_timeout(job: Job, traits: Traits) -> None:
    """Refuse a `task_timeout` that the engine could not keep.

    Raises:
        UnsupportedError: The traits say that nothing stops a task.
    """
    if job.task_timeout is not None and traits.stops == "no":
        raise UnsupportedError(
            f"task_timeout={job.task_timeout!r}: engine {traits.name} cannot stop a task that runs; "
            'on="threads" abandons it and on="asyncio" cancels it'
        )


def check_workers(workers: int | None, name: str = "workers") -> None:
    """Refuse a number of workers, or of what else the name says, that is none.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is below 1.
    """
    if workers is None:
        return
    if isinstance(workers, bool) or not isinstance(workers, int):
        raise TypeError(
            f"{name}={workers!r} is not a whole number: say how many, such as 4, or None"
        )
    if workers < 1:
        raise ValueError(f"{name}={workers!r} is below 1: there must be somebody to do the work")


def timed_out(job: Job, index: int, traits: Traits) -> TaskTimeoutError:
    """Return the error of a task past its time, the same words on every engine."""
    ends = {
        "kill": "its worker was killed",
        "cancel": "it was cancelled",
        "abandon": "it was abandoned and may go on",
    }
    return TaskTimeoutError(
        f"item {index}: ran longer than task_timeout={job.task_timeout:g} s on {traits.name}; {ends[traits.stops]}. "
        "Give it more time, or retries="
    )


class _Closing:
    """Owns a descriptor, where C has nothing that would."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __del__(self) -> None:
        os.close(self._fd)


def _owner_of(fd: int) -> object:
    """Return what closes the descriptor when it is freed itself.

    A poll object of the standard library closes its descriptor in C, whatever that is. In a
    `__del__`, CPython would drop a Ctrl-C, and the descriptor stay open if it struck at the start.
    """
    kind: Any = getattr(select, "epoll", None) or getattr(select, "kqueue", _Closing)
    return kind.fromfd(fd) if hasattr(kind, "fromfd") else kind(fd)


def _signal(fd: int) -> None:
    """Make the descriptor readable; an eventfd wants eight bytes, a pipe takes them too."""
    with suppress(BlockingIOError):  # a pipe full of wake-ups is readable as it is
        os.write(fd, (1).to_bytes(8, sys.byteorder))
