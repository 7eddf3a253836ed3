"""Streams that are merged go by one time: the clock of the first, or event time in all of them."""

from __future__ import annotations

from operator import itemgetter

import pytest

import gearshift as gs

EARLY = [(0, "a"), (12, "b")]
LATE = [(30, "c"), (31, "d")]


def test_what_is_merged_in_tells_its_time_as_the_stream_has_it() -> None:
    merged = gs.stream(EARLY, time=itemgetter(0)).merge(LATE)
    assert list(merged.window(10)) == [[(0, "a")], [(12, "b")], LATE]


def test_event_time_and_the_clock_are_not_merged() -> None:
    timed, plain = gs.stream(EARLY, time=itemgetter(0)), gs.stream(LATE)
    with pytest.raises(ValueError, match="give `time=` to both or to none"):
        timed.merge(plain)
    with pytest.raises(ValueError, match="give `time=` to both or to none"):
        plain.merge(timed)
