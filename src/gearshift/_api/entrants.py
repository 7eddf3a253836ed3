"""Who takes part in a comparison, and with which items: its arguments, checked.

Apart from the comparison, which begins once all of them make sense.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from gearshift._api import map as mapping
from gearshift._work.run_chunk import is_coroutine_function
from gearshift.engines.base import Engine, check_workers
from gearshift.engines.registry import check_name

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MOST_ITEMS", "Candidate", "candidates", "check_numbers", "gathered"]

MOST_ITEMS = 1_000_000  # taken from what is no sequence: without an end, it would go on for ever
_PLAIN = ("serial", "threads", "processes", "auto")
_COROUTINES = ("serial", "asyncio", "auto")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine that was asked for, and in which words."""

    on: str
    engine: str | Engine | Executor
    workers: int | None = None

    @property
    def name(self) -> str:
        """The engine's name."""
        if isinstance(self.engine, str):
            return self.engine
        return self.engine.traits.name if isinstance(self.engine, Engine) else self.on


def candidates(fn: Callable[..., Any], on: Any, workers: int | None) -> list[Candidate]:
    """Return the engines that are meant.

    Raises:
        TypeError: `on` is none of what it may be, or `workers` is not a whole number.
        ValueError: There is no such engine, it stands there twice, or there is none.
    """
    check_workers(workers)
    if on is None:
        on = _COROUTINES if is_coroutine_function(fn) else _PLAIN
    elif isinstance(on, str | Engine | Executor) or not isinstance(on, Iterable):
        on = [on]
    found = [_candidate(entry, workers) for entry in on]
    if not found:
        raise ValueError(f"on={on!r} names no engine: leave it out for all that can run this")
    names = [each.on for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"on={on!r} has {twice!r} twice: its rounds would be told as one")
    return found


def _candidate(entry: object, workers: int | None) -> Candidate:
    if isinstance(entry, str):
        name, colon, count = entry.partition(":")
        check_name(name)
        if not colon:
            return Candidate(entry, name, None if name == "serial" else workers)
        if not count.isdecimal() or not int(count):
            raise ValueError(
                f"on={entry!r}: what follows the colon is how many workers, as in {name + ':8'!r}"
            )
        return Candidate(entry, name, int(count))
    if isinstance(entry, type) or not isinstance(entry, Engine | Executor):
        raise TypeError(
            f'on={entry!r} is not an engine: give names such as "threads" or "threads:8", or '
            "engines such as gs.engines.ThreadExecutor(8)"
        )
    if isinstance(entry, Engine):
        return Candidate(f"{entry.traits.name} ({entry.workers} of yours)", entry)
    return Candidate(type(entry).__name__, entry)


def gathered(iterables: tuple[Any, ...], *, star: bool) -> tuple[list[Any], bool]:
    """Return the items as a list, and whether they are starred.

    Raises:
        TypeError: There are no inputs, or something that cannot be iterated here.
        ValueError: There are no items, or more than can be meant.
    """
    if not isinstance(star, bool):
        raise TypeError(f"star={star!r} is not True or False")
    for place, iterable in enumerate(iterables, 1):
        if isinstance(iterable, AsyncIterable):
            raise TypeError(f"input {place} is {iterable!r}, which is asynchronous: make it a list")
    _, star = mapping._source(iterables, None, star=star)  # noqa: SLF001 - the same words
    if len(iterables) == 1 and isinstance(iterables[0], Sequence):
        items = list(iterables[0])
    else:
        items = _taken(iterables[0] if len(iterables) == 1 else zip(*iterables, strict=False))
    if not items:
        raise ValueError("there are no items: with nothing to run there is nothing to compare")
    return items, star


def _taken(source: Iterable[Any]) -> list[Any]:
    """Return the items of what may have no end.

    Raises:
        ValueError: There are too many.
    """
    taken = list(islice(source, MOST_ITEMS + 1))
    if len(taken) > MOST_ITEMS:
        raise ValueError(
            f"there are more than {MOST_ITEMS:,} items, perhaps without an end: every engine is to run "
            "the same ones, so give a list of as many as you mean"
        )
    return taken


def check_numbers(rounds: object, seconds: object) -> None:
    """Refuse `rounds` and `seconds` that make no sense.

    Raises:
        TypeError: One is no number.
        ValueError: One is out of its range.
    """
    if isinstance(rounds, bool) or not isinstance(rounds, int):
        raise TypeError(f"rounds={rounds!r} is not a whole number")
    if rounds < 1:
        raise ValueError(f"rounds={rounds!r} is below 1: each engine runs the items at least once")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"seconds={seconds!r} is not a number of seconds")
    if not seconds >= 0:
        raise ValueError(f"seconds={seconds!r} is below 0: 0 means a single round")
