"""Streams end to end: stages, operators, sources, ends, errors, the clock."""

from __future__ import annotations

import asyncio
import gc
import operator
import os
import signal
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift.streams.stage import Link
from gearshift.testing.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

SECONDS = 20.0  # no test waits so long unless something is broken
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


def is_odd(number: int) -> int:
    return number % 2


def square(number: int) -> int:
    return number * number


def wait_a_little(number: int) -> int:
    time.sleep(0.02)
    return number


def upto(number: int) -> Iterator[int]:
    yield from range(number)


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


async def add_one(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


ENGINES = ["auto", "serial", "threads", "processes"]


@pytest.mark.parametrize("on", ENGINES)
def test_stages_give_what_the_built_ins_give(on: str) -> None:
    chain = gs.stream(range(60)).filter(is_odd, on=on).map(square, on=on).flat_map(upto, on=on)
    assert list(chain) == [each for n in range(60) if n % 2 for each in range(n * n)]


def test_a_single_map_is_a_run_of_gs_map() -> None:
    run = gs.stream(range(5)).map(square, on="serial").start()
    assert list(run) == [0, 1, 4, 9, 16]
    assert run.report.engine == "serial"


@pytest.mark.parametrize("errors", ["raise", "return", "skip"])
def test_a_stage_knows_how_many_items_come_unless_some_may_be_left_out(errors: Any) -> None:
    seen: list[gs.Progress] = []
    first = gs.stream(range(10)).map(square, on="serial", errors=errors)
    first.map(square, on="serial", progress=seen.append).run()
    assert {each.total for each in seen} == ({None} if errors == "skip" else {10})


def test_coroutine_functions_are_stages_too() -> None:
    assert list(gs.stream(range(50)).map(add_one).filter(is_odd)) == list(range(1, 51, 2))


async def _numbers(most: int) -> AsyncIterator[int]:
    for number in range(most):
        await asyncio.sleep(0)
        yield number


async def _listed(stream: gs.Stream[Any]) -> list[Any]:
    return [item async for item in stream]


def test_an_async_source_goes_through_stages_and_operators() -> None:
    stream = (
        gs.stream(_numbers(500)).map(square).keyed(is_odd).pairwise().map(operator.itemgetter(1))
    )
    assert asyncio.run(_listed(stream)) == [n * n for n in range(2, 500)]


def test_a_sync_source_and_coroutines_go_under_async_for() -> None:
    stream = gs.stream(range(300)).map(add_one).filter(is_odd).map(square)
    assert asyncio.run(_listed(stream)) == [n * n for n in range(1, 301, 2)]


def test_an_async_source_refuses_for() -> None:
    with pytest.raises(TypeError, match="async for"):
        list(gs.stream(_numbers(3)).filter(is_odd))


def test_leaving_an_async_loop_ends_the_pulling() -> None:
    async def first() -> int:
        async with gs.stream(_numbers(10**9)).filter(is_odd).start() as run:
            async for number in run:
                return int(number)
        return -1

    assert asyncio.run(first()) == 1


def test_a_stream_is_a_recipe_and_each_run_begins_anew() -> None:
    stream = gs.stream([1, 2, 3]).scan(operator.add)
    assert list(stream) == list(stream) == [1, 3, 6]


def test_nothing_is_pulled_before_the_first_item_is_asked_for() -> None:
    pulled: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(3):
            pulled.append(number)
            yield number

    with gs.stream(numbers()).filter(is_odd).start():
        assert pulled == []


def test_a_slow_consumer_slows_an_endless_source() -> None:
    pulled = count()
    source = (next(pulled) for _ in count())
    with gs.stream(source).filter(is_odd, on="threads").map(square, on="threads").start() as run:
        assert [next(run) for _ in range(10)] == [n * n for n in range(1, 20, 2)]
    assert next(pulled) < 200_000


def test_a_run_that_is_left_lets_everything_go() -> None:
    for number in gs.stream(count()).map(square, on="threads").filter(is_odd, on="processes"):
        assert number == 1
        break


# Errors


def test_what_came_before_an_error_is_given_first() -> None:
    _, error = taken(gs.stream(range(9)).map(fail_at_three, on="serial").filter(bool))
    assert error is not None
    assert error.__notes__ == ["gearshift: item 3 (3) on engine serial"]
    got, error = taken(gs.stream(range(9)).map(fail_at_three, on="threads").map(square))
    assert got == [0, 1, 4]
    assert isinstance(error, ValueError)


def test_what_came_before_an_error_of_an_operator_is_given_first() -> None:
    got, error = taken(gs.stream(range(9)).keyed(is_odd).scan(lambda _, n: fail_at_three(n)))
    assert error is not None
    assert error.__notes__ == ["gearshift: in the stream's operator scan"]
    assert got == [0, 1, 2]
    assert isinstance(error, ValueError)
    assert "three" in str(error)


def test_a_key_that_cannot_be_hashed_is_named() -> None:
    got, error = taken(gs.stream([1, 2]).keyed(lambda n: [n]).scan(operator.add))
    assert got == []
    assert "the key [1] cannot be hashed" in str(error)


def stop(number: int) -> int:
    if number == 3:
        raise StopIteration
    return number


@pytest.mark.parametrize(
    "make",
    [
        lambda: gs.stream(range(9)).keyed(stop),
        lambda: gs.stream(range(9), time=stop).pairwise().map(operator.itemgetter(0)),
        lambda: gs.stream(range(9)).map(stop, on="serial").filter(lambda _: True),
        lambda: gs.stream(range(9)).filter(stop, on="threads"),
        lambda: gs.stream(range(9)).scan(lambda _, number: stop(number)),
        lambda: gs.stream(range(9)).distinct(stop),
        lambda: gs.stream(range(9)).distinct_until_changed(stop),
    ],
    ids=range(7),
)
def test_a_stop_iteration_of_a_function_ends_no_stream_in_silence(make: Any) -> None:
    got, error = taken(make())
    assert got in ([0, 1, 2], [1, 2], [0, 1])
    assert isinstance(error, RuntimeError | StopIteration)


@pytest.mark.slow
def test_what_runs_beside_a_long_item_waits_without_a_core() -> None:
    def rest(number: int) -> int:
        time.sleep(0.08 if number else 1.0)
        return number

    started = time.process_time()
    assert list(gs.stream(range(12)).map(rest).scan(operator.add))[-1] == 66
    assert time.process_time() - started < 0.4


def test_a_source_that_falls_silent_waits_for_the_first_outcome_of_processes() -> None:
    is_given = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        waited.append(is_given.wait(0.5))

    waited: list[bool] = []
    with gs.engines.ProcessExecutor(1) as pool:
        list(gs.map(square, range(3), on=pool))  # its worker is up
        for _ in gs.stream(source()).map(wait_a_little, on=pool).scan(operator.add):
            is_given.set()
    assert waited == [True]


def test_handing_over_a_long_list_takes_time_by_its_length_only() -> None:
    link = Link(None)
    link.give(list(range(100_000)))
    started = time.process_time()
    while link.available(4) == 4:
        link.pull(4)
    assert link.pulled == list(range(100_000))
    link.give([1, 2, 3])
    link.pull(2)
    link.give([4])
    link.end(None)
    link.pull(5)
    assert link.is_exhausted
    assert link.pulled[-4:] == [1, 2, 3, 4]
    assert time.process_time() - started < 1.0  # 0.02; 4 where each pull copied the rest


def test_what_a_source_raises_comes_after_its_items() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 3
        raise OSError("gone")

    got, error = taken(gs.stream(broken()).filter(is_odd).map(square, on="threads"))
    assert got == [1, 9]
    assert isinstance(error, OSError)
    assert "gone" in str(error)


def test_a_source_that_is_cancelled_does_not_end_as_if_it_were_complete() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    got: list[int] = []

    async def main() -> None:
        async for item in gs.stream(source()).scan(operator.add):
            got.append(item)  # noqa: PERF401 - what was got before the error counts

    with pytest.raises(gs.RunClosedError, match="interrupted"):
        asyncio.run(main())
    assert got == [1]


class Vague:
    """Neither true nor false, as an array of several numbers."""

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


@pytest.mark.parametrize("on", ["serial", "threads"])
def test_an_answer_that_is_neither_true_nor_false_ends_the_stream_after_what_came_before(
    on: str,
) -> None:
    stream = gs.stream(range(6))
    got, error = taken(stream.filter(lambda n: n < 4 or Vague(), on=on))
    assert got == [0, 1, 2, 3]
    assert "ambiguous" in str(error)
    skipping = stream.keyed(is_odd).filter(lambda n: n != 4 or Vague(), on=on, errors="skip")
    assert taken(skipping)[0] == [0, 1, 2, 3]


class Twice:
    """A callable with attributes of its own."""

    def __init__(self, fn: Any) -> None:
        self._fn = fn
        self._make = None

    def __call__(self, number: int) -> list[int]:
        return [self._fn(number)] * 2


@pytest.mark.parametrize("on", ["serial", "processes"])
def test_a_stage_calls_the_callable_it_was_given_and_not_what_that_holds(on: str) -> None:
    assert list(gs.stream([1, 3]).flat_map(Twice(square), on=on)) == [1, 1, 9, 9]


def test_failures_that_are_returned_pass_filters_in_their_place() -> None:
    values = list(gs.stream(range(6)).filter(fail_at_three, errors="return", on="serial"))
    assert values[:2] == [1, 2]
    assert isinstance(values[2], gs.Failure)
    assert values[2].item == 3
    assert values[3:] == [4, 5]


def test_skipped_failures_are_counted_and_keys_stay_with_their_items() -> None:
    stream = gs.stream(range(8)).keyed(is_odd).map(fail_at_three, errors="skip", on="serial")
    with stream.scan(operator.add).with_key().start() as run:
        assert list(run) == [(0, 0), (1, 1), (0, 2), (0, 6), (1, 6), (0, 12), (1, 13)]
    report = run.report
    assert (report.items, report.succeeded, report.failed) == (8, 7, 1)
    assert report.stages[0].failed == 1
    assert "stage 1: 8 items" in str(report)


@pytest.mark.parametrize("ordered", [True, False])
def test_keys_stay_with_their_items_through_stages(ordered: bool) -> None:
    stream = (
        gs.stream(range(500))
        .keyed(lambda n: n % 7)
        .map(square, on="threads", workers=4, ordered=ordered)
        .filter(is_odd, on="threads", ordered=ordered)
        .flat_map(lambda n: [n, n], on="threads", ordered=ordered)
        .with_key()
    )
    expected = [(n % 7, n * n) for n in range(500) if n % 2 for _ in range(2)]
    got = list(stream)
    assert (got if ordered else sorted(got)) == (expected if ordered else sorted(expected))


def test_a_cancelled_run_ends_with_its_error() -> None:
    channel: gs.sources.Channel[int] = gs.sources.channel()
    run = gs.stream(channel).map(square, on="threads").start()
    channel.put_many([1, 2])
    assert [next(run), next(run)] == [1, 4]
    timer = threading.Timer(0.05, run.cancel)
    timer.start()
    with pytest.raises(gs.RunCancelledError):
        next(run)
    timer.join()
    run.close()


def test_a_run_that_is_cancelled_before_its_first_item_gives_none() -> None:
    run = gs.stream(gs.sources.every(1e-4, count=1000)).pairwise().start()
    run.cancel()
    got, error = taken(run)
    assert got == []
    assert isinstance(error, gs.RunCancelledError)


def test_a_cancelled_run_of_operators_alone_ends_too() -> None:
    run = gs.stream(count()).scan(operator.add).start()
    assert [next(run) for _ in range(3)] == [0, 1, 3]
    run.cancel()
    with pytest.raises(gs.RunCancelledError):
        for _ in run:
            pass
    run.close()


def test_a_run_of_operators_that_is_cancelled_before_its_first_item_gives_none() -> None:
    run = gs.stream(count()).scan(operator.add).start()
    run.cancel()
    got, error = taken(run)
    assert got == []
    assert isinstance(error, gs.RunCancelledError)


@pytest.mark.parametrize("stages", [0, 1])
def test_closing_ends_the_loop_of_another_thread(stages: int) -> None:
    channel: gs.sources.Channel[int] = gs.sources.channel()
    stream: gs.Stream[Any] = gs.stream(channel).pairwise()
    run = (stream.map(square, on="threads") if stages else stream).start()
    ended: list[Any] = []
    consumer = threading.Thread(target=lambda: ended.append(list(run)), daemon=True)
    consumer.start()
    while run.report.seconds == 0:
        time.sleep(0.001)  # else it would refuse to begin
    threading.Event().wait(0.05)  # until it waits for items
    run.close()
    consumer.join(SECONDS)
    assert ended == [[]]


def test_a_closed_run_cannot_go_on() -> None:
    run = gs.stream(count()).scan(operator.add).start()
    next(run)
    run.close()
    with pytest.raises(gs.RunClosedError):
        next(run)


@pytest.mark.filterwarnings("ignore:a run of gearshift was never iterated")
def test_a_run_that_was_never_iterated_lets_its_source_go() -> None:
    channel: gs.sources.Channel[int] = gs.sources.channel()
    run = gs.stream(channel).filter(is_odd).start()
    with pytest.raises(RuntimeError, match="another run reads this channel"):
        gs.stream(channel).filter(is_odd).start()
    del run
    gc.collect()
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            with gs.stream(channel).start():
                break
        except RuntimeError:
            time.sleep(0.01)
    else:
        pytest.fail("the channel was still held")


def test_a_forked_child_is_refused() -> None:
    run = gs.stream(count()).scan(operator.add).start()
    next(run)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            next(run)
        except RuntimeError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert b"belongs to the process that began it" in os.read(read, 1000)
    os.close(read)
    os.close(write)
    run.close()


def test_a_second_thread_may_go_on_but_not_beside() -> None:
    channel: gs.sources.Channel[int] = gs.sources.channel()
    run = gs.stream(channel).scan(operator.add).start()
    channel.put(1)
    assert next(run) == 1
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(next(run)))
    thread.start()
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            next(run)
        except RuntimeError as error:
            assert "another thread" in str(error)  # noqa: PT017 - it may come late
            break
    channel.put(2)
    thread.join()
    assert got == [3]
    run.close()


