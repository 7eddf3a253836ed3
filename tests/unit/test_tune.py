"""The length of chunks: long enough to hide the hand-off, short enough to spread the work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift._choose.tune import GROWTH, TAIL_CHUNKS, ChunkTuner

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
