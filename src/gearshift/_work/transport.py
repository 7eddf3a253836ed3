"""Functions, items and outcomes as bytes, for workers that share no memory.

    parent: pack_task, pack_items --bytes--> worker: run_packed --bytes--> parent: unpack

What users' `__reduce__` and `__setstate__` raise, SystemExit included, is an outcome.

The standard pickle does the common case. What it cannot do, or what is made of classes
that live in `__main__` or a notebook cell, goes by value with cloudpickle: function and
items must agree on such a class, so both go the same way. Whatever cannot travel is
found item by item and charged to that item alone.
Over 400 lines because what one side packs the other unpacks.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import traceback
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import cloudpickle

from gearshift._work.logs import has_handlers, levels, overhear
from gearshift._work.pickling import PROTOCOL, dumps_noting, dumps_plain
from gearshift._work.run_chunk import ChunkRun, Task, name_of
from gearshift._work.scope import DEPTH_VARIABLE, Scope
from gearshift.errors import RemoteError, TransportError
from gearshift.facts import Chunk, Fault, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "PackedFault",
    "PackedItems",
    "PackedOutcome",
    "PackedTask",
    "RemoteTraceback",
    "pack_items",
    "pack_outcomes",
    "pack_parts",
    "pack_task",
    "run_packed",
    "unpack",
    "unpack_item",
    "unpack_outcomes",
    "unpack_task",
    "why_unpicklable",
]

_E = TypeVar("_E", bound=BaseException)

_KEPT_TASKS = 8  # unpickled functions that a worker keeps for the next chunk


class RemoteTraceback(Exception):  # noqa: N818 - it is a text to be shown as a cause, not an error of its own
    """Shows the traceback of another process above the exception's own."""

    def __init__(self, text: str) -> None:
        """Keep the text."""
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        """Return the traceback, set apart from the one below it."""
        return f'\n"""\n{self.text}"""'


@dataclass(frozen=True, slots=True)
class PackedTask:
    """A task as bytes, with a digest by which workers recognise it."""

    data: bytes
    digest: bytes
    name: str
    home: int  # process that packed it
    levels: dict[str, int] = field(default_factory=levels)  # of its loggers
    has_handlers: bool = field(default_factory=has_handlers)  # its root logger