# Sources


def put_all(channel: gs.sources.Channel[int], count: int) -> None:
    for number in range(count):
        channel.put(number)


@pytest.mark.parametrize("when_full", ["wait", "drop_oldest", "latest"])
def test_every_item_is_used_or_counted_as_dropped(when_full: Any) -> None:
    channel: gs.sources.Channel[int] = gs.sources.channel(when_full=when_full, buffersize=64)
    threads = [threading.Thread(target=put_all, args=[channel, 5_000]) for _ in range(4)]

    def end() -> None:
        for each in threads:
            each.join()
        channel.close()

    ending = threading.Thread(target=end)
    used = 0
    with (
        gs.stream(channel)
        .filter(lambda _: True, on="serial")
        .map(square, on="serial")
        .start() as run
    ):
        for thread in (*threads, ending):
            thread.start()
        for _ in run:
            used += 1
    ending.join()
    assert used + run.report.dropped == 20_000
    assert run.report.items == used
    assert (run.report.dropped == 0) == (when_full == "wait") or when_full != "wait"


def test_what_a_channel_fails_with_is_raised_after_its_items() -> None:
    channel: gs.sources.Channel[int] = gs.sources.channel()
    channel.put_many([1, 2, 3])
    channel.fail(OSError("broken"))
    got, error = taken(gs.stream(channel).map(square).filter(is_odd))
    assert got == [1, 9]
    assert isinstance(error, OSError)
    assert "broken" in str(error)


