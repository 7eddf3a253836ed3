"""Arrays to and from worker processes: whole, writable, nobody else's, and no memory lost."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import threading
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift._work.pickling import LARGE_BYTES
from gearshift.engines import ProcessExecutor
from gearshift.engines.processes import slots
from gearshift.engines.processes.arena import Arena
from gearshift.engines.processes.slots import Inbox, Outbox

np = pytest.importorskip("numpy")

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs memfd_create")

LARGE = 4 * LARGE_BYTES // 8  # numbers


@pytest.fixture(params=["fork", "exec"])
def engine(request: pytest.FixtureRequest) -> Iterator[ProcessExecutor]:
    with ProcessExecutor(2, start_method=request.param) as made:
        yield made


def arena_of(engine: ProcessExecutor) -> Arena:
    assert engine._pool is not None
    return engine._pool._arena


def megabytes(arena: Arena) -> float:
    return os.fstat(arena.fd).st_blocks * 512 / 1e6


def numbers(value: float, count: int = LARGE) -> Any:
    return np.full(count, float(value))


def add_one(array: Any) -> Any:
    return array + 1


def itself(item: Any) -> Any:
    return item


def facts_of(array: Any) -> tuple[Any, ...]:
    array.flat[0] = array.flat[0]
    return array.shape, str(array.dtype), array.flags.f_contiguous, array.ctypes.data % 64


class Tagged(np.ndarray):  # type: ignore[misc, name-defined]
    pass


class Holder:
    def __init__(self, array: Any) -> None:
        self.array = array


KINDS: dict[str, Any] = {
    "one dimension": lambda: numbers(3),
    "two": lambda: numbers(3).reshape(64, -1),
    "Fortran": lambda: np.asfortranarray(np.arange(LARGE).reshape(64, -1)),
    "every second": lambda: np.arange(2 * LARGE)[::2],
    "read only": lambda: np.frombuffer(bytes(range(256)) * 2048, np.uint8),
    "structured": lambda: np.zeros(LARGE, [("a", "i4"), ("b", "f8")]),
    "text": lambda: np.full(LARGE, "gear"),
    "objects": lambda: np.array([{1: 2}, None, "x"] * 1000, dtype=object),
    "subclass": lambda: numbers(3).view(Tagged),
    "empty": lambda: np.zeros((0, 5)),
    "small": lambda: np.arange(3),
    "complex": lambda: numbers(3) * 1j,
    "dates": lambda: np.arange(LARGE).astype("datetime64[s]"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_array_comes_there_and_back_as_it_is(kind: str) -> None:
    array = KINDS[kind]()
    with ProcessExecutor(1) as engine:
        for items in ([array], [array, array], [array, 1, {"deep": (array, [array])}]):
            (first, *_) = back = list(gs.map(itself, items, on=engine, chunksize=3))
            assert type(first) is type(array)
            assert first.dtype == array.dtype
            if array.flags.forc:
                assert first.flags.f_contiguous == array.flags.f_contiguous
            np.testing.assert_array_equal(first, array)
            if len(back) == 3:
                assert back[1] == 1
                np.testing.assert_array_equal(back[2]["deep"][1][0], array)


def test_arrays_are_writable_and_aligned_on_both_sides(engine: ProcessExecutor) -> None:
    arrays = [numbers(item, LARGE + item) for item in range(6)]
    for shape, *_, beyond in gs.map(facts_of, arrays, on=engine, chunksize=3):
        assert shape[0] >= LARGE
        assert beyond == 0
    for array in gs.map(add_one, arrays, on=engine):
        array[:] = 2
        assert array.ctypes.data % 64 == 0
    assert [array[0] for array in arrays] == list(range(6))


def test_instance_that_holds_arrays_travels_too(engine: ProcessExecutor) -> None:
    items = [Holder(numbers(item)) for item in range(5)]
    for item, back in enumerate(gs.map(itself, items, on=engine, chunksize=2)):
        assert (back.array == item).all()


def test_submitted_calls_take_arrays(engine: ProcessExecutor) -> None:
    assert (engine.submit(np.add, numbers(1), numbers(2)).result() == 3).all()


def test_stream_of_arrays_uses_the_same_memory_again(engine: ProcessExecutor) -> None:
    arrays = (numbers(item) for item in range(300))
    # In order, results would wait in memory for a first one whose worker is slow to start.
    for _ in gs.map(add_one, arrays, on=engine, chunksize=2, ordered=False):
        pass
    size = numbers(0).nbytes / 1e6
    assert megabytes(arena_of(engine)) < 300 * size  # 600 went through


def test_slot_is_used_again_only_when_the_last_view_has_gone(engine: ProcessExecutor) -> None:
    kept = [array[5:10] for array in gs.map(add_one, map(numbers, range(30)), on=engine)]
    for _ in range(3):
        list(gs.map(add_one, map(numbers, range(100, 130)), on=engine))
    assert [list(view) for view in kept] == [[item + 1.0] * 5 for item in range(30)]


def test_results_outlive_the_pool_and_then_all_memory_is_given_back() -> None:
    with ProcessExecutor(2) as engine:
        kept = list(gs.map(add_one, map(numbers, range(20)), on=engine))
        arena = arena_of(engine)
    assert all((array == item + 1).all() for item, array in enumerate(kept))
    assert megabytes(arena) < 1.1 * sum(array.nbytes for array in kept) / 1e6
    kept[3] += 1
    kept = kept[3:4]
    gc.collect()
    assert megabytes(arena) < 0.7  # it shared a slot with three others at most
    assert (kept[0] == 5).all()
    del kept
    gc.collect()
    assert arena.fd == -1


def test_idle_workers_give_memory_back() -> None:
    with ProcessExecutor(2) as engine:
        list(gs.map(add_one, map(numbers, range(40)), on=engine))
        list(gs.map(abs, [1, 2], on=engine, chunksize=1))  # so that they are told what is free
        for _ in range(100):
            if megabytes(arena_of(engine)) < 42 * numbers(0).nbytes / 1e6:  # of 80
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"{megabytes(arena_of(engine))} MB are still kept")


def test_fork_has_arrays_of_its_own() -> None:
    with ProcessExecutor(2) as engine:
        kept = list(gs.map(add_one, map(numbers, range(6)), on=engine))
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            kept[0][:] = -1  # must not reach the parent
            os.read(told, 1)
            right = all((array == item + 1).all() for item, array in enumerate(kept) if item)
            os._exit(0 if right and (kept[0] == -1).all() else 1)
        assert (kept[0] == 1).all()
        kept[1][:] = -2  # must not reach the child
        del kept[2:]
        for _ in range(5):  # nor what comes to lie where the others were
            list(gs.map(add_one, map(numbers, range(100, 120)), on=engine))
        os.write(tell, b"x")
        _, status = os.waitpid(child, 0)
        os.close(told)
        os.close(tell)
        assert status == 0


KEPT: list[Any] = []


def keep(array: Any) -> list[float]:
    KEPT.append(array)
    return [float(each[-1]) for each in KEPT]


def test_task_may_keep_its_item() -> None:
    with ProcessExecutor(1) as engine:
        *_, last = gs.map(keep, map(numbers, range(20)), on=engine, chunksize=1)
    assert last == list(map(float, range(20)))


def double_in_a_child(array: Any) -> Any:
    child = os.fork()
    if child == 0:
        array *= 2
        os._exit(0 if (array == array[0]).all() else 1)
    _, status = os.waitpid(child, 0)
    return array, status


def test_child_of_a_task_has_arrays_of_its_own() -> None:
    with ProcessExecutor(1) as engine:
        for item, (array, status) in enumerate(
            gs.map(double_in_a_child, map(numbers, range(5)), on=engine)
        ):
            assert status == 0
            assert (array == item).all()


def die_at_seven(array: Any) -> Any:
    if array[0] == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return array + 1


def test_dead_worker_costs_its_item_and_no_memory() -> None:
    with ProcessExecutor(2) as engine:
        for _ in range(3):
            got = list(
                gs.map(
                    die_at_seven,
                    map(numbers, range(20)),
                    on=engine,
                    chunksize=4,
                    errors="return",
                )
            )
            assert isinstance(got[7].exception, gs.WorkerDiedError)
            for item in {*range(20)} - {7}:
                np.testing.assert_array_equal(got[item], item + 1)
        del got
        size = numbers(0).nbytes / 1e6
        assert megabytes(arena_of(engine)) < 70 * size


def nest(array: Any) -> Any:
    with ProcessExecutor(1) as inner:
        (back,) = gs.map(add_one, [array], on=inner)
    return back


def test_nested_pools_pass_arrays_on(engine: ProcessExecutor) -> None:
    back = list(gs.map(nest, map(numbers, range(3)), on=engine))
    assert [array[-1] for array in back] == [1, 2, 3]


def test_arrays_go_through_the_pipe_where_there_is_no_shared_memory() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, hard))
    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            ProcessExecutor(2, start_method="fork") as engine,
        ):
            warnings.simplefilter("always")
            for _ in range(2):
                back = list(gs.map(add_one, map(numbers, range(9)), on=engine, chunksize=2))
                assert [array[-1] for array in back] == [item + 1.0 for item in range(9)]
                back[0] += 1
            holders = list(gs.map(itself, [Holder(numbers(3))], on=engine))
            assert (holders[0].array == 3).all()
        (warning,) = caught
        assert "no shared memory" in str(warning.message)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Sink:
    path = ""

    def __init__(self) -> None:
        self.parts: list[Any] = []

    def close(self) -> None:
        time.sleep(0.2)
        Path(Sink.path).write_text(" ".join(str(part[0]) for part in self.parts))


sink = gs.per_worker(Sink)


def keep_in_sink(array: Any, path: str) -> None:
    Sink.path = path
    sink().parts.append(array)


@pytest.mark.parametrize("wait", [True, False])
def test_worker_may_look_at_its_items_while_it_ends(tmp_path: Path, *, wait: bool) -> None:
    path = tmp_path / "sink"
    engine = ProcessExecutor(1)
    list(gs.map(partial(keep_in_sink, path=str(path)), map(numbers, range(1, 5)), on=engine))
    engine.shutdown(wait=wait)
    until = time.monotonic() + 10
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.1)
    assert path.read_text() == "1.0 2.0 3.0 4.0"
    engine.shutdown()


def test_no_memory_for_a_result_is_its_items_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Any:
        raise MemoryError("no room")

    with ProcessExecutor(1) as engine:
        assert list(gs.map(abs, [-1], on=engine)) == [1]
        with monkeypatch.context() as patched:
            patched.setattr(Inbox, "_memory", fail)
            got = list(gs.map(add_one, map(numbers, range(3)), on=engine, errors="return"))
        assert [type(each.exception) for each in got] == [MemoryError] * 3
        for _ in range(3):
            back = list(gs.map(add_one, map(numbers, range(5)), on=engine))
            assert [array[-1] for array in back] == [1, 2, 3, 4, 5]


def test_no_memory_to_send_an_item_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **_options: object) -> Any:
        raise MemoryError("no room")

    with ProcessExecutor(1) as engine:
        assert list(gs.map(abs, [-1], on=engine)) == [1]
        with monkeypatch.context() as patched:
            patched.setattr(Outbox, "place", fail)
            with pytest.raises(MemoryError):
                list(gs.map(add_one, map(numbers, range(3)), on=engine))
        back = list(gs.map(add_one, map(numbers, range(5)), on=engine))
        assert [array[-1] for array in back] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("way", ["items", "results"])
def test_warning_as_an_error_costs_the_run_and_not_the_engine(way: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, hard))
    try:
        with ProcessExecutor(1) as engine, warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            function, items = (
                (len, map(numbers, range(3))) if way == "items" else (numbers, range(3))
            )
            with pytest.raises(RuntimeWarning, match="no shared memory"):
                list(gs.map(function, items, on=engine))
            assert list(gs.map(len, map(numbers, range(3)), on=engine)) == [LARGE] * 3
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_more_results_than_the_kernel_has_mappings_are_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slots, "_MOST_LIVE", 20)
    with ProcessExecutor(2) as engine:
        kept = list(gs.map(add_one, map(numbers, range(60)), on=engine, chunksize=1))
        assert engine._pool is not None
        assert len(arena_of(engine)._live) <= 20
        assert [array[-1] for array in kept] == [item + 1.0 for item in range(60)]


def test_interrupt_while_results_are_freed_is_not_swallowed() -> None:
    with ProcessExecutor(1) as engine:
        kept = list(gs.map(np.ones, [4_000_000] * 12, on=engine))
    lost = 0
    while kept:
        timer = threading.Timer(0.0005, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            kept.pop()
            timer.join()
            time.sleep(0.02)
        except KeyboardInterrupt:
            timer.join()
        else:
            lost += 1
    assert lost == 0


def test_start_without_descriptors_leaves_none_behind() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    engine = ProcessExecutor(2)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 3, hard))
    try:
        with pytest.raises(OSError, match="open files"):
            list(gs.map(abs, [-1], on=engine))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert list(gs.map(abs, [-1], on=engine)) == [1]
    engine.shutdown()


def placed_in(arena: Arena, value: int) -> tuple[Outbox, Any]:
    import pickle

    outbox = Outbox(arena, 0, kept_bytes=1 << 20)
    placed, inline = outbox.place([pickle.PickleBuffer(bytes([value]) * 100_000)], 0)
    assert not inline
    return outbox, placed


def test_buffers_are_read_where_they_cannot_be_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    arena = Arena.make()
    _, placed = placed_in(arena, 7)
    inbox = Inbox(arena, 0, kept_bytes=1 << 20)

    def fail(*_: object, **_options: object) -> int:
        raise OSError("no room")

    monkeypatch.setattr(Arena, "map", fail)
    (view,) = inbox.views(placed, b"")
    assert bytes(view) == b"\x07" * 100_000
    assert inbox.take_freed() == (placed[0].offset,)
    arena.close()


def test_memory_that_nobody_uses_is_bounded() -> None:
    arena = Arena.make()
    outbox = Outbox(arena, 0, kept_bytes=1 << 20)
    import pickle

    placed = [outbox.place([pickle.PickleBuffer(bytes(400_000))], 0)[0][0] for _ in range(10)]
    assert megabytes(arena) >= 4
    outbox.free([each.offset for each in placed])
    assert megabytes(arena) <= 1.1
    assert outbox.keeps_memory
    outbox.trim()
    assert megabytes(arena) == 0
    again, _ = outbox.place([pickle.PickleBuffer(b"x" * 400_000)], 0)
    assert again[0].offset in {each.offset for each in placed}
    outbox.close()
    arena.close()


class Large:
    """Not of a built-in type; makes its process large when it is rebuilt."""

    def __init__(self, count: int) -> None:
        self.ballast = bytearray(count)

    def __reduce__(self) -> tuple[Any, ...]:
        return Large, (len(self.ballast),)


def pid_of_large(item: Large) -> int:
    KEPT.append(item)
    return os.getpid()


def test_worker_that_has_grown_is_replaced_after_its_item_whatever_that_is_made_of() -> None:
    limit = 200 << 20
    with ProcessExecutor(1, worker_memory_limit=limit) as engine:
        run = gs.map(pid_of_large, [Large(150 << 20)] * 6, on=engine, chunksize=6)
        pids = list(run)
    assert len(set(pids)) >= 3
    replaced = run.report.replaced["worker_memory_limit"]
    assert replaced >= len(set(pids)) - 1
    assert f"replaced: worker_memory_limit {replaced}" in str(run.report)