@dataclass(frozen=True, slots=True)
class PackedItems:
    """Consecutive items as bytes: all together, or each by itself."""

    first: int
    count: int
    attempt: int
    whole: bytes | None
    each: tuple[bytes, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What the items take on their way."""
        return (0 if self.whole is None else len(self.whole)) + sum(map(len, self.each))


@dataclass(frozen=True, slots=True)
class PackedFault:
    """A fault as bytes; `exception` is None where it cannot travel itself."""

    exception: bytes | None
    type_name: str
    message: str
    traceback: str
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class PackedOutcome:
    """What a worker sends back.

    Attributes:
        whole: The values together, or None.
        each: The values one by one, where they are of classes that may not be rebuilt.
        faults: By index.
        busy_seconds: As in `Settled`.
        cpu_seconds: As in `Settled`.
        unreadable: The worker could not rebuild the items together and ran none.
        worker: Name of the worker.
        sent_bytes: What the items took on their way.
        said: What was logged and printed meanwhile; see `logs`.
    """

    whole: bytes | None
    each: tuple[bytes | None, ...] = ()
    faults: dict[int, PackedFault] | None = None
    busy_seconds: float = 0.0
    cpu_seconds: float = 0.0
    unreadable: bool = False
    worker: str = ""
    sent_bytes: int = 0
    said: tuple[bytes, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What the values took on their way, about."""
        each = sum(len(data) for data in self.each if data is not None)
        return (0 if self.whole is None else len(self.whole)) + each


def pack_task(task: Task) -> PackedTask:
    """Pickle the function.

    Raises:
        TransportError: It, or something it refers to, cannot be pickled.
    """
    try:
        data = cloudpickle.dumps((task.function, task.star, task.seed), PROTOCOL)
    except Exception as exception:
        raise TransportError(
            f"function {name_of(task.function)} cannot be sent to another process: {_words(exception)}. "
            "Make what it refers to inside the function (gs.per_worker does it once per worker), "
            'or use on="threads"'
        ) from exception
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return PackedTask(data, digest, name_of(task.function), os.getpid())


def pack_items(chunk: Chunk, *, singly: bool = False) -> tuple[list[PackedItems], dict[int, Fault]]:
    """Pickle the items of a chunk.

    Args:
        chunk: The items.
        singly: Pickle each by itself, so that a worker can say which one it cannot rebuild.

    Returns:
        What can be sent, in ranges of consecutive items; and a fault, by index, for
        each item that cannot.
    """
    if not singly:
        try:
            return [
                PackedItems(
                    chunk.first, len(chunk.items), chunk.attempt, dumps_noting(list(chunk.items))[0]
                )
            ], {}
        except BaseException:  # noqa: S110 - some item is at fault: the loop below finds out which
            pass
    ranges: list[PackedItems] = []
    faults: dict[int, Fault] = {}
    good: list[bytes] = []

    def close_range(stop: int) -> None:
        if good:
            ranges.append(
                PackedItems(stop - len(good), len(good), chunk.attempt, None, tuple(good))
            )
            good.clear()

    for index, item in enumerate(chunk.items, chunk.first):
        try:
            good.append(dumps_noting(item)[0])
        except BaseException as exception:
            close_range(index)
            faults[index] = Fault(_transport_error(f"item {index}", item, exception))
    close_range(chunk.first + len(chunk.items))
    return ranges, faults


def run_packed(packed: PackedTask, items: PackedItems, nonce: str = "") -> PackedOutcome:  # noqa: ARG001
    """Run a chunk in this worker and return its outcomes as bytes, with what was logged meanwhile.

    Args:
        packed: The function.
        items: The items.
        nonce: Makes the call unlike any other, for executors that would take two for one.

    Returns:
        The outcomes.
    """
    if os.getpid() == packed.home:  # an executor of threads may pack too
        return _run_packed(packed, items)
    os.environ[DEPTH_VARIABLE] = "1"
    with overhear(_worker_scope().name, packed.levels, has_handlers=packed.has_handlers) as heard:
        outcome = _run_packed(packed, items)
    said = heard.take()
    return replace(outcome, said=said) if said else outcome


def _run_packed(packed: PackedTask, items: PackedItems) -> PackedOutcome:
    """Run a chunk; nothing that it raises gets out of here."""
    try:
        task = _task(packed)
    except BaseException as exception:
        error = TransportError(
            f"function {packed.name} cannot be rebuilt in a worker process: {_words(exception)}. "
            "What it imports must be importable there"
        )
        fault = _pack_fault(Fault(error))
        faults = dict.fromkeys(range(items.first, items.first + items.count), fault)
        return PackedOutcome(None, (None,) * items.count, faults)
    if items.whole is None:
        return _pack_settled(_run_each(task, items), items)
    try:
        rebuilt: list[Any] = pickle.loads(items.whole)
    except BaseException:
        return PackedOutcome(None, unreadable=True)  # the parent sends them again, one by one
    return _pack_settled(_run(task, Chunk(items.first, rebuilt, items.attempt)), items)


def pack_parts(
    chunk: Chunk,
) -> tuple[list[tuple[int, Sequence[Any], bytes, bool]], dict[int, Fault]]:
    """Pickle a chunk for a worker of ours: together if it is of built-in types alone, else one by one.

    So what users' `__setstate__` does in the worker is charged to its item.

    Args:
        chunk: The items.

    Returns:
        First index, items, bytes and whether they are together, for ranges of consecutive items
        that can be sent; and a fault, by index, for each item that cannot.
    """
    whole = dumps_plain(chunk.items)
    if whole is not None:
        return [(chunk.first, chunk.items, whole, True)], {}
    ranges, faults = pack_items(chunk, singly=True)
    parts = []
    for packed in ranges:
        offset = packed.first - chunk.first
        items = chunk.items[offset : offset + packed.count]
        parts.append((packed.first, items, pickle.dumps(packed.each, PROTOCOL), False))
    return parts, faults


def pack_outcomes(
    settled: Settled, stamp: Callable[[int], object]
) -> tuple[bytes, bool, tuple[tuple[int, PackedFault], ...], float, float]:
    """Pickle outcomes in a worker of ours.

    Args:
        settled: The outcomes.
        stamp: Told the index of each value that is pickled by itself, before it is.

    Returns:
        The bytes, whether the values are together in them, faults by index, wall and CPU seconds.
    """
    faults = {index: _pack_fault(fault) for index, fault in settled.failed.items()}
    data = dumps_plain(settled.values)
    is_whole = data is not None
    if data is None:
        each: list[bytes | None] = []
        for index, value in enumerate(settled.values, settled.first):
            stamp(index)
            try:
                each.append(dumps_noting(value)[0])
            except BaseException as exception:
                each.append(None)
                what = f"the result of item {index}"
                faults[index] = _pack_fault(Fault(_transport_error(what, value, exception)))
        data = pickle.dumps(each, PROTOCOL)
    return data, is_whole, tuple(faults.items()), settled.busy_seconds, settled.cpu_seconds


def unpack_outcomes(
    first: int,
    count: int,
    data: bytes,
    rest: tuple[bool, tuple[tuple[int, PackedFault], ...], float, float],
    where: tuple[str, int],
) -> Settled:
    """Rebuild, in the parent, what `pack_outcomes` packed: `data`, then the rest of it.

    `where` is the worker's name, and the bytes that the items took.
    """
    is_whole, faults, busy_seconds, cpu_seconds = rest
    if is_whole and not faults:
        values = pickle.loads(data)
        assert len(values) == count
        return Settled(first, values, {}, busy_seconds, cpu_seconds, *where, len(data))
    each = () if is_whole else tuple(pickle.loads(data))
    whole = data if is_whole else None
    worker, sent = where
    return unpack(
        PackedOutcome(
            whole,
            each,
            dict(faults),
            busy_seconds,
            cpu_seconds,
            worker=worker,
            sent_bytes=sent,
        ),
        first,
    )


def unpack_task(data: bytes) -> Task:
    """Rebuild a function in a worker of ours.

    Raises:
        TransportError: It cannot be.
    """
    try:
        function, star, seed = pickle.loads(data)
    except BaseException as exception:
        raise TransportError(
            f"the function cannot be rebuilt in a worker process: {_words(exception)}. "
            "What it imports must be importable there"
        ) from exception
    return Task(function, star=star, seed=seed)


def unpack_item(data: bytes, index: int) -> Any:
    """Rebuild an item in a worker of ours.

    Raises:
        TransportError: It cannot be.
    """
    try:
        return pickle.loads(data)
    except BaseException as exception:
        raise TransportError(
            f"item {index} cannot be rebuilt in a worker process: {_words(exception)}"
        ) from exception


def unpack(outcome: PackedOutcome, first: int) -> Settled:
    """Rebuild a chunk's outcomes in the parent; a value that cannot be rebuilt is its item's fault."""
    faults = {index: _unpack_fault(fault) for index, fault in (outcome.faults or {}).items()}
    if outcome.whole is not None:
        values: Sequence[Any] = pickle.loads(outcome.whole)
        return _settled(outcome, first, values, faults)
    rebuilt: list[Any] = []
    for index, data in enumerate(outcome.each, first):
        value = None
        if data is not None:
            try:
                value = pickle.loads(data)
            except BaseException as exception:
                faults[index] = Fault(
                    _caused(
                        TransportError(
                            f"the result of item {index} cannot be rebuilt here: {_words(exception)}"
                        ),
                        exception,
                    )
                )
        rebuilt.append(value)
    return _settled(outcome, first, rebuilt, faults)


def _settled(
    outcome: PackedOutcome, first: int, values: Sequence[Any], faults: dict[int, Fault]
) -> Settled:
    """Return what an outcome says, with its values rebuilt."""
    return Settled(
        first,
        values,
        faults,
        outcome.busy_seconds,
        outcome.cpu_seconds,
        outcome.worker,
        outcome.sent_bytes,
        outcome.size_bytes,
    )


def why_unpicklable(result: Any) -> str | None:
    """Return why a result cannot travel, or None."""
    try:
        dumps_noting(result)
    except Exception as exception:
        return f"its results ({type(result).__qualname__}) cannot be pickled: {_words(exception)}"
    return None


# The worker's side

_tasks: dict[bytes, Task] = {}
_scopes = threading.local()  # Dask runs several calls at once in one process


def _task(packed: PackedTask) -> Task:
    """Return the function, rebuilt once per worker."""
    task = _tasks.get(packed.digest)
    if task is None:
        function, star, seed = pickle.loads(packed.data)
        while len(_tasks) >= _KEPT_TASKS:
            del _tasks[next(iter(_tasks))]
        task = _tasks[packed.digest] = Task(function, star=star, seed=seed)
    return task


def _forget() -> None:
    """Begin anew in a forked child: what a worker made is not its children's."""
    global _scopes  # noqa: PLW0603 - a process has one
    _scopes = threading.local()
    _tasks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _worker_scope() -> Scope:
    """Return this thread's scope, which is closed when the process ends in an orderly way."""
    scope: Scope | None = getattr(_scopes, "scope", None)
    if scope is None:
        from multiprocessing.util import Finalize  # workers only; they skip `atexit`

        scope = _scopes.scope = Scope(name=f"process {os.getpid()}")
        Finalize(None, scope.close, exitpriority=10)
    return scope


def _run(task: Task, chunk: Chunk) -> Settled:
    """Run items in this thread."""
    run = ChunkRun(task, chunk, _worker_scope(), Context())
    run.advance()
    settled = run.take()
    assert settled is not None
    return settled


def _run_each(task: Task, items: PackedItems) -> Settled:
    """Rebuild and run items one by one."""
    values: list[Any] = []
    failed: dict[int, Fault] = {}
    busy = cpu = 0.0
    for index, data in enumerate(items.each, items.first):
        try:
            item = pickle.loads(data)
        except BaseException as exception:
            error = TransportError(
                f"item {index} cannot be rebuilt in a worker process: {_words(exception)}"
            )
            failed[index] = Fault(_caused(error, exception))
            values.append(None)
            continue
        settled = _run(task, Chunk(index, (item,), items.attempt))
        values += settled.values
        failed.update(settled.failed)
        busy += settled.busy_seconds
        cpu += settled.cpu_seconds
    return Settled(items.first, values, failed, busy, cpu, _worker_scope().name)


def _pack_settled(settled: Settled, items: PackedItems) -> PackedOutcome:
    """Pickle outcomes: together if they are of built-in types alone, else one by one."""
    faults = {index: _pack_fault(fault) for index, fault in settled.failed.items()}
    try:
        data, is_plain = dumps_noting(list(settled.values))
    except BaseException:
        is_plain = False
    if is_plain:
        return _outcome(settled, items, data, (), faults)
    each: list[bytes | None] = []
    for index, value in enumerate(settled.values, settled.first):
        try:
            each.append(dumps_noting(value)[0])
        except BaseException as exception:
            each.append(None)
            faults[index] = _pack_fault(
                Fault(_transport_error(f"the result of item {index}", value, exception))
            )
    return _outcome(settled, items, None, tuple(each), faults)


def _outcome(
    settled: Settled,
    items: PackedItems,
    whole: bytes | None,
    each: tuple[bytes | None, ...],
    faults: dict[int, PackedFault],
) -> PackedOutcome:
    """Return outcomes with what is to be known of them."""
    return PackedOutcome(
        whole,
        each,
        faults,
        settled.busy_seconds,
        settled.cpu_seconds,
        worker=settled.worker,
        sent_bytes=items.size_bytes,
    )


def _pack_fault(fault: Fault) -> PackedFault:
    """Pickle an exception, if it survives the way there and back."""
    exception = fault.exception
    data = _dump_exception(exception)
    return PackedFault(
        data,
        f"{type(exception).__module__}.{type(exception).__qualname__}".removeprefix("builtins."),
        _words(exception, with_type=False),
        "".join(traceback.format_exception(exception)),
        tuple(str(note) for note in getattr(exception, "__notes__", ())),
        fault.seconds,
    )


def _dump_exception(exception: BaseException) -> bytes | None:
    """Pickle an exception so that it comes back as what it is, or return None.

    One whose `__init__` cannot be called again with its `args`, or that holds something
    that cannot be pickled, travels as its type, `args`, and those attributes that can.
    """
    for value in (exception, _Stripped(exception)):
        with suppress(BaseException):
            data = dumps_noting(value)[0]
            if type(pickle.loads(data)) is type(exception):
                return data
    return None


class _Stripped:
    """Pickles as an exception that is rebuilt without its `__init__`."""

    def __init__(self, exception: BaseException) -> None:
        self._exception = exception

    def __reduce__(self) -> tuple[Any, ...]:
        exception = self._exception
        state = {}
        for name, value in vars(exception).items():
            with suppress(BaseException):
                pickle.loads(dumps_noting(value)[0])
                state[name] = value
        return _rebuild_exception, (type(exception), exception.args, state)


def _rebuild_exception(
    kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]
) -> BaseException:
    """Make an exception as `_Stripped` took it apart."""
    exception = kind.__new__(kind, *args)  # sets `args` too
    vars(exception).update(state)
    return exception


