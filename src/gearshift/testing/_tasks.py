"""Functions that the contract and the fault table run, plain and as coroutines.

Apart from both because workers import them by name. `variant` picks the coroutine
function where an engine runs nothing else. What tasks tell each other and the caller
goes through files, so that it works across processes too: a `Gate` is closed until its
file exists, a `Log` gets lines appended.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import time
import traceback
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

POLL_SECONDS = 0.002
SPAN_SECONDS = 0.01  # of a task that logs its begin and end
DEADLINE_SECONDS = (
    15.0  # for what should take milliseconds: a broken engine fails, it does not hang
)

WORD: ContextVar[str] = ContextVar("gearshift_testing_word", default="unset")


class Gate:
    """Closed until somebody opens it, in whatever process."""

    def __init__(self, path: Path | str) -> None:
        """Name the file that stands for the open gate."""
        self._path = str(path)

    def open(self) -> None:
        """Let everybody through, for good."""
        Path(self._path).touch()

    @property
    def is_open(self) -> bool:
        """Whether it was opened, or is gone with its folder: then the check is over."""
        path = Path(self._path)
        return path.exists() or not path.parent.exists()

    def wait(self) -> None:
        """Block until it is open.

        Raises:
            TimeoutError: Nobody opened it.
        """
        until = time.monotonic() + DEADLINE_SECONDS
        while not self.is_open:
            if time.monotonic() > until:
                raise TimeoutError(f"nobody opened {Path(self._path).name} in {DEADLINE_SECONDS} s")
            time.sleep(POLL_SECONDS)

    async def await_(self) -> None:
        """Wait until it is open, as a coroutine.

        Raises:
            TimeoutError: Nobody opened it.
        """
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self.is_open:  # noqa: ASYNC110 - other processes open it too
                await asyncio.sleep(POLL_SECONDS)


class Log:
    """Lines in a file that any process appends to."""

    def __init__(self, path: Path | str) -> None:
        """Name the file."""
        self._path = str(path)

    def add(self, line: object) -> None:
        """Append a line; short ones are never mixed."""
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(fd, f"{line}\n".encode())
        finally:
            os.close(fd)

    @property
    def lines(self) -> list[str]:
        """What was appended so far."""
        path = Path(self._path)
        return path.read_text("utf-8").splitlines() if path.exists() else []


def where() -> str:
    """Name the worker that this runs in."""
    return f"{os.getpid()}/{threading.get_ident()}"


# Values


def square(number: int) -> int:
    """Return its square."""
    return number * number


async def asquare(number: int) -> int:
    """Return its square."""
    await asyncio.sleep(0)
    return number * number


def same(item: Any) -> Any:
    """Return the item."""
    return item


async def asame(item: Any) -> Any:
    """Return the item."""
    return item


def add(left: int, right: int = 100) -> int:
    """Return the sum."""
    return left + right


async def aadd(left: int, right: int = 100) -> int:
    """Return the sum."""
    return left + right


def pass_gate(gate: Gate | None) -> str:
    """Return once the gate is open."""
    if gate is not None:
        gate.wait()
    return "through"


async def apass_gate(gate: Gate | None) -> str:
    """Return once the gate is open."""
    if gate is not None:
        await gate.await_()
    return "through"


def open_or_pass(item: tuple[int, str, Gate]) -> int:
    """Open the gate, wait for it, or neither; return the number."""
    number, what, gate = item
    if what == "open":
        gate.open()
    elif what == "wait":
        gate.wait()
    return number


async def aopen_or_pass(item: tuple[int, str, Gate]) -> int:
    """Open the gate, wait for it, or neither; return the number."""
    number, what, gate = item
    if what == "open":
        gate.open()
    elif what == "wait":
        await gate.await_()
    return number


def meet(item: tuple[Gate, Gate]) -> str:
    """Open the first gate, then wait for the second."""
    item[0].open()
    item[1].wait()
    return "met"


async def ameet(item: tuple[Gate, Gate]) -> str:
    """Open the first gate, then wait for the second; say whether it was cancelled."""
    item[0].open()
    await item[1].await_()
    return "met"


def log_span(log: Log) -> None:
    """Log the begin and the end of a short task."""
    log.add("begin")
    time.sleep(SPAN_SECONDS)
    log.add("end")


async def alog_span(log: Log) -> None:
    """Log the begin and the end of a short task."""
    log.add("begin")
    try:
        await asyncio.sleep(SPAN_SECONDS)
    finally:
        log.add("end")


def stamp(_: Any) -> float:
    """Return when it began."""
    return time.monotonic()


async def astamp(_: Any) -> float:
    """Return when it began."""
    return time.monotonic()


def seed_of(_: Any) -> int:
    """Return the item's seed."""
    return gs.item_seed()


