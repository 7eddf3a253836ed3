"""A shared value is sent to a worker once, read by all, and given back when nobody holds it."""

from __future__ import annotations

import gc
import os
import pickle
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift._work import shared
from gearshift.engines import ProcessExecutor

np = pytest.importorskip("numpy")

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = 1_000_000


@pytest.fixture(params=["fork", "exec"])
def engine(request: pytest.FixtureRequest) -> Iterator[ProcessExecutor]:
    with ProcessExecutor(2, start_method=request.param) as made:
        yield made


def megabytes(engine: ProcessExecutor) -> float:
    assert engine._pool is not None
    return os.fstat(engine._pool._arena.fd).st_blocks * 512 / 1e6


def test_value_is_the_very_object_where_memory_is_shared() -> None:
    table = {"a": 1}
    handle = gs.shared(table)
    assert handle.value is table
    assert list(gs.map(lambda _: handle.value is table, range(3), on="threads")) == [True] * 3
    assert "Shared" in repr(handle)


def test_array_lies_in_memory_once_for_all_runs_and_workers(engine: ProcessExecutor) -> None:
    handle = gs.shared(np.arange(LARGE))
    for _ in range(3):
        sums = list(gs.map(lambda n: int(handle.value[n:].sum()), range(6), on=engine, chunksize=1))
        assert sums[0] == LARGE * (LARGE - 1) // 2
        assert 8 <= megabytes(engine) < 8.5


def test_what_a_task_writes_nobody_else_sees() -> None:
    array = np.zeros(LARGE)
    handle = gs.shared(array)

    def write(number: int) -> tuple[int, float]:
        handle.value[number] += 1
        return os.getpid(), float(handle.value.sum())

    with ProcessExecutor(2) as engine:
        got = list(gs.map(write, range(20), on=engine, chunksize=1))
    for pid in {pid for pid, _ in got}:
        totals = sorted(total for each, total in got if each == pid)
        assert totals == list(range(1, len(totals) + 1))
    assert array.sum() == 0


def test_handles_travel_in_items_and_calls_too(engine: ProcessExecutor) -> None:
    handles = [gs.shared(np.full(LARGE, number)) for number in range(3)]

    def last(handle: gs.Shared[Any], number: int) -> int:
        return int(handle.value[-1]) + number

    items = [(handles[number % 3], number) for number in range(12)]
    got = list(gs.map(last, items, star=True, on=engine, chunksize=2))
    assert got == [number % 3 + number for number in range(12)]
    assert 24 <= megabytes(engine) < 26
    assert engine.submit(last, handles[2], 5).result() == 7


def test_memory_is_given_back_when_no_handle_is_left(engine: ProcessExecutor) -> None:
    def use() -> None:
        handle = gs.shared(np.ones(LARGE))
        list(gs.map(lambda n: handle.value[n], range(4), on=engine, chunksize=1))

    use()
    gc.collect()
    for _ in range(3):  # the workers are told with the next run, and tell with the one after it
        list(gs.map(abs, range(4), on=engine, chunksize=1))
    assert megabytes(engine) < 1


def test_replaced_worker_gets_it_too() -> None:
    handle = gs.shared(np.arange(LARGE))

    def use(number: int) -> int:
        if number == 3:
            os._exit(1)
        return int(handle.value[number])

    with ProcessExecutor(1) as engine:
        got = list(gs.map(use, range(8), on=engine, chunksize=1, errors="return"))
    assert isinstance(got[3], gs.Failure)
    assert [*got[:3], *got[4:]] == [0, 1, 2, 4, 5, 6, 7]


def fail(*_: object) -> Any:
    raise ValueError("not here")


class Stubborn:
    def __reduce__(self) -> tuple[Any, ...]:
        return fail, ()


def test_value_that_cannot_be_rebuilt_is_its_items_fault() -> None:
    handle = gs.shared(Stubborn())
    with ProcessExecutor(1) as engine:
        got: list[Any] = list(
            gs.map(lambda n: handle.value if n == 1 else n, range(3), on=engine, errors="return")
        )
    assert isinstance(got[1].exception, ValueError)
    assert [got[0], got[2]] == [0, 2]


