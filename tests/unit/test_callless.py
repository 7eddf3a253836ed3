"""Functions that call nothing are told from those that do, on every version of Python."""

from __future__ import annotations

import contextvars
import operator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift._work.callless import calls_nothing

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("VARIABLE", default=0)
TABLE = {n: n for n in range(10)}


def branches(number: int) -> int | str:
    if number > 3 and not number % 2:
        return TABLE[number % 10]
    return f"{number:03d}" if number else "none"


@pytest.mark.parametrize(
    "function",
    [lambda n: n * n + 1, lambda n: n % 3 == 0, lambda pair: pair[1], branches, lambda _: (1, [2])],
    ids=range(5),
)
def test_functions_that_call_nothing(function: Callable[..., Any]) -> None:
    assert calls_nothing(function)


def generator(number: int) -> Any:
    yield number


async def coroutine(number: int) -> int:
    return number


def in_with(number: Any) -> Any:
    with number:
        return 1


def in_loop(number: Any) -> Any:
    for each in number:
        return each
    return None


def importing(number: int) -> Any:
    from math import pi

    return pi * number


@pytest.mark.parametrize(
    "function",
    [
        abs,
        partial(branches, 1),
        operator.itemgetter(1),
        lambda n: abs(n) + 1,
        lambda n: n.bit_length(),
        lambda n: max(*n),
        lambda n: dict(**n),
        lambda n: [each + 1 for each in n],
        lambda n: (each + 1 for each in n),
        lambda n: lambda: n,
        generator,
        coroutine,
        in_with,
        in_loop,
        importing,
    ],
    ids=range(15),
)
def test_functions_that_may_run_other_code(function: Callable[..., Any]) -> None:
    assert not calls_nothing(function)


def note(number: int) -> int:
    before = VARIABLE.get()
    VARIABLE.set(number)
    return before


@pytest.mark.parametrize("on", ["serial", "threads"])
def test_tasks_that_may_see_their_context_have_one_each(on: str) -> None:
    VARIABLE.set(7)
    assert list(gs.map(note, range(20), on=on)) == [7] * 20
    assert VARIABLE.get() == 7
