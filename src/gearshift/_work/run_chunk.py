"""The one place that calls users' functions, on every engine.

`ChunkRun` runs the items of one chunk one after another in the thread it is called in;
`ItemCall` runs one item of a coroutine function inside a running event loop.

Invariant of `ChunkRun`: `len(values)` items have an outcome, in order, and an interrupt
between two items leaves exactly that; the item it struck has none and runs again when
the chunk is taken up once more. The hot loop is one C call (`list.extend` over `map`)
that appends a value before any other Python code can run, so a trivial item with a
context of its own costs tens of nanoseconds (benchmarks/overhead.py).
"""

from __future__ import annotations

import math
import time
from contextvars import Context, copy_context
from functools import partial
from inspect import iscoroutinefunction
from itertools import islice, repeat
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from gearshift._work.callless import calls_nothing
from gearshift._work.scope import CURRENT, Scope
from gearshift.facts import Chunk, Fault, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["ChunkRun", "ItemCall", "Task", "is_coroutine_function", "name_of"]

# A stride is the items between two looks at the clock, 0.8 us apiece. It grows while it takes less
# than 20 us, so a look is 4 % of the time at most; items that turn slow all at once wait for one stride.
_TRIVIAL_SECONDS = 2e-5
_SLOW_SECONDS = 5e-4
_LONGEST_STRIDE = 256


class Task:
    """What a worker knows of a job: the function and how to call it."""

    __slots__ = ("call", "coroutine", "function", "needs_context", "seed", "star")

    def __init__(
        self, function: Callable[..., Any], *, star: bool = False, seed: int | None = None
    ) -> None:
        """Choose how an item becomes a call of `function`."""
        self.function: Callable[..., Any] = function
        self.star: bool = star
        self.seed: int | None = seed
        self.coroutine: bool = is_coroutine_function(function)
        self.needs_context: bool = not calls_nothing(function)
        self.call: Callable[[Any], Any] = partial(_call_star, function) if star else function


