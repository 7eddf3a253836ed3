"""The ledger's promises one by one; `test_ledger_machine.py` mixes them.

Long because each promise stands as an example that a reader can follow.
"""

from __future__ import annotations

from typing import Any

import pytest

from gearshift._run.ledger import Ledger
from gearshift.facts import Chunk, Failure, Fault, Retry, Settled


def settled(first: int, *values: Any, **failed: BaseException) -> Settled:
    """Outcomes from `first` on; `at3=error` means that item 3 failed."""
    faults = {int(key.removeprefix("at")): Fault(error, 0.5) for key, error in failed.items()}
    return Settled(first, values, faults)


def fed(items: str = "abcdef", *, length: int | None = None, **options: Any) -> Ledger:
    """A ledger with one entry, handed out in chunks of `length` if given."""
    ledger = Ledger(**options)
    ledger.admit(items)
    if length is not None:
        while ledger.next_chunk(length, 0.0) is not None:
            pass
    return ledger


def emitted(ledger: Ledger) -> list[Any]:
    got: list[Any] = []
    while (window := ledger.emit()) is not None:
        got += window
    return got


# Handing out


def test_hands_out_in_order_with_the_wanted_length() -> None:
    ledger = fed()
    chunks = [ledger.next_chunk(4, 0.0), ledger.next_chunk(4, 0.0), ledger.next_chunk(4, 0.0)]
    assert chunks == [Chunk(0, "abcd"), Chunk(4, "ef"), None]
    assert (ledger.inside, ledger.outstanding, ledger.unsent) == (6, 6, 0)


def test_whole_entry_travels_without_a_copy() -> None:
    items = ["a", "b"]
    ledger = Ledger()
    ledger.admit(items)
    chunk = ledger.next_chunk(10, 0.0)
    assert chunk is not None
    assert chunk.items is items


def test_chunk_does_not_reach_into_the_next_entry() -> None:
    ledger = fed("ab")
    ledger.admit("cd")
    assert ledger.next_chunk(3, 0.0) == Chunk(0, "ab")
    assert ledger.next_chunk(3, 0.0) == Chunk(2, "cd")


def test_returned_items_go_before_new_ones_and_are_split_as_asked() -> None:
    ledger = fed()
    ledger.next_chunk(4, 0.0)
    ledger.returned(0, 4)
    assert ledger.unsent == 6
    assert ledger.next_chunk(3, 0.0) == Chunk(0, "abc")
    assert ledger.next_chunk(3, 0.0) == Chunk(3, "d")
    assert ledger.next_chunk(3, 0.0) == Chunk(4, "ef")


def test_only_what_is_out_can_be_returned() -> None:
    ledger = fed(length=2)
    ledger.settle(settled(2, "C", "D"), 0.0)
    ledger.returned(0, 6)
    ledger.returned(0, 6)
    assert ledger.unsent == 4
    assert ledger.next_chunk(9, 0.0) == Chunk(0, "ab")
    assert ledger.next_chunk(9, 0.0) == Chunk(4, "ef")


# Settling and emitting


def test_keeps_order_when_the_first_settles_last() -> None:
    ledger = fed(length=2)
    ledger.settle(settled(4, "E", "F"), 0.0)
    ledger.settle(settled(2, "C", "D"), 0.0)
    assert ledger.emit() is None
    ledger.settle(settled(0, "A"), 0.0)
    assert emitted(ledger) == ["A"]
    ledger.settle(settled(1, "B"), 0.0)
    assert emitted(ledger) == ["B", "C", "D", "E", "F"]
    assert (ledger.inside, ledger.succeeded) == (0, 6)


def test_whole_entry_is_emitted_without_a_copy() -> None:
    ledger = fed(length=6)
    values = list("ABCDEF")
    ledger.settle(Settled(0, values), 0.0)
    assert ledger.emit() is values


def test_unordered_emits_as_it_settles() -> None:
    ledger = fed(ordered=False, length=2)
    ledger.settle(settled(4, "E", "F"), 0.0)
    ledger.settle(settled(0, "A"), 0.0)
    assert emitted(ledger) == ["E", "F", "A"]
    assert ledger.inside == 3


