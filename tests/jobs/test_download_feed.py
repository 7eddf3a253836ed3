"""A run as another's source: bounded, ended with it, and its error raised where it is asked."""

from __future__ import annotations

import select
import threading
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift.jobs.download.feed import MOST_READY, Feed

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 10.0


def taken(feed: Feed[Any]) -> Iterator[Any]:
    """Yield what comes, as a run takes it."""
    while True:
        count = feed.available()
        if not count:
            assert select.select([feed.fileno()], [], [], SECONDS)[0], "it should have told"
            continue
        for _ in range(count):
            try:
                yield next(feed)
            except StopIteration:
                return


def test_values_come_in_order_and_then_the_end() -> None:
    ended: list[str] = []
    feed = Feed(gs.map(abs, range(2000), on="serial"), lambda: ended.append("ended"))
    assert list(taken(feed)) == list(range(2000))
    assert not ended
    feed.close()
    feed.close()
    assert ended == ["ended"]


def test_error_of_the_first_run_comes_after_its_values() -> None:
    feed = Feed(gs.map(lambda value: 1 // value, [1, 1, 0], on="serial"), bool)
    values = taken(feed)
    assert [next(values), next(values)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(values)
    feed.close()


def test_first_run_waits_for_the_second() -> None:
    done: list[int] = []
    is_near, most = threading.Event(), MOST_READY + 1

    def note(value: int) -> int:
        done.append(value)
        if len(done) == most:
            is_near.set()
        return value

    feed = Feed(gs.map(note, iter(range(10**9)), on="serial", buffersize=1), bool)
    feed.available()
    assert is_near.wait(SECONDS)
    assert len(feed._ready) <= MOST_READY
    feed.close()
    assert len(done) <= most + 1


def test_feed_that_nobody_asked_has_no_thread_and_ends_its_run() -> None:
    before = threading.active_count()
    feed = Feed(gs.map(abs, [1]), bool)
    assert threading.active_count() == before
    del feed  # says nothing of a run that was never iterated


def test_second_run_ends_the_first() -> None:
    first = gs.map(abs, iter(range(10**9)), on="threads")
    with gs.map(str, Feed(first, bool), on="threads") as run:
        assert next(run) == "0"
    assert not first.report.finished
    with pytest.raises(gs.RunClosedError):
        next(first)
