"""One object per worker: made once, closed at the worker's end, never shared with another."""

from __future__ import annotations

import asyncio
import pickle
import warnings
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from gearshift._work.per_worker import PerWorker, per_worker
from gearshift._work.run_chunk import ChunkRun, ItemCall, Task
from gearshift._work.scope import DEPTH_VARIABLE, Scope, is_nested
from gearshift.facts import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def values(function: Callable[[Any], Any], items: Sequence[Any], scope: Scope) -> list[Any]:
    """Run a chunk in a worker; an item that failed shows its exception."""
    run = ChunkRun(Task(function), Chunk(0, items), scope, copy_context())
    run.advance()
    settled = run.take()
    assert settled is not None
    return [
        settled.failed[index].exception if index in settled.failed else value
        for index, value in enumerate(settled.values)
    ]


class Log:
    """Makes objects and keeps what became of them, in order."""

    def __init__(self, *, fails: int = 0) -> None:
        self.events: list[str] = []
        self._fails = fails

    def make(self) -> Thing:
        self.events.append("make")
        if self._fails:
            self._fails -= 1
            raise OSError("no connection")
        return Thing(self)

    async def amake(self) -> Thing:
        await asyncio.sleep(0)
        return self.make()


class Thing:
    def __init__(self, log: Log) -> None:
        self.log = log

    def close(self) -> None:
        self.log.events.append("close")


# One per worker


def test_items_of_a_worker_share_one_and_its_end_closes_it() -> None:
    log, scope = Log(), Scope()
    handle = per_worker(log.make)
    things = values(lambda _: handle(), "ab", scope) + values(lambda _: handle(), "c", scope)
    assert len(set(things)) == 1
    assert log.events == ["make"]
    scope.close()
    assert log.events == ["make", "close"]
    scope.close()
    assert log.events == ["make", "close"]


def test_workers_and_handles_share_nothing() -> None:
    log, scopes = Log(), (Scope(), Scope())
    one, other = per_worker(log.make), per_worker(log.make)
    things = [
        thing
        for scope in scopes
        for pair in values(lambda _: (one(), other()), "ab", scope)
        for thing in pair
    ]
    assert len(set(things)) == 4


def test_handle_keeps_its_identity_on_its_travels() -> None:
    scope = Scope()
    handle: PerWorker[list[Any]] = per_worker(list)
    copied = pickle.loads(pickle.dumps(handle))
    (pair,) = values(lambda _: (handle(), copied()), "a", scope)
    assert pair[0] is pair[1]


def test_none_and_false_are_made_once_too() -> None:
    made = []

    def make() -> None:
        made.append(1)

    handle = per_worker(make)
    assert values(lambda _: handle(), "abc", Scope()) == [None, None, None]
    assert made == [1]


def test_failed_factory_costs_its_item_and_is_tried_again() -> None:
    log, scope = Log(fails=1), Scope()
    handle = per_worker(log.make)
    first, second = values(lambda _: handle(), "ab", scope)
    assert isinstance(first, OSError)
    assert isinstance(second, Thing)


def test_factory_may_use_another_handle() -> None:
    log, scope = Log(), Scope()
    inner = per_worker(log.make)
    outer = per_worker(lambda: (inner(),))
    (pair,) = values(lambda _: (outer()[0], inner()), "a", scope)
    assert pair[0] is pair[1]


def test_there_is_none_outside_a_task() -> None:
    with pytest.raises(RuntimeError, match="outside a task"):
        per_worker(list)()


def test_what_cannot_make_is_refused() -> None:
    with pytest.raises(TypeError, match=r"make=\[\] is not callable"):
        per_worker([])  # type: ignore[arg-type]


# The end


def test_last_made_is_closed_first() -> None:
    events: list[str] = []
    scope = Scope()
    for name in ("first", "second"):
        scope.add_closer(partial(events.append, name))
    scope.close()
    assert events == ["second", "first"]


class AsyncThing(Thing):
    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.log.events.append("aclose")


def test_async_close_goes_before_close_and_is_awaited() -> None:
    log, scope = Log(), Scope()
    handle = per_worker(lambda: AsyncThing(log))
    values(lambda _: handle(), "a", scope)
    scope.close()
    assert log.events == ["aclose"]


def test_what_has_no_close_is_just_let_go() -> None:
    scope = Scope()
    handle = per_worker(lambda: {"close": 1})
    values(lambda _: handle(), "a", scope)
    scope.close()
    assert not scope.instances


