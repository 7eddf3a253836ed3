"""Clocks of streams: the virtual one moves when told and says so; the real one goes on."""

from __future__ import annotations

import gc
import math
import threading
from typing import TYPE_CHECKING

import pytest

from gearshift.engines.base import Wakeup
from gearshift.streams.clock import RealClock
from gearshift.testing.clock import VirtualClock

if TYPE_CHECKING:
    from gearshift.streams.sources.base import Clock


def test_time_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock()
    assert (clock.now(), clock.is_virtual) == (0.0, True)
    clock.advance(1.5)
    clock.advance(0)
    assert clock.now() == 1.5


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_time_moves_forward_only(seconds: float) -> None:
    with pytest.raises(ValueError, match=f"seconds={seconds}"):
        VirtualClock().advance(seconds)


def test_whoever_watches_is_woken_until_they_do_not() -> None:
    clock, wakeup = VirtualClock(), Wakeup()
    clock.watch(wakeup)
    clock.advance(1)
    assert wakeup.is_set
    wakeup.clear()
    clock.unwatch(wakeup)
    clock.unwatch(wakeup)
    clock.advance(1)
    assert not wakeup.is_set


def test_a_wakeup_that_was_dropped_is_not_kept() -> None:
    clock, wakeup = VirtualClock(), Wakeup()
    clock.watch(wakeup)
    del wakeup
    gc.collect()
    clock.advance(1)
    assert not clock._watchers


def test_nobody_waits_for_a_moment_that_has_come() -> None:
    clock = VirtualClock()
    assert clock.seconds_until(0) == 0.0
    assert clock.seconds_until(1) is None
    assert clock.seconds_until(math.inf) is None


def test_an_idle_stream_moves_a_clock_that_jumps() -> None:
    clock, wakeup = VirtualClock(autojump=True), Wakeup()
    clock.watch(wakeup)
    assert clock.idle(5)
    assert (clock.now(), wakeup.is_set) == (5, True)
    assert not clock.idle(5)
    assert not clock.idle(4)
    assert not clock.idle(math.inf)
    assert clock.now() == 5


def test_an_idle_stream_does_not_move_another_clock() -> None:
    clock = VirtualClock()
    assert not clock.idle(5)
    assert clock.now() == 0


def test_no_step_is_lost_between_threads() -> None:
    clock = VirtualClock()

    def advance() -> None:
        for _ in range(1000):
            clock.advance(1)

    threads = [threading.Thread(target=advance) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now() == 4000


def test_the_real_clock_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 103.0, 104.0, 104.0])
    monkeypatch.setattr("gearshift.streams.clock.time.monotonic", lambda: next(times))
    clock = RealClock()
    assert clock.now() == 3.0
    assert clock.seconds_until(6.0) == 2.0
    assert clock.seconds_until(1.0) == 0.0
    assert clock.seconds_until(math.inf) is None


def test_nobody_moves_the_real_clock() -> None:
    clock, wakeup = RealClock(), Wakeup()
    clock.watch(wakeup)
    assert not clock.idle(5)
    clock.unwatch(wakeup)
    assert not clock.is_virtual
    assert not wakeup.is_set


def test_both_are_clocks() -> None:
    clocks: list[Clock] = [VirtualClock(), RealClock()]
    assert [clock.now() < 60 for clock in clocks] == [True, True]