@pytest.mark.parametrize("ordered", [True, False])
def test_settling_twice_counts_once(ordered: bool) -> None:
    ledger = fed(ordered=ordered, length=3)
    ledger.settle(settled(0, "A", "B", "C"), 0.0)
    ledger.settle(settled(0, "x", "x", "x", "D"), 0.0)
    ledger.settle(settled(0, "x", "x", "x", "x", at0=OSError()), 0.0)
    assert emitted(ledger) == ["A", "B", "C", "D"]
    assert (ledger.succeeded, ledger.failed) == (4, 0)


def test_outcome_of_nothing_changes_nothing() -> None:
    ledger = fed(length=6)
    for strange in (settled(2), settled(6, "G"), settled(100, "x", at100=OSError())):
        ledger.settle(strange, 0.0)
    ledger.returned(3, 0)
    ledger.settle(settled(0, *"ABCDEF"), 0.0)
    assert emitted(ledger) == list("ABCDEF")


def test_outcome_after_return_is_too_late() -> None:
    ledger = fed("a", length=1)
    ledger.returned(0, 1)
    ledger.settle(settled(0, "late"), 0.0)
    assert ledger.next_chunk(1, 0.0) == Chunk(0, "a")
    ledger.settle(settled(0, "in time"), 0.0)
    assert emitted(ledger) == ["in time"]


@pytest.mark.parametrize("ordered", [True, False])
def test_window_stays_small_so_that_lanes_are_fed_in_between(ordered: bool) -> None:
    ledger = Ledger(ordered=ordered)
    for first in range(0, 5000, 100):
        ledger.admit(range(first, first + 100))
        ledger.next_chunk(100, 0.0)
        ledger.settle(Settled(first, list(range(first, first + 100))), 0.0)
    window = ledger.emit()
    assert window is not None
    assert 1024 <= len(window) < 1024 + 100
    assert [*window, *emitted(ledger)] == list(range(5000))


@pytest.mark.parametrize("ordered", [True, False])
def test_pairs_name_index_and_item(ordered: bool) -> None:
    ledger = fed("abc", ordered=ordered, pairs=True, errors="return", length=2)
    error = OSError()
    ledger.settle(settled(2, "C"), 0.0)
    ledger.settle(settled(0, "A", None, at1=error), 0.0)
    assert sorted(emitted(ledger), key=lambda pair: int(pair[0])) == [
        (0, "a", "A"),
        (1, "b", Failure(1, "b", error, 1, 0.5)),
        (2, "c", "C"),
    ]


def test_values_may_be_what_the_ledger_uses_itself() -> None:
    # values are never compared: `==` of an array is an array
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = None  # type: ignore[assignment]

    ledger = fed("abc", errors="skip", length=1)
    odd = Odd()
    ledger.settle(settled(0, odd), 0.0)
    ledger.settle(settled(1, None, at1=OSError()), 0.0)
    ledger.settle(settled(2, odd), 0.0)
    got = emitted(ledger)
    assert len(got) == 2
    assert all(value is odd for value in got)


# Failures


def test_raised_failure_waits_for_its_turn() -> None:
    ledger = fed(length=2)
    error = OSError()
    ledger.settle(settled(2, "C", None, at3=error), 0.0)
    assert ledger.is_ending
    assert ledger.raised is None
    ledger.settle(settled(0, "A", "B"), 0.0)
    assert ledger.raised is None
    assert emitted(ledger) == ["A", "B", "C"]
    assert ledger.raised == Failure(3, "d", error, 1, 0.5)
    ledger.settle(settled(4, "E", "F"), 0.0)
    assert ledger.emit() is None


def test_earlier_failure_takes_the_place_of_a_later_one() -> None:
    ledger = fed(length=1)
    ledger.settle(settled(4, None, at4=OSError("late")), 0.0)
    ledger.settle(settled(2, None, at2=OSError("early")), 0.0)
    ledger.settle(settled(3, None, at3=OSError("between")), 0.0)
    ledger.settle(settled(0, "A"), 0.0)
    ledger.settle(settled(1, "B"), 0.0)
    assert emitted(ledger) == ["A", "B"]
    assert ledger.raised is not None
    assert ledger.raised.index == 2
    assert [failure.index for failure in ledger.failures] == [4, 2, 3]


