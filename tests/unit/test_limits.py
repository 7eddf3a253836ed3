"""Rates, buffers, memory: never too much, and never less than is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gearshift as gs
from gearshift._measure.memory import memory
from gearshift._run.limits import AUTOMATIC_BYTES, AUTOMATIC_ITEMS, Buffer, MemoryGate, RateGate
from gearshift.facts import Rate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COUNTS = st.integers(1, 6)
TICKS = st.integers(1, 20)  # whole numbers: exact in floats, so a boundary is a boundary


def starts_of(gate: RateGate, waits: Sequence[int]) -> list[float]:
    """Start as soon as allowed, some ticks after wanting to; return when."""
    now = 0.0
    starts = []
    for wait in waits:
        now = gate.opens_at(now + wait)
        gate.start(now)
        starts.append(now)
    return starts


@given(COUNTS, TICKS, st.lists(st.integers(0, 15), max_size=60))
def test_no_window_has_more_starts_than_the_rate(count: int, per: int, waits: list[int]) -> None:
    starts = starts_of(RateGate(Rate(count, per)), waits)
    for first, beyond in zip(starts, starts[count:], strict=False):
        assert beyond - first >= per


@given(COUNTS, TICKS, st.integers(1, 10))
def test_whole_rate_is_used(count: int, per: int, windows: int) -> None:
    starts = starts_of(RateGate(Rate(count, per)), [0] * (count * windows))
    assert starts == [window * per for window in range(windows) for _ in range(count)]


@given(COUNTS, TICKS, st.lists(st.integers(0, 15), max_size=60))
def test_nobody_waits_without_need(count: int, per: int, waits: list[int]) -> None:
    gate = RateGate(Rate(count, per))
    now, starts = 0.0, list[float]()
    for wait in waits:
        now += wait
        opens = gate.opens_at(now)
        assert opens >= now
        if opens > now:
            assert opens == starts[-count] + per
        now = opens
        gate.start(now)
        starts.append(now)


def test_asking_changes_nothing() -> None:
    gate = RateGate(Rate(1, 10))
    assert [gate.opens_at(5.0) for _ in range(3)] == [5.0, 5.0, 5.0]
    gate.start(5.0)
    assert [gate.opens_at(6.0) for _ in range(3)] == [15.0, 15.0, 15.0]


def test_pause_is_not_saved_up() -> None:
    # a token bucket would let four starts through at 100
    gate = RateGate(Rate(2, 10))
    for now in (0.0, 0.0, 100.0, 100.0):
        assert gate.opens_at(now) == now
        gate.start(now)
    assert gate.opens_at(100.0) == 110.0


# Buffer


@given(st.integers(1, 1000), st.integers(0, 2000), st.integers(0, 10**6), st.integers(0, 10**9))
def test_users_bound_is_kept_whatever_the_sizes(
    bound: int, inside: int, capacity: int, size: int
) -> None:
    buffer = Buffer(bound)
    buffer.observe(size)
    assert buffer.space(inside, capacity) == bound - inside


def test_automatic_bound_begins_with_a_number_of_items() -> None:
    assert Buffer(None).space(0, 1) == AUTOMATIC_ITEMS
    assert Buffer(None).space(AUTOMATIC_ITEMS, 1) == 0


def test_automatic_bound_lets_the_lane_fill() -> None:
    assert Buffer(None).space(0, AUTOMATIC_ITEMS) == 2 * AUTOMATIC_ITEMS


@given(
    st.lists(st.integers(0, 2**40), min_size=1, max_size=20),
    st.integers(0, 10**5),
    st.integers(1, 10**5),
)
def test_automatic_bound_holds_in_bytes_and_lets_one_item_in(
    sizes: list[int], inside: int, capacity: int
) -> None:
    buffer = Buffer(None)
    for size in sizes:
        buffer.observe(size)
    allowed = buffer.space(inside, capacity) + inside
    assert allowed == buffer.space(0, capacity) >= 1
    assert allowed == 1 or allowed * sizes[-1] <= AUTOMATIC_BYTES


@pytest.mark.parametrize("order", [(10**6, 10), (10, 10**6)])
def test_larger_of_item_and_value_counts(order: tuple[int, int]) -> None:
    buffer = Buffer(None)
    for _ in range(30):  # every chunk is seen twice: going in, and coming out
        for size in order:
            buffer.observe(size)
    assert buffer.space(0, 1) == pytest.approx(AUTOMATIC_BYTES / 10**6, rel=0.2)


def test_one_large_item_is_forgotten_in_time() -> None:
    buffer = Buffer(None)
    buffer.observe(2**30)
    assert buffer.space(0, 1) == 1
    for _ in range(200):
        buffer.observe(100)
    assert buffer.space(0, 1) == AUTOMATIC_ITEMS


@pytest.mark.parametrize(
    ("seen", "asked", "items"), [(100, 1000, 10), (100, 99, 1), (0, 50, 50), (None, 50, 50)]
)
def test_items_of_a_size_are_counted_by_what_was_seen(
    seen: int | None, asked: int, items: int
) -> None:
    buffer = Buffer(None)
    if seen is not None:
        buffer.observe(seen)
    assert buffer.items_of(asked) == items


def test_memory_above_the_limit_lets_one_at_a_time_go() -> None:
    used = [0]
    gate = MemoryGate(0.5, lambda: (used[0], 1000))
    assert gate.is_open(0.0, 5)
    used[0] = 501
    assert gate.is_open(0.05, 5)  # not looked at again yet
    assert not gate.is_open(0.2, 5)
    assert gate.is_open(0.2, 0)
    assert gate.held
    assert gate.look_at is not None
    used[0] = 499
    assert not gate.is_open(0.25, 5)
    assert gate.is_open(0.31, 5)
    assert gate.look_at is None


def test_memory_limit_may_be_bytes() -> None:
    gate = MemoryGate(400.0, lambda: (450, 1000))
    assert not gate.is_open(0.0, 1)


def test_memory_that_others_use_does_not_count() -> None:
    used = [900]
    gate = MemoryGate(None, lambda: (used[0], 1000))
    assert gate.is_open(0.0, 1)
    used[0] = 949
    assert gate.is_open(1.0, 1)
    used[0] = 951
    assert not gate.is_open(2.0, 1)


def test_memory_that_nobody_tells_holds_nothing_back() -> None:
    gate = MemoryGate(0.1, lambda: None)
    assert gate.is_open(0.0, 1)
    assert not gate.held


@pytest.mark.parametrize("on", ["threads", "processes"])
def test_run_beyond_its_memory_goes_one_at_a_time(on: str) -> None:
    with gs.map(abs, range(-20, 0), on=on, memory_limit=2) as run:
        assert list(run) == list(range(20, 0, -1))
    assert any("memory" in reason for reason in run.report.reasons)


def test_memory_is_that_of_the_cgroup_nearest_to_its_limit(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    own = tmp_path / "own"
    own.write_text("0::/a/b\n")
    for folder, most, used in ((inner, "max", 5), (tmp_path / "a", 1000, 700)):
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("anon 1\ninactive_file 100\n")
    assert memory(own, tmp_path, tmp_path / "none") == (600, 1000)
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 10 kB\nMemFree: 1 kB\nMemAvailable: 2 kB\n")
    assert memory(own, tmp_path, meminfo) == (8 * 1024, 10 * 1024)
    assert memory(tmp_path / "none", tmp_path, tmp_path / "none") is None