def test_an_emitter_tells_from_the_start_of_a_run_on() -> None:
    emitter = gs.sources.emitter()
    assert emitter.emit("key", "before") == 0
    with gs.stream(emitter.on("key")).map(str.upper, on="serial").start() as run:
        assert emitter.emit("key", "a") == 1
        assert emitter.emit("other", "x") == 0
        emitter.emit("key", "b")
        emitter.close()
        assert list(run) == ["A", "B"]


def test_merge_gives_all_of_several() -> None:
    channel: gs.sources.Channel[int] = gs.sources.channel()
    channel.put_many(range(100, 150))
    channel.close()
    merged = gs.stream(channel).merge(range(50), gs.stream(range(50, 100)).map(int)).map(square)
    assert sorted(merged) == [n * n for n in range(150)]


def test_merge_ends_with_the_first_error() -> None:
    with pytest.raises(ValueError, match="three"):
        list(gs.stream(range(3)).merge(gs.stream(range(9)).scan(lambda _, n: fail_at_three(n))))


def test_merge_refuses_a_stream_with_keys_and_one_without() -> None:
    with pytest.raises(ValueError, match="keyed"):
        gs.stream(range(3)).keyed(is_odd).merge(range(3))


def test_merged_streams_may_have_times_of_their_own() -> None:
    clock = VirtualClock(autojump=True)
    ticks = gs.stream(gs.sources.every(1, count=5), clock=clock)
    merged = ticks.merge(range(10, 15)).map(square, on="serial")
    assert sorted(merged) == sorted([n * n for n in (*range(5), *range(10, 15))])