def test_first_item_of_an_entry_fails_after_the_entry_before_it() -> None:
    ledger = fed("ab", length=2)
    ledger.admit("cd")
    ledger.next_chunk(2, 0.0)
    ledger.settle(settled(2, None, "D", at2=OSError()), 0.0)
    ledger.settle(settled(0, "A", "B"), 0.0)
    assert emitted(ledger) == ["A", "B"]
    assert ledger.raised is not None


def test_unordered_failure_ends_after_what_has_settled() -> None:
    ledger = fed(ordered=False, length=2)
    ledger.settle(settled(2, "C", "D"), 0.0)
    ledger.settle(settled(4, None, "F", at4=OSError()), 0.0)
    assert ledger.raised is None
    assert emitted(ledger) == ["C", "D", "F"]
    assert ledger.raised is not None
    assert ledger.raised.index == 4


def test_failure_drops_what_has_not_started_behind_it() -> None:
    ledger = fed()
    ledger.next_chunk(2, 0.0)
    ledger.next_chunk(2, 0.0)
    ledger.returned(0, 2)
    ledger.settle(settled(2, "C", None, at3=OSError()), 0.0)
    assert ledger.unsent == 2  # a and b still come before the failure
    assert ledger.next_chunk(9, 0.0) == Chunk(0, "ab")
    assert ledger.next_chunk(9, 0.0) is None
    ledger.returned(0, 1)
    assert ledger.unsent == 1


def test_failure_drops_what_comes_back_behind_it() -> None:
    ledger = fed(length=1)
    ledger.settle(settled(2, None, at2=OSError()), 0.0)
    ledger.returned(3, 3)
    assert not ledger.has_sendable(0.0)
    ledger.returned(0, 1)
    assert ledger.has_sendable(0.0)


@pytest.mark.parametrize("ordered", [True, False])
def test_skipped_failures_leave_no_hole(ordered: bool) -> None:
    ledger = fed(ordered=ordered, errors="skip", length=3)
    ledger.settle(settled(0, "x", "B", "x", at0=OSError(), at2=OSError()), 0.0)
    assert emitted(ledger) == ["B"]
    ledger.settle(settled(3, *"xxx", at3=OSError(), at4=OSError(), at5=OSError()), 0.0)
    assert ledger.emit() is None  # nothing to show, yet they are through
    assert (ledger.inside, ledger.failed) == (0, 5)
    assert not ledger.is_ending


def test_report_keeps_the_first_thousand_failures() -> None:
    described: list[Failure] = []
    ledger = Ledger(errors="skip", describe=described.append)
    ledger.admit(range(1002))
    ledger.next_chunk(2000, 0.0)
    faults = {index: Fault(OSError(index)) for index in range(1002)}
    ledger.settle(Settled(0, [None] * 1002, faults), 0.0)
    assert (len(ledger.failures), len(described), ledger.failed) == (1000, 1002, 1002)


# Retries

TWICE = Retry(2, wait=1.0, on=(OSError,), jitter=0.5, longest_wait=100.0)


def test_retry_travels_alone_when_it_is_due_and_not_before() -> None:
    ledger = fed("abcd", retry=TWICE, chance=lambda: 0.5)
    ledger.next_chunk(2, 0.0)
    ledger.settle(settled(0, None, "B", at0=OSError()), 10.0)
    assert ledger.next_due == 10.75
    assert ledger.next_chunk(1, 10.74) == Chunk(2, "c")
    assert ledger.next_chunk(9, 10.75) == Chunk(0, "a", attempt=2)
    assert ledger.next_due is None
    assert ledger.retried == 1


def test_last_attempt_decides() -> None:
    ledger = fed("a", retry=TWICE, errors="return")
    last = OSError("third")
    for now, error in enumerate([OSError("first"), OSError("second"), last]):
        chunk = ledger.next_chunk(1, now * 10.0)
        assert chunk is not None
        assert chunk.attempt == now + 1
        ledger.settle(settled(0, None, at0=error), now * 10.0)
    assert not ledger.has_sendable(1e9)
    assert emitted(ledger) == [Failure(0, "a", last, 3, 0.5)]


def test_waits_double() -> None:
    ledger = fed("a", retry=TWICE, length=1)
    ledger.settle(settled(0, None, at0=OSError()), 0.0)
    assert ledger.next_due == 1.0
    ledger.next_chunk(1, 5.0)
    ledger.settle(settled(0, None, at0=OSError()), 5.0)
    assert ledger.next_due == 7.0


