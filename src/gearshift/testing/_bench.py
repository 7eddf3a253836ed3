"""An engine on the bench: what the contract and the fault table do with it, and how they compare.

Apart from both because they share it. `expect` and `equal` are asserts that `-O` leaves in.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gearshift as gs
from gearshift.engines import Engine, ForeignEngine
from gearshift.testing import _tasks as tasks

if TYPE_CHECKING:
    from concurrent.futures import Executor

MakeEngine = Callable[[], Engine]
"""Makes a fresh engine; the check shuts it down."""

ENDS = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError, tasks.OddExit)
"""What tasks of the checks raise: nothing that a test runner ends a test with."""


class Bench:
    """An engine under test, and what tasks need to tell each other something."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.on = engine
        self.traits = engine.traits
        self.name = self.traits.name
        self.workers = engine.workers
        self._folder = folder
        self._names = itertools.count()
        self._gates: list[tasks.Gate] = []

    def variant(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as the engine takes it."""
        return tasks.variant(function, coroutine=self.traits.coroutines_only)

    def map(self, function: Callable[..., Any], *iterables: Any, **options: Any) -> gs.Run[Any]:
        """Begin a run on the engine."""
        if (
            function is tasks.ause_async_tool
            or getattr(function, "func", None) is tasks.ause_async_tool
        ):
            return gs.map(function, *iterables, on=self.on, **options)
        return gs.map(self.variant(function), *iterables, on=self.on, **options)

    def gate(self) -> tasks.Gate:
        """Return a closed gate, which the end of the check opens."""
        gate = tasks.Gate(self._folder / f"gate {next(self._names)}")
        self._gates.append(gate)
        return gate

    def log(self) -> tasks.Log:
        """Return an empty log."""
        return tasks.Log(self._folder / f"log {next(self._names)}")

    def shutdown(self) -> None:
        """End the engine."""
        for gate in self._gates:
            gate.open()  # nobody is to wait any more
        self.engine.shutdown(wait=True)


class OwnedEngine(ForeignEngine):
    """An executor of somebody else's as an engine that ends with it: the checks shut engines down."""

    def __init__(self, executor: Executor) -> None:
        """Take the executor over.

        Args:
            executor: Any `concurrent.futures.Executor`.
        """
        super().__init__(executor)
        self._owned = executor

    def shutdown(self, *, wait: bool = True, kill: bool = False) -> None:
        """End the executor."""
        self._owned.shutdown(wait=wait)


@contextmanager
def bench_of(make_engine: MakeEngine) -> Iterator[Bench]:
    """Give a fresh engine and end it."""
    with tempfile.TemporaryDirectory(prefix="gearshift-contract-") as folder:
        bench = Bench(make_engine(), Path(folder))
        try:
            yield bench
        finally:
            bench.shutdown()


@contextmanager
def helper(*calls: Callable[[], object]) -> Iterator[None]:
    """Make the calls in another thread meanwhile, one after another."""
    raised: list[BaseException] = []

    def target() -> None:
        try:
            for call in calls:
                call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=target, name="gearshift-contract-helper")
    thread.start()
    try:
        yield
    finally:
        thread.join(tasks.DEADLINE_SECONDS)
    expect(not thread.is_alive(), "the other thread did not end")
    equal(raised, [], "exceptions in the other thread")


def values_of(outcomes: Iterable[Any]) -> list[Any]:
    return [outcome for outcome in outcomes if not isinstance(outcome, gs.Failure)]


def until_error(run: Iterable[Any]) -> tuple[list[Any], BaseException]:
    """Return the values of a run and the exception that ended it.

    Raises:
        AssertionError: It ended without one.
    """
    values = []
    try:
        for value in run:
            values.append(value)  # noqa: PERF402 - those before the exception are wanted
    except ENDS as error:
        return values, error
    raise AssertionError(f"no exception after the values {values}")


def error_of(call: Callable[[], object]) -> BaseException:
    """Return what a call raises.

    Raises:
        AssertionError: It raises nothing.
    """
    try:
        result = call()
    except Exception as error:
        return error
    raise AssertionError(f"no exception, but {result!r}")


def succeeds(attempt: Callable[[], bool], times: int = 5) -> bool:
    """Say whether one of some attempts succeeds: for what a busy machine may spoil, though not always."""
    return any(attempt() for _ in range(times))


def expect(condition: bool, words: str) -> None:  # noqa: FBT001 - an assert, with -O too
    """Say what is wrong.

    Raises:
        AssertionError: The condition does not hold.
    """
    if not condition:
        raise AssertionError(words)


def equal(got: object, wanted: object, what: str) -> None:
    """Compare.

    Raises:
        AssertionError: It is something else.
    """
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")