async def aseed_of(_: Any) -> int:
    """Return the item's seed."""
    return gs.item_seed()


def swap_word(word: str) -> str:
    """Set the context variable; return what it was."""
    before = WORD.get()
    WORD.set(word)
    return before


async def aswap_word(word: str) -> str:
    """Set the context variable; return what it was."""
    before = WORD.get()
    WORD.set(word)
    await asyncio.sleep(0)
    return before


def nest(number: int) -> list[int]:
    """Run maps of its own: one a kind of engine."""
    inputs = range(number)
    totals = [sum(gs.map(square, inputs, on=on)) for on in ("serial", "threads", "auto")]
    totals.append(sum(gs.map(asquare, inputs, on="asyncio")))
    return totals


async def anest(number: int) -> list[int]:
    """Run maps of its own: one a kind of engine."""
    inputs = range(number)
    totals = [sum(gs.map(square, inputs, on=on)) for on in ("serial", "threads")]
    totals.append(sum([value async for value in gs.map(square, inputs)]))
    totals.append(sum([value async for value in gs.map(asquare, inputs)]))
    return totals


# Objects of a worker


class Table:
    """What tasks share; each copy has a name of its own."""

    def __init__(self, rows: dict[int, int]) -> None:
        """Keep the rows."""
        self._rows = rows
        self.name: str = f"{where()}/{next(_NUMBERS)}"

    def __getitem__(self, key: int) -> int:
        """Return a row."""
        return self._rows[key]

    def __reduce__(self) -> tuple[Any, ...]:
        """Be another copy on the other side."""
        return Table, (self._rows,)


def look_up(table: gs.Shared[Table], key: int) -> tuple[int, str]:
    """Return a row, and the name of the copy."""
    return table.value[key], table.value.name


async def alook_up(table: gs.Shared[Table], key: int) -> tuple[int, str]:
    """Return a row, and the name of the copy."""
    return table.value[key], table.value.name


class Tool:
    """Logs its making and its end."""

    def __init__(self, log: Log) -> None:
        """Be made in this worker."""
        self._log = log
        self.name = f"{where()}/{next(_NUMBERS)}"
        log.add(f"made {self.name}")

    def close(self) -> None:
        """End."""
        self._log.add(f"closed {self.name}")


class AsyncTool(Tool):
    """The same, with an asynchronous end."""

    async def aclose(self) -> None:
        """End."""
        await asyncio.sleep(0)
        self.close()


_NUMBERS = itertools.count()


async def make_async_tool(log: Log) -> AsyncTool:
    """Make one, slowly enough that other tasks get in between."""
    await asyncio.sleep(0.001)
    return AsyncTool(log)


def use_tool(handle: gs.PerWorker[Tool], _: Any) -> tuple[str, str]:
    """Return the worker and its tool."""
    return where(), handle().name


async def ause_tool(handle: gs.PerWorker[Tool], _: Any) -> tuple[str, str]:
    """Return the worker and its tool."""
    return where(), handle().name


