"""The one place that calls users' functions: every item gets exactly its own outcome.

Long because its unit is: chunks, interrupts, contexts and coroutines meet in it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
import traceback
import weakref
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift._work import run_chunk
from gearshift._work.run_chunk import ChunkRun, ItemCall, Task, is_coroutine_function, name_of
from gearshift._work.scope import CURRENT, Scope
from gearshift.facts import Chunk, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@pytest.fixture
def scope() -> Iterator[Scope]:
    made = Scope()
    yield made
    made.close()


def run_of(
    function: Callable[..., Any],
    items: Sequence[Any],
    *,
    first: int = 0,
    scope: Scope | None = None,
    **options: Any,
) -> ChunkRun:
    task = Task(function, star=options.pop("star", False), seed=options.pop("seed", None))
    context = options.pop("context", None) or copy_context()
    return ChunkRun(task, Chunk(first, items), scope or Scope(), context, **options)


def outcome_of(run: ChunkRun) -> Settled:
    run.advance()
    settled = run.take()
    assert settled is not None
    return settled


def shown(settled: Settled) -> list[Any]:
    """Values, with the exception's words in a failed item's place."""
    return [
        repr(settled.failed[index].exception) if index in settled.failed else value
        for index, value in enumerate(settled.values, settled.first)
    ]


def failing_at(*bad: Any, error: BaseException | None = None) -> Callable[[Any], Any]:
    def function(item: Any) -> Any:
        if item in bad:
            raise error if error is not None else ValueError(item)
        return item * 10

    return function


# Outcomes


@pytest.mark.parametrize("kind", [list, tuple, lambda items: range(len(items))])
def test_values_stand_in_the_items_order(kind: Callable[[Any], Sequence[int]]) -> None:
    settled = outcome_of(run_of(lambda item: item * 10, kind(range(5)), first=7))
    assert (settled.first, list(settled.values)) == (7, [0, 10, 20, 30, 40])
    assert not settled.failed
    assert settled.busy_seconds > 0
    assert settled.cpu_seconds >= 0


@given(st.sets(st.integers(0, 11)), st.none() | st.just(0.0) | st.just(3600.0))
def test_failures_cost_their_own_items_only(bad: set[int], seconds: float | None) -> None:
    run = run_of(failing_at(*bad), range(12), first=100)
    values: list[Any] = []
    while not run.is_done:
        run.advance(seconds)
        settled = run.take()
        assert settled is not None
        assert settled.first == 100 + len(values)
        values += shown(settled)
    assert values == [f"ValueError({item})" if item in bad else item * 10 for item in range(12)]
    assert run.take() is None


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), GeneratorExit(), KeyboardInterrupt(), asyncio.CancelledError(), MemoryError()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_whatever_is_raised_is_the_items_outcome(error: BaseException, bad: int) -> None:
    settled = outcome_of(run_of(failing_at(bad, error=error), [0, 1, 2]))
    assert list(settled.failed) == [bad]
    assert settled.failed[bad].exception is error
    assert settled.failed[bad].seconds >= 0


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    """Refuses every change, of its traceback too."""

    code: int


def test_exception_that_cannot_be_changed_is_an_outcome_too() -> None:
    error = FrozenError(3)
    assert outcome_of(run_of(failing_at(1, error=error), [0, 1, 2])).failed[1].exception is error
    assert awaited(raising(error)).failed[7].exception is error


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize("seconds", [None, 3600.0])
def test_stop_iteration_becomes_a_runtime_error(
    kind: type[Exception], bad: int, seconds: float | None
) -> None:
    run = run_of(failing_at(bad, error=kind("value")), [0, 1, 2])
    run.advance(seconds)
    settled = run.take()
    assert settled is not None
    assert len(settled.values) == 3
    assert list(settled.failed) == [bad]
    exception = settled.failed[bad].exception
    assert type(exception) is RuntimeError
    assert kind.__name__ in str(exception)
    assert isinstance(exception.__cause__, kind)


def test_traceback_begins_with_the_users_function() -> None:
    settled = outcome_of(run_of(failing_at(0), [0]))
    frames = traceback.extract_tb(settled.failed[0].exception.__traceback__)
    assert [frame.name for frame in frames] == ["function"]


def test_error_of_the_call_itself_is_the_items() -> None:
    settled = outcome_of(run_of(lambda: None, [1, 2]))
    assert [type(fault.exception) for fault in settled.failed.values()] == [TypeError, TypeError]


def test_star_spreads_tuples_and_dicts() -> None:
    def function(a: int, b: int = 5) -> int:
        return a - b

    settled = outcome_of(run_of(function, [(9, 1), {"a": 9, "b": 2}, (9,), [9, 3], 4], star=True))
    assert list(settled.values)[:4] == [8, 7, 4, 6]
    assert isinstance(settled.failed[4].exception, TypeError)


# In parts


def test_take_gives_each_outcome_once() -> None:
    run = run_of(failing_at(1), range(4))
    assert run.take() is None
    run.advance(0.0)
    first = run.take()
    assert first is not None
    assert (first.first, list(first.values), first.failed) == (0, [0], {})
    assert run.take() is None
    run.advance()
    rest = run.take()
    assert rest is not None
    assert (rest.first, len(rest.values), list(rest.failed)) == (1, 3, [1])


def test_no_time_still_runs_one_item() -> None:
    run = run_of(lambda item: item, range(3))
    for done in range(1, 4):
        run.advance(0.0)
        assert run.index == done
    assert run.is_done
    run.advance(0.0)
    assert run.index == 3


class Clock:
    """Stands in for the module `time`: each item takes what it says."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    thread_time = perf_counter

    def spend(self, seconds: float) -> float:
        self.now += seconds
        return seconds