class ChunkRun:
    """One chunk being run by one worker, as far as it got."""

    __slots__ = (
        "_busy_seconds",
        "_call",
        "_context",
        "_cpu_seconds",
        "_failed",
        "_interruptible",
        "_stamped",
        "_taken",
        "_task",
        "_values",
        "chunk",
        "scope",
    )

    def __init__(
        self,
        task: Task,
        chunk: Chunk,
        scope: Scope,
        context: Context,
        *,
        interruptible: bool = False,
        stamped: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            task: What to call.
            chunk: Its items.
            scope: The worker that runs it.
            context: Each task runs in a copy of it.
            interruptible: A KeyboardInterrupt is meant for the program, not the task's own.
            stamped: Returns items from an index on, noting of each when it is taken; or None.
        """
        self.chunk = chunk
        self._stamped = stamped
        self.scope = scope
        self._task = task
        self._call = self._run_coroutine if task.coroutine else task.call
        self._interruptible = interruptible
        self._context = context.copy() if task.needs_context else None
        if self._context is not None:
            self._context.run(CURRENT.set, self)
        self._values: list[Any] = []
        self._failed: dict[int, Fault] = {}
        self._taken = 0
        self._busy_seconds = 0.0
        self._cpu_seconds = 0.0

    @property
    def index(self) -> int:
        """Index of the item being run."""
        return self.chunk.first + len(self._values)

    @property
    def seed(self) -> int | None:
        """The run's seed."""
        return self._task.seed

    @property
    def is_done(self) -> bool:
        """Whether every item has an outcome."""
        return len(self._values) >= len(self.chunk.items)

    def advance(self, seconds: float | None = None) -> None:
        """Run items until the chunk is done or `seconds` are over, at least one.

        Raises:
            KeyboardInterrupt: Struck while `interruptible`; call again to go on.
        """
        started = time.perf_counter()
        cpu_started = time.thread_time()
        try:
            until = math.inf if seconds is None else started + seconds
            while not self.is_done:
                if self._advance_to_fault(until) or time.perf_counter() >= until:
                    break
        finally:
            if self.is_done:
                self.end()
            self._busy_seconds += time.perf_counter() - started
            self._cpu_seconds += time.thread_time() - cpu_started

    def end(self) -> None:
        """Let go of the items: the context knows the chunk, and would keep it alive until a garbage collection."""
        if self._context is not None:
            self._context.run(CURRENT.set, None)

    def take(self) -> Settled | None:
        """Return the outcomes since the last call, or None if there are none."""
        first, done = self._taken, len(self._values)
        if done == first:
            return None
        if CoroutineType in {type(self._values[first]), type(self._values[-1])}:
            self._refuse_coroutines(first)
        values = self._values if first == 0 and self.is_done else self._values[first:done]
        base = self.chunk.first
        failed, self._failed = self._failed, {}
        settled = Settled(
            base + first, values, failed, self._busy_seconds, self._cpu_seconds, self.scope.name
        )
        self._taken = done
        if self.is_done:  # an exception that somebody keeps has our frames, and so this object
            self.chunk = Chunk(base + done, ())
            self._values = []
            self._taken = 0
        self._busy_seconds = self._cpu_seconds = 0.0
        return settled

    def _advance_to_fault(self, until: float) -> bool:
        """Run items until one fails, all are done, or it is late; return whether it is late.

        Raises:
            KeyboardInterrupt: As in `advance`.
        """
        values = self._values
        total = len(self.chunk.items)
        stride = total if until == math.inf else 1
        rest = self._rest()
        outcomes = self._outcomes(rest)
        started = time.perf_counter()
        try:
            while (done := len(values)) < total:
                values.extend(islice(outcomes, stride))
                if len(values) < min(done + stride, total):
                    self._fail(
                        StopIteration(), started
                    )  # `extend` took it for the end of `outcomes`
                    break
                if until < math.inf:
                    now = time.perf_counter()
                    if now - started < _TRIVIAL_SECONDS:
                        stride = min(stride * 2, _LONGEST_STRIDE)
                    elif now - started > _SLOW_SECONDS:
                        stride = 1
                    started = now
                    if now >= until:
                        return True
        except KeyboardInterrupt as interrupt:
            if self._interruptible:
                raise
            self._fail(interrupt, started)
        except BaseException as exception:
            self._fail(exception, started)
        finally:
            del values, rest, outcomes  # for the same reason as in `take`
        return False

    def _outcomes(self, rest: Iterable[Any]) -> Iterable[Any]:
        """Return what calls the function with each item, each time in a context of its own if it can ask for it."""
        if self._context is None:
            return map(self._call, rest)
        contexts = map(Context.copy, repeat(self._context))
        return map(Context.run, contexts, repeat(self._call), rest)

    def _rest(self) -> Iterable[Any]:
        """Return the items that have no outcome."""
        done = len(self._values)
        rest = self.chunk.items[done:] if done else self.chunk.items
        return rest if self._stamped is None else self._stamped(rest, self.index)

    def _fail(self, exception: BaseException, started: float) -> None:
        """Give the item that raised its outcome."""
        fault = Fault(_presentable(exception), time.perf_counter() - started)
        self._failed[self.index] = fault
        self._values.append(None)

    def _refuse_coroutines(self, start: int) -> None:
        """Make faults of coroutines that nobody would ever await: a plain function returned them."""
        for offset in range(start, len(self._values)):
            value = self._values[offset]
            if type(value) is CoroutineType:
                value.close()
                self._values[offset] = None
                self._failed[self.chunk.first + offset] = Fault(
                    TypeError(
                        f"{name_of(self._task.function)} returned a coroutine, which nobody would await: "
                        'give the coroutine function itself, or say on="asyncio"'
                    )
                )

    def _run_coroutine(self, item: Any) -> Any:
        """Run one coroutine to its end on this worker's own loop."""
        return self.scope.runner.run(_awaited(self._task.call, item), context=copy_context())


class ItemCall:
    """One item of a coroutine function, run in a task of the loop."""

    __slots__ = ("index", "item", "scope", "seed", "task")

    def __init__(self, task: Task, index: int, item: Any, scope: Scope) -> None:
        """Prepare; nothing runs yet."""
        self.task = task
        self.index = index
        self.item = item
        self.scope = scope
        self.seed = task.seed

    async def run(self) -> Settled:
        """Return the item's outcome; a cancellation from outside passes through.

        CPU time is not told apart between tasks of one loop, and is given as 0.

        Raises:
            TypeError: Never out of here: it is the outcome of a function that gives nothing to await.
        """
        CURRENT.set(self)  # the task owns its context
        started = time.perf_counter()
        failed: dict[int, Fault] = {}
        value = None
        try:
            awaitable = self.task.call(self.item)
            if not hasattr(awaitable, "__await__"):
                raise TypeError(  # noqa: TRY301 - it is the item's fault, like what it raises itself
                    f"{name_of(self.task.function)} returned {type(awaitable).__name__}, which cannot be awaited: "
                    'engine asyncio runs coroutine functions (async def); for others say on="threads"'
                )
            value = await awaitable
        except BaseException as exception:
            if _is_cancelled_from_outside(exception):
                raise
            failed[self.index] = Fault(_presentable(exception), time.perf_counter() - started)
        return Settled(self.index, [value], failed, time.perf_counter() - started)


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Say whether calling it gives a coroutine: an `async def`, a partial of one, an object whose call is one."""
    inner = function
    while isinstance(inner, partial):
        inner = inner.func
    return iscoroutinefunction(inner) or iscoroutinefunction(getattr(type(inner), "__call__", None))  # noqa: B004 - the method itself is wanted


def name_of(function: Callable[..., Any]) -> str:
    """Return a function's name for messages."""
    inner = function
    while isinstance(inner, partial):
        inner = inner.func
    return getattr(inner, "__qualname__", None) or type(inner).__qualname__


def _call_star(function: Callable[..., Any], arguments: Any) -> Any:
    """Call with a dict's entries as keywords, or a sequence's as positions."""
    if isinstance(arguments, dict):
        return function(**arguments)
    return function(*arguments)


async def _awaited(call: Callable[[Any], Any], item: Any) -> Any:
    """Make the call inside the loop, as an `async def` expects."""
    return await call(item)


def _is_cancelled_from_outside(exception: BaseException) -> bool:
    """Whether somebody cancels the running task, rather than the function raising a CancelledError."""
    import asyncio

    if not isinstance(exception, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _presentable(exception: BaseException) -> BaseException:
    """Return what the consumer gets for what a task raised.

    A StopIteration would silently end the consumer's loop (PEP 479 turns it into a
    RuntimeError in generators for that reason). Our own frame is cut off the traceback:
    the user's code comes first, and no cycle keeps the chunk alive.
    """
    if isinstance(exception, StopIteration | StopAsyncIteration):
        replaced = RuntimeError(
            f"the function raised {type(exception).__name__}, which would end the caller's loop"
        )
        replaced.__cause__ = exception
        return replaced
    traceback = exception.__traceback__
    if traceback is not None and traceback.tb_next is not None:
        exception.with_traceback(traceback.tb_next)  # a frozen dataclass refuses the assignment
    return exception
