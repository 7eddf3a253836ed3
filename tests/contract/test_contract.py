"""All promises on all engines; and what auto adds to them, the shift in the middle of a run."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift.engines import (
    AsyncioExecutor,
    ProcessExecutor,
    SerialExecutor,
    ThreadExecutor,
)
from gearshift.host import cores
from gearshift.testing import _tasks, contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gearshift.engines import Job, Lane, Wakeup
    from gearshift.facts import Returned, Settled, Traits


def foreign_processes() -> contract.OwnedEngine:
    return contract.OwnedEngine(ProcessPoolExecutor(2, multiprocessing.get_context("fork")))


ENGINES: dict[str, contract.MakeEngine] = {
    "serial": SerialExecutor,
    "threads": lambda: ThreadExecutor(3),
    "asyncio": lambda: AsyncioExecutor(4),
    "processes": lambda: ProcessExecutor(2),
    "foreign-threads": lambda: contract.OwnedEngine(ThreadPoolExecutor(3)),
    "foreign-processes": foreign_processes,
}


@pytest.mark.parametrize("make_engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize(
    "check",
    contract.CHECKS,
    ids=[check.__name__.removeprefix("check_") for check in contract.CHECKS],
)
def test_engine_keeps_the_promise(
    check: Callable[[contract.MakeEngine], None], make_engine: contract.MakeEngine
) -> None:
    check(make_engine)


# A suite that lets anything pass is none.


class ForgetfulLane:
    """Gives news once, acknowledged or not."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lane, name)

    def poll(self) -> Sequence[Settled | Returned]:
        news = list(self._lane.poll())
        self._lane.ack(len(news))
        return news

    def ack(self, count: int) -> None:
        pass


class ForgetfulEngine(ThreadExecutor):
    def open(self, job: Job, wakeup: Wakeup) -> Any:
        return ForgetfulLane(super().open(job, wakeup))


class BoastfulEngine(SerialExecutor):
    @property
    def traits(self) -> Traits:
        return replace(super().traits, stops="cancel", resizable=True)


class StaleEngine(ThreadExecutor):
    """Gives every run the values of the first item."""

    def open(self, job: Job, wakeup: Wakeup) -> Any:
        return super().open(replace(job, function=lambda _: job.function(1)), wakeup)


@pytest.mark.parametrize(
    ("check", "make_engine"),
    [
        (contract.check_lanes_keep_news_until_acknowledged, ForgetfulEngine),
        (contract.check_traits_are_coherent, BoastfulEngine),
        (contract.check_resize_changes_the_workers, BoastfulEngine),
        (contract.check_many_items_in_chunks, StaleEngine),
        (contract.check_a_raised_error_ends_the_run_at_its_turn, StaleEngine),
        (contract.check_every_kind_of_callable_runs, StaleEngine),
    ],
    ids=lambda value: value.__name__,
)
def test_broken_engine_is_found_out(
    check: Callable[[contract.MakeEngine], None], make_engine: contract.MakeEngine
) -> None:
    with pytest.raises((AssertionError, gs.UnsupportedError)):
        check(make_engine)


def test_public_names_of_the_contract_are_its_checks() -> None:
    names = [check.__name__ for check in contract.CHECKS]
    assert sorted(names) == sorted(name for name in contract.__all__ if name.startswith("check_"))


# Auto runs the first items itself, then shifts to one of the engines above.


def wait_a_little(number: int) -> int:
    time.sleep(0.003)
    return number * number


def compute_a_little(number: int) -> int:
    return number * number + 0 * sum(range(60_000))


def fail_at_fifty(number: int) -> int:
    time.sleep(0.003)
    if number == 50:
        raise ValueError("fifty")
    return number


def seed_after_a_wait(number: int) -> int:
    time.sleep(0.003)
    return gs.item_seed()


SQUARES = [number * number for number in range(100)]


@pytest.mark.parametrize("ordered", [True, False])
def test_auto_gives_each_value_once_when_it_shifts_to_threads(ordered: bool) -> None:
    with gs.map(wait_a_little, range(100), ordered=ordered) as run:
        values = list(run)
    assert (values if ordered else sorted(values)) == SQUARES
    assert run.report.engine == "threads"
    assert run.report.items == run.report.succeeded == 100


@pytest.mark.slow
@pytest.mark.skipif(cores() < 2, reason="one core leaves nothing to gain from processes")
def test_auto_gives_each_value_once_when_it_shifts_to_processes() -> None:
    with gs.map(compute_a_little, range(1000)) as run:
        assert list(run) == [number * number for number in range(1000)]
    assert run.report.engine == "processes", run.report.reasons


def test_auto_stays_where_little_is_to_do() -> None:
    with gs.map(abs, range(1000)) as run:
        assert list(run) == list(range(1000))
    assert run.report.engine == "serial"


def test_auto_raises_an_error_at_its_turn_after_the_shift() -> None:
    values: list[int] = []
    with (
        gs.map(fail_at_fifty, range(100)) as run,
        pytest.raises(ValueError, match="fifty") as caught,
    ):
        values.extend(run)
    assert values == list(range(50))
    assert caught.value.__notes__ == ["gearshift: item 50 (50) on engine threads"]


def test_auto_gives_the_same_seeds_before_and_after_the_shift() -> None:
    with gs.map(seed_after_a_wait, range(40), seed=3) as run:
        seeds = list(run)
    assert run.report.engine == "threads"
    assert seeds == list(gs.map(_tasks.seed_of, range(40), on="serial", seed=3))


def test_auto_takes_a_lazy_source_lazily() -> None:
    pulled = []

    def source() -> Iterator[int]:
        for number in itertools.count():
            pulled.append(number)
            yield number

    with gs.map(wait_a_little, source(), buffersize=8) as run:
        assert list(itertools.islice(run, 60)) == SQUARES[:60]
    assert len(pulled) <= 60 + 8


def test_auto_runs_coroutine_functions_on_the_running_loop() -> None:
    loops = set()

    async def square(number: int) -> int:
        loops.add(asyncio.get_running_loop())
        return number * number

    async def main() -> list[int]:
        values = [value async for value in gs.map(square, range(100))]
        assert loops == {asyncio.get_running_loop()}
        return values

    assert asyncio.run(main()) == SQUARES
    assert list(gs.map(square, range(100))) == SQUARES


def test_auto_runs_no_plain_function_on_the_loops_thread() -> None:
    here = threading.get_ident()

    async def main() -> None:
        async for where in gs.map(lambda _: threading.get_ident(), range(50)):
            assert where != here

    asyncio.run(main())


def test_auto_closes_the_tools_of_both_engines(tmp_path: Path) -> None:
    log = _tasks.Log(tmp_path / "log")
    handle = gs.per_worker(partial(_tasks.Tool, log))

    def use(number: int) -> int:
        handle()
        return wait_a_little(number)

    with gs.map(use, range(100)) as run:
        assert list(run) == SQUARES
    assert run.report.engine == "threads"
    lines = [line.split() for line in log.lines]
    made = sorted(name for word, name in lines if word == "made")
    closed = sorted(name for word, name in lines if word == "closed")
    assert len(made) > 1
    assert closed == made
