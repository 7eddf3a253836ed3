"""ReactiveX both ways: observables as sources, streams as observables, operators in a chain."""

from __future__ import annotations

import operator
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

rx = pytest.importorskip("reactivex", reason="the extra rx is not installed")

from reactivex import Observable  # noqa: E402 - only where it is installed
from reactivex import operators as ops  # noqa: E402
from reactivex.scheduler import NewThreadScheduler  # noqa: E402
from reactivex.subject import Subject  # noqa: E402

import gearshift as gs  # noqa: E402
from gearshift.testing.clock import VirtualClock  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SECONDS = 20.0
wrong: Any = gs  # for arguments that a type checker refuses


def taken(items: Iterable[Any]) -> tuple[list[Any], Exception | None]:
    """Return what came, and the error that it ended with."""
    got: list[Any] = []
    try:
        for item in items:
            got.append(item)  # noqa: PERF402 - what was got before the error counts
    except Exception as error:
        return got, error
    return got, None


class Seen:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.is_over = threading.Event()

    def subscribe(self, observable: Observable[Any]) -> Any:
        return observable.subscribe(self.events.append, self.on_error, self.on_completed)

    def on_error(self, error: Exception) -> None:
        self.events.append(repr(error))
        self.is_over.set()

    def on_completed(self) -> None:
        self.events.append("completed")
        self.is_over.set()

    def wait(self) -> list[Any]:
        assert self.is_over.wait(SECONDS)
        return self.events


def test_an_observable_is_a_source() -> None:
    stream = gs.from_rx(rx.from_iterable(range(5_000))).map(lambda n: n * n).filter(lambda n: n % 2)
    assert list(stream) == [n * n for n in range(1, 5_000, 2)]
    assert list(stream) == [n * n for n in range(1, 5_000, 2)]  # each run subscribes anew


def test_an_endless_observable_waits_for_its_consumer_and_can_be_left() -> None:
    given = []

    def note(number: int) -> None:
        given.append(number)

    endless = rx.from_iterable(iter(int, 1)).pipe(ops.do_action(note))
    with gs.from_rx(endless, buffer=10).start() as run:
        assert [next(run) for _ in range(100)] == [0] * 100
    assert len(given) < 2_000


def test_an_observables_error_is_raised_once_after_its_items() -> None:
    stream = gs.from_rx(rx.concat(rx.of(1, 2), rx.throw(ValueError("bad"))))
    got, error = taken(stream)
    assert got == [1, 2]
    assert isinstance(error, ValueError)
    assert "bad" in str(error)


def test_a_hot_observable_is_heard_from_the_start_and_disposed_of_at_the_end() -> None:
    subject: Subject[int] = Subject()
    with gs.from_rx(subject).start() as run:
        while not subject.observers:
            pass  # it subscribes in a thread of its own
        subject.on_next(7)
        assert next(run) == 7
    assert not subject.observers
    subject.on_next(8)


def test_an_observable_with_time_has_a_thread_of_its_own_and_ends_at_once() -> None:
    with gs.from_rx(rx.interval(0.001)).start() as run:
        assert [next(run) for _ in range(3)] == [0, 1, 2]
    with gs.from_rx(rx.timer(1000 * SECONDS).pipe(ops.start_with(7))).start() as run:
        assert next(run) == 7


def test_a_full_buffer_ends_the_stream_where_it_is_told_to() -> None:
    stream = gs.from_rx(rx.from_iterable(range(1000)), buffer=10, when_full="error")
    with stream.start() as run:
        threading.Event().wait(0.05)
        _, error = taken(run)
    assert isinstance(error, gs.ChannelFullError)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: wrong.from_rx([1]), "is not an observable"),
        (lambda: gs.from_rx(rx.of(1), buffer=0), "buffersize=0"),
        (lambda: wrong.from_rx(rx.of(1), when_full="x"), "when_full='x'"),
        (lambda: wrong.stream([1]).rx(3), "operator 3"),
    ],
)
def test_wrong_arguments_are_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        make()


def test_a_stream_is_an_observable() -> None:
    seen = Seen()
    seen.subscribe(gs.stream(range(5)).map(str, on="serial").to_rx())
    assert seen.wait() == ["0", "1", "2", "3", "4", "completed"]