# Time


def test_a_day_passes_in_no_time_and_nothing_is_lost() -> None:
    clock = VirtualClock(autojump=True)
    ticks = gs.stream(gs.sources.every(10, count=8640), clock=clock)
    minutes = ticks.map(square, on="serial").batch(seconds=60).map(len, on="serial")
    assert sum(minutes) == 8640
    assert clock.now() == 86_400


def test_hold_for_speaks_at_the_moment_and_not_at_the_next_item() -> None:
    clock = VirtualClock(autojump=True)
    channel: gs.sources.Channel[float] = gs.sources.channel()
    with gs.stream(channel, clock=clock).hold_for(30, lambda c: c >= 27).start() as run:
        channel.put(28.0)
        assert next(run) == 28.0
        assert clock.now() == 30


def test_stale_tells_of_each_key() -> None:
    clock = VirtualClock(autojump=True)
    channel: gs.sources.Channel[str] = gs.sources.channel()
    with gs.stream(channel, clock=clock).keyed(str.lower).stale(5).start() as run:
        channel.put_many(["A", "b"])
        assert [next(run) for _ in range(4)] == [
            "A",
            "b",
            gs.Stale("a", "A", 5),
            gs.Stale("b", "b", 5),
        ]


def test_advance_from_another_thread_wakes_a_run() -> None:
    clock = VirtualClock()
    with gs.stream(gs.sources.every(10), clock=clock).start() as run:
        timer = threading.Timer(0.05, clock.advance, [30])
        timer.start()
        assert [next(run) for _ in range(3)] == [0, 1, 2]
        timer.join()


