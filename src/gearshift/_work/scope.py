"""The worker that runs a task, as the task can see it.

`CURRENT` holds the call in progress. It is set once per chunk in the context that each
task gets a copy of, so a trivial item pays nothing for it. A `Scope` is one worker's
life: what `per_worker` made in it, and the event loop that coroutine functions get there.
"""

from __future__ import annotations

import os
import warnings
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["CURRENT", "DEPTH_VARIABLE", "Call", "Scope", "is_nested"]

DEPTH_VARIABLE = "GEARSHIFT_DEPTH"  # set in worker processes, seen by programs that tasks start


class Call(Protocol):
    """What a task may ask about itself."""

    @property
    def index(self) -> int:
        """Index of the item in the run's inputs."""
        ...

    @property
    def seed(self) -> int | None:
        """The run's seed."""
        ...

    @property
    def scope(self) -> Scope:
        """The worker that runs it."""
        ...


CURRENT: ContextVar[Call | None] = ContextVar("gearshift_current", default=None)


class Scope:
    """One worker's own objects, from its first task to its end. Used by that worker only."""

    __slots__ = ("_closers", "_owner", "_runner", "instances", "name")

    def __init__(self, owner: object = None, *, name: str = "") -> None:
        """Begin with nothing.

        Args:
            owner: The engine or executor that the worker belongs to, where it may be asked to wait for itself.
            name: The worker's name in reports, or nothing where it has none.
        """
        self.name: str = name
        self._owner = (
            None if owner is None else weakref.ref(owner)
        )  # it must be able to end while we live
        self.instances: dict[str, Any] = {}
        self._closers: list[Callable[[], Any]] = []
        self._runner: asyncio.Runner | None = None

    def belongs_to(self, owner: object) -> bool:
        """Whether the worker is one of that engine or executor."""
        return self._owner is not None and self._owner() is owner

    def add_closer(self, close: Callable[[], Any]) -> None:
        """Call `close` at the worker's end, the last added first; it may be a coroutine function."""
        self._closers.append(close)

    @property
    def runner(self) -> asyncio.Runner:
        """The event loop for coroutine functions in a worker that has none."""
        if self._runner is None:
            import asyncio  # 35 ms that only coroutine functions pay

            self._runner = asyncio.Runner()
        return self._runner

    @property
    def has_work(self) -> bool:
        """Whether `close` has anything to do."""
        return bool(self._closers) or self._runner is not None

    def close(self) -> None:
        """End the worker's objects; one that cannot be closed is warned of, and no value is lost."""
        while self._closers:
            close = self._closers.pop()
            try:
                result = close()
                if hasattr(result, "__await__"):
                    self.runner.run(_finish(result))
            except BaseException as exception:
                _warn(exception)
        self.instances.clear()
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    async def aclose(self) -> None:
        """End the worker's objects from inside its own event loop."""
        while self._closers:
            close = self._closers.pop()
            try:
                result = close()
                if hasattr(result, "__await__"):
                    await result
            except BaseException as exception:
                _warn(exception)
        self.instances.clear()


def is_nested() -> bool:
    """Say whether the caller is itself a task of a run, in this process or a parent's."""
    return CURRENT.get() is not None or DEPTH_VARIABLE in os.environ


async def _finish(awaitable: Any) -> None:
    """Give a runner the coroutine that it insists on."""
    await awaitable


def _warn(exception: BaseException) -> None:
    """Tell of an object that could not be closed: it is no item's fault, and must not cost the run its values."""
    warnings.warn(
        f"an object of gs.per_worker could not be closed: {type(exception).__name__}: {exception}",
        RuntimeWarning,
        stacklevel=3,
    )
