"""Pulling: never further than asked, nothing pulled is lost, errors wait for their turn."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift._run import source as source_module
from gearshift._run.source import (
    FAST_SECONDS,
    LEAST_PATIENCE_SECONDS,
    LISTENING_SHARE,
    MOST_ITEMS,
    MOST_PATIENCE_SECONDS,
    PROVEN_PULLS,
    Source,
)
from gearshift.engines.base import Wakeup
from gearshift.errors import RunClosedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

FAST, SLOW = FAST_SECONDS / 10, FAST_SECONDS * 20


class Clock:
    """Stands in for the module `time`: moves only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(source_module, "time", made)
    return made


def taking(clock: Clock, *seconds: float) -> Iterator[int]:
    """An endless source whose items take so long; the last time holds for all that follow."""
    for index in itertools.count():
        clock.now += seconds[min(index, len(seconds) - 1)]
        yield index


# Pulls


@given(st.integers(0, 30), st.lists(st.integers(-1, 8), max_size=12))
def test_takes_as_many_as_asked_in_order(size: int, counts: list[int]) -> None:
    asked = []

    def items() -> Iterator[int]:
        for index in range(size):
            asked.append(index)
            yield index

    source = Source(items())
    wanted = 0
    for count in counts:
        if not source.is_exhausted:
            wanted += max(count, 0)
            source.pull(count)
    assert source.pulled == asked == list(range(min(wanted, size)))
    assert source.is_exhausted == (wanted > size)
    assert source.error is None


def test_end_is_seen_only_when_asked_for_more_than_there_is() -> None:
    source = Source(iter("ab"))
    source.pull(2)
    assert not source.is_exhausted
    source.pull(1)
    assert source.is_exhausted
    assert source.pulled == ["a", "b"]


def test_error_of_the_source_comes_after_its_items() -> None:
    error = OSError("disk")

    def items() -> Iterator[str]:
        yield "a"
        yield "b"
        raise error

    source = Source(items())
    source.pull(10)
    assert source.pulled == ["a", "b"]
    assert source.error is error
    assert source.is_exhausted


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_interrupt_inside_the_source_keeps_what_was_pulled(
    interrupt: type[BaseException],
) -> None:
    def items() -> Iterator[str]:
        yield "a"
        yield "b"
        raise interrupt

    source = Source(items())
    with pytest.raises(interrupt) as caught:
        source.pull(10)
    assert source.pulled == ["a", "b"]
    assert source.is_exhausted
    assert isinstance(source.error, RunClosedError)
    assert source.error.__cause__ is caught.value


def test_interrupt_between_two_pulls_costs_nothing() -> None:
    # CPython delivers a signal after the C call that a pull is: the pull is complete then
    class Interrupted(list[Any]):
        def extend(self, items: Any) -> None:
            super().extend(items)
            raise KeyboardInterrupt

    source = Source(iter("abcd"))
    source.pulled = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        source.pull(2)
    assert list(source.pulled) == ["a", "b"]
    assert source.error is None
    assert not source.is_exhausted
    source.pulled = list(source.pulled)
    source.pull(2)
    assert source.pulled == ["a", "b", "c", "d"]


# How many at once


def test_begins_with_one_and_doubles_while_it_is_fast(clock: Clock) -> None:
    source = Source(taking(clock, 0.0))
    batches = []
    for _ in range(20):
        batches.append(source.batch)
        source.pull(source.batch)
        source.pulled.clear()
    assert batches == [min(2**power, MOST_ITEMS) for power in range(20)]


def test_one_slow_item_brings_it_back_to_one(clock: Clock) -> None:
    source = Source(taking(clock, 0.0, 0.0, 0.0, SLOW, 0.0))
    batches = []
    for _ in range(5):
        batches.append(source.batch)
        source.pull(source.batch)
    assert batches == [1, 2, 4, 1, 2]  # the slow one is the first of the third batch


def test_pull_of_less_than_a_batch_proves_nothing(clock: Clock) -> None:
    source = Source(taking(clock, 0.0))
    source.pull(1)
    source.pull(1)
    assert source.batch == 2


def test_list_is_taken_in_large_batches_however_slow(clock: Clock) -> None:
    source = Source(taking(clock, SLOW), total=10**6, may_block=False)
    assert source.batch == MOST_ITEMS
    source.pull(1)
    assert source.batch == MOST_ITEMS
    assert source.patience(1.0) == 0.0


# Patience


def test_new_source_waits_for_the_first_outcome_as_long_as_the_engine_needs(
    clock: Clock,
) -> None:
    source = Source(taking(clock, FAST))
    source.pull(1)
    assert source.patience(0.01) == pytest.approx(LEAST_PATIENCE_SECONDS + 0.03)
    assert source.patience(10.0) == MOST_PATIENCE_SECONDS