def test_event_time_goes_by_the_items() -> None:
    events = [(0, "a"), (2, "b"), (11, "c"), (5, "late"), (40, "d")]
    windows = gs.stream(events, time=operator.itemgetter(0)).window(10)
    assert list(windows) == [
        [(0, "a"), (2, "b")],
        [(11, "c"), (5, "late")],
        [(40, "d")],
    ]


@pytest.mark.parametrize("time_", [float("nan"), float("inf"), -float("inf")])
def test_a_time_that_is_none_is_an_error_after_the_items_before(time_: float) -> None:
    stream = gs.stream([1.0, 2.0, time_, 5.0], time=float)
    got, error = taken(stream.keyed(lambda _: 0, idle_seconds=1).batch(1))
    assert got == [[1.0], [2.0]]
    assert isinstance(error, ValueError)
    assert "time=" in str(error)


def test_idle_seconds_that_a_float_cannot_tell_apart_do_not_stop_the_time() -> None:
    items = [1.7e18, 1.7e18 + 1e9, 1.7e18 + 2e9]  # nanoseconds
    stream = gs.stream(items, time=float).keyed(lambda _: 0, idle_seconds=1)
    assert list(stream.batch(1)) == [[item] for item in items]


def test_a_stop_iteration_of_time_is_an_error() -> None:
    def time_of(number: int) -> float:
        if number == 2:
            raise StopIteration
        return number

    got, error = taken(gs.stream(range(5), time=time_of).batch(1))
    assert got == [[0], [1]]
    assert isinstance(error, RuntimeError)


def test_event_time_moves_on_behind_a_filter_that_drops_all() -> None:
    events = [(0, 28.0), *((at, 0.0) for at in range(1, 100))]
    stream = (
        gs.stream(events, time=operator.itemgetter(0))
        .map(operator.itemgetter(1), on="serial")
        .filter(bool, on="serial")
        .hold_for(30, lambda celsius: celsius > 27)
    )
    assert list(stream) == [28.0]


def test_idle_keys_leave_in_every_part_of_a_chain() -> None:
    events = [(float(n), n) for n in range(2_000)]
    stream = (
        gs.stream(events, time=operator.itemgetter(0))
        .map(operator.itemgetter(1), on="serial")
        .keyed(lambda n: n, idle_seconds=10)
        .scan(operator.add)
        .map(square, on="serial")
        .scan(operator.add)
    )
    assert list(stream) == [n * n for n in range(2_000)]


