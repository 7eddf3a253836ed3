"""A large value that all tasks read: sent once to a worker, not with each item or run.

    table = gs.shared(rows)
    gs.map(lambda name: table.value[name], names)

Where tasks share the caller's memory, the handle is a reference and no more. A pool of ours
notes which handles it pickles (`noting`), puts their values where its workers find them, and
sends the key only. Elsewhere the value travels inside the handle, and a process keeps the last few.
"""

from __future__ import annotations

import pickle
import threading
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from gearshift._work.pickling import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Shared", "attach", "detach", "noting", "shared"]

T = TypeVar("T")

_MOST_KEPT = 8  # values that came inside their handles


class Shared(Generic[T]):
    """A handle of a value; see `shared`."""

    __slots__ = ("__weakref__", "_data", "_key", "_load", "_value")

    def __init__(self, value: T) -> None:
        """Refer to a value."""
        self._key = uuid.uuid4().hex
        self._value: T | None = value
        self._load: Callable[[], T] | None = None
        self._data = b""

    @property
    def key(self) -> str:
        """What it is known by in other processes."""
        return self._key

    @property
    def value(self) -> T:
        """The value itself; in a worker process a copy that its tasks share.

        Raises:
            Exception: It cannot be rebuilt there.
        """
        if self._load is not None:
            with _guard:
                if self._load is not None:
                    self._value = self._load()
                    self._load = None
        return cast("T", self._value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a key where somebody sees to the value, else with it."""
        found: list[Shared[Any]] | None = getattr(_noted, "found", None)
        if found is not None:
            found.append(self)
            return _attached, (self._key,)
        if not self._data:
            self._data = dumps(self.value)
        return _kept, (self._key, self._data)

    def __repr__(self) -> str:
        """Say what it is, not what it holds: that is large."""
        return f"<gearshift.Shared {self._key[:8]}>"


def shared(value: T) -> Shared[T]:
    """Return a handle of a large value that tasks read, such as a table, a model or an array.

    Inside the function its `value` is the value: the very object on serial, threads and
    asyncio; on processes a copy in each worker, made at the first use there. The value is
    sent once, however many items and runs use it, and workers of this machine have its large
    buffers in common (what a task writes there, it alone sees).

    Args:
        value: What is to be shared. It has to be picklable for processes, and must not be changed.
    """
    return Shared(value)


@contextmanager
def noting() -> Iterator[list[Shared[Any]]]:
    """Note which handles are pickled in this thread meanwhile: the caller sees to their values."""
    found: list[Shared[Any]] = []
    before = getattr(_noted, "found", None)
    _noted.found = found
    try:
        yield found
    finally:
        _noted.found = before


def attach(key: str, load: Callable[[], Any]) -> None:
    """Have a value at hand in this worker process, to be loaded when it is used."""
    handle: Shared[Any] = Shared(None)
    handle._key = key  # noqa: SLF001 - the same handle, on the other side
    handle._load = load  # noqa: SLF001
    _here[key] = handle


def detach(key: str) -> None:
    """Let go of a value in this worker process."""
    _here.pop(key, None)


_noted = threading.local()
_guard = threading.RLock()
_here: dict[str, Shared[Any]] = {}  # in a worker of ours: what the parent has shared
_lately: dict[str, Shared[Any]] = {}  # in any process: what came inside its handle


def _attached(key: str) -> Shared[Any]:
    """Return the handle that this worker has of a value."""
    return _here[key]


def _kept(key: str, data: bytes) -> Shared[Any]:
    """Return a handle of a value that came with it, rebuilt once while it is kept."""
    handle = _here.get(key) or _lately.get(key)
    if handle is None:
        handle = Shared(pickle.loads(data))
        handle._key = key  # noqa: SLF001
        while len(_lately) >= _MOST_KEPT:
            _lately.pop(next(iter(_lately)), None)
        _lately[key] = handle
    return handle