def test_proven_source_is_not_listened_for(clock: Clock) -> None:
    source = Source(taking(clock, FAST))
    patience = []
    for _ in range(PROVEN_PULLS):
        source.pull(1)
        patience.append(source.patience(0.0))
    assert patience == [LEAST_PATIENCE_SECONDS] * (PROVEN_PULLS - 1) + [0.0]


def test_slow_source_is_slowed_by_a_tenth_at_most(clock: Clock) -> None:
    source = Source(taking(clock, SLOW, 0.5, 100.0))
    for seconds in (SLOW, 0.5, 100.0):
        source.pull(1)
        listening = source.patience(0.0)
        least = max(LEAST_PATIENCE_SECONDS, seconds * LISTENING_SHARE)
        assert listening == pytest.approx(min(least, MOST_PATIENCE_SECONDS))


def test_source_that_turns_slow_is_to_be_proven_again(clock: Clock) -> None:
    source = Source(taking(clock, *[FAST] * PROVEN_PULLS, SLOW, FAST))
    for _ in range(PROVEN_PULLS + 1):
        source.pull(1)
    source.pull(1)
    assert source.patience(0.0) == LEAST_PATIENCE_SECONDS


# Asynchronous sources


async def letters(text: str, error: BaseException | None = None) -> AsyncIterator[str]:
    for letter in text:
        yield letter
    if error is not None:
        raise error


def test_async_pull_takes_as_many_as_asked_and_wakes_at_each() -> None:
    woken = []

    class Counting(Wakeup):
        def set(self) -> None:
            woken.append(list(source.pulled))

    source = Source(letters("abc"), is_async=True)
    asyncio.run(source.apull(2, Counting()))
    assert source.pulled == ["a", "b"]
    assert not source.is_exhausted
    assert woken[:2] == [["a"], ["a", "b"]]


def test_async_pull_sees_the_end_and_says_so() -> None:
    source, wakeup = Source(letters("abc"), is_async=True), Wakeup()
    asyncio.run(source.apull(9, wakeup))
    assert source.pulled == ["a", "b", "c"]
    assert source.is_exhausted
    assert source.error is None
    assert wakeup.is_set


def test_async_error_comes_after_the_items() -> None:
    error = OSError("net")
    source, wakeup = Source(letters("ab", error), is_async=True), Wakeup()
    asyncio.run(source.apull(9, wakeup))
    assert source.pulled == ["a", "b"]
    assert source.error is error
    assert wakeup.is_set


def test_cancelled_async_pull_keeps_what_was_pulled() -> None:
    async def stuck(is_there: asyncio.Event) -> AsyncIterator[str]:
        yield "a"
        is_there.set()
        await asyncio.Event().wait()
        yield "never"

    async def main() -> None:
        is_stuck = asyncio.Event()
        source, wakeup = Source(stuck(is_stuck), is_async=True), Wakeup()
        pulling = asyncio.create_task(source.apull(2, wakeup))
        await is_stuck.wait()
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
        assert source.pulled == ["a"]
        assert isinstance(source.error, RunClosedError)

    asyncio.run(main())


class Telling:
    """Items that say how many of them are there."""

    def __init__(self, *there: int) -> None:
        self.there = list(there)

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        return 7

    def available(self) -> int:
        if not self.there:
            raise OSError("gone")
        return self.there.pop(0)

    def fileno(self) -> int:
        return 5


def test_source_that_tells_is_asked_how_much_is_there() -> None:
    source = Source(iter(Telling(3, 0)))
    assert source.tells
    assert source.available(2) == 2
    assert source.available(2) == 0
    assert source.filenos() == (5,)
    assert not source.is_exhausted


def test_source_that_tells_is_closed_at_the_end_and_no_other() -> None:
    class Closing(Telling):
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

    told, items = Closing(3), (each for each in [1])
    Source(told).close()
    Source(Telling(3)).close()
    Source(items).close()
    assert told.is_closed
    assert next(items) == 1, "a generator is its owner's"


def test_source_that_cannot_tell_any_more_ends_with_its_error() -> None:
    source = Source(iter(Telling()))
    assert source.available(2) == 0
    assert source.is_exhausted
    assert isinstance(source.error, OSError)


def test_source_that_does_not_tell_has_whatever_is_asked() -> None:
    source = Source(iter([1]))
    assert not source.tells
    assert source.available(9) == 9
    assert source.filenos() == ()


def test_source_that_a_second_interrupt_struck_does_not_look_exhausted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    def struck_again(*_: object) -> None:
        raise KeyboardInterrupt

    source = Source(items())
    with monkeypatch.context() as patch:
        patch.setattr(source, "interrupt", struck_again)
        with pytest.raises(KeyboardInterrupt):
            source.pull(3)
    assert source.pulled == [1]
    source.pull(3)
    assert source.is_exhausted
    assert isinstance(source.error, RunClosedError)