# Arguments


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: wrong.stream(5), "neither an iterable nor a live source"),
        (lambda: wrong.stream(wrong.stream([1])), "is a stream already"),
        (lambda: wrong.stream(gs.sources.emitter()), "which of its events"),
        (lambda: wrong.stream([1], time=3), "time=3"),
        (lambda: wrong.stream([1]).map(3), "fn=3"),
        (lambda: wrong.stream([1]).map(abs, on="nowhere"), "nowhere"),
        (lambda: wrong.stream([1]).map(abs, colour=1), "colour"),
        (lambda: wrong.stream([1]).debounce(-1), "seconds=-1"),
        (lambda: wrong.stream([1]).batch(), "give one of them"),
        (lambda: wrong.stream([1]).keyed(3), "function=3"),
        (lambda: wrong.stream([1]).keyed(abs, idle_seconds=0), "seconds=0"),
        (lambda: wrong.stream([1]).with_key(), "no keys"),
    ],
)
def test_wrong_arguments_are_refused_where_they_are_given(make: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        make()


def test_a_stream_says_what_it_is_made_of() -> None:
    stream = (
        gs.stream([1]).keyed(is_odd).filter(is_odd).batch(3).merge(gs.stream([2]).keyed(is_odd))
    )
    assert repr(stream) == "<gearshift.Stream of list.keyed().filter(is_odd).batch().merge()>"


def test_each_calls_in_this_thread_and_reports() -> None:
    threads = set()
    report = (
        gs.stream(range(10))
        .map(square, on="threads")
        .each(lambda _: threads.add(threading.get_ident()))
    )
    assert threads == {threading.get_ident()}
    assert report.finished
    assert report.succeeded == 10
    report = gs.stream(range(10)).filter(is_odd).run()
    assert (report.items, report.succeeded, report.engine) == (10, 5, "stream")
    assert report.as_dict()["stages"][0]["items"] == 10


# A run that is asked from inside of itself


@pytest.mark.parametrize(
    "stage",
    [
        lambda stream, again: stream.scan(lambda _, number: again(number)),
        lambda stream, again: stream.map(again, on="serial").filter(lambda _: True, on="serial"),
        lambda stream, again: stream.map(again, on="threads").filter(lambda _: True),
        lambda stream, again: stream.map(again, on="threads"),
        lambda stream, again: stream.map(again, on="serial"),
    ],
    ids=["operator", "serial", "threads", "gs.map on threads", "gs.map on serial"],
)
@pytest.mark.parametrize("what", ["next", "close"])
def test_a_run_refuses_its_own_functions(stage: Any, what: str) -> None:
    runs: list[gs.Run[int]] = []

    def again(number: int) -> int:
        if number == 3:
            next(runs[0]) if what == "next" else runs[0].close()
        return number

    runs.append(stage(gs.stream(range(8)), again).start())
    got, error = taken(runs[0])
    assert got == [0, 1, 2]
    assert isinstance(error, RuntimeError)
    assert "run is" in str(error)
    runs[0].close()


@pytest.mark.parametrize("stages", [0, 1])
def test_a_run_refuses_its_own_source(stages: int) -> None:
    runs: list[gs.Run[int]] = []

    def source() -> Iterator[int]:
        yield 1
        yield next(runs[0])

    stream = gs.stream(source()).map(abs, on="serial")
    runs.append((stream.scan(operator.add) if stages else stream).start())
    got, error = taken(runs[0])
    assert got == [1]
    assert "from inside of itself" in str(error)


def test_ctrl_c_waits_for_one_call_of_a_slow_operator_and_loses_nothing() -> None:
    def slow(_: int, number: int) -> int:
        time.sleep(0.02)
        if number == 2:
            signal.raise_signal(signal.SIGINT)
        called.append(number)
        return number

    called: list[int] = []
    got: list[int] = []
    run = gs.stream(range(50)).scan(slow).start()
    with pytest.raises(KeyboardInterrupt):
        got.extend(run)
    assert len(called) < 10
    got.extend(run)
    assert got == list(range(50))


def test_a_second_ctrl_c_gets_out_of_an_operator_that_hangs() -> None:
    def hang(_: int, number: int) -> int:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.6)
        signal.raise_signal(signal.SIGINT)
        return number

    run = gs.stream(range(50)).scan(hang).start()
    with pytest.raises(KeyboardInterrupt):
        list(run)
    with pytest.raises(gs.RunClosedError, match="inside of an operator"):
        list(run)


def test_merge_in_event_time_goes_by_the_time_of_the_items() -> None:
    times = range(0, 6_000, 2)
    first = gs.stream([(at, "a") for at in times], time=operator.itemgetter(0))
    second = gs.stream([(at + 1, "b") for at in times], time=operator.itemgetter(0))
    merged = list(first.merge(second.map(lambda item: item, on="threads")))
    assert merged == sorted(merged)
    assert len(merged) == 6_000
    assert {len(window) for window in first.merge(second).window(10)} == {10}
