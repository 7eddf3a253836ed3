"""What the documentation of `concurrent.futures` promises holds on our pool as on the standard one.

Each test runs on both, so that it tests the promise and not our reading of it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import multiprocessing
import os
import threading
import time
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
)
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift.engines import ProcessExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 30.0
Make = partial[Executor]
FORK = multiprocessing.get_context("fork")
POOLS = {
    "ours": partial(ProcessExecutor, mp_context=FORK),
    "theirs": partial(ProcessPoolExecutor, mp_context=FORK),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),  # theirs, from 3.12 on
]


@pytest.fixture(params=list(POOLS.values()), ids=list(POOLS))
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def pool(make: Callable[..., Executor]) -> Iterator[Executor]:
    with make(2) as executor:
        yield executor


def wait_for(path: str) -> str:
    until = time.monotonic() + PATIENCE
    while not os.path.exists(path) and time.monotonic() < until:  # noqa: PTH110 - in a worker
        time.sleep(0.002)
    return path


def fail(item: int) -> int:
    if item % 5 == 3:
        raise ValueError(f"no {item}")
    return item


def touch(path: str) -> None:
    with open(path, "w", encoding="utf-8"):  # noqa: PTH123
        pass


def add(left: int, right: int = 10) -> int:
    return left + right


# submit and Future


def test_submit_schedules_a_call_with_its_arguments(pool: Executor) -> None:
    future = pool.submit(add, 1, right=2)
    assert isinstance(future, Future)
    assert future.result() == 3
    assert future.done()
    assert not future.running()
    assert not future.cancelled()
    assert future.exception() is None


def test_exception_of_the_call_has_the_workers_traceback_as_its_cause(pool: Executor) -> None:
    future = pool.submit(fail, 3)
    with pytest.raises(ValueError, match="no 3") as caught:
        future.result()
    assert future.exception() is caught.value
    assert "in fail" in str(caught.value.__cause__)


def test_result_waits_so_long_and_no_longer(pool: Executor, tmp_path: Any) -> None:
    future = pool.submit(wait_for, str(tmp_path / "gate"))
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.05)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0)
    (tmp_path / "gate").touch()
    assert future.result(PATIENCE) == str(tmp_path / "gate")


def test_call_that_runs_or_has_ended_cannot_be_cancelled(pool: Executor, tmp_path: Any) -> None:
    future = pool.submit(wait_for, str(tmp_path / "gate"))
    while not future.running():
        time.sleep(0.001)
    assert not future.cancel()
    (tmp_path / "gate").touch()
    future.result(PATIENCE)
    assert not future.cancel()


def test_call_that_waits_can_be_cancelled(pool: Executor, tmp_path: Any) -> None:
    futures = [pool.submit(wait_for, str(tmp_path / "gate")) for _ in range(20)]
    last = futures[-1]
    called: list[Future[str]] = []
    last.add_done_callback(called.append)
    assert last.cancel()
    assert last.cancelled()
    assert last.done()
    assert called == [last]
    with pytest.raises(CancelledError):
        last.result()
    with pytest.raises(CancelledError):
        last.exception()
    (tmp_path / "gate").touch()
    done, left = concurrent.futures.wait(futures, PATIENCE)
    assert last in done
    assert not left


def test_callbacks_are_called_in_order_and_what_they_raise_is_logged(
    pool: Executor, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    future = pool.submit(wait_for, str(tmp_path / "gate"))
    called: list[Any] = []

    def explode(_future: Future[str]) -> None:
        raise RuntimeError("a callback's own")

    future.add_done_callback(lambda each: called.append((1, each)))
    future.add_done_callback(explode)
    future.add_done_callback(lambda each: called.append((2, each)))
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        (tmp_path / "gate").touch()
        future.result(PATIENCE)
        until = time.monotonic() + PATIENCE
        while len(called) < 2 and time.monotonic() < until:
            time.sleep(0.001)
    assert called == [(1, future), (2, future)]
    assert "exception calling callback" in caplog.text
    future.add_done_callback(lambda each: called.append((3, each)))  # at once: it is done
    assert called[-1] == (3, future)
    caplog.clear()  # the traceback there holds the pool


# map


def test_map_gives_values_in_order_and_takes_its_inputs_at_once(pool: Executor) -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for item in range(20):
            taken.append(item)
            yield item

    values = pool.map(add, source(), range(100, 200))
    assert taken == list(range(20))
    assert list(values) == [100 + 2 * item for item in range(20)]


@pytest.mark.parametrize("chunksize", [1, 2, 7, 100])
def test_map_gives_the_same_in_chunks(pool: Executor, chunksize: int) -> None:
    assert list(pool.map(add, range(50), range(50), chunksize=chunksize)) == [
        2 * item for item in range(50)
    ]
    assert list(pool.map(add, [], chunksize=chunksize)) == []


def test_map_refuses_a_chunk_of_nothing(pool: Executor) -> None:
    with pytest.raises(ValueError, match="chunksize"):
        pool.map(add, range(3), chunksize=0)


def test_map_raises_an_exception_when_its_value_is_asked_for(pool: Executor) -> None:
    values = pool.map(fail, range(10))
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no 3") as caught:
        next(values)
    assert "in fail" in str(caught.value.__cause__)


def test_our_map_gives_what_comes_before_an_exception_in_its_chunk() -> None:
    with ProcessExecutor(2) as pool:
        values = pool.map(fail, range(10), chunksize=5)
        assert [next(values) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="no 3") as caught:
            next(values)
        assert "in fail" in str(caught.value.__cause__)


@pytest.mark.parametrize("chunksize", [1, 2])
def test_map_has_a_time_by_which_each_value_is_there(
    pool: Executor, tmp_path: Any, chunksize: int
) -> None:
    gate = str(tmp_path / "gate")
    values = pool.map(wait_for, [__file__, __file__, gate], timeout=0.5, chunksize=chunksize)
    assert [next(values), next(values)] == [__file__, __file__]
    with pytest.raises(TimeoutError):
        next(values)
    touch(gate)


def test_map_that_is_left_cancels_what_waits(make: Callable[..., Executor], tmp_path: Any) -> None:
    with make(1) as pool:
        gates = [tmp_path / str(number) for number in range(50)]
        values = pool.map(wait_for, [__file__, *map(str, gates)])
        assert next(values) == __file__
        values.close()  # type: ignore[attr-defined]
        for gate in gates[:8]:  # which may be with the worker already
            gate.touch()


# wait and as_completed


def test_wait_returns_when_it_was_asked_to(pool: Executor, tmp_path: Any) -> None:
    slow: Any = pool.submit(wait_for, str(tmp_path / "gate"))
    quick: Any = pool.submit(add, 1)
    done, left = concurrent.futures.wait([slow, quick], PATIENCE, FIRST_COMPLETED)
    assert (done, left) == ({quick}, {slow})
    failing: Any = pool.submit(fail, 3)
    done, left = concurrent.futures.wait([slow, failing], PATIENCE, FIRST_EXCEPTION)
    assert (done, left) == ({failing}, {slow})
    done, left = concurrent.futures.wait([slow], 0.01, ALL_COMPLETED)
    assert (done, left) == (set(), {slow})
    (tmp_path / "gate").touch()
    assert concurrent.futures.wait([slow, quick, failing], PATIENCE).not_done == set()


def test_as_completed_gives_futures_as_they_end(pool: Executor, tmp_path: Any) -> None:
    slow: Any = pool.submit(wait_for, str(tmp_path / "gate"))
    quick: Any = pool.submit(add, 1)
    ended = concurrent.futures.as_completed([slow, quick, quick], PATIENCE)
    assert next(ended) is quick
    (tmp_path / "gate").touch()
    assert list(ended) == [slow]  # quick was given twice, and comes once
    never = pool.submit(wait_for, str(tmp_path / "other"))
    with pytest.raises(TimeoutError):
        next(concurrent.futures.as_completed([never], 0.05))
    (tmp_path / "other").touch()


# The end


def test_leaving_with_waits_for_what_was_submitted(make: Callable[..., Executor]) -> None:
    with make(2) as pool:
        futures = [pool.submit(add, item) for item in range(50)]
    assert all(future.done() for future in futures)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(add, 1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(add, [1])


def test_shutdown_without_waiting_lets_what_was_submitted_end(
    make: Callable[..., Executor], tmp_path: Any
) -> None:
    pool = make(1)
    futures = [pool.submit(wait_for, str(tmp_path / "gate")) for _ in range(8)]
    started = time.monotonic()
    pool.shutdown(wait=False)
    assert time.monotonic() - started < 5
    (tmp_path / "gate").touch()
    assert [future.result(PATIENCE) for future in futures] == [str(tmp_path / "gate")] * 8
    pool.shutdown()


def test_shutdown_may_cancel_what_waits(make: Callable[..., Executor], tmp_path: Any) -> None:
    pool = make(1)
    futures = [pool.submit(wait_for, str(tmp_path / "gate")) for _ in range(20)]
    while not futures[0].running():
        time.sleep(0.001)
    opener = threading.Timer(0.3, (tmp_path / "gate").touch)
    opener.start()
    pool.shutdown(wait=True, cancel_futures=True)
    opener.join()
    assert futures[0].result(0) == str(tmp_path / "gate")
    assert futures[-1].cancelled()
    assert all(future.done() for future in futures)


def end_worker(_item: int) -> None:
    os._exit(5)


def test_death_of_a_worker_is_a_broken_executor(make: Callable[..., Executor]) -> None:
    with make(1) as pool:
        error = pool.submit(end_worker, 1).exception(PATIENCE)
        assert isinstance(error, BrokenExecutor)
        assert isinstance(
            error, BrokenProcessPool if make is POOLS["theirs"] else gs.WorkerDiedError
        )


def test_our_pool_goes_on_after_a_death() -> None:
    with ProcessExecutor(2) as pool:
        futures = [pool.submit(add, item) for item in range(20)]
        dead = pool.submit(end_worker, 1)
        more = [pool.submit(add, item) for item in range(20)]
        assert isinstance(dead.exception(PATIENCE), gs.WorkerDiedError)
        assert [each.result(PATIENCE) for each in futures + more] == [*range(10, 30)] * 2


def refuse() -> None:
    raise OSError("no licence")


def test_initializer_that_raises_breaks_the_executor(make: Callable[..., Executor]) -> None:
    with make(1, initializer=refuse) as pool:
        error = pool.submit(add, 1).exception(PATIENCE)
        assert isinstance(error, BrokenExecutor)
        with pytest.raises(BrokenExecutor):
            pool.submit(add, 1)


def test_event_loop_may_run_calls_there(pool: Executor) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(pool, add, item) for item in range(9)))

    assert asyncio.run(main()) == list(range(10, 19))
