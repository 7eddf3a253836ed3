"""Auto from end to end: what it sees of real functions, and that nothing is lost on the way."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

import gearshift as gs
from gearshift._measure.blocked import blocked_on, thread_times
from gearshift._run.auto import Auto
from gearshift._run.watch import Watch
from gearshift.facts import Settled
from gearshift.plans import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gearshift._run.watch import Sight

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
WAIT_SECONDS = 10.0


def spin(count: int) -> int:
    return sum(step * step % 7 for step in range(count))


def digest(count: int) -> str:
    return hashlib.sha256(bytes(count)).hexdigest()


def identity(item: int) -> int:
    return item


@LINUX
def test_other_items_run_beside_a_first_one_that_waits() -> None:
    others = threading.Barrier(4)  # broken unless four tasks are in it at the same time

    def meet(item: int) -> int:
        others.wait(WAIT_SECONDS)
        return item

    with gs.map(meet, range(4)) as run:
        assert list(run) == [0, 1, 2, 3]
    assert run.report.engine == "threads"
    assert "it waits for" in run.report.reasons[0]


@LINUX
def test_items_of_a_slow_source_are_not_pulled_from_beside() -> None:
    pulled_by: set[int] = set()
    gate = threading.Event()

    def source() -> Iterator[int]:
        for item in range(3):
            pulled_by.add(threading.get_ident())
            yield item

    def wait(item: int) -> int:
        gate.wait(0.05)
        return item

    with gs.map(wait, source()) as run:
        assert list(run) == [0, 1, 2]
    assert pulled_by == {threading.get_ident()}


@LINUX
def test_error_beside_the_first_item_is_raised_at_its_turn() -> None:
    failed = threading.Event()

    def fail_second(item: int) -> int:
        if item == 1:
            failed.set()
            raise ValueError(item)
        failed.wait(WAIT_SECONDS)
        return item

    got: list[int] = []
    with gs.map(fail_second, range(50)) as run, pytest.raises(ValueError, match="1"):
        got.extend(run)
    assert got == [0]


@LINUX
def test_first_item_that_fails_while_others_run_fails_alone() -> None:
    others = threading.Barrier(3)

    def meet(item: int) -> int:
        others.wait(WAIT_SECONDS)
        if item == 0:
            raise KeyError(item)
        return item

    with gs.map(meet, range(3), errors="return") as run:
        first, *rest = run
    assert isinstance(first, gs.Failure)
    assert isinstance(first.exception, KeyError)
    assert rest == [1, 2]


@LINUX
def test_cancelling_ends_what_runs_beside() -> None:
    begun = threading.Event()
    run = gs.map(lambda item: _wait_for(begun, item), range(100))

    def cancel() -> None:
        begun.wait(WAIT_SECONDS)
        run.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(gs.RunCancelledError), run:
        list(run)
    canceller.join()
    assert run.report.items < 100


def _wait_for(begun: threading.Event, item: int) -> int:
    if item == 1:
        begun.set()
    time.sleep(0.03)
    return item


@pytest.mark.slow
def test_python_that_holds_the_gil_goes_to_processes() -> None:
    with gs.map(spin, [20_000] * 600) as run:
        assert set(run) == {spin(20_000)}
    assert run.report.engine in {"processes", "serial"}  # serial on one core, and on a busy machine
    assert any("times as much" in reason or "one core" in reason for reason in run.report.reasons)


@pytest.mark.slow
def test_every_item_runs_once_through_all_phases() -> None:
    seen: list[int] = []  # by the caller's thread and the two of the test

    @gs.task(threads=True, processes=True)
    def note(item: int) -> int:
        seen.append(item)
        digest(400_000)
        return item

    with gs.map(note, range(800)) as run:
        assert list(run) == list(range(800))
    if run.report.engine != "processes":
        assert sorted(seen) == list(range(800))


def test_short_turns_end_with_the_run() -> None:
    before = sys.getswitchinterval()
    for stop in (3, 60, 200):
        with gs.map(spin, [20_000] * 400) as run:
            for count, _ in enumerate(run):
                if count == stop:
                    break
    assert sys.getswitchinterval() == before


def test_trivial_items_stay_with_the_caller() -> None:
    with gs.map(identity, range(50_000)) as run:
        assert sum(1 for _ in run) == 50_000
    assert run.report.engine == "serial"


@LINUX
def test_wait_of_another_thread_is_told_by_what_it_waits_for() -> None:
    read_fd, write_fd = os.pipe()
    ready = threading.Barrier(5)
    gate = threading.Event()
    numbers: dict[str, int] = {}

    def waits(kind: str, wait: Callable[[], object]) -> None:
        numbers[kind] = threading.get_native_id()
        ready.wait(WAIT_SECONDS)
        wait()

    threads = [
        threading.Thread(target=waits, args=pair)
        for pair in (
            ("lock", gate.wait),
            ("child", lambda: os.read(read_fd, 1)),
            ("sleep", lambda: time.sleep(0.5)),
            ("sleep too", lambda: gate.wait(0.5)),
        )
    ]
    for thread in threads:
        thread.start()
    ready.wait(WAIT_SECONDS)
    seen: dict[str, set[str | None]] = {kind: set() for kind in numbers}
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        for kind, number in numbers.items():
            seen[kind].add(blocked_on(number))
    gate.set()
    os.write(write_fd, b"x")
    for thread in threads:
        thread.join()
    os.close(read_fd)
    os.close(write_fd)
    assert "lock" in seen["lock"]
    assert "child" in seen["child"]
    assert "sleep" in seen["sleep"]
    assert "lock" in seen["sleep too"]


def test_thread_that_is_gone_waits_for_nothing() -> None:
    assert blocked_on(2**30) is None
    assert thread_times(2**30, threading.get_ident()) is None


def _sight_of_spinning() -> Sight:
    sights: list[Sight] = []
    seen = threading.Event()

    def look(sight: Sight, _is_over: Callable[[float], bool]) -> None:
        sights.append(sight)
        seen.set()

    watch = Watch(look, lambda: None)
    watch.begin()
    until = time.monotonic() + WAIT_SECONDS
    while not seen.is_set() and time.monotonic() < until:
        spin(1000)
    watch.end()
    watch.end()
    (sight,) = sights
    return sight


@LINUX
def test_watch_sees_that_the_gil_is_held() -> None:
    sights = [_sight_of_spinning() for _ in range(5)]
    shares = [sight.gil_share for sight in sights if sight.gil_share is not None]
    assert max(shares) > 0.5  # on a busy machine some looks see less
    assert not any(sight.is_importing for sight in sights)
    assert all(sight.times is not None and sight.times.cpu_seconds > 0 for sight in sights)


@LINUX
def test_watch_sees_that_c_code_held_the_gil_all_the_time() -> None:
    shares = set()
    for _ in range(5):
        watch = Watch(lambda _sight, _is_over: None, lambda: None)
        watch.begin()
        sum(range(1_000_000))  # lets nobody else run, not even the watcher begin
        watch.end()
        shares.add(watch.gil_share)
    assert 1.0 in shares


class NoObstacles:
    def threads(self) -> str | None:
        return None

    def processes(self, value: object) -> str | None:
        return None


@pytest.mark.parametrize(("first_seconds", "share"), [(0.05, None), (0.001, 1.0)])
def test_gil_that_a_first_item_unlike_the_others_held_says_nothing_of_them(
    first_seconds: float, share: float | None
) -> None:
    auto = Auto(cores=2, nested=False, workers=None, obstacles=NoObstacles())
    auto.note_gil(1.0)
    for index, seconds in enumerate([first_seconds, *[0.001] * 5]):
        auto.observe(Settled(index, [index], {}, seconds, seconds), 0.0)
    assert auto.profile(100, 0.0, lambda: 0.01).gil_share == share


def test_first_item_unlike_the_others_has_nothing_tested_twice() -> None:
    auto = Auto(cores=2, nested=False, workers=None, obstacles=NoObstacles())
    for index, seconds in enumerate([0.009, 0.0013]):  # such as an import, then the work itself
        auto.observe(Settled(index, [index], {}, seconds, seconds), 0.0)
    assert auto.item_seconds == pytest.approx(0.0013)
    plan = auto.choose(300, 0.0, lambda: 0.02)
    assert plan.is_test
    auto.carry_out(plan, 0.0)
    auto._pair.cores = 1.0  # as the clocks of its threads show
    now = 0.0
    for index in range(2, 30):
        now += 0.0013  # two threads that share the GIL: each takes twice as long
        auto.observe(Settled(index, [index], {}, 0.0026, 0.0013), now)
    assert auto.is_due(now)
    plan = auto.choose(270, now, lambda: 0.02)
    assert plan.engine == "processes"


def test_threads_of_its_own_are_looked_for_long_enough_at_every_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gearshift._run.auto.has_other_threads", lambda: True)
    auto = Auto(cores=2, nested=False, workers=None, obstacles=NoObstacles())
    numbers = iter(range(1000))

    def turns(count: int) -> list[bool]:
        due = []
        for _ in range(count):
            with auto.turn():
                pass
            auto.observe(Settled(next(numbers), [0], {}, 0.004, 0.004), 0.0)
            due.append(auto.is_due(0.0))
        return due

    assert turns(6) == [False] * 4 + [True] * 2  # 15 ms beside the first item
    auto._looks = 1
    auto.carry_out(Plan("serial", 1, ()), 0.0)
    assert (
        turns(24) == [False] * 24
    )  # of which 3 are measured, and the clock of others ticks slowly
    assert turns(16)[-1]


def pid_of(item: int) -> tuple[int, int]:
    spin(15_000)
    return item, os.getpid()


def _beside_a_thread(work: Callable[[], None]) -> None:
    """Do something while another thread exists, so that worker processes start as fresh programs."""
    gate = threading.Event()
    other = threading.Thread(target=gate.wait)
    other.start()
    try:
        work()
    finally:
        gate.set()
        other.join()


def test_caller_runs_items_while_workers_start() -> None:
    def work() -> None:
        for _ in range(5):
            with gs.map(pid_of, range(900)) as run:
                pairs = list(run)
            assert [item for item, _ in pairs] == list(range(900))
            if run.report.engine == "processes":
                own = sum(pid == os.getpid() for _, pid in pairs)
                assert 60 < own < 900  # the look and the test take 40
                return
        pytest.skip("the machine is so busy that auto saw no use in processes, five times")

    _beside_a_thread(work)


def test_start_that_is_seen_late_is_not_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[float] = []
    monkeypatch.setattr(
        "gearshift._run.gears.note_start", lambda _name, _method, seconds: learned.append(seconds)
    )
    for count, items in ((800_000, 12), (20_000, 400)):
        for _ in range(5):
            with gs.map(spin, [count] * items) as run:
                assert len(set(run)) == 1
            if run.report.engine == "processes":
                break
        else:
            pytest.skip("the machine is so busy that auto saw no use in processes, five times")
        if count == 800_000:
            assert not learned  # the caller was in an item of 40 ms when the first outcome came
    assert learned


def test_run_left_while_workers_start_ends_at_once() -> None:
    def work() -> None:
        with gs.map(pid_of, range(900)) as run:
            for (item, _), due in zip(run, range(80), strict=False):
                assert item == due
        assert run.report.items < 900

    _beside_a_thread(work)


def test_error_of_the_caller_while_workers_start_is_raised_at_its_turn() -> None:
    def fail_late(item: int) -> int:
        spin(15_000)
        if item == 70:
            raise KeyError(item)
        return item

    def work() -> None:
        got: list[int] = []
        with pytest.raises(KeyError), gs.map(fail_late, range(900)) as run:
            got.extend(run)
        assert got == list(range(70))

    _beside_a_thread(work)


def test_watch_of_a_short_turn_ends_with_it() -> None:
    def look(_sight: Sight, _is_over: Callable[[float], bool]) -> None:
        raise AssertionError

    for _ in range(50):
        watch = Watch(look, lambda: None)
        watch.begin()
        watch.end()


@pytest.mark.slow
def test_consumer_that_takes_its_time_does_not_look_like_a_held_gil() -> None:
    engines = set()
    for _ in range(3):
        with gs.map(digest, [1_000_000] * 400) as run:
            for count, _ in enumerate(run):
                if count % 10 == 0:
                    time.sleep(0.005)
        engines.add((run.report.engine, run.report.reasons))
    assert any(engine in {"threads", "serial"} for engine, _ in engines), engines


def test_source_that_runs_dry_in_the_test_goes_on_serially() -> None:
    gate = threading.Event()

    def source() -> Iterator[int]:
        yield from range(60)
        gate.wait(1.2)
        yield from range(60, 100)

    with gs.map(lambda item: (spin(20_000), item)[1], source(), total=2000) as run:
        assert list(run) == list(range(100))