def test_time_is_up_soon_after_the_items_that_took_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(run_chunk, "time", clock)
    run = run_of(clock.spend, [0.001] * 1000)
    run.advance(0.01)
    settled = run.take()
    assert settled is not None
    assert 10 <= len(settled.values) <= 20  # it looks at the clock after 1, 2, 4 ... items
    assert settled.busy_seconds == settled.cpu_seconds == pytest.approx(len(settled.values) / 1000)


def test_slow_item_after_many_fast_ones_waits_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(run_chunk, "time", clock)
    run = run_of(clock.spend, [1e-9] * 5000 + [1.0] * 1000)
    run.advance(0.01)
    assert 5000 < run.index <= 5000 + run_chunk._LONGEST_STRIDE


def test_slow_item_after_many_short_ones_waits_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(run_chunk, "time", clock)
    run = run_of(clock.spend, [1e-6] * 5000 + [1.0] * 1000)
    run.advance(0.01)
    assert 5000 < run.index <= 5000 + 32


def test_time_of_a_fault_is_its_own_at_most_its_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(run_chunk, "time", clock)

    def function(seconds: float) -> float:
        clock.spend(abs(seconds))
        if seconds < 0:
            raise ValueError
        return seconds

    settled = outcome_of(run_of(function, [1.0, -2.0, -4.0]))
    assert [fault.seconds for fault in settled.failed.values()] == [3.0, 4.0]
    assert settled.busy_seconds == 7.0


# Interrupts


def test_interrupt_keeps_outcomes_and_the_item_it_struck_runs_again() -> None:
    calls: list[int] = []

    def function(item: int) -> int:
        calls.append(item)
        if item == 2 and calls.count(2) == 1:
            raise KeyboardInterrupt
        if item == 1:
            raise ValueError(item)
        return item * 10

    run = run_of(function, range(4), interruptible=True)
    with pytest.raises(KeyboardInterrupt):
        run.advance()
    assert (run.index, run.is_done) == (2, False)
    early = run.take()
    assert early is not None
    assert shown(early) == [0, "ValueError(1)"]
    run.advance()
    late = run.take()
    assert late is not None
    assert (late.first, shown(late)) == (2, [20, 30])
    assert calls == [0, 1, 2, 2, 3]


def test_taken_and_done_leaves_the_place_where_it_stood() -> None:
    run = run_of(lambda item: item, range(3), first=5)
    run.advance()
    run.take()
    assert (run.index, run.is_done, run.take()) == (8, True, None)
    run.advance()
    assert run.take() is None


def test_interrupt_keeps_the_time_spent() -> None:
    def function(item: int) -> int:
        raise KeyboardInterrupt

    run = run_of(function, [1], interruptible=True)
    with pytest.raises(KeyboardInterrupt):
        run.advance()
    assert run._busy_seconds > 0


# What a task sees


def test_index_and_seed_are_those_of_the_call() -> None:
    seen = []

    def function(item: Any) -> None:
        call = CURRENT.get()
        assert call is not None
        seen.append((call.index, call.seed, call.scope))
        if item:
            raise ValueError

    scope = Scope()
    run = run_of(function, [0, 1, 0, 0], first=10, seed=42, scope=scope)
    run.advance(0.0)
    run.advance()
    assert seen == [(index, 42, scope) for index in range(10, 14)]
    assert CURRENT.get() is None


VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


def test_every_task_has_its_own_copy_of_the_context() -> None:
    def function(item: str) -> str:
        before = VARIABLE.get()
        VARIABLE.set(item)
        return before

    context = Context()
    context.run(VARIABLE.set, "the caller's")
    run = run_of(function, ["a", "b", "c"], context=context)
    assert list(outcome_of(run).values) == ["the caller's"] * 3
    assert context[VARIABLE] == "the caller's"
    assert CURRENT not in context


def test_items_are_let_go_without_a_garbage_collection() -> None:
    class Item:
        pass

    item = Item()
    gone = weakref.ref(item)
    run = run_of(lambda _: None, [item])
    gc.disable()
    try:
        outcome_of(run)
        del run, item
        assert gone() is None
    finally:
        gc.enable()


def test_tasks_may_run_chunks_themselves() -> None:
    recursion = 10

    def function(depth: int) -> list[Any]:
        call = CURRENT.get()
        assert call is not None
        inner = [] if depth == 0 else list(outcome_of(run_of(function, [depth - 1])).values)
        assert CURRENT.get() is call
        return [call.index, *inner]

    value = outcome_of(run_of(function, [recursion], first=3)).values[0]
    depth = 0
    while value[1:]:
        value, depth = value[1], depth + 1
    assert depth == recursion


# Coroutine functions


def test_coroutines_of_a_chunk_share_one_loop(scope: Scope) -> None:
    loops = set()

    async def function(item: int) -> int:
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)
        if item == 1:
            raise ValueError(item)
        return item * 10

    settled = outcome_of(run_of(function, range(3), scope=scope))
    assert shown(settled) == [0, "ValueError(1)", 20]
    assert len(loops) == 1


def test_coroutine_sees_its_call_and_its_own_context(scope: Scope) -> None:
    async def function(item: str) -> tuple[int, str]:
        call = CURRENT.get()
        assert call is not None
        before = VARIABLE.get()
        VARIABLE.set(item)
        return call.index, before

    settled = outcome_of(run_of(function, ["a", "b"], first=5, scope=scope, context=Context()))
    assert list(settled.values) == [(5, "unset"), (6, "unset")]


def test_coroutine_function_with_star(scope: Scope) -> None:
    async def function(a: int, *, b: int) -> int:
        return a - b

    run = run_of(function, [{"a": 5, "b": 3}, (1, 2)], star=True, scope=scope)
    settled = outcome_of(run)
    assert settled.values[0] == 2
    assert isinstance(settled.failed[1].exception, TypeError)


async def acall(item: int) -> int:
    return item


class Calls:
    async def __call__(self, item: int) -> int:
        return item

    async def method(self, item: int) -> int:
        return item

    @staticmethod
    async def static(item: int) -> int:
        return item

    def plain(self, item: int) -> int:
        return item


class PlainCalls:
    def __call__(self, item: int) -> int:
        return item


COROUTINE_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "async def": acall,
    "partial": functools.partial(acall, 1),
    "partial of a partial": functools.partial(functools.partial(acall), 1),
    "callable": Calls(),
    "partial of a callable": functools.partial(Calls(), 1),
    "bound method": Calls().method,
    "method": Calls.method,
    "static method": Calls.static,
}
OTHER_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "bound method": Calls().plain,
    "class": Calls,  # calling it gives an instance
    "callable": PlainCalls(),
    "lambda": lambda item: item,
    "lambda that calls": lambda item: acall(item),  # noqa: PLW0108 - nothing tells before it is called
    "built-in": len,
    "partial": functools.partial(len),
}


@pytest.mark.parametrize("function", COROUTINE_FUNCTIONS.values(), ids=COROUTINE_FUNCTIONS.keys())
def test_coroutine_functions_are_known(function: Callable[..., Any]) -> None:
    assert is_coroutine_function(function)
    assert Task(function).coroutine
    assert Task(function, star=True).coroutine


