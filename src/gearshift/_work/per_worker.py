"""One object per worker: a client, a connection, a model that tasks of one worker share.

    client = gs.per_worker(make_client)
    gs.map(lambda url: client().get(url), urls)

Each worker (thread, process, event loop) makes its own at the first use and closes it
at its end. The handle travels by pickle; what it made does not.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gearshift._work.scope import CURRENT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

    from gearshift._work.scope import Scope

__all__ = ["PerWorker", "per_worker"]

T = TypeVar("T")


class PerWorker(Generic[T]):
    """A handle: called inside a task it returns the worker's own instance."""

    def __init__(self, make: Callable[[], T]) -> None:
        """Keep how to make one; see `per_worker`.

        Raises:
            TypeError: `make` is not callable.
        """
        if not callable(make):
            raise TypeError(
                f"make={make!r} is not callable: give per_worker a function that makes the object"
            )
        self._make = make
        self._key = uuid.uuid4().hex

    def __call__(self) -> T:
        """Return this worker's instance, made at the first call.

        With an async factory it is awaitable: `await client()`.

        Raises:
            RuntimeError: Called outside a task.
        """
        call = CURRENT.get()
        if call is None:
            raise RuntimeError(
                "the handle of gs.per_worker was called outside a task: "
                "call it inside the function given to gs.map, where there is a worker to own the object"
            )
        scope = call.scope
        if self._key not in scope.instances:
            self._begin(scope)
        instance: T = scope.instances[self._key]
        return instance

    def _begin(self, scope: Scope) -> None:
        """Make the instance and see to its end."""
        made = self._make()
        if hasattr(made, "__await__"):
            scope.instances[self._key] = _Making(scope, self._key, made)
        else:
            scope.instances[self._key] = made
            _close_at_end(scope, made)


class _Making:
    """An instance being made by an async factory; every task of the loop may await it.

    A task that is cancelled takes nobody else's instance with it, and one that could not
    be made is made anew for the next task.
    """

    def __init__(self, scope: Scope, key: str, making: Any) -> None:
        import asyncio  # only async factories pay for it

        self._shield = asyncio.shield
        self._future = asyncio.ensure_future(_made(scope, making))
        self._future.add_done_callback(lambda future: self._forget(scope, key, future))

    def __await__(self) -> Generator[Any, None, Any]:
        return self._shield(self._future).__await__()

    def _forget(self, scope: Scope, key: str, future: asyncio.Future[Any]) -> None:
        if (future.cancelled() or future.exception() is not None) and scope.instances.get(
            key
        ) is self:
            del scope.instances[key]


def per_worker(make: Callable[[], T]) -> PerWorker[T]:
    """Return a handle that gives each worker one instance of what `make` makes.

    The instance is closed at the worker's end by its `aclose()` or `close()`, or, where
    it has neither, left to the garbage collector.

    Args:
        make: Function without arguments; an `async def` too, then `await handle()`.

    Returns:
        The handle: call it inside the function given to `gs.map`.

    Raises:
        TypeError: `make` is not callable.

    Example:
        >>> import gearshift as gs
        >>> numbers = gs.per_worker(lambda: iter(range(100)))
        >>> list(gs.map(lambda letter: (letter, next(numbers())), "ab", on="serial"))
        [('a', 0), ('b', 1)]
    """
    return PerWorker(make)


async def _made(scope: Scope, making: Any) -> Any:
    """Await an async factory's instance and see to its end."""
    instance = await making
    _close_at_end(scope, instance)
    return instance


def _close_at_end(scope: Scope, instance: object) -> None:
    """Have the worker close the instance when it ends."""
    close = getattr(instance, "aclose", None) or getattr(instance, "close", None)
    if callable(close):
        scope.add_closer(close)
