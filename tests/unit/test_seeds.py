"""Seeds of items: pinned, since a changed one would change every run that anybody repeats."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift._work.run_chunk import ChunkRun, ItemCall, Task
from gearshift._work.scope import Scope
from gearshift._work.seeds import item_seed, mix
from gearshift.facts import Chunk


@pytest.mark.parametrize(
    ("seed", "index", "expected"),
    [
        (42, 0, 0x6C9D0CB87410E28E186005BC3255862E),
        (42, 1, 0xECC8F7D16980350E116284D6D7E43434),
        (0, 0, 0x4ED7460B34892C701A52C03B323FC696),
        (-1, 10**12, 0xB13043633873EE1ECDCA3CA369F7C861),
        (2**128, 7, 0x67A8E31EB374EF7328ADDDC049CF69F0),
    ],
)
def test_seed_of_an_item_never_changes(seed: int, index: int, expected: int) -> None:
    assert mix(seed, index) == expected


@given(st.integers(), st.integers(0))
def test_seed_has_128_bits(seed: int, index: int) -> None:
    assert 0 <= mix(seed, index) < 2**128


@given(st.tuples(st.integers(), st.integers(0)), st.tuples(st.integers(), st.integers(0)))
def test_seeds_are_as_good_as_unique(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (mix(*one) == mix(*other)) == (one == other)


def test_neighbours_share_nothing() -> None:
    # with seed + index, runs seeded 1 and 2 would share all items but one
    first = {mix(1, index) for index in range(1000)}
    second = {mix(2, index) for index in range(1000)}
    assert len(first) == len(second) == 1000
    assert not first & second


def test_task_asks_for_its_own() -> None:
    task = Task(lambda _: item_seed(), seed=42)
    run = ChunkRun(task, Chunk(5, "abc"), Scope(), copy_context())
    run.advance()
    settled = run.take()
    assert settled is not None
    assert list(settled.values) == [mix(42, 5), mix(42, 6), mix(42, 7)]


def test_coroutine_asks_for_its_own() -> None:
    async def function(_: object) -> int:
        await asyncio.sleep(0)
        return item_seed()

    task = Task(function, seed=42)
    settled = asyncio.run(ItemCall(task, 5, "a", Scope()).run())
    assert list(settled.values) == [mix(42, 5)]


def test_there_is_none_outside_a_task() -> None:
    with pytest.raises(RuntimeError, match="outside a task: call it inside the function"):
        item_seed()


def test_there_is_none_in_a_run_without_a_seed() -> None:
    run = ChunkRun(Task(lambda _: item_seed()), Chunk(0, "a"), Scope(), copy_context())
    run.advance()
    settled = run.take()
    assert settled is not None
    assert isinstance(settled.failed[0].exception, RuntimeError)
    assert "seed=42" in str(settled.failed[0].exception)