@pytest.mark.parametrize("function", OTHER_FUNCTIONS.values(), ids=OTHER_FUNCTIONS.keys())
def test_others_are_no_coroutine_functions(function: Callable[..., Any]) -> None:
    assert not is_coroutine_function(function)
    assert not Task(function, star=True).coroutine


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (acall, "acall"),
        (functools.partial(acall, 1), "acall"),
        (Calls.method, "Calls.method"),
        (Calls().method, "Calls.method"),
        (Calls(), "Calls"),
        (functools.partial(Calls()), "Calls"),
        (len, "len"),
    ],
    ids=["async def", "partial", "method", "bound method", "callable", "partial callable", "len"],
)
def test_functions_have_names(function: Callable[..., Any], name: str) -> None:
    assert name_of(function) == name


@pytest.mark.parametrize("seconds", [None, 0.0])
def test_coroutine_that_nobody_would_await_is_refused(seconds: float | None) -> None:
    run = run_of(lambda item: acall(item), range(3), first=5)  # noqa: PLW0108 - not seen before it is called
    for _ in range(3):
        run.advance(seconds)
    settled = run.take()
    assert settled is not None
    assert sorted(settled.failed) == [5, 6, 7]
    for fault in settled.failed.values():
        assert isinstance(fault.exception, TypeError)
        assert "returned a coroutine, which nobody would await" in str(fault.exception)
    assert list(settled.values) == [None] * 3


def test_coroutines_around_a_failure_are_refused_too() -> None:
    def function(item: int) -> Any:
        if item == 1:
            raise ValueError(item)
        return acall(item)

    settled = outcome_of(run_of(function, range(3)))
    kinds = [type(fault.exception) for _, fault in sorted(settled.failed.items())]
    for value in settled.values:
        if value is not None:
            value.close()
    assert kinds == [TypeError, ValueError, TypeError]


def test_values_beside_a_coroutine_stay() -> None:
    settled = outcome_of(run_of(lambda item: acall(item) if item == 2 else item, range(3)))
    assert list(settled.failed) == [2]
    assert list(settled.values)[:2] == [0, 1]


# One item in a loop


def awaited(function: Callable[..., Any], item: Any = 1, *, index: int = 7) -> Settled:
    return asyncio.run(ItemCall(Task(function, seed=42), index, item, Scope()).run())


def test_item_call_gives_the_value() -> None:
    async def function(item: int) -> tuple[int, int, int | None]:
        call = CURRENT.get()
        assert call is not None
        return item, call.index, call.seed

    settled = awaited(function)
    assert (settled.first, list(settled.values), settled.failed) == (7, [(1, 7, 42)], {})
    assert settled.busy_seconds >= 0


def raising(error: BaseException) -> Callable[[Any], Any]:
    async def function(item: Any) -> None:
        raise error

    return function


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        SystemExit(3),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        GeneratorExit(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_item_call_gives_what_is_raised(error: BaseException) -> None:
    assert awaited(raising(error)).failed[7].exception is error


def test_item_call_turns_a_stop_iteration_into_a_runtime_error() -> None:
    def function(item: Any) -> Any:  # a callable that says it is none
        raise StopIteration

    assert isinstance(awaited(function).failed[7].exception, RuntimeError)
    assert isinstance(awaited(raising(StopIteration())).failed[7].exception, RuntimeError)


def test_item_call_refuses_what_cannot_be_awaited() -> None:
    settled = awaited(lambda item: item)
    exception = settled.failed[7].exception
    assert isinstance(exception, TypeError)
    assert "returned int, which cannot be awaited" in str(exception)


def test_cancellation_from_outside_passes_through() -> None:
    async def function(item: Any) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(ItemCall(Task(function), 0, 1, Scope()).run())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


class Held:
    """Something large, as items may be."""


def test_no_cycle_keeps_what_the_function_held_when_it_raised() -> None:
    gone: list[weakref.ref[Held]] = []

    def function(item: Any) -> None:
        held = Held()
        gone.append(weakref.ref(held))
        raise ValueError

    run = run_of(function, [1])
    gc.disable()
    try:
        run.advance()  # not by a helper: its frame would be part of the traceback, and hold them
        settled = run.take()
        assert settled is not None
        assert settled.failed
        del run, settled
        assert gone[0]() is None
    finally:
        gc.enable()


def test_kept_fault_does_not_keep_the_rest_of_its_chunk() -> None:
    def function(item: Held) -> None:
        if item is bad():
            raise ValueError

    items = [Held() for _ in range(3)]
    gone = [weakref.ref(item) for item in items]
    bad = gone[1]
    fault = outcome_of(run_of(function, items)).failed[1]
    del items
    gc.collect()
    assert [ref() is None for ref in gone] == [True, False, True]
    assert fault.exception.__traceback__ is not None
