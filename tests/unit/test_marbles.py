"""Diagrams: what each sign means, what is refused, and how operators are driven."""

from __future__ import annotations

import pytest

from gearshift.streams.operators.distinct import Distinct
from gearshift.streams.operators.rate import Debounce
from gearshift.testing.marbles import ERROR, Event, parse_marbles, run_marbles


def test_a_sign_is_a_frame() -> None:
    assert parse_marbles("-a--b|") == [
        Event(1, "item", "a"),
        Event(4, "item", "b"),
        Event(5, "end"),
    ]


def test_a_sign_stands_for_its_value() -> None:
    assert parse_marbles("a-b", {"a": 5}) == [Event(0, "item", 5), Event(2, "item", "b")]


def test_spaces_mean_nothing() -> None:
    assert parse_marbles(" - a  -  ( b | ) ") == parse_marbles("-a-(b|)")


def test_a_group_is_of_one_moment_and_takes_its_length() -> None:
    assert parse_marbles("-(ab)c|") == [
        Event(1, "item", "a"),
        Event(1, "item", "b"),
        Event(5, "item", "c"),
        Event(6, "end"),
    ]


def test_an_error_is_the_given_one() -> None:
    bad = ValueError("bad")
    assert parse_marbles("-#") == [Event(1, "error", ERROR)]
    assert parse_marbles("-#", error=bad) == [Event(1, "error", bad)]


def test_time_begins_at_the_caret() -> None:
    assert parse_marbles("-a-^-b|") == [Event(2, "item", "b"), Event(3, "end")]
    assert parse_marbles("^-b") == [Event(2, "item", "b")]


@pytest.mark.parametrize(
    ("diagram", "at"),
    [("a 9s b", 10), ("a 1.5m b", 91), ("500ms b", 0.5), ("a 9s b|", 10), ("- 9s - b", 11)],
)
def test_a_time_between_spaces_passes(diagram: str, at: float) -> None:
    assert Event(at, "item", "b") in parse_marbles(diagram)


def test_what_only_looks_like_a_time_is_marbles() -> None:
    assert [event.value for event in parse_marbles("9s-(1s)")] == ["9", "s", "1", "s"]


def test_a_frame_is_as_long_as_one_says() -> None:
    assert parse_marbles("---a 1s |", frame_seconds=0.1) == [
        Event(0.3, "item", "a"),
        Event(1.4, "end"),
    ]


@pytest.mark.parametrize(
    ("diagram", "message"),
    [
        ("-(ab", "not closed: add a"),
        ("-ab)", "too many at 3"),
        ("((a)", "too many at 1"),
        ("a|b", "has 'b' after its end"),
        ("a#|", "has '|' after its end"),
        ("-^-^", "more than one"),
    ],
)
def test_refuses_what_is_no_diagram(diagram: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        parse_marbles(diagram)


@pytest.mark.parametrize("event_time", [False, True])
def test_operators_are_driven_in_frames(event_time: bool) -> None:
    given = run_marbles([Debounce(0.2)], "-a--bc---|", frame_seconds=0.1, event_time=event_time)
    assert given == parse_marbles("---a---c-|", frame_seconds=0.1)


def test_nothing_comes_after_an_error() -> None:
    def fails(item: str) -> str:
        raise ERROR

    assert run_marbles([Distinct(fails)], "-a-b|") == parse_marbles("-#")
    assert run_marbles([Distinct(fails)], "-a-b|", event_time=True) == parse_marbles("---#")
