"""The wake-up: nothing that was set is missed, and its descriptor lives as long as it does."""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gearshift.engines import base
from gearshift.engines.base import Job, Wakeup, check_timeout, check_workers, timed_out
from gearshift.errors import TaskTimeoutError, UnsupportedError
from gearshift.facts import Traits


@pytest.fixture(params=["eventfd", "pipe"], autouse=True)
def _kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pipe":
        monkeypatch.delattr(os, "eventfd", raising=False)
    elif not hasattr(os, "eventfd"):
        pytest.skip("this system has no eventfd")


def is_readable(fd: int) -> bool:
    watched = select.poll()
    watched.register(fd, select.POLLIN)
    return bool(watched.poll(0))


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the names are all we need


def test_begins_unset() -> None:
    wakeup = Wakeup()
    assert not wakeup.is_set
    assert not is_readable(wakeup.fileno())


def test_set_before_the_descriptor_exists_is_seen_through_it() -> None:
    wakeup = Wakeup()
    wakeup.set()
    assert is_readable(wakeup.fileno())


def test_set_makes_the_descriptor_readable_until_cleared() -> None:
    wakeup = Wakeup()
    fd = wakeup.fileno()
    wakeup.set()
    assert wakeup.is_set
    assert is_readable(fd)
    wakeup.clear()
    assert not wakeup.is_set
    assert not is_readable(fd)
    assert wakeup.fileno() == fd


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # it stays as it is
@given(st.lists(st.sampled_from(["set", "clear", "fileno"])))
def test_flag_and_descriptor_agree(actions: list[str]) -> None:
    wakeup = Wakeup()
    for action in actions:
        getattr(wakeup, action)()
    expected = [action for action in actions if action != "fileno"][-1:] == ["set"]
    assert wakeup.is_set == is_readable(wakeup.fileno()) == expected


def test_no_descriptor_until_one_is_needed() -> None:
    before = descriptors()
    wakeups = [Wakeup() for _ in range(10)]
    for wakeup in wakeups:
        wakeup.set()
        wakeup.clear()
        wakeup.set()
    assert descriptors() == before


def test_descriptors_are_closed_with_the_wakeup() -> None:
    gc.collect()
    before = descriptors()
    wakeup = Wakeup()
    wakeup.fileno()
    assert descriptors() > before
    del wakeup
    assert descriptors() == before


def test_wait_returns_at_once_when_set() -> None:
    wakeup = Wakeup()
    wakeup.set()
    wakeup.wait(None)
    assert wakeup.is_set  # only `clear` unsets it


@pytest.mark.parametrize("seconds", [0, 0.0, -1.0, 1e-9])
def test_wait_ends_when_the_time_is_over(seconds: float) -> None:
    Wakeup().wait(seconds)


@pytest.mark.parametrize("seconds", [None, 3600.0, 1e12, float("inf")])
def test_another_thread_ends_the_wait(seconds: float | None) -> None:
    wakeup = Wakeup()
    wakeup.fileno()
    thread = threading.Thread(target=wakeup.set)
    thread.start()
    wakeup.wait(seconds)
    assert wakeup.is_set
    thread.join()


def test_no_set_from_any_thread_is_missed() -> None:
    wakeup = Wakeup()
    news: list[int] = []
    seen = 0

    def work() -> None:
        for number in range(500):
            news.append(number)
            wakeup.set()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while seen < 2000:
        wakeup.wait(None)  # would hang on one that was missed
        wakeup.clear()
        seen = len(news)
    for thread in threads:
        thread.join()


def test_signal_handler_ends_the_wait() -> None:
    wakeup = Wakeup()
    wakeup.fileno()
    previous = signal.signal(signal.SIGUSR1, lambda *_: wakeup.set())
    main = threading.main_thread().ident
    assert main is not None
    thread = threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGUSR1))
    try:
        thread.start()
        wakeup.wait(None)
        assert wakeup.is_set
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, previous)


def test_other_descriptors_end_the_wait() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"x")
        wakeup = Wakeup()
        wakeup.wait(None, [reading])
        assert not wakeup.is_set
    finally:
        os.close(reading)
        os.close(writing)


def test_full_pipe_is_readable_as_it_is() -> None:
    wakeup = Wakeup()
    wakeup.fileno()
    os.set_blocking(wakeup._write_fd, False)
    try:
        while True:
            os.write(wakeup._write_fd, (2**64 - 2).to_bytes(8, "little"))
    except BlockingIOError:
        pass
    wakeup.set()
    assert is_readable(wakeup.fileno())


def test_descriptors_beyond_1024_work() -> None:
    # select() cannot watch them; a busy server has as many
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2048
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this system allows {hard} open files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    opened: list[int] = []
    try:
        first = os.open(os.devnull, os.O_RDONLY)
        opened.append(first)
        while opened[-1] < 1024:
            opened.append(os.dup(first))
        wakeup = Wakeup()
        assert wakeup.fileno() > 1024
        wakeup.set()
        assert is_readable(wakeup.fileno())
        wakeup.clear()
        wakeup.wait(0.0)
        thread = threading.Thread(target=wakeup.set)
        thread.start()
        wakeup.wait(None)
        thread.join()
    finally:
        for fd in opened:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# The checks beside it that engines share


def job(**options: Any) -> Job:
    return Job(function=len, **options)


def test_timeout_is_refused_where_nothing_stops_a_task() -> None:
    check_timeout(job(), Traits(name="serial"))
    check_timeout(job(task_timeout=1.0), Traits(name="threads", stops="abandon"))
    with pytest.raises(UnsupportedError, match=r"task_timeout=1\.0: engine serial cannot stop"):
        check_timeout(job(task_timeout=1.0), Traits(name="serial"))


@pytest.mark.parametrize(
    ("workers", "error"), [(0, ValueError), (-2, ValueError), (True, TypeError), (1.0, TypeError)]
)
def test_number_of_workers_is_checked(workers: Any, error: type[Exception]) -> None:
    for good in (None, 1, 1000):
        check_workers(good)
    with pytest.raises(error, match=f"workers={workers}"):
        check_workers(workers)


@pytest.mark.parametrize(
    ("stops", "words"), [("kill", "killed"), ("cancel", "cancelled"), ("abandon", "abandoned")]
)
def test_timeout_error_says_what_became_of_the_task(stops: Any, words: str) -> None:
    error = timed_out(job(task_timeout=0.5), 3, Traits(name="some", stops=stops))
    assert isinstance(error, TaskTimeoutError)
    assert "item 3: ran longer than task_timeout=0.5 s on some" in str(error)
    assert words in str(error)


def test_protocols_know_an_implementation_by_its_methods() -> None:
    assert not isinstance(object(), base.Engine)
    assert not isinstance(object(), base.Lane)
