"""Functions, items and outcomes as bytes, for workers that share no memory.

    parent: pack_task, pack_items --bytes--> worker: run_packed --bytes--> parent: unpack

What users' `__reduce__` and `__setstate__` raise, SystemExit included, is an outcome.

The standard pickle does the common case. What it cannot do, or what is made of classes
that live in `__main__` or a notebook cell, goes by value with cloudpickle: function and
items must agree on such a class, so both go the same way. Whatever cannot travel is
found item by item and charged to that item alone.
For workers of somebody else's pool; `engines.processes.packing` is for those of ours.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from contextvars import Context
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cloudpickle

from gearshift._work.faults import (
    PackedFault,
    caused,
    pack_fault,
    transport_error,
    unpack_fault,
    words,
)
from gearshift._work.logs import has_handlers, levels, overhear
from gearshift._work.pickling import PROTOCOL, dumps_noting
from gearshift._work.run_chunk import ChunkRun, Task, name_of
from gearshift._work.scope import DEPTH_VARIABLE, Scope
from gearshift.errors import TransportError
from gearshift.facts import Chunk, Fault, Settled

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "PackedItems",
    "PackedOutcome",
    "PackedTask",
    "pack_items",
    "pack_task",
    "run_packed",
    "unpack",
    "why_unpicklable",
]

_KEPT_TASKS = 8  # unpickled functions that a worker keeps for the next chunk


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
            f"function {name_of(task.function)} cannot be sent to another process: {words(exception)}. "
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
            faults[index] = Fault(transport_error(f"item {index}", item, exception))
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
            f"function {packed.name} cannot be rebuilt in a worker process: {words(exception)}. "
            "What it imports must be importable there"
        )
        fault = pack_fault(Fault(error))
        faults = dict.fromkeys(range(items.first, items.first + items.count), fault)
        return PackedOutcome(None, (None,) * items.count, faults)
    if items.whole is None:
        return _pack_settled(_run_each(task, items), items)
    try:
        rebuilt: list[Any] = pickle.loads(items.whole)
    except BaseException:
        return PackedOutcome(None, unreadable=True)  # the parent sends them again, one by one
    return _pack_settled(_run(task, Chunk(items.first, rebuilt, items.attempt)), items)


def unpack(outcome: PackedOutcome, first: int) -> Settled:
    """Rebuild a chunk's outcomes in the parent; a value that cannot be rebuilt is its item's fault."""
    faults = {index: unpack_fault(fault) for index, fault in (outcome.faults or {}).items()}
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
                    caused(
                        TransportError(
                            f"the result of item {index} cannot be rebuilt here: {words(exception)}"
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
        return f"its results ({type(result).__qualname__}) cannot be pickled: {words(exception)}"
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
                f"item {index} cannot be rebuilt in a worker process: {words(exception)}"
            )
            failed[index] = Fault(caused(error, exception))
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
    faults = {index: pack_fault(fault) for index, fault in settled.failed.items()}
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
            faults[index] = pack_fault(
                Fault(transport_error(f"the result of item {index}", value, exception))
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