def test_a_streams_error_reaches_the_observer_after_its_items_and_completed_does_not() -> None:
    seen = Seen()
    seen.subscribe(gs.stream([1, 0, 2]).map(lambda n: 1 // n, on="serial").to_rx())
    events = seen.wait()
    assert events[0] == 1
    assert "ZeroDivisionError" in events[1]
    assert len(events) == 2


def test_an_observer_is_told_of_what_is_no_exception() -> None:
    seen = Seen()
    seen.subscribe(gs.stream([1]).map(sys.exit, on="threads").to_rx())
    assert seen.wait() == ["SystemExit(1)"]


def test_disposing_does_not_wait_for_an_observer_that_waits_for_a_lock() -> None:
    lock, is_told = threading.Lock(), threading.Event()  # as operators such as `merge` have one

    def on_next(_item: int) -> None:
        is_told.set()
        with lock:
            pass

    with lock:
        subscription = gs.stream(gs.sources.every(1e-3)).to_rx().subscribe(on_next)
        assert is_told.wait(SECONDS)
        subscription.dispose()
    for thread in threading.enumerate():
        if thread.name == "gearshift-to-rx":
            thread.join(SECONDS)


def test_disposing_cancels_the_run() -> None:
    channel: gs.sources.Channel[int] = gs.sources.channel()
    seen = Seen()
    subscription = seen.subscribe(gs.stream(channel).to_rx())
    channel.put(1)
    subscription.dispose()
    assert "completed" not in seen.events
    with gs.stream(channel).start():
        pass  # nobody reads it any more


def test_there_and_back() -> None:
    stream = gs.from_rx(gs.stream(range(100)).to_rx().pipe(ops.map(str)))
    assert list(stream) == list(map(str, range(100)))


OPERATORS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "map": lambda: (ops.map(lambda n: n * n),),
    "take": lambda: (ops.take(3),),
    "scan, changes": lambda: (
        ops.scan(lambda a, b: (a + b) % 3),
        ops.distinct_until_changed(),
    ),
    "buffer": lambda: (ops.buffer_with_count(4),),
    "reduce": lambda: (ops.reduce(operator.add),),
    "start with, last": lambda: (ops.start_with(-1), ops.take_last(3)),
    "concat": lambda: (ops.concat(rx.of(100, 200)),),
    "flat map": lambda: (ops.flat_map(lambda n: rx.of(n, n)),),
    "pairwise": lambda: (ops.pairwise(),),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_give_in_a_chain_what_they_give_alone(name: str) -> None:
    make = OPERATORS[name]
    expected: list[Any] = []
    rx.from_iterable(range(10)).pipe(*make()).subscribe(expected.append)
    assert list(gs.stream(range(10)).rx(*make())) == expected
    assert list(gs.stream(range(10)).rx(*make()).map(repr, on="threads")) == list(
        map(repr, expected)
    )


def test_operators_with_time_go_by_the_streams_clock() -> None:
    clock = VirtualClock(autojump=True)
    ticks = gs.stream(gs.sources.every(60, count=1440), clock=clock)
    hours = ticks.rx(ops.buffer_with_time(3600)).map(len, on="serial")
    counts = list(hours)
    assert sum(counts) == 1440
    assert len(counts) in {24, 25}


def test_operators_with_time_go_by_event_time() -> None:
    events = [(0.0, "a"), (1.0, "b"), (9.0, "c")]
    stream = gs.stream(events, time=operator.itemgetter(0)).rx(ops.debounce(3))
    assert list(stream) == [(1.0, "b"), (9.0, "c")]


def test_an_operator_may_give_items_after_the_source_has_ended() -> None:
    clock = VirtualClock(autojump=True)
    assert list(gs.stream(range(3), clock=clock).rx(ops.delay(5))) == [0, 1, 2]
    assert clock.now() == pytest.approx(5)


def test_each_key_has_operators_of_its_own() -> None:
    stream = gs.stream(range(6)).keyed(lambda n: n % 2).rx(ops.scan(operator.add)).with_key()
    assert list(stream) == [(0, 0), (1, 1), (0, 2), (1, 4), (0, 6), (1, 9)]


def test_an_error_in_an_operator_is_raised_after_what_came_before() -> None:
    got, error = taken(gs.stream([2, 1, 0, 5]).rx(ops.map(lambda n: 2 // n)))
    assert got == [1, 2]
    assert isinstance(error, ZeroDivisionError)


def test_an_error_of_the_stream_can_be_caught_by_an_operator() -> None:
    def fail(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    stream = gs.stream(range(5)).map(fail, on="serial").rx(ops.catch(lambda *_: rx.of("caught")))
    assert list(stream) == [0, 1, "caught"]


def test_operators_may_work_in_threads_of_their_own() -> None:
    moved = gs.stream(range(300)).rx(ops.observe_on(NewThreadScheduler()))
    assert sorted(moved) == list(range(300))
    later = gs.stream(range(3)).rx(
        ops.flat_map(
            lambda n: rx.timer(0.05, scheduler=NewThreadScheduler()).pipe(ops.map(lambda _: n))
        )
    )
    assert sorted(later) == [0, 1, 2]