@pytest.mark.parametrize("error", [OSError("still busy"), SystemExit(1), KeyboardInterrupt()])
@pytest.mark.parametrize("is_async", [True, False])
def test_what_cannot_be_closed_is_warned_of_and_stops_nobody(
    error: BaseException, is_async: bool
) -> None:
    events = []

    def fail() -> None:
        raise error

    scope = Scope()
    scope.add_closer(lambda: events.append("closed"))
    scope.add_closer(fail)

    def end() -> None:
        if is_async:
            asyncio.run(scope.aclose())
        else:
            scope.close()

    with pytest.warns(RuntimeWarning, match=f"could not be closed: {type(error).__name__}"):
        end()
    assert events == ["closed"]


def test_objects_are_closed_inside_their_own_loop() -> None:
    log = Log()

    async def main() -> None:
        scope = Scope()
        scope.add_closer(Thing(log).close)
        scope.add_closer(AsyncThing(log).aclose)
        await scope.aclose()

    asyncio.run(main())
    assert log.events == ["aclose", "close"]


# Async factories


def test_async_factory_is_awaited_once() -> None:
    log, scope = Log(), Scope()
    handle = per_worker(log.amake)

    async def function(_: object) -> Thing:
        return await handle()

    things = values(function, "abc", scope)
    assert len(set(things)) == 1
    assert log.events == ["make"]
    scope.close()
    assert log.events == ["make", "close"]


def in_one_loop(
    function: Callable[[Any], Any],
    count: int,
    scope: Scope,
    *,
    cancelled: int | None = None,
) -> list[Any]:
    """Run items side by side, one of which is cancelled once it waits."""

    async def main() -> list[Any]:
        task = Task(function)
        calls = [
            asyncio.create_task(ItemCall(task, index, index, scope).run()) for index in range(count)
        ]
        if cancelled is not None:
            await asyncio.sleep(0)
            calls[cancelled].cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        await scope.aclose()
        return [
            end
            if isinstance(end, BaseException)
            else end.failed[index].exception
            if end.failed
            else end.values[0]
            for index, end in enumerate(ends)
        ]

    return asyncio.run(main())


def test_tasks_of_a_loop_wait_for_the_same_one() -> None:
    log = Log()
    handle = per_worker(log.amake)

    async def function(_: object) -> Thing:
        return await handle()

    assert len(set(in_one_loop(function, 5, Scope()))) == 1
    assert log.events == ["make", "close"]


@pytest.mark.parametrize("cancelled", [0, 1])
def test_cancelled_task_takes_nobody_elses_object_with_it(cancelled: int) -> None:
    log = Log()
    handle = per_worker(log.amake)

    async def function(_: object) -> Thing:
        return await handle()

    ends = in_one_loop(function, 3, Scope(), cancelled=cancelled)
    assert isinstance(ends.pop(cancelled), asyncio.CancelledError)
    assert len(set(ends)) == 1
    assert log.events == ["make", "close"]


def test_failed_async_factory_is_tried_again() -> None:
    log, scope = Log(fails=1), Scope()
    handle = per_worker(log.amake)

    async def function(_: object) -> Thing:
        return await handle()

    first, second, third = values(function, "abc", scope)
    assert isinstance(first, OSError)
    assert second is third
    assert log.events == ["make", "make"]
    scope.close()


def test_all_that_waited_for_a_failed_factory_fail_and_nobody_complains_later() -> None:
    log = Log(fails=1)
    handle = per_worker(log.amake)

    async def function(_: object) -> Thing:
        return await handle()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ends = in_one_loop(function, 3, Scope())
    assert [type(end) for end in ends] == [OSError] * 3


# Scope


def test_scope_knows_whether_its_end_has_anything_to_do() -> None:
    scope = Scope()
    assert not scope.has_work
    scope.add_closer(list)
    assert scope.has_work
    scope.close()
    assert not scope.has_work
    assert scope.runner
    assert scope.has_work
    scope.close()
    assert not scope.has_work


def test_loop_of_a_worker_exists_only_when_needed() -> None:
    scope = Scope()
    scope.close()
    assert scope._runner is None
    runner = scope.runner
    assert scope.runner is runner
    runner.run(asyncio.sleep(0))
    scope.close()
    assert scope._runner is None


def test_nested_is_known_in_tasks_and_worker_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEPTH_VARIABLE, raising=False)
    assert not is_nested()
    assert values(lambda _: is_nested(), "a", Scope()) == [True]
    monkeypatch.setenv(DEPTH_VARIABLE, "1")
    assert is_nested()
