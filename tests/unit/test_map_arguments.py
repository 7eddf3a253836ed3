"""Arguments that make no sense are refused at the call, by name and value."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import gearshift as gs
from gearshift.engines import (
    AsyncioExecutor,
    ForeignEngine,
    ProcessExecutor,
    ThreadExecutor,
)

NAN = float("nan")
INFINITY = float("inf")
NO_NUMBERS: tuple[Any, ...] = ("4", b"4", [], object(), 1j)

NO_WHOLE_NUMBERS: tuple[Any, ...] = (1.0, 1.5, True, NAN, *NO_NUMBERS)
NO_WAYS: tuple[Any, ...] = (None, "", "ignore", "RAISE", True, [])
NO_SECONDS: tuple[Any, ...] = (True, *NO_NUMBERS)
NO_RATES: tuple[Any, ...] = (0, 100, 1.5, "100/s", (100, 1.0))
NO_ENGINES: tuple[Any, ...] = (None, 0, True, [], ThreadExecutor, object())

REFUSED: list[tuple[str, Any, type[Exception]]] = [
    *(("on", value, TypeError) for value in NO_ENGINES),
    *(("on", value, ValueError) for value in ("", "thread", "AUTO", "fork")),
    *(("errors", value, ValueError) for value in NO_WAYS),
    *((name, value, TypeError) for name in ("ordered", "star") for value in (None, 0, 1, "yes")),
    *(
        (name, value, TypeError)
        for name in ("workers", "chunksize", "buffersize", "total", "seed", "retries")
        for value in NO_WHOLE_NUMBERS
    ),
    ("retries", None, TypeError),
    *((name, 0, ValueError) for name in ("workers", "chunksize", "buffersize", "task_timeout")),
    *(
        (name, -1, ValueError)
        for name in ("workers", "chunksize", "buffersize", "total", "retries", "task_timeout")
    ),
    *(("task_timeout", value, TypeError) for value in NO_SECONDS),
    *(("task_timeout", value, ValueError) for value in (-0.5, NAN, INFINITY)),
    *(("limit", value, TypeError) for value in NO_RATES),
]


def refused_id(case: object) -> str:
    """Name a case the same in every process."""
    return re.sub(r" at 0x\w+", "", repr(case))


@pytest.mark.parametrize("call", [gs.map, gs.each], ids=["map", "each"])
@pytest.mark.parametrize(
    ("name", "value", "kind"),
    REFUSED,
    ids=[f"{name}={refused_id(value)}" for name, value, _ in REFUSED],
)
def test_option_that_makes_no_sense_is_refused(
    call: Any, name: str, value: object, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=re.escape(f"{name}={value!r}")):
        call(abs, [1], **{name: value})


@pytest.mark.parametrize("call", [gs.map, gs.each], ids=["map", "each"])
@pytest.mark.parametrize("name", ["max_workers", "timeout", "worker", "processes"])
def test_option_that_is_none_is_refused(call: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        call(abs, [1], **{name: 3})


@pytest.mark.parametrize("fn", [None, "abs", 3, [abs]], ids=repr)
def test_function_that_is_none_is_refused(fn: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(f"fn={fn!r} is not callable")):
        gs.map(fn, [1])


def test_function_and_items_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(TypeError, match="the function comes first"):
        gs.map([1, 2], abs)  # type: ignore[call-overload]


@pytest.mark.parametrize("items", [None, 3, abs, list, object()], ids=refused_id)
def test_inputs_that_are_none_are_refused(items: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(f"input 1 is {items!r}")):
        gs.map(abs, items)
    with pytest.raises(TypeError, match=re.escape(f"input 2 is {items!r}")):
        gs.map(pow, [1], items)


def test_no_inputs_at_all_are_refused() -> None:
    with pytest.raises(TypeError, match="no inputs"):
        gs.map(abs)


def test_inputs_that_cannot_go_together_are_refused() -> None:
    async def numbers() -> Any:
        yield 1

    with pytest.raises(TypeError, match="star=True beside 2 iterables"):
        gs.map(pow, [1], [2], star=True)
    with pytest.raises(TypeError, match="asynchronous iterable"):
        gs.map(pow, numbers(), [2])
    with gs.map(abs, numbers()) as run, pytest.raises(TypeError, match="async for"):
        list(run)


def test_options_that_cannot_go_together_are_refused() -> None:
    with ThreadExecutor(2) as engine, pytest.raises(ValueError, match="workers=2 beside on="):
        gs.map(abs, [1], on=engine, workers=2)
    with pytest.raises(ValueError, match="chunksize=3 beside task_timeout"):
        gs.map(abs, [1], chunksize=3, task_timeout=1)


def test_unknown_engine_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="did you mean 'threads'"):
        gs.map(abs, [1], on="thread")


def test_workers_beside_serial_are_ignored_and_the_report_says_so() -> None:
    run = gs.map(abs, [-1], on="serial", workers=4)
    assert list(run) == [1]
    assert any("workers=4 is ignored" in reason for reason in run.report.reasons)


MADE: list[tuple[Any, str, Any, type[Exception]]] = [
    *((gs.Rate, "count", value, TypeError) for value in (None, 1.5, True, "100")),
    *((gs.Rate, "count", value, ValueError) for value in (0, -1)),
    *((gs.Rate, "per", value, TypeError) for value in (None, "s", True)),
    *((gs.Rate, "per", value, ValueError) for value in (0, -1.0, NAN, INFINITY)),
    *((gs.Retry, "retries", value, TypeError) for value in (None, 1.5, True, "3")),
    (gs.Retry, "retries", -1, ValueError),
    *((gs.Retry, name, -1, ValueError) for name in ("wait", "longest_wait", "jitter")),
    *((gs.Retry, name, NAN, ValueError) for name in ("wait", "longest_wait", "jitter")),
    *((gs.Retry, name, "1", TypeError) for name in ("wait", "longest_wait", "jitter")),
    (gs.Retry, "jitter", 2, ValueError),
    *((gs.Retry, "on", value, TypeError) for value in ([OSError], ("OSError",), None, int)),
    *((gs.per_worker, "make", value, TypeError) for value in (None, 3)),
    *(
        (engine, "workers", value, kind)
        for engine in (ThreadExecutor, ProcessExecutor, AsyncioExecutor)
        for value, kind in ((0, ValueError), (-1, ValueError), (1.5, TypeError), ("4", TypeError))
    ),
    *((ForeignEngine, "executor", value, TypeError) for value in (3, None, ThreadPoolExecutor)),
]


@pytest.mark.parametrize(
    ("make", "name", "value", "kind"),
    MADE,
    ids=[f"{make.__name__}-{name}={refused_id(value)}" for make, name, value, _ in MADE],
)
def test_value_that_makes_no_sense_is_refused_where_it_is_made(
    make: Any, name: str, value: object, kind: type[Exception]
) -> None:
    others = {gs.Rate: {"count": 1}, gs.Retry: {"retries": 1}}.get(make, {})
    with pytest.raises(kind, match=re.escape(f"{name}={value!r}")):
        make(**{**others, name: value})


@pytest.mark.parametrize(
    ("workers", "kind"), [(0, ValueError), (-3, ValueError), ("2", TypeError), (1.5, TypeError)]
)
def test_workers_of_a_foreign_engine_are_checked(workers: Any, kind: type[Exception]) -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(kind, match=f"workers={workers!r}"):
        ForeignEngine(pool, workers)


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 10**9, "on": "asyncio"},
        {"chunksize": 10**30, "on": "threads"},
        {"buffersize": 10**30, "on": "threads"},
        {"task_timeout": 10**30, "on": "threads"},
        {"retries": 10**30, "on": "threads"},
        {"limit": gs.Rate(10**30, per=1e300), "on": "threads"},
        {"seed": -(10**30), "on": "threads"},
        {"total": 10**30, "on": "threads"},
        {"total": 0, "on": "threads"},
    ],
    ids=repr,
)
def test_huge_numbers_are_no_trouble(options: dict[str, Any]) -> None:
    async def negative(number: int) -> int:
        return -number

    fn = negative if options["on"] == "asyncio" else (lambda number: -number)
    with gs.map(fn, [1, 2, 3], **options) as run:
        assert list(run) == [-1, -2, -3]