async def ause_async_tool(
    handle: gs.PerWorker[Coroutine[Any, Any, Tool]], _: Any
) -> tuple[str, str]:
    """Return the worker and its tool."""
    tool = await handle()
    return where(), tool.name


# Faults


class OddExit(BaseException):
    """An exception that is no `Exception`."""


class LockedError(Exception):
    """Cannot be pickled: it holds a lock."""

    def __init__(self, words: str) -> None:
        """Take the lock along."""
        super().__init__(words)
        self.lock = threading.Lock()


class TwoPartError(Exception):
    """Cannot be rebuilt: pickle calls its type with one argument."""

    def __init__(self, left: str, right: str) -> None:
        """Join both."""
        super().__init__(f"{left} {right}")


@dataclass(frozen=True)
class FrozenError(Exception):
    """Cannot be changed: takes no traceback and no note in the usual way, nor its state from pickle."""

    code: str


class ContraryError(Exception):
    """Has what may be on an exception, and nothing of it is as it should be."""

    __notes__ = "no list"  # type: ignore[assignment]

    @property
    def retry_after(self) -> float:
        """Fail, too.

        Raises:
            LookupError: Always.
        """
        raise LookupError("not to be had")


class Contrary:
    """A value that has what may be on a value, and nothing of it is as it should be."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise LookupError("not to be compared")

    def __repr__(self) -> str:
        raise LookupError("not to be shown")

    def __sizeof__(self) -> int:
        raise LookupError("not to be measured")

    @property
    def nbytes(self) -> int:
        """Fail, too.

        Raises:
            LookupError: Always.
        """
        raise LookupError("not to be measured")


FAULTS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("three is not allowed"),
    "KeyError": lambda: KeyError("three"),
    "TimeoutError": lambda: TimeoutError("the task's own"),
    "StopIteration": lambda: StopIteration("three"),
    "StopAsyncIteration": lambda: StopAsyncIteration("three"),
    "SystemExit": lambda: SystemExit(3),
    "GeneratorExit": lambda: GeneratorExit("three"),
    "OddExit": lambda: OddExit("three"),
    "CancelledError": lambda: asyncio.CancelledError("three"),
    "FrozenError": lambda: FrozenError("three"),
    "ContraryError": lambda: ContraryError("three"),
    "LockedError": lambda: LockedError("three"),
    "TwoPartError": lambda: TwoPartError("three", "four"),
}


def fail_at_three(fault: str, number: int) -> int:
    """Raise the fault of that name at number 3."""
    if number == 3:  # noqa: PLR2004 - the name says so
        _fail_inside(fault)
    return number


async def afail_at_three(fault: str, number: int) -> int:
    """Raise the fault of that name at number 3."""
    if number == 3:  # noqa: PLR2004 - the name says so
        await asyncio.sleep(0)
        _fail_inside(fault)
    return number


def _fail_inside(fault: str) -> NoReturn:
    exception = FAULTS[fault]()
    raise exception


def fail_at_first(log: Log, times: int, number: int) -> int:
    """Fail at the first `times` calls, logging when each began.

    Raises:
        OSError: It is one of the first calls.
    """
    log.add(time.monotonic())
    if len(log.lines) <= times:
        raise OSError(f"call {len(log.lines)} fails")
    return number


async def afail_at_first(log: Log, times: int, number: int) -> int:
    """Fail at the first `times` calls, logging when each began."""
    return fail_at_first(log, times, number)


def lock_at_three(number: int) -> Any:
    """Return something that cannot be pickled at number 3."""
    return threading.Lock() if number == 3 else number  # noqa: PLR2004 - the name says so


async def alock_at_three(number: int) -> Any:
    """Return something that cannot be pickled at number 3."""
    return lock_at_three(number)


class Unbuildable:
    """Can be pickled and not be rebuilt."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, ()


def _refuse() -> NoReturn:
    raise ValueError("it does not want to be rebuilt")