def test_other_exceptions_are_not_tried_again() -> None:
    ledger = fed("a", retry=TWICE, length=1)
    ledger.settle(settled(0, None, at0=KeyError()), 0.0)
    assert ledger.raised is not None
    assert ledger.next_due is None


@pytest.mark.parametrize("ordered", [True, False])
def test_others_go_on_while_one_waits_for_its_retry(ordered: bool) -> None:
    ledger = fed("abc", retry=TWICE, ordered=ordered, length=3)
    ledger.settle(settled(0, "A", None, "C", at1=OSError()), 0.0)
    assert emitted(ledger) == (["A"] if ordered else ["A", "C"])
    ledger.next_chunk(1, 1.0)
    ledger.settle(settled(1, "B"), 1.0)
    assert emitted(ledger) == (["B", "C"] if ordered else ["B"])
    assert ledger.inside == 0


def test_returned_retry_keeps_its_attempts() -> None:
    ledger = fed("ab", retry=TWICE, length=2)
    ledger.settle(settled(0, None, "B", at0=OSError()), 0.0)
    ledger.next_chunk(9, 1.0)
    ledger.returned(0, 1)
    assert ledger.next_chunk(9, 1.0) == Chunk(0, "a", attempt=2)
    assert ledger.retried == 1


def test_retries_behind_a_failure_are_dropped_and_those_before_it_kept() -> None:
    ledger = fed(retry=TWICE, length=6)
    faults = {0: OSError(), 2: KeyError(), 4: OSError()}
    ledger.settle(
        Settled(0, [None] * 6, {index: Fault(error) for index, error in faults.items()}), 0.0
    )
    # 4 failed after 2 had: it could not come any more, so it was not tried again
    assert [failure.index for failure in ledger.failures] == [2, 4]
    assert ledger.unsent == 1
    assert ledger.next_chunk(9, 1.0) == Chunk(0, "a", attempt=2)
    ledger.settle(settled(0, "A"), 1.0)
    assert emitted(ledger) == ["A", None]
    assert ledger.raised is not None


def test_waiting_retry_is_dropped_by_an_earlier_failure() -> None:
    ledger = fed("ab", retry=TWICE, length=1)
    ledger.settle(settled(1, None, at1=OSError()), 0.0)
    assert ledger.next_due is not None
    ledger.settle(settled(0, None, at0=KeyError()), 0.0)
    assert ledger.next_due is None
    assert ledger.unsent == 0


# The end


def test_stop_keeps_what_is_out_and_drops_the_rest() -> None:
    ledger = fed(retry=TWICE)
    ledger.next_chunk(2, 0.0)
    ledger.next_chunk(2, 0.0)
    ledger.settle(settled(2, None, at2=OSError()), 0.0)
    ledger.stop()
    assert ledger.is_ending
    assert (ledger.unsent, ledger.outstanding) == (0, 3)
    assert not ledger.has_sendable(1e9)
    ledger.settle(settled(3, "D"), 0.0)
    assert ledger.emit() is None  # a and b may still come
    ledger.returned(0, 1)
    ledger.settle(settled(1, "B"), 0.0)
    assert emitted(ledger) == ["B", "D"]
    assert (ledger.outstanding, ledger.unsent) == (0, 0)


def test_failure_after_stop_is_final_at_once() -> None:
    ledger = fed("a", retry=TWICE, errors="return", length=1)
    ledger.stop()
    ledger.settle(settled(0, None, at0=OSError()), 0.0)
    assert ledger.failed == 1
    assert ledger.next_due is None


def test_stop_before_anything_settled_ends_empty() -> None:
    ledger = fed()
    ledger.stop()
    assert ledger.emit() is None
    assert not ledger.outstanding


def test_nothing_more_is_expected_of_those_who_are_gone() -> None:
    ledger = fed(length=2)
    ledger.settle(settled(4, "E", "F"), 0.0)
    ledger.stop()
    ledger.forget_outstanding()
    assert ledger.outstanding == 0
    ledger.settle(settled(0, "A", "B"), 0.0)
    assert emitted(ledger) == ["E", "F"]