def test_value_that_cannot_be_sent_says_so() -> None:
    handle = gs.shared(threading.Lock())
    with (
        ProcessExecutor(1) as engine,
        pytest.raises(gs.TransportError, match=r"a value of gs\.shared \(lock\)"),
    ):
        list(gs.map(lambda _: handle.value, range(3), on=engine))
    with pytest.raises(TypeError, match="lock"):
        pickle.dumps(handle)


def test_nested_pool_gets_it_from_the_workers_handle() -> None:
    handle = gs.shared(np.arange(LARGE))

    def outer(number: int) -> int:
        with ProcessExecutor(1) as inner:
            return sum(gs.map(lambda n: int(handle.value[n]), [number], on=inner))

    with ProcessExecutor(1) as engine:
        assert list(gs.map(outer, range(3), on=engine)) == [0, 1, 2]


def test_handle_pickles_with_its_value_and_is_rebuilt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_lately", {})
    data = [pickle.dumps(gs.shared([number])) for number in range(12)]
    first = pickle.loads(data[0])
    assert first.value == [0]
    assert pickle.loads(data[0]) is first
    assert pickle.loads(pickle.dumps(first)) is first
    for each in data[1:]:
        pickle.loads(each)
    assert pickle.loads(data[0]) is not first  # a few are kept


def test_small_python_values_are_shared_as_well(engine: ProcessExecutor) -> None:
    handle = gs.shared({"a": [1, 2]})
    assert list(gs.map(lambda _: handle.value["a"], range(3), on=engine)) == [[1, 2]] * 3


def look(job: tuple[gs.Shared[Any], int]) -> tuple[gs.Shared[Any], int]:
    job[0].value[0]
    return job


def total(job: tuple[gs.Shared[Any], int]) -> float:
    return float(job[0].value.sum())


@pytest.mark.parametrize("workers", [1, 2])
def test_handle_that_comes_back_from_a_task_is_as_good_as_the_first(workers: int) -> None:
    with ProcessExecutor(workers) as engine:
        handle = gs.shared(np.ones(LARGE))
        jobs = [(handle, number) for number in range(4)]
        del handle
        for _ in range(3):
            jobs = list(gs.map(look, jobs, on=engine))
            gc.collect()
            assert list(gs.map(total, jobs * 3, on=engine)) == [LARGE] * 12


def look_in_a_child(handle: gs.Shared[Any], path: str) -> None:
    value = handle.value
    if os.fork() == 0:
        until = time.monotonic() + 30
        while not Path(path + ".gate").exists() and time.monotonic() < until:
            time.sleep(0.005)
        Path(path).write_text(f"{value[0]} {value[-1]}")
        os._exit(0)


@pytest.mark.parametrize("ends", ["the pool", "the worker and the handle"])
def test_child_of_a_task_goes_on_reading_when_nobody_else_does(tmp_path: Path, ends: str) -> None:
    path = str(tmp_path / "read")
    most = 1 if ends != "the pool" else None
    with ProcessExecutor(1, max_tasks_per_worker=most) as engine:
        handle = gs.shared(np.full(LARGE, 7.0))
        list(gs.map(partial(look_in_a_child, path=path), [handle], on=engine))
        if ends != "the pool":
            del handle
            gc.collect()
            for _ in range(3):
                list(gs.map(abs, [1, 2], on=engine))
            Path(path + ".gate").touch()
            wait_for(path)
    Path(path + ".gate").touch()
    assert wait_for(path) == "7.0 7.0"


def wait_for(path: str) -> str:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if Path(path).exists() and (text := Path(path).read_text()):
            return text
        time.sleep(0.005)
    pytest.fail("nothing was read")


def test_submitted_calls_let_go_of_what_they_shared() -> None:
    with ProcessExecutor(1) as engine:
        for number in range(8):
            handle = gs.shared(np.full(LARGE, number))
            assert engine.submit(total, (handle, 0)).result() == number * LARGE
            del handle
            gc.collect()
            assert megabytes(engine) < 25  # the last three


def test_value_of_an_item_that_cannot_be_sent_is_its_fault() -> None:
    good, bad = gs.shared(1), gs.shared(threading.Lock())
    with ProcessExecutor(1) as engine:
        got: list[Any] = list(
            gs.map(lambda h: h.value, [good, bad, good], on=engine, errors="return")
        )
    assert [got[0], got[2]] == [1, 1]
    assert got[1].index == 1
    assert isinstance(got[1].exception, gs.TransportError)
