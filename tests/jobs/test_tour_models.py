"""The event-driven and the reactive station: each way gives the same, and wrong ones are told."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from gearshift.jobs.tour import events, racks
from gearshift.jobs.tour.models import take_events, take_reactive

if TYPE_CHECKING:
    from collections.abc import Callable

WAYS = (events.by_queue, events.by_simple_queue, events.by_channel, events.by_emitter)
READINGS = racks.readings_of(20_000)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [0, 1, 5_000])
def test_no_event_is_lost_or_doubled(way: Callable[[int], tuple[int, int]], count: int) -> None:
    assert way(count) == (count, sum(range(count)))


@pytest.mark.parametrize("way", [events.by_channel, events.by_emitter])
def test_a_handler_that_raises_ends_the_program(
    way: Callable[[int], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: events.Counter, number: int) -> None:
        raise OSError(f"door {number} is stuck")

    monkeypatch.setattr(events.Counter, "on_open", fail)
    with pytest.raises(OSError, match="door 0 is stuck"):
        way(3)  # fewer than there is room for, so that the thread that gives them ends, too
    for thread in threading.enumerate():
        if thread.name == "tour-events":
            thread.join()


def test_loop_warns_once_for_each_stretch_of_30_seconds() -> None:
    celsius = [28, 28, 28, 28, 28, 28, 28, 28, 20, 28, 28, 28]
    readings = [(5.0 * place, 3, float(each)) for place, each in enumerate(celsius)]
    assert racks.by_loop(readings) == [(30.0, 3, 28.0)]


def test_stream_warns_of_the_same_readings_as_the_loop() -> None:
    warnings = racks.by_loop(READINGS)
    assert len(warnings) > 100
    assert racks.by_stream(READINGS) == warnings


@pytest.mark.slow
def test_reactivex_warns_of_the_same_readings_as_the_loop() -> None:
    pytest.importorskip("reactivex")
    assert racks.by_reactivex(READINGS) == racks.by_loop(READINGS)


def test_rows_are_compared_with_the_plain_way() -> None:
    group = take_events(200, lambda _: None)
    assert [row.engine for row in group.rows] == [
        "plain Python",
        "plain Python",
        "stream",
        "stream",
    ]
    assert group.rows[0].speedup == 1.0
    assert all("events a second" in row.reasons[0] for row in group.rows)
    assert group.wrong == ()


def test_lost_events_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "by_channel", lambda count: (count - 1, 0))
    monkeypatch.setattr(events.by_channel, "__name__", "by_channel")
    assert take_events(10, lambda _: None).wrong == (
        "events.by_channel(10) gave another result than it must.",
    )


def test_other_warnings_are_told_and_reactivex_is_left_out_where_it_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(racks, "has_reactivex", lambda: False)
    monkeypatch.setattr(racks, "by_stream", lambda readings: [])
    group = take_reactive(8_000, lambda _: None)
    assert [row.call for row in group.rows] == [
        "racks.by_loop(readings)",
        "racks.by_stream(readings)",
    ]
    assert group.wrong == ("racks.by_stream(readings) gave another result than it must.",)
