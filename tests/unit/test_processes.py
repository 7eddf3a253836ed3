"""The process pool's upkeep: workers that are replaced, leave, or never get to a task."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

import gearshift as gs
from gearshift.engines import ProcessExecutor
from gearshift.engines.processes.pool import Pool
from gearshift.engines.processes.wire import Stamps, shared_file

KEPT: list[bytearray] = []


def pid_of(_item: int) -> int:
    return os.getpid()


def grow(_item: int) -> int:
    KEPT.append(bytearray(os.urandom(1) * 40_000_000))
    return os.getpid()


def quit_in_worker() -> None:
    os._exit(7)


def fail_in_worker() -> None:
    raise OSError("no licence")


def nap(item: int) -> int:
    time.sleep(60 if item == 1 else 0)
    return item


def keeper_or_nap(item: int) -> int:
    time.sleep(60 if item else 0)
    return os.getppid()


def test_keeper_that_gets_ctrl_c_while_it_starts_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nkill -INT $$\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with ProcessExecutor(1, start_method="exec") as engine:
        assert list(gs.map(abs, [-1, -2], on=engine)) == [1, 2]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("method", ["fork", "exec"])
@pytest.mark.parametrize("chunksize", [1, 7, None])
def test_worker_is_replaced_after_so_many_tasks(method: str, chunksize: int | None) -> None:
    with ProcessExecutor(2, max_tasks_per_worker=5, start_method=method) as engine:
        pids = list(gs.map(pid_of, range(40), on=engine, chunksize=chunksize))
    times = Counter(pids)
    assert sum(times.values()) == 40
    assert max(times.values()) <= 5
    assert len(times) >= 8


def test_worker_above_its_memory_limit_is_replaced_and_nothing_is_lost() -> None:
    limit = psutil.Process().memory_info().rss + 100_000_000
    with ProcessExecutor(1, worker_memory_limit=limit) as engine:
        run = gs.map(grow, range(12), on=engine, chunksize=4)
        pids = list(run)
    assert len(pids) == 12
    assert 2 <= len(set(pids)) <= 8
    assert run.report.failed == 0


def test_idle_workers_leave_and_come_back() -> None:
    with ProcessExecutor(2, idle_seconds=0.05) as engine:
        first = set(gs.map(pid_of, range(8), on=engine, chunksize=1))
        until = time.monotonic() + 10
        while any(psutil.pid_exists(pid) for pid in first):
            assert time.monotonic() < until
            time.sleep(0.01)
        second = set(gs.map(pid_of, range(8), on=engine, chunksize=1))
    assert not first & second


def test_initializer_that_raises_ends_the_run_with_its_words() -> None:
    with (
        ProcessExecutor(2, initializer=fail_in_worker) as engine,
        pytest.raises(gs.WorkerDiedError, match=r"initializer .* raised OSError: no licence"),
    ):
        list(gs.map(abs, range(10), on=engine))


def test_workers_that_die_at_their_start_end_the_run_and_no_loop_begins() -> None:
    with (
        ProcessExecutor(2, initializer=quit_in_worker) as engine,
        pytest.raises(gs.WorkerDiedError, match=r"in a row died while starting .*exit code 7"),
    ):
        list(gs.map(abs, range(10), on=engine))


def test_function_that_kills_whoever_loads_it_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly_module.py").write_text(
        "import os, sys\nif 'GEARSHIFT_DEPTH' in os.environ: os.kill(os.getpid(), 9)\n"
        "def function(item): return item\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from deadly_module import function  # type: ignore[import-not-found]

    monkeypatch.delitem(sys.modules, "deadly_module")  # so that a fork has to load it, too
    monkeypatch.setitem(sys.modules, "deadly_module", None)
    with ProcessExecutor(2, start_method="exec") as engine:
        monkeypatch.delitem(sys.modules, "deadly_module")
        import deadly_module

        assert deadly_module.function is not function
        with pytest.raises(gs.WorkerDiedError, match="died while rebuilding the function"):
            list(gs.map(deadly_module.function, range(10), on=engine))


def test_time_is_up_while_the_consumer_is_away() -> None:
    with ProcessExecutor(2) as engine:
        run = gs.map(nap, range(4), on=engine, task_timeout=0.2, errors="return", ordered=False)
        values = [next(run)]
        until = time.monotonic() + 10
        children = psutil.Process().children(recursive=True)
        while all(child.is_running() for child in children):  # the keeper does it, not we
            assert time.monotonic() < until
            time.sleep(0.01)
        values += list(run)
    late = [value for value in values if isinstance(value, gs.Failure)]
    assert [(failure.index, type(failure.exception)) for failure in late] == [
        (1, gs.TaskTimeoutError)
    ]
    assert run.report.timeouts == 1


def test_run_that_is_closed_does_not_wait_for_a_keeper_that_was_killed() -> None:
    with ProcessExecutor(2) as engine:
        run = gs.map(keeper_or_nap, range(4), on=engine, chunksize=1)
        os.kill(next(run), signal.SIGKILL)
        run.close()  # the lane is closed first, and hears of the keeper then
    with pytest.raises(gs.RunClosedError):
        next(run)


def test_death_names_item_signal_and_seconds() -> None:
    def die(item: int) -> int:
        if item == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        return item

    (failure,) = [
        value
        for value in gs.map(die, range(5), on="processes", errors="return")
        if isinstance(value, gs.Failure)
    ]
    assert failure.index == 2
    assert "item 2: " in str(failure.exception)
    assert "got SIGSEGV after" in str(failure.exception)
    assert "a fault in C code" in str(failure.exception)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"workers": 2, "max_workers": 2}, TypeError, "two names of one thing"),
        ({"max_tasks_per_worker": 1, "max_tasks_per_child": 1}, TypeError, "two names"),
        ({"max_tasks_per_child": 0}, ValueError, "max_tasks_per_worker=0 is below 1"),
        ({"worker_memory_limit": "1G"}, TypeError, "worker_memory_limit='1G'"),
        (
            {"start_method": "spawn"},
            ValueError,
            "start_method='spawn' is not 'fork', 'exec' or None",
        ),
        ({"idle_seconds": 0}, ValueError, "idle_seconds=0"),
        ({"initializer": 3}, TypeError, "initializer=3 is not callable"),
    ],
)
def test_wrong_option_is_named(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ProcessExecutor(**options)


def test_names_of_the_standard_library_are_taken() -> None:
    with ProcessExecutor(max_workers=1, max_tasks_per_child=2) as engine:
        assert engine.workers == 1
        assert list(engine.map(abs, [-1, -2, -3])) == [1, 2, 3]


class Once:
    """Can be pickled once."""

    def __init__(self) -> None:
        self.times = 0

    def __reduce__(self) -> Any:
        self.times += 1
        if self.times > 1:
            raise ValueError("only once")
        return (Once, ())


def die_at_first(item: Any) -> Any:
    if item == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


def test_item_that_cannot_be_sent_again_after_a_death_fails_and_is_not_lost() -> None:
    with ProcessExecutor(1) as engine:
        run = gs.map(die_at_first, [0, Once()], on=engine, chunksize=2, errors="return")
        first, second = list(run)
    assert isinstance(first, gs.Failure)
    assert isinstance(first.exception, gs.WorkerDiedError)
    assert isinstance(second, gs.Failure)
    assert isinstance(second.exception, gs.TransportError)


# Taking back


def open_or_wait(item: int, gate: str) -> int:
    until = time.monotonic() + 30
    if item == 2:
        Path(gate).touch()
    while item == 0 and not Path(gate).exists() and time.monotonic() < until:
        time.sleep(0.001)
    assert Path(gate).exists() or item
    return item


@pytest.mark.parametrize("array", [False, True])
def test_item_behind_a_long_one_goes_to_an_idle_worker(tmp_path: Path, *, array: bool) -> None:
    """Item 0 ends when item 2 has run, which is queued behind it: the least of two workers."""
    numpy = pytest.importorskip("numpy")
    gate = str(tmp_path / "gate")

    def task(item: Any) -> int:
        return open_or_wait(int(item[0]) if array else item, gate)

    with ProcessExecutor(2) as engine:
        for _ in range(3):
            items = [numpy.full(20_000, item) if array else item for item in range(9)]
            run = gs.map(task, items, on=engine, chunksize=1)
            assert list(run) == list(range(9))
            Path(gate).unlink()


def log_and_sleep(item: int, log: str) -> int:
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{item}\n".encode())
    os.close(fd)
    time.sleep((item * 7919 % 13) / 1000)
    return item


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 5])
def test_item_that_is_taken_back_runs_once(tmp_path: Path, workers: int) -> None:
    log = str(tmp_path / "log")
    with ProcessExecutor(workers) as engine:
        for count in (1, 7, 400):
            run = gs.map(partial(log_and_sleep, log=log), range(count), on=engine, chunksize=1)
            assert list(run) == list(range(count))
    lines = (tmp_path / "log").read_text().split()
    assert Counter(map(int, lines)) == Counter([0, *range(7), *range(400)])


def test_worker_and_parent_agree_who_was_first() -> None:
    parent = Stamps(shared_file(Stamps.size_for(2)), 2)
    child = os.dup(parent._fd)
    worker = Stamps(child, 2)
    assert parent.take_back(1, 1)
    assert parent.take_back(1, 2)  # the one after it
    assert not parent.take_back(1, 5)  # no range
    assert not worker.begins(1, 1)
    assert not worker.begins(1, 2)
    assert worker.begins(1, 3)
    assert not parent.take_back(1, 3)
    assert parent.take_back(1, 7)
    assert parent.take_back(1, 6)  # the one before it
    assert worker.begins(1, 5)
    assert not worker.begins(1, 6)
    assert parent.is_holed(1)
    assert not parent.take_back(1, 9)
    assert not worker.begins(1, 7)
    assert not parent.is_holed(1)
    assert parent.take_back(1, 9)  # a range of its own: the one before it was passed
    parent.pass_over(1, 12)  # its worker is gone
    assert not parent.is_holed(1)
    assert parent.take_back(1, 13)
    assert parent.take_back(0, 1)  # another worker's
    parent.close()
    worker.close()


def test_pool_that_has_ended_closes_nothing_of_the_next() -> None:
    """A forked child disowns its parent's pools, those too that have ended."""
    engine = ProcessExecutor(1, start_method="fork")
    assert list(gs.map(abs, [-1], on=engine)) == [1]
    engine.shutdown()
    pipes = [os.pipe() for _ in range(20)]  # the numbers of its descriptors
    child = os.fork()
    if child == 0:
        try:
            os._exit(sum(os.write(tell, b"x") for _, tell in pipes))
        finally:
            os._exit(1)  # EBADF: one was closed
    _, status = os.waitpid(child, 0)
    for fd in (fd for pipe in pipes for fd in pipe):
        os.close(fd)
    assert os.waitstatus_to_exitcode(status) == 20


def test_worker_about_to_begin_is_not_disturbed() -> None:
    stamps = Stamps(shared_file(Stamps.size_for(1)), 1)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        fcntl.lockf(stamps._fd, fcntl.LOCK_EX, 1, 0)
        os.write(tell, b"x")
        time.sleep(30)
        os._exit(0)
    os.read(told, 1)
    assert not stamps.take_back(0, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert stamps.take_back(0, 1)  # the lock went with its holder
    os.close(told)
    os.close(tell)
    stamps.close()


@pytest.mark.slow
def test_many_workers_are_forked_once_though_the_run_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    welcomed: list[int] = []
    welcome = Pool._welcome

    def count(pool: Pool, worker: Any) -> None:
        welcomed.append(worker.pid)
        welcome(pool, worker)

    monkeypatch.setattr(Pool, "_welcome", count)
    for _ in range(3):
        welcomed.clear()
        with gs.map(abs, range(-100, 0), on="processes", workers=24, chunksize=1) as run:
            assert len(list(run)) == 100
        assert len(welcomed) <= 24
