"""The length of chunks, long enough to hide the hand-off, short enough to spread the work; the number of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift._choose.tune import GROWTH, TAIL_CHUNKS, ChunkTuner, ThreadTuner

if TYPE_CHECKING:
    from collections.abc import Callable

REMAINING = st.none() | st.integers(0, 10**9)


def tuner(**options: Any) -> ChunkTuner:
    defaults: dict[str, Any] = {
        "workers": 2,
        "shortest_seconds": 0.004,
        "longest_seconds": 0.05,
        "most_items": 4096,
    }
    return ChunkTuner(**defaults | options)


def settle_to(seconds: float, *, items: int = 4096, **options: Any) -> ChunkTuner:
    """One that has seen many chunks of items that take `seconds` each."""
    made = tuner(**options)
    for _ in range(60):
        made.observe(items, items * seconds)
    return made


@given(REMAINING)
def test_begins_with_one_item(remaining: int | None) -> None:
    assert tuner().length(remaining) == 1


@given(st.integers(1, 10**6), REMAINING, st.floats(0, 100))
def test_users_length_is_kept(fixed: int, remaining: int | None, seconds: float) -> None:
    made = tuner(fixed=fixed)
    assert made.length(remaining) == fixed
    made.observe(10, seconds)
    assert made.length(remaining) == fixed


@given(
    workers=st.integers(1, 256),
    seen=st.lists(st.tuples(st.integers(0, 10**4), st.floats(0, 10**4)), max_size=10),
    remaining=REMAINING,
)
def test_length_is_always_usable(
    workers: int, seen: list[tuple[int, float]], remaining: int | None
) -> None:
    made = tuner(workers=workers)
    for items, seconds in seen:
        made.observe(items, seconds)
    longest = max((items for items, _ in seen), default=0)
    assert 1 <= made.length(remaining) <= max(1, min(4096, GROWTH * longest))


@given(st.floats(1e-8, 10), st.integers(2, 64), st.integers(0, 10**6))
def test_every_worker_has_something_to_do_at_the_end(
    seconds: float, workers: int, remaining: int
) -> None:
    length = settle_to(seconds, workers=workers).length(remaining)
    assert length == 1 or length * TAIL_CHUNKS * workers <= remaining


@given(st.floats(1e-8, 10), REMAINING)
def test_chunk_is_no_longer_than_asked(seconds: float, remaining: int | None) -> None:
    length = settle_to(seconds).length(remaining)
    assert length == 1 or length * seconds <= 0.05 * 1.001


def test_grows_step_by_step_and_stays_within_most_items() -> None:
    made = tuner()
    lengths = []
    for _ in range(6):
        lengths.append(made.length(None))
        made.observe(lengths[-1], lengths[-1] * 1e-7)
    assert lengths == [1, 8, 64, 512, 4096, 4096]


def test_no_items_teach_nothing() -> None:
    made = tuner()
    made.observe(0, 5.0)
    assert made.length(None) == 1
    made.observe(512, 512 * 1e-5)
    before = made.length(None)
    made.observe(0, 5.0)
    assert made.length(None) == before


def test_items_too_fast_for_the_clock_make_the_longest_chunks() -> None:
    made = settle_to(0.0)
    assert made.length(None) == 4096


def test_recent_items_count_most() -> None:
    made = settle_to(1e-6)
    for _ in range(8):
        made.observe(64, 64 * 0.01)
    assert made.length(None) <= 6  # 50 ms of items of 10 ms, and a little of the past


@pytest.mark.parametrize(
    ("seconds", "workers", "remaining", "expected"),
    [
        (1e-3, 2, None, 50),  # nobody knows how many: as long as allowed
        (1e-3, 2, 1000, 31),  # a 16th of every worker's share
        (1e-3, 2, 100, 4),  # not below what a hand-off is worth
        (1e-3, 2, 10, 2),  # the tail
        (1e-3, 2, 3, 1),
        (1e-3, 1, 10, 4),  # a single worker needs no tail
        (1.0, 2, 1000, 1),  # longer than any chunk should be
        (1e-6, 2, 10**7, 4096),
    ],
)
def test_length_for(seconds: float, workers: int, remaining: int | None, expected: int) -> None:
    # a hair less, so that floats do not decide
    assert settle_to(seconds * 0.9999, workers=workers).length(remaining) == expected


def _settle(tuner: ThreadTuner, rate_of: Callable[[int], float], seconds: float) -> list[int]:
    """Let a function of the number of threads give the rate, and return the numbers that were tried."""
    tried = [tuner.count]
    now = 0.0
    while now < seconds:
        busy = tuner.count / rate_of(tuner.count)  # Little's law
        now += busy
        for _ in range(tuner.count):
            tuner.observe(1, busy, now)
        if tuner.propose(now, None) is not None:
            tried.append(tuner.count)
    return tried


def test_threads_double_while_the_rate_rises() -> None:
    tuner = ThreadTuner(16, most=512)
    tried = _settle(tuner, lambda count: count / 0.02, 2.0)
    assert tried[:5] == [16, 64, 128, 256, 512]
    assert max(tried) == 512


def test_threads_go_back_where_more_are_slower() -> None:
    tuner = ThreadTuner(8, most=512)
    tried = _settle(tuner, lambda count: 400 if count <= 8 else 400 * 8 / count, 1.0)
    assert tried[:3] == [8, 32, 8]
    assert tuner.count <= 12


def test_threads_stay_where_more_do_not_help() -> None:
    tuner = ThreadTuner(16, most=512)
    tried = _settle(tuner, lambda count: min(count / 0.02, 1600), 1.0)
    assert tried[:2] == [16, 64]
    assert max(tried) <= 192
    assert tuner.count >= 22


def test_threads_that_would_not_be_repaid_are_not_started() -> None:
    tuner = ThreadTuner(16, most=512)
    for number in range(1, 200):
        tuner.observe(8, 0.08, number * 0.01)
        assert tuner.propose(number * 0.01, 40) is None


def test_refused_threads_stay_away() -> None:
    tuner = ThreadTuner(100, most=512)
    tuner.refuse(1)
    assert tuner.propose(0.0, None) == 70
    for _ in range(30):  # they were under way before
        tuner.refuse(1)
    assert tuner.propose(0.1, None) is None
    tried = _settle(tuner, lambda count: count / 0.02, 5.0)
    assert max(tried) <= 70
    tuner.observe(70, 0.01, 9.0)
    tuner.refuse(1)
    before = tuner.count
    assert tuner.propose(9.0, None) == int(0.7 * before)


@given(st.integers(1, 64), st.integers(1, 1024), st.lists(st.floats(1e-4, 10.0), max_size=60))
def test_number_of_threads_stays_within_bounds(count: int, most: int, gaps: list[float]) -> None:
    tuner = ThreadTuner(min(count, most), most=most)
    now = 0.0
    for gap in gaps:
        now += gap
        tuner.observe(7, gap / 2, now)
        proposed = tuner.propose(now, None)
        assert proposed is None or 1 <= proposed <= most
        assert proposed is None or proposed == tuner.count


def test_chunk_begins_at_what_an_item_is_known_to_take() -> None:
    tuner = ChunkTuner(
        workers=2,
        shortest_seconds=0.004,
        longest_seconds=0.05,
        most_items=16384,
        item_seconds=1e-5,
    )
    assert 300 <= tuner.length(100_000) <= 400
    tuner.observe(400, 0.04)  # they take ten times as long there
    assert tuner.length(100_000) <= 500