def _unpack_fault(fault: PackedFault) -> Fault:
    """Rebuild an exception, with the worker's traceback as its cause."""
    exception: BaseException
    try:
        exception = pickle.loads(fault.exception or b"")
    except BaseException:
        exception = RemoteError(fault.type_name, fault.message)
        for note in fault.notes:
            exception.add_note(note)
    return Fault(_caused(exception, RemoteTraceback(fault.traceback)), fault.seconds)


def _transport_error(what: str, value: Any, exception: BaseException) -> TransportError:
    """Return the error of an item or result that cannot be pickled."""
    error = TransportError(
        f"{what} ({type(value).__qualname__}) cannot be sent to another process: {_words(exception)}. "
        'Send what it is made from instead, or use on="threads"'
    )
    return _caused(error, exception)


def _caused(error: _E, cause: BaseException) -> _E:
    """Return the error with its cause, as `raise ... from` sets it."""
    set_cause: Any = BaseException.__dict__[
        "__cause__"
    ]  # a frozen dataclass refuses the assignment
    set_cause.__set__(error, cause)
    return error


def _words(exception: BaseException, *, with_type: bool = True) -> str:
    """Return an exception's words, even where its own `__str__` fails."""
    try:
        words = str(exception)
    except Exception:
        words = "(its __str__ raised)"
    return f"{type(exception).__name__}: {words}" if with_type else words
