"""The pool under fire: a random worker is killed again and again, and nothing is lost or doubled."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

import gearshift as gs


def count_call(item: int) -> tuple[int, int]:
    """Return the item and its square; a call takes about half a millisecond."""
    until = time.perf_counter() + 0.0005
    while time.perf_counter() < until:
        pass
    return item, item * item


def soak(items: int, every_seconds: float) -> tuple[int, gs.Report]:
    """Run over so many items while workers are killed; return how many were, and the report."""
    done = threading.Event()
    kills = [0]

    def kill() -> None:
        ours = psutil.Process()
        while not done.wait(every_seconds):
            workers = [
                grandchild
                for child in ours.children()
                for grandchild in child.children()
                if "gearshift" not in grandchild.name()
            ]
            if workers:
                with_luck = random.choice(workers)
                with_luck.send_signal(signal.SIGKILL)
                kills[0] += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with gs.map(
            count_call,
            range(items),
            on=gs.engines.ProcessExecutor(2, start_method="exec"),
            retries=gs.Retry(5, wait=0.0),
        ) as run:
            assert list(run) == [(item, item * item) for item in range(items)]
        return kills[0], run.report
    finally:
        done.set()
        killer.join()


@pytest.mark.slow
def test_workers_that_are_killed_lose_and_double_nothing() -> None:
    # Not more often: on a loaded machine a new worker would be killed before it gets to a task, four times.
    kills, report = soak(6000, 0.3)
    assert kills >= 3
    assert report.succeeded == 6000
    assert report.retried <= kills  # a death costs its own item at most


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_a_hundred_thousand_tasks_and_a_kill_every_half_second() -> None:
    before = left_behind()
    kills, report = soak(100_000, 0.5)
    print(f"\n{kills} kills, {report.retried} retries\n{report}")
    assert report.succeeded == 100_000
    assert report.retried <= kills
    until = time.monotonic() + 5
    while psutil.Process().children(recursive=True) and time.monotonic() < until:
        time.sleep(0.01)
    assert not psutil.Process().children(recursive=True)
    assert left_behind() == before


def left_behind() -> tuple[set[Path], int]:
    shared_memory = Path("/dev/shm")  # noqa: S108 - looked at, never written to
    return set(shared_memory.iterdir()), len(list(Path("/proc/self/fd").iterdir()))


def test_shutdown_after_a_run_given_up_at_once_has_no_error() -> None:
    for _ in range(60):
        engine = gs.engines.ProcessExecutor(2)
        next(iter(gs.map(abs, range(10), on=engine, chunksize=1)))
        engine.shutdown()
