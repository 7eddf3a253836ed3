"""The number of connections, against servers that are simulated: no time passes."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import pytest

from gearshift.jobs.download.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable


def simulate(
    pace: Pace, latency: Callable[[int], float], files: int, refuses: int | None = None
) -> tuple[float, list[int]]:
    """Run transfers, whose latency depends on how many are under way; return seconds and the counts."""
    now, begun, counts = 0.0, 0, []
    flights: list[tuple[float, int, float, float, bool]] = []
    while begun < files or flights:
        while begun < files and len(flights) < pace.count:
            inside = len(flights) + 1
            wait = latency(inside)
            is_refused = refuses is not None and inside > refuses
            heapq.heappush(flights, (now + wait, begun, now, wait, is_refused))
            begun += 1
        pace.note(now, is_full=len(flights) >= pace.count)
        now, _, began, wait, is_refused = heapq.heappop(flights)
        pace.ended(began, now, size=24_000, latency=wait, refused=is_refused)
        counts.append(pace.count)
    return now, counts


def server(base: float, capacity: int) -> Callable[[int], float]:
    """Return the latency of a server that answers so many at a time at its best."""
    return lambda inside: base * max(1.0, inside / capacity)


def test_slow_answers_are_asked_for_many_at_a_time_within_a_few_round_trips() -> None:
    seconds, counts = simulate(Pace(), server(0.2, 10_000), 200)
    assert seconds <= 0.8 + 1e-9  # 32, 64 and 104 of them
    assert max(counts) >= 128


@pytest.mark.parametrize("capacity", [4, 16, 64, 200])
def test_it_stays_near_what_the_server_can_do(capacity: int) -> None:
    seconds, counts = simulate(Pace(), server(0.02, capacity), 20_000)
    ideal = 20_000 * 0.02 / capacity
    assert seconds < 1.15 * ideal
    last = counts[-5000:]
    assert max(last) <= 8 * max(capacity, 32)


def test_number_that_the_user_asked_for_is_always_the_answer() -> None:
    _, counts = simulate(Pace(7), server(0.02, 2), 2000, refuses=3)
    assert set(counts) == {7}


def test_refusals_cut_it_to_seven_tenths_once_a_window_and_for_good() -> None:
    pace = Pace()
    for _ in range(4):  # an eighth of them
        pace.ended(0.0, 0.1, size=0, latency=0.1, refused=True)
    assert pace.count == 32
    for _ in range(20):  # of one burst, all begun before the cut
        pace.ended(0.0, 0.1, size=0, latency=0.1, refused=True)
    assert pace.count == pace.ceiling == 22
    _, counts = simulate(pace, server(0.02, 10_000), 5000)
    assert max(counts) <= 22


def test_server_that_refuses_more_than_so_many_is_left_in_peace() -> None:
    pace = Pace()
    simulate(pace, server(0.02, 10_000), 5000, refuses=20)
    assert pace.count <= 20
    assert pace.count >= 10


def test_transfers_that_began_before_a_change_do_not_count() -> None:
    pace = Pace()
    for _ in range(32):
        pace.ended(0.0, 0.2, size=1, latency=0.2)
    assert pace.count == 64
    for _ in range(200):
        pace.ended(0.1, 0.3, size=1, latency=5.0)
    assert pace.count == 64


def test_lack_of_work_is_no_reason_for_more() -> None:
    pace = Pace()
    for number in range(50):
        pace.note(number + 0.1, is_full=False)
        for _ in range(32):
            pace.ended(number + 0.1, number + 0.2, size=1, latency=0.1)
    assert pace.count == 32


def test_slower_answers_have_it_open_fewer() -> None:
    pace = Pace(first=64, most=64)
    now = 0.0
    for latency in [0.1] * 40 + [0.5] * 4:
        for _ in range(64):
            pace.ended(now + 0.001, now + 0.3, size=1, latency=latency)
        now += 0.3
    assert pace.count < 50


def test_number_may_be_fixed_later() -> None:
    pace = Pace()
    pace.fix(3)
    _, counts = simulate(pace, server(0.02, 2), 100)
    assert set(counts) == {3}
