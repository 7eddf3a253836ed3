"""Operators: what RxJS's own cases say, and the same results however items are batched.

Long, since every operator has its diagrams and its plain loop here, and all share what compares them.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gearshift.streams.batch import Batch
from gearshift.streams.operators.base import Operator, Plain, Timers
from gearshift.streams.operators.distinct import Distinct, DistinctUntilChanged
from gearshift.streams.operators.hold import HoldFor
from gearshift.streams.operators.keyed import ForgetIdle, Keyed, WithKey
from gearshift.streams.operators.lists import BatchItems, Window
from gearshift.streams.operators.pipeline import Pipeline
from gearshift.streams.operators.rate import Debounce, Throttle
from gearshift.streams.operators.scan import MISSING, Pairwise, Scan
from gearshift.streams.operators.stale import Stale, StaleAfter
from gearshift.testing.marbles import ERROR, parse_marbles, run_marbles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BAD = ValueError("bad")


def add(total: Any, item: Any) -> Any:
    return total + item


def fails_at(bad: str, result: Callable[[Any], Any] = lambda item: item) -> Callable[[Any], Any]:
    def function(item: Any) -> Any:
        if item == bad:
            raise BAD
        return result(item)

    return function


def check(
    make: Callable[[], Operator | Sequence[Operator]],
    source: str,
    expected: str,
    values: Mapping[str, Any] | None = None,
    *,
    keyed: Callable[[Any], Any] | None = None,
    fails: bool = False,
) -> None:
    """Hold a diagram against what comes out, by the clock and in event time."""
    for event_time in (False,) if fails else (False, True):
        made = make()
        operators: Sequence[Any] = made if isinstance(made, list) else [made]
        given = run_marbles(operators, source, values, keyed=keyed, event_time=event_time)
        assert given == parse_marbles(expected, values, error=BAD if fails else ERROR)


def lists(**of: str) -> dict[str, list[str]]:
    return {name: list(items) for name, items in of.items()}


def pairs(**of: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(items) for name, items in of.items()}


# scan

SUMS = {"a": 1, "b": 3, "c": 5, "x": 1, "y": 4, "z": 9}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-a-b---c-|", "-x-y---z-|"),
        ("-a-b---c-#", "-x-y---z-#"),
        ("-b-^-ab--c|", "--xy--z|"),
        ("(abc|)", "(xyz|)"),
        ("|", "|"),
        ("-", "-"),
        ("#", "#"),
    ],
)
def test_scan_gives_every_value(source: str, expected: str) -> None:
    check(lambda: Scan(add, 0), source, expected, SUMS)
    check(lambda: Scan(add), source, expected, SUMS)  # the first item is the first value


def test_scan_takes_none_for_a_seed() -> None:
    check(
        lambda: Scan(lambda total, item: f"{total} {item}", None),
        "-b-c-|",
        "-u-v-|",
        {"u": "None b", "v": "None b c"},
    )


def test_scan_ends_with_the_error_of_its_function() -> None:
    def join(total: str, item: str) -> str:
        if item == "d":
            raise BAD
        return total + item

    values = {"u": "b", "v": "bc"}
    check(lambda: Scan(join, ""), "-bc-d-e-|", "-uv-#", values, fails=True)


def test_scan_begins_each_key_with_the_seed() -> None:
    out = Pipeline([Keyed(str.lower), Scan(add)]).feed(Batch(list("aAbBa"), now=0))
    assert out.items == ["a", "aA", "b", "bB", "aAa"]
    assert out.keys == ["a", "a", "b", "b", "a"]


# pairwise


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("ab--c-(de)-|", "-u--v-(wx)-|"),
        ("-a-^b---c-d|", "-----v-w|"),
        ("a^-b-|", "----|"),
        ("a-b---c--#", "--u---v--#"),
        ("(abc|)", "(uv|)"),
        ("|", "|"),
        ("-", "-"),
        ("#", "#"),
    ],
)
def test_pairwise_gives_neighbours(source: str, expected: str) -> None:
    check(Pairwise, source, expected, pairs(u="ab", v="bc", w="cd", x="de"))


def test_pairwise_pairs_within_a_key() -> None:
    out = Pipeline([Keyed(str.lower), Pairwise()]).feed(Batch(list("abAB"), now=0))
    assert out.items == [("a", "A"), ("b", "B")]


# distinct


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-aa--b-a-b-c|", "-a---b-----c|"),
        ("-aa--b-a-b", "-a---b----"),
        ("a-a-#", "a---#"),
        ("-abc--d|", "-abc--d|"),
        ("a-aa-a|", "a-----|"),
        ("(a|)", "(a|)"),
        ("---|", "---|"),
        ("|", "|"),
        ("-", "-"),
        ("#", "#"),
    ],
)
def test_distinct_gives_what_was_not_seen(source: str, expected: str) -> None:
    check(Distinct, source, expected)


def test_distinct_looks_at_its_key() -> None:
    values = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}
    check(
        lambda: Distinct(lambda item: item % 3),
        "-ab-dc-fe|",
        "-ab--c---|",
        values,
    )


@pytest.mark.parametrize("make", [Distinct, DistinctUntilChanged])
def test_distinct_ends_with_the_error_of_its_key(make: Callable[..., Operator]) -> None:
    check(lambda: make(fails_at("d")), "ab-c-d-e|", "ab-c-#", fails=True)


def test_distinct_forgets_what_was_seen_the_longest_ago() -> None:
    check(lambda: Distinct(most=2), "abacabc|", "ab-c-bc|")


def test_distinct_remembers_for_each_key() -> None:
    for most in (None, 5):
        pipeline = Pipeline(
            [Keyed(lambda item: item[0]), Distinct(lambda item: item[1], most=most)]
        )
        out = pipeline.feed(Batch(["a1", "b1", "a1", "b2", "b1"], now=0))
        assert out.items == ["a1", "b1", "b2"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-122-1--3|", "-12--1--3|"),
        ("-aa--bbb-a-|", "-a---b---a-|"),
        ("-aa--bbb-a-", "-a---b---a-"),
        ("a-a-#", "a---#"),
        ("-abc--d|", "-abc--d|"),
        ("a-aa-a|", "a-----|"),
        ("(aab|)", "(ab|)"),
        ("---|", "---|"),
        ("|", "|"),
        ("-", "-"),
        ("#", "#"),
    ],
)
def test_distinct_until_changed_gives_changes(source: str, expected: str) -> None:
    check(DistinctUntilChanged, source, expected)


def test_distinct_until_changed_compares_by_its_key() -> None:
    values = {"a": 1, "b": 3, "c": 4, "d": 6, "e": 7}
    check(
        lambda: DistinctUntilChanged(lambda item: item % 2),
        "-ab-c--d-e|",
        "-a--c----e|",
        values,
    )


def test_distinct_until_changed_gives_none_as_the_first() -> None:
    check(DistinctUntilChanged, "-a-a-|", "-a---|", {"a": None})


# batch


@pytest.mark.parametrize(
    ("size", "source", "expected", "values"),
    [
        (2, "-ab--c-d-(ef)-|", "--x----y-(z)--|", lists(x="ab", y="cd", z="ef")),
        (5, "-ab--cd-|", "--------(x|)", lists(x="abcd")),
        (3, "a^bc-d--e-|", "----y----(z|)", lists(y="bcd", z="e")),
        (5, "-ab-c-#", "------#", {}),
        (1, "a-b|", "x-y|", lists(x="a", y="b")),
        (2, "|", "|", {}),
        (2, "-", "-", {}),
    ],
)
def test_batch_gives_full_lists_and_the_rest(
    size: int, source: str, expected: str, values: dict[str, list[str]]
) -> None:
    check(lambda: BatchItems(size), source, expected, values)


@pytest.mark.parametrize(
    ("size", "source", "expected", "values"),
    [
        # A list waits from its first item on, where RxJS's begins with the last one's end.
        (
            None,
            "-a----b-c---d-|",
            "----------x---(y|)",
            lists(x="abc", y="d"),
        ),
        (2, "--a--b-c---------------|", "-----x----------y------|", lists(x="ab", y="c")),
        (2, "a-b-c-d-|", "--x---y-|", lists(x="ab", y="cd")),
        (9, "a--------b-----#", "---------x-----#", lists(x="ab")),  # the item comes first
        (9, "a---------b----|", "---------x-----(y|)", lists(x="a", y="b")),
        (9, "a", "---------x", lists(x="a")),
    ],
)
def test_batch_gives_a_list_when_its_first_item_waited(
    size: int | None, source: str, expected: str, values: dict[str, list[str]]
) -> None:
    check(lambda: BatchItems(size, 9), source, expected, values)


def test_batch_keeps_no_timer_for_each_full_list() -> None:
    operator = BatchItems(2, 1e9)
    operator.feed(Batch(list(range(100)), now=0), Batch([], now=0))
    assert len(operator._timers._heap) == 1


# window


@pytest.mark.parametrize(
    ("source", "expected", "values"),
    [
        (
            "-a----b--c---(de)------------------f--|",
            "----------w---------x-----------------(y|)",
            lists(w="abc", x="de", y="f"),
        ),
        ("a-----b------c-#", "----------w----#", lists(w="ab")),
        ("----------a|", "-----------(x|)", lists(x="a")),  # of the window that begins
        ("a-----------------------b--|", "----------x----------------(y|)", lists(x="a", y="b")),
        ("---a", "----------x", lists(x="a")),
        ("|", "|", {}),
        ("-", "-", {}),
        ("#", "#", {}),
    ],
)
def test_window_gives_each_stretch_when_it_is_over(
    source: str, expected: str, values: dict[str, list[str]]
) -> None:
    check(lambda: Window(10), source, expected, values)


@given(st.floats(0, 1e10), st.floats(0.001, 1e4))
def test_window_ends_after_its_items(time: float, seconds: float) -> None:
    window = Window(seconds)
    window.feed(Batch(["a"], now=time), Batch([], now=time))
    assert time < window.due <= time + seconds * 1.001 + 1e-5


# debounce


@pytest.mark.parametrize(
    ("seconds", "source", "expected"),
    [
        (3, "a---bcd-----e-|", "---a-----d----(e|)"),
        (4, "--a-----b-----c-|", "------a-----b---(c|)"),
        (4, "(abc)-------d-----|", "----c-----------d-|"),
        (4, "(abc)-------d-", "----c-----------d"),
        (4, "--a-----b-----c-#", "------a-----b---#"),
        (3, "a-b-cd-e|", "--------(e|)"),
        (3, "a-b-cd-e#", "--------#"),
        (2, "-a-b-c-|", "-------(c|)"),  # at a tie the item comes first
        (1, "-----|", "-----|"),
        (1, "-----#", "-----#"),
        (1, "|", "|"),
        (1, "#", "#"),
        (1, "-", "-"),
    ],
)
def test_debounce_gives_an_item_after_silence(seconds: float, source: str, expected: str) -> None:
    check(lambda: Debounce(seconds), source, expected)


def test_debounce_waits_for_each_key() -> None:
    check(lambda: Debounce(3), "-aba--|", "-----b(a|)", keyed=lambda item: item)
    check(lambda: Debounce(3), "-ab---b|", "----ab-(b|)", keyed=lambda item: item)


# throttle


@pytest.mark.parametrize(
    ("seconds", "source", "expected"),
    [
        (4, "ax--by---z-c-|", "a---b----z---|"),
        (4, "a-----b----c-|", "a-----b----c-|"),
        (2, "abcabcabc|", "a-c-b-a-c|"),
        (3, "abcabcabc|", "a--a--a--|"),
        (4, "-(abc)----d---", "-a--------d---"),
        (4, "-(abc)----d--#", "-a--------d--#"),
        (5, "-----|", "-----|"),
        (1, "-----#", "-----#"),
        (3, "|", "|"),
        (3, "#", "#"),
        (3, "-", "-"),
    ],
)
def test_throttle_is_silent_after_an_item(seconds: float, source: str, expected: str) -> None:
    check(lambda: Throttle(seconds), source, expected)


def test_throttle_is_silent_for_each_key() -> None:
    check(lambda: Throttle(4), "abab-ab|", "ab---ab|", keyed=lambda item: item)


# hold_for, stale, keys


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-H--H---|", "----H---|"),
        ("-Hh-----|", "----h---|"),  # the latest item, when the time is up
        ("-HHHHHHH|", "----H---|"),  # once per stretch
        ("-H-lH---|", "-------H|"),  # a break
        ("-H----lH----|", "----H-----H-|"),  # a new stretch
        ("-H--l---|", "--------|"),  # the item comes first at a tie
        ("-H-----l-|", "----H----|"),
        ("-H-|", "---|"),  # not finished
        ("-H--|", "----(H|)"),  # finished with the end
        ("-H--#", "----#"),
        ("-H", "----H"),
        ("--l-l-|", "------|"),
        ("|", "|"),
    ],
)
def test_hold_for_gives_once_what_was_true_for_long(source: str, expected: str) -> None:
    check(lambda: HoldFor(3, lambda item: item in "Hh"), source, expected)


def test_hold_for_holds_each_key_on_its_own() -> None:
    check(lambda: HoldFor(3, str.isupper), "-AB-b--|", "----A--|", keyed=str.lower)


def test_hold_for_ends_with_the_error_of_its_predicate() -> None:
    check(lambda: HoldFor(3, fails_at("x")), "-a----x-|", "----a-#", fails=True)


def test_hold_for_keeps_no_timer_for_each_broken_stretch() -> None:
    operator = HoldFor(1e9, bool)
    operator.feed(Batch([1, 0] * 50, now=0), Batch([], now=0))
    assert len(operator._timers._heap) == 1


STALE = {"S": Stale(None, "a", 3), "T": Stale(None, "b", 3)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-a-----b-|", "-a--S--b-|"),
        ("-a--b----|", "-a--b--T-|"),
        ("-a--|", "-a--(S|)"),
        ("-a-|", "-a-|"),
        ("-a--#", "-a--#"),
        ("-----|", "-----|"),  # nothing is stale before its first item
        ("-a", "-a--S"),  # once per silence
    ],
)
def test_stale_tells_of_each_silence(source: str, expected: str) -> None:
    check(lambda: StaleAfter(3), source, expected, STALE)


def test_stale_names_the_key() -> None:
    values = {"S": Stale("k", "K", 3), "T": Stale("l", "L", 3)}
    check(lambda: StaleAfter(3), "-KL--L--|", "-KL-SL--(T|)", values, keyed=str.lower)


def test_with_key_gives_pairs() -> None:
    check(WithKey, "-A-|", "-x-|", {"x": ("a", "A")}, keyed=str.lower)
    check(WithKey, "-A-|", "-x-|", {"x": (None, "A")})


def test_keyed_takes_the_place_of_an_earlier_key() -> None:
    values = {"x": ("B", "b")}
    check(lambda: [Keyed(str.upper), WithKey()], "-b-|", "-x-|", values, keyed=str.lower)


def test_keyed_ends_with_the_error_of_its_function() -> None:
    for times in (None, [0.0, 1.0, 2.0]):
        pipeline = Pipeline([Keyed(fails_at("c"))])
        out = pipeline.feed(Batch(list("abc"), None, times, now=2.0))
        assert (out.items, out.keys) == (["a", "b"], ["a", "b"])
        assert out.times == (None if times is None else [0.0, 1.0])
        assert pipeline.error is BAD


@pytest.mark.parametrize("behind", [[], [ForgetIdle(1)], [Scan(add)]])
def test_a_key_that_cannot_be_hashed_ends_at_its_item(behind: list[Operator]) -> None:
    pipeline = Pipeline([Keyed(lambda item: [] if item == "b" else item), *behind, Scan(add)])
    assert pipeline.feed(Batch(list("abc"), now=0.0)).items == ["a"]
    assert isinstance(pipeline.error, TypeError)


# Keys that leave


def test_a_key_that_was_idle_begins_anew() -> None:
    def make() -> list[Operator]:
        return [ForgetIdle(4), Scan(add)]

    check(make, "-a---a|", "-a---x|", {"x": "aa"}, keyed=str.lower)
    check(make, "-a-----a|", "-a-----a|", keyed=str.lower)  # leaves at 5


@pytest.mark.parametrize(
    ("make", "given", "kept"),
    [
        (lambda: Scan(add), ["a"], "_values"),
        (Pairwise, [], "_previous"),
        (Distinct, ["a"], "_seen"),
        (lambda: Distinct(most=3), ["a"], "_seen"),
        (DistinctUntilChanged, ["a"], "_last"),
        (lambda: BatchItems(5), [["a"]], "_open"),
        (lambda: BatchItems(5, 1), [["a"]], "_open"),
        (lambda: BatchItems(5, 90), [["a"]], "_open"),
        (lambda: Window(90), [["a"]], "_lists"),
        (lambda: Debounce(90), ["a"], "_pending"),
        (lambda: Throttle(90), ["a"], "_open_at"),
        (lambda: HoldFor(90, bool), ["a"], "_stretches"),
        (lambda: StaleAfter(90), ["a", Stale("a", "a", 90)], "_last"),
    ],
)
def test_a_key_leaves_when_nothing_is_owed_it(
    make: Callable[[], Operator], given: list[Any], kept: str
) -> None:
    operator = make()
    pipeline = Pipeline([Keyed(str.lower), ForgetIdle(4), operator])
    out = pipeline.feed(Batch(["a"], now=0.0)).items
    while pipeline.due < math.inf:
        out += pipeline.tick(pipeline.due).items
    assert out == given
    assert not getattr(operator, kept)


def test_a_second_keyed_has_keys_of_its_own() -> None:
    pipeline = Pipeline([Keyed(str.lower), ForgetIdle(4), Scan(add), Keyed(len), Scan(add)])
    assert pipeline.feed(Batch(["a"], now=0.0)).items == ["a"]
    assert pipeline.feed(Batch(["b"], now=9.0)).items == ["ab"]


def test_what_leaves_goes_through_the_operators_behind() -> None:
    pipeline = Pipeline([Keyed(str.lower), ForgetIdle(4), BatchItems(2), Scan(add)])
    assert pipeline.feed(Batch(["a", "b", "b"], now=0.0)).items == [["b", "b"]]
    out = pipeline.tick(4.0)
    assert (out.items, out.keys) == ([["a"]], ["a"])
    assert pipeline.due == math.inf


def test_an_idle_key_that_is_owed_something_is_looked_at_again() -> None:
    pipeline = Pipeline([Keyed(str.lower), ForgetIdle(4), Scan(add), HoldFor(6, bool)])
    pipeline.feed(Batch(["a"], now=0.0))
    assert [pipeline.due, pipeline.tick(4.0).items] == [4.0, []]
    assert [pipeline.due, pipeline.tick(5.0).items] == [5.0, []]
    assert [pipeline.due, pipeline.tick(6.0).items] == [6.0, ["a"]]
    assert pipeline.due == math.inf


@given(st.floats(0, 1e9), st.floats(0.01, 1e4))
def test_an_idle_key_leaves_in_a_few_looks(time: float, seconds: float) -> None:
    operator = ForgetIdle(seconds)
    operator.feed(Batch(["a"], ["a"], now=time), Batch([], [], now=time))
    for _ in range(3):
        now = operator.due
        assert now >= time
        operator.tick(now, Batch([], [], now=now))
        assert operator.due > now
        if operator.idle:
            operator.leave(operator.idle, now)
            assert operator.due == math.inf
            return
    pytest.fail("it stayed")


# The pipeline


def test_a_pipeline_goes_from_moment_to_moment() -> None:
    # The debounced item of 3 begins a list; its own timer is due at 4, before the item of 5.
    check(
        lambda: [Debounce(2), BatchItems(9, 1), Scan(add)],
        "-a---b|",
        "----x-(y|)",
        {"x": ["a"], "y": ["a", "b"]},
    )


def test_an_operator_without_items_still_goes_on_in_time() -> None:
    pipeline = Pipeline([Distinct(), Debounce(2)])
    out = pipeline.feed(Batch(["a", "a"], None, [1.0, 9.0], now=9.0))
    assert (out.items, out.times) == (["a"], [3.0])


def test_what_is_late_counts_as_of_the_time_reached() -> None:
    pipeline = Pipeline([Window(10)])
    out = pipeline.feed(Batch(["a", "b", "c"], None, [8.0, 12.0, 9.0], now=12.0))
    assert out.items == [["a"]]
    assert pipeline.feed(Batch(["d"], None, [1.0], now=12.0)).items == []
    assert pipeline.end(12.0).items == [["b", "c", "d"]]


def test_what_came_before_an_error_goes_on_and_nothing_after_it() -> None:
    pipeline = Pipeline([Scan(lambda total, item: total + 1 / item), Pairwise()])
    out = pipeline.feed(Batch([1, 1, 0, 1], now=0.0))
    assert out.items == [(1, 2.0)]
    assert isinstance(pipeline.error, ZeroDivisionError)
    assert pipeline.due == math.inf
    assert not pipeline.feed(Batch([1], now=1.0))
    assert not pipeline.tick(2.0)
    assert not pipeline.end(3.0)


def test_an_error_further_down_comes_first() -> None:
    early, late = KeyError("early"), KeyError("late")

    def raises(bad: int, error: Exception) -> Callable[[Any, Any], Any]:
        def function(_: Any, item: Any) -> Any:
            if item == bad:
                raise error
            return item

        return function

    pipeline = Pipeline([Scan(raises(3, late)), Scan(raises(2, early))])
    assert pipeline.feed(Batch([1, 2, 3], now=0.0)).items == [1]
    assert pipeline.error is early


def test_an_error_after_a_timer_ends_the_pipeline() -> None:
    pipeline = Pipeline([Debounce(2), Distinct(fails_at("a")), Debounce(1)])
    pipeline.feed(Batch(["a"], now=0.0))
    assert not pipeline.feed(Batch(["b"], now=5.0))
    assert pipeline.error is BAD


def test_an_error_at_the_end_is_kept() -> None:
    pipeline = Pipeline([Debounce(2), Distinct(fails_at("a"))])
    pipeline.feed(Batch(["a"], now=0.0))
    assert not pipeline.end(1.0)
    assert pipeline.error is BAD


def test_an_error_in_event_time_stops_where_it_is() -> None:
    pipeline = Pipeline([Keyed(fails_at("b")), ForgetIdle(1), Scan(add)])
    out = pipeline.feed(Batch(["a", "b", "c"], None, [0.0, 5.0, 9.0], now=9.0))
    assert (out.items, out.times, pipeline.error) == (["a"], [0.0], BAD)


def test_an_error_in_event_time_ends_the_wait_for_keys_to_leave() -> None:
    pipeline = Pipeline([ForgetIdle(1), Distinct(fails_at("b"))])
    batch = Batch(["a", "b", "c"], ["a", "b", "c"], [0.0, 0.5, 9.0], now=9.0)
    assert pipeline.feed(batch).items == ["a"]
    assert pipeline.error is BAD


def test_time_without_items_lets_keys_leave() -> None:
    pipeline = Pipeline([ForgetIdle(4), BatchItems(2)])
    assert not pipeline.feed(Batch(["a"], ["k"], [0.0], now=0.0))
    out = pipeline.feed(Batch([], [], [], now=9.0))
    assert (out.items, out.keys, out.times) == ([["a"]], ["k"], [4.0])


@pytest.mark.parametrize(
    "make", [lambda: Keyed(str), lambda: ForgetIdle(1), WithKey], ids=["keyed", "idle", "with"]
)
def test_an_operator_takes_an_empty_batch(make: Callable[[], Operator]) -> None:
    out = Batch([], now=0.0)
    make().feed(Batch([], now=0.0), out)
    assert not out


def test_a_window_that_goes_on_gives_nothing() -> None:
    window, out = Window(5), Batch([], now=0.0)
    window.feed(Batch(["a"], now=0.0), out)
    window.tick(4.0, out)
    assert not out


def test_a_pipeline_without_operators_lets_everything_through() -> None:
    pipeline, batch = Pipeline([]), Batch(["a"], now=0.0)
    assert pipeline.feed(batch) is batch
    assert pipeline.due == math.inf
    assert not pipeline.tick(1.0)
    assert not pipeline.end(1.0)


def test_a_plain_operator_does_nothing_by_itself() -> None:
    operator, out = Plain(), Batch([], now=0)
    operator.tick(0, out)
    operator.end(0, out)
    operator.forget("a", 0, out)
    assert not out
    assert not operator.owes("a", 0)
    assert operator.due == math.inf


def test_a_cancelled_timer_does_not_go_off() -> None:
    timers = Timers()
    timers.set("a", 1)
    timers.cancel("a")
    assert list(timers.pop(2, with_ties=True)) == []
    assert timers.due == math.inf


# Arguments


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Scan(3), TypeError, "function=3 is not callable"),  # type: ignore[arg-type]
        (lambda: Distinct(3), TypeError, "key=3 is not callable"),  # type: ignore[arg-type]
        (lambda: Distinct(most=0), ValueError, "most=0 is not a number of items from 1 up"),
        (lambda: Distinct(most=True), TypeError, "most=True is not a whole number"),
        (lambda: DistinctUntilChanged(3), TypeError, "key=3"),  # type: ignore[arg-type]
        (lambda: BatchItems(), ValueError, "size=None and seconds=None: give one"),  # noqa: PLW0108
        (lambda: BatchItems(0), ValueError, "size=0 is not"),
        (lambda: BatchItems(1.5), TypeError, r"size=1\.5 is not"),  # type: ignore[arg-type]
        (lambda: BatchItems(1, 0), ValueError, "seconds=0 is not"),
        (lambda: Window(math.inf), ValueError, "seconds=inf is not"),
        (lambda: Window(math.nan), ValueError, "seconds=nan is not"),
        (lambda: Debounce("1"), TypeError, "seconds='1' is not"),  # type: ignore[arg-type]
        (lambda: Throttle(-1), ValueError, "seconds=-1 is not"),
        (lambda: HoldFor(True, bool), TypeError, "seconds=True is not"),
        (lambda: HoldFor(1, 3), TypeError, "predicate=3 is not"),  # type: ignore[arg-type]
        (lambda: StaleAfter(0.0), ValueError, "seconds=0.0 is not"),
        (lambda: Keyed(3), TypeError, "function=3 is not"),  # type: ignore[arg-type]
        (lambda: ForgetIdle(-2), ValueError, "seconds=-2 is not"),
    ],
)
def test_refuses_what_makes_no_sense(
    make: Callable[[], Operator], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_missing_says_what_it_is() -> None:
    assert repr(MISSING) == "MISSING"


# However they are batched, and against plain references

Timed = list[tuple[float, str, int]]  # when, key, value

ITEMS = st.lists(
    st.tuples(st.integers(0, 4).map(float), st.sampled_from("abc"), st.integers(0, 3)), max_size=25
)


def in_time(steps: Timed) -> Timed:
    """Make times of the steps between them."""
    now, made = 0.0, []
    for step, key, value in steps:
        now += step
        made.append((now, key, value))
    return made


def outcome(
    operators: Sequence[Operator], items: Timed, cuts: Sequence[int], *, clock: bool
) -> list[tuple[float, str, Any]]:
    """Return `(time, key, item)` of what comes out: of batches cut there, or by the clock."""
    pipeline = Pipeline([Keyed(lambda item: item[0]), *operators])
    given: list[tuple[float, str, Any]] = []

    def note(out: Batch, at: float) -> None:
        assert out.keys is not None
        times = [at] * len(out) if out.times is None else out.times
        given.extend(zip(times, out.keys, out.items, strict=True))

    def wait(until: float) -> None:
        while (at := pipeline.due) < until:
            note(pipeline.tick(at), at)

    if clock:
        for at, key, value in items:
            wait(at)
            note(pipeline.feed(Batch([(key, value)], now=at)), at)
    else:
        edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(items)}), len(items)]
        for start, stop in itertools.pairwise(edges):
            part = items[start:stop]
            times = [at for at, _, _ in part]
            batch = Batch([item[1:] for item in part], None, times, now=max(times, default=0.0))
            note(pipeline.feed(batch), math.nan)
    end = items[-1][0] + 1 if items else 0.0
    if clock:
        wait(end)
    note(pipeline.end(end), end)
    return given


def by_key(given: list[tuple[float, str, Any]]) -> dict[str, list[tuple[float, Any]]]:
    return {
        key: [(at, item) for at, other, item in given if other == key]
        for key in sorted({key for _, key, _ in given})
    }


def total(count: Any, item: Any) -> Any:
    return count + item[1]


CHAINS: dict[str, Callable[[], list[Operator]]] = {
    "scan": lambda: [Scan(total, 0)],
    "pairwise": lambda: [Pairwise()],
    "distinct": lambda: [Distinct()],
    "bounded": lambda: [Distinct(most=2)],
    "changed": lambda: [DistinctUntilChanged()],
    "size": lambda: [BatchItems(2)],
    "seconds": lambda: [BatchItems(3, 5)],
    "window": lambda: [Window(5)],
    "debounce": lambda: [Debounce(2)],
    "throttle": lambda: [Throttle(3)],
    "hold": lambda: [HoldFor(3, lambda item: item[1] > 1)],
    "stale": lambda: [StaleAfter(3)],
    "with_key": lambda: [WithKey()],
    "several": lambda: [DistinctUntilChanged(), Debounce(2), Pairwise(), BatchItems(2, 7)],
    "alarms": lambda: [StaleAfter(4), HoldFor(3, lambda item: isinstance(item, Stale)), Window(3)],
    "leaving": lambda: [ForgetIdle(4), Scan(total, 0), BatchItems(2)],
    "owing": lambda: [Debounce(3), ForgetIdle(2), HoldFor(5, bool), Pairwise(), BatchItems(2, 9)],
    "uneven": lambda: [Debounce(0.3), ForgetIdle(0.7), BatchItems(2, 1.9), Window(1.3)],
    "twice": lambda: [ForgetIdle(3), Debounce(1), Keyed(str), ForgetIdle(5), Pairwise()],
}


@pytest.mark.parametrize("chain", CHAINS)
@settings(max_examples=40)
@given(steps=ITEMS, cuts=st.lists(st.integers(0, 25), max_size=8))
def test_batching_changes_nothing(chain: str, steps: Timed, cuts: list[int]) -> None:
    items = in_time(steps)
    whole = outcome(CHAINS[chain](), items, [], clock=False)
    assert outcome(CHAINS[chain](), items, cuts, clock=False) == whole
    assert [at for at, _, _ in whole] == sorted(at for at, _, _ in whole)
    assert outcome(CHAINS[chain](), items, [], clock=True) == whole


def plain_scan(items: list[tuple[float, Any]], end: float) -> list[tuple[float, Any]]:
    return [(at, sum(item[1] for _, item in items[: n + 1])) for n, (at, _) in enumerate(items)]


def plain_pairwise(items: list[tuple[float, Any]], end: float) -> list[tuple[float, Any]]:
    return [(at, (before, item)) for (_, before), (at, item) in itertools.pairwise(items)]


def plain_distinct(items: list[tuple[float, Any]], end: float) -> list[tuple[float, Any]]:
    return [
        (at, item)
        for n, (at, item) in enumerate(items)
        if item not in [other for _, other in items[:n]]
    ]


def plain_bounded(items: list[tuple[float, Any]], end: float) -> list[tuple[float, Any]]:
    given, memory = [], []  # type: ignore[var-annotated]
    for at, item in items:
        if item in memory:
            memory.remove(item)
        else:
            given.append((at, item))
        memory = [*memory, item][-2:]
    return given


def plain_changed(items: list[tuple[float, Any]], end: float) -> list[tuple[float, Any]]:
    return [(at, item) for n, (at, item) in enumerate(items) if n == 0 or items[n - 1][1] != item]


def plain_size(items: list[tuple[float, Any]], end: float) -> list[tuple[float, Any]]:
    parts = [items[n : n + 2] for n in range(0, len(items), 2)]
    return [(p[-1][0] if len(p) == 2 else end, [item for _, item in p]) for p in parts]


def plain_seconds(items: list[tuple[float, Any]], end: float) -> list[tuple[float, Any]]:
    given = []
    while items:
        first = items[0][0]
        part = [pair for pair in items[:3] if pair[0] <= first + 5]
        items = items[len(part) :]
        at = part[-1][0] if len(part) == 3 else min(first + 5, end)
        given.append((at, [item for _, item in part]))
    return given


def plain_window(items: list[tuple[float, Any]], end: float) -> list[tuple[float, Any]]:
    numbers = sorted({int(at // 5) for at, _ in items})
    return [
        (min((n + 1) * 5.0, end), [item for at, item in items if int(at // 5) == n])
        for n in numbers
    ]


def plain_debounce(items: list[tuple[float, Any]], end: float) -> list[tuple[float, Any]]:
    nexts = [at for at, _ in items[1:]] + [math.inf]
    return [
        (min(at + 2, end), item)
        for (at, item), following in zip(items, nexts, strict=False)
        if following > at + 2
    ]


def plain_throttle(items: list[tuple[float, Any]], end: float) -> list[tuple[float, Any]]:
    given: list[tuple[float, Any]] = []
    for at, item in items:
        if not given or at >= given[-1][0] + 3:
            given.append((at, item))
    return given


def plain_hold(items: list[tuple[float, Any]], end: float) -> list[tuple[float, Any]]:
    given, stretch = [], []
    for at, item in [*items, (end + 0.5, ("", 0))]:
        if item[1] > 1:
            stretch.append((at, item))
            continue
        if stretch and stretch[0][0] + 3 < at:
            up = stretch[0][0] + 3
            given.append((up, [item for at, item in stretch if at <= up][-1]))
        stretch = []
    return given


def plain_stale(items: list[tuple[float, Any]], end: float) -> list[tuple[float, Any]]:
    given: list[tuple[float, Any]] = []
    nexts = [at for at, _ in items[1:]] + [end + 0.5]
    for (at, item), following in zip(items, nexts, strict=False):
        given.append((at, item))
        if following > at + 3:
            given.append((at + 3, Stale(item[0], item, 3)))
    return given


PLAIN = {
    "scan": plain_scan,
    "pairwise": plain_pairwise,
    "distinct": plain_distinct,
    "bounded": plain_bounded,
    "changed": plain_changed,
    "size": plain_size,
    "seconds": plain_seconds,
    "window": plain_window,
    "debounce": plain_debounce,
    "throttle": plain_throttle,
    "hold": plain_hold,
    "stale": plain_stale,
}


@pytest.mark.parametrize("chain", PLAIN)
@settings(max_examples=40)
@given(steps=ITEMS)
def test_each_key_gets_what_a_plain_reference_says(chain: str, steps: Timed) -> None:
    items = in_time(steps)
    end = items[-1][0] + 1 if items else 0.0
    given = outcome(CHAINS[chain](), items, [], clock=False)
    expected = {
        key: PLAIN[chain]([(at, (key, value)) for at, other, value in items if other == key], end)
        for key in "abc"
    }
    assert by_key(given) == {key: made for key, made in expected.items() if made}