def unbuildable_at_three(number: int) -> Any:
    """Return something that cannot be rebuilt at number 3."""
    return Unbuildable() if number == 3 else number  # noqa: PLR2004 - the name says so


async def aunbuildable_at_three(number: int) -> Any:
    """Return something that cannot be rebuilt at number 3."""
    return unbuildable_at_three(number)


def type_name(item: Any) -> str:
    """Return the name of the item's type."""
    return type(item).__name__


async def atype_name(item: Any) -> str:
    """Return the name of the item's type."""
    return type(item).__name__


def touch(handle: gs.PerWorker[Any], trap: Any) -> Any:
    """Use the worker's object; let a trap strike that is to strike now."""
    handle()
    return "through" if trap is None else trap.touch()


async def atouch(handle: gs.PerWorker[Any], trap: Any) -> Any:
    """Use the worker's object; let a trap strike that is to strike now."""
    handle()
    return "through" if trap is None else await trap.atouch()


# Callables of every kind


class Adder:
    """Adds a number, as a method and as an object that is called."""

    def __init__(self, number: int) -> None:
        """Keep the number."""
        self.number = number

    def add(self, other: int) -> int:
        """Return the sum."""
        return self.number + other

    def __call__(self, other: int) -> int:
        """Return the sum."""
        return self.number + other

    @classmethod
    def add_one(cls, other: int) -> int:
        """Return the sum with 1."""
        return cls(1).add(other)


class AsyncAdder:
    """The same as coroutines."""

    def __init__(self, number: int) -> None:
        """Keep the number."""
        self.number = number

    async def add(self, other: int) -> int:
        """Return the sum."""
        return self.number + other

    async def __call__(self, other: int) -> int:
        """Return the sum."""
        return self.number + other

    @classmethod
    async def add_one(cls, other: int) -> int:
        """Return the sum with 1."""
        return await cls(1).add(other)


def adders() -> dict[str, Callable[[int], Any]]:
    """Return functions that add 1, one of each kind."""
    one = int("1")

    def closure(number: int) -> int:
        return number + one

    return {
        "lambda": lambda number: number + 1,
        "closure": closure,
        "partial": partial(add, right=1),
        "bound method": Adder(1).add,
        "class method": Adder.add_one,
        "callable object": Adder(1),
        "method of a built-in": (1).__add__,
    }


def async_adders() -> dict[str, Callable[[int], Coroutine[Any, Any, int]]]:
    """Return coroutine functions that add 1, one of each kind."""
    one = int("1")

    async def closure(number: int) -> int:
        return number + one

    return {
        "closure": closure,
        "partial": partial(aadd, right=1),
        "bound method": AsyncAdder(1).add,
        "class method": AsyncAdder.add_one,
        "callable object": AsyncAdder(1),
    }


MAIN = """
class Point:
    def __init__(self, x):
        self.x = x

OFFSET = 10

def shift(point):
    assert isinstance(point, Point), type(point)
    return Point(point.x + OFFSET)

async def ashift(point):
    return shift(point)
"""


def main_namespace() -> dict[str, Any]:
    """Return what a program or notebook has in `__main__`: a class, a global, functions of both."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(MAIN, namespace)  # noqa: S102 - the text above
    return namespace


COROUTINES: dict[Callable[..., Any], Callable[..., Any]] = {
    value: getattr(sys.modules[__name__], f"a{name}")
    for name, value in list(globals().items())
    if callable(value) and f"a{name}" in globals()
}


def variant(function: Callable[..., Any], *, coroutine: bool) -> Callable[..., Any]:
    """Return the function, or the coroutine function that does the same."""
    if not coroutine:
        return function
    if isinstance(function, partial):
        return partial(variant(function.func, coroutine=True), *function.args, **function.keywords)
    return COROUTINES[function]


def text_of(exception: BaseException) -> str:
    """Return the whole traceback, causes and notes included."""
    return "".join(traceback.format_exception(exception))
