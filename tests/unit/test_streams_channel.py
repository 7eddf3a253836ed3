"""Channels: every item is taken once or counted, whoever puts and whenever runs come and go."""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import signal
import threading
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gearshift.engines.base import Wakeup
from gearshift.errors import ChannelClosedError, ChannelFullError
from gearshift.streams.sources import Channel, channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gearshift.streams.sources.channel import ChannelFeed, WhenFull

LIMIT_SECONDS = 30  # a hang fails the test; nothing here takes as long
POLICIES: list[WhenFull] = ["wait", "drop_oldest", "latest", "error"]


class HandClock:
    """A clock that a test moves."""

    def __init__(self, *, is_virtual: bool = False) -> None:
        self.is_virtual = is_virtual
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def seconds_until(self, due: float) -> float | None:
        return None

    def idle(self, due: float) -> bool:
        return False

    def watch(self, wakeup: Wakeup) -> None: ...

    def unwatch(self, wakeup: Wakeup) -> None: ...


class Thread(threading.Thread):
    """A thread whose error comes out of `end`."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.work = work
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def end(self) -> None:
        self.join(LIMIT_SECONDS)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


def opened(source: Channel[Any], *, is_virtual: bool = False) -> ChannelFeed:
    return source.open(Wakeup(), HandClock(is_virtual=is_virtual))


def drain(feed: ChannelFeed, most: int = 4096) -> list[Any]:
    got: list[Any] = []
    while (batch := feed.take(most, 0.0)) is not None:
        got += batch.items
    return got


def follow(feed: ChannelFeed, wakeup: Wakeup) -> list[Any]:
    got: list[Any] = []
    while not feed.is_over:
        wakeup.wait(LIMIT_SECONDS)
        assert wakeup.is_set
        wakeup.clear()
        got += drain(feed)
    return got


def wait_for_waiting(source: Channel[Any], waiting: int) -> None:
    """Return when so many wait for room."""
    deadline = threading.Event()
    timer = threading.Timer(LIMIT_SECONDS, deadline.set)
    timer.start()
    try:
        while len(source._buffer._waiting) < waiting:
            assert not deadline.is_set()
            os.sched_yield()
    finally:
        timer.cancel()
        timer.join()


@pytest.fixture
def full() -> Iterator[tuple[Channel[int], ChannelFeed]]:
    source: Channel[int] = channel(buffersize=2)
    source.put_many([0, 1])
    feed = opened(source)
    yield source, feed
    feed.close()


def test_items_come_in_the_order_they_were_put_in() -> None:
    source = channel()
    source.put("before the run")
    feed = opened(source)
    source.put("a")
    source.put_many(iter("bc"))
    assert drain(feed) == ["before the run", "a", "b", "c"]
    assert source.counts == (4, 4, 0, 0)


def test_take_gives_at_most_what_is_asked_for_and_wakes_for_the_rest() -> None:
    source = channel()
    wakeup = Wakeup()
    feed = source.open(wakeup, HandClock())
    source.put_many(range(5))
    assert wakeup.is_set
    wakeup.clear()
    assert feed.take(0, 0.0) is None
    batch = feed.take(3, 7.0)
    assert batch is not None
    assert (batch.items, batch.times, batch.now) == ([0, 1, 2], None, 7.0)
    assert wakeup.is_set
    wakeup.clear()
    assert drain(feed) == [3, 4]
    assert not wakeup.is_set


def test_each_item_for_an_empty_channel_wakes_the_run() -> None:
    source = channel()
    wakeup = Wakeup()
    feed = source.open(wakeup, HandClock())
    for item in range(3):
        source.put(item)
        assert wakeup.is_set
        wakeup.clear()
        assert drain(feed) == [item]
        assert not wakeup.is_set


def test_items_from_before_the_run_wake_it() -> None:
    source = channel()
    source.put(1)
    wakeup = Wakeup()
    source.open(wakeup, HandClock()).close()
    assert wakeup.is_set


@pytest.mark.slow
@pytest.mark.parametrize("when_full", POLICIES)
def test_counts_are_exact_with_many_threads(when_full: WhenFull) -> None:
    threads, each = 8, 20_000
    source: Channel[tuple[int, int]] = channel(when_full=when_full, buffersize=64)
    refused = [0] * threads
    start = threading.Barrier(threads)

    def put(thread: int) -> None:
        start.wait(LIMIT_SECONDS)
        for number in range(each):
            try:
                source.put((thread, number))
            except ChannelFullError:
                refused[thread] += 1

    wakeup = Wakeup()
    feed = source.open(wakeup, HandClock())
    got: list[tuple[int, int]] = []
    reader = Thread(lambda: got.extend(follow(feed, wakeup)))
    for writer in [Thread(lambda thread=thread: put(thread)) for thread in range(threads)]:  # type: ignore[misc]
        writer.end()
    source.close()
    reader.end()
    made = threads * each - sum(refused)
    assert source.counts == (made, len(got), made - len(got), 0)
    assert feed.dropped == made - len(got)
    if when_full in {"wait", "error"}:
        assert feed.dropped == 0
    if when_full != "error":
        assert sum(refused) == 0
    for thread in range(threads):
        numbers = [number for which, number in got if which == thread]
        assert numbers == sorted(set(numbers))  # none twice, none overtaken
    feed.close()


def test_drop_oldest_keeps_the_newest_and_counts() -> None:
    source = channel(when_full="drop_oldest", buffersize=3)
    feed = opened(source)
    for item in range(5):
        source.put(item)
    source.put_many([5, 6])
    assert (drain(feed), feed.dropped) == ([4, 5, 6], 4)
    source.put_many(range(10))
    assert (drain(feed), feed.dropped) == ([7, 8, 9], 11)


def test_latest_keeps_one() -> None:
    source = channel(when_full="latest")
    feed = opened(source)
    source.put_many("abc")
    source.put("d")
    assert (drain(feed), feed.dropped) == (["d"], 3)


def test_what_is_dropped_may_put_when_it_is_let_go() -> None:
    source = channel(when_full="latest")

    class Last:
        def __del__(self) -> None:
            source.put("from __del__")

    source.put(Last())
    source.put("second")
    gc.collect()
    assert source.counts == (3, 0, 2, 1)


def test_error_raises_and_takes_nothing() -> None:
    source = channel(when_full="error", buffersize=2)
    source.put(1)
    with pytest.raises(ChannelFullError, match="1 of 2 places are free, so none"):
        source.put_many([2, 3])
    source.put(2)
    with pytest.raises(queue.Full):
        source.put(3)
    assert drain(opened(source)) == [1, 2]


def test_put_waits_for_room(full: tuple[Channel[int], ChannelFeed]) -> None:
    source, feed = full
    writer = Thread(lambda: source.put_many(range(2, 7)))
    got: list[int] = []
    while len(got) < 7:
        if len(got) < 5:
            wait_for_waiting(source, 1)
        got += drain(feed, 1)
    writer.end()
    assert got == list(range(7))


def test_put_without_a_run_waits_for_the_first() -> None:
    source = channel(buffersize=1)
    source.put(0)
    writer = Thread(lambda: source.put(1))
    wait_for_waiting(source, 1)
    feed = opened(source)
    assert drain(feed, 1)[0] == 0
    writer.end()
    assert source.counts.made == 2


@pytest.mark.parametrize("end", ["close", "fail"])
def test_the_end_of_the_channel_releases_who_waits(
    full: tuple[Channel[int], ChannelFeed], end: str
) -> None:
    source, _ = full
    writers = [Thread(lambda: source.put(2)), Thread(lambda: source.put_many([3]))]
    wait_for_waiting(source, 2)
    source.close() if end == "close" else source.fail(ValueError("burst pipe"))
    for writer in writers:
        with pytest.raises(ChannelClosedError, match="was closed" if end == "close" else "burst"):
            writer.end()
    assert source.counts == (2, 0, 0, 2)


def test_the_end_of_the_run_releases_who_waits(full: tuple[Channel[int], ChannelFeed]) -> None:
    source, feed = full
    writer = Thread(lambda: source.put(2))
    wait_for_waiting(source, 1)
    feed.close()
    with pytest.raises(ChannelClosedError, match=r"run that read the channel has ended.*not in"):
        writer.end()
    with pytest.raises(ChannelClosedError):  # and not a wait for nobody
        source.put(3)
    assert source.counts == (2, 0, 0, 2)


def test_an_interrupted_put_puts_all_or_nothing(full: tuple[Channel[int], ChannelFeed]) -> None:
    source, feed = full

    def interrupt() -> None:
        wait_for_waiting(source, 1)
        os.kill(os.getpid(), signal.SIGINT)

    helper = Thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        source.put(2)
    helper.end()
    assert source._buffer._waiting == []
    assert drain(feed) == [0, 1]
    source.put(3)  # the channel goes on
    assert drain(feed) == [3]
    assert source.counts == (3, 3, 0, 0)


def test_a_signal_handler_may_put_while_its_thread_puts() -> None:
    source = channel(buffersize=10_000_000)
    old = signal.signal(signal.SIGUSR1, lambda *_: source.put("signal"))
    try:
        done = threading.Event()

        def send() -> None:
            for _ in range(100):
                os.kill(os.getpid(), signal.SIGUSR1)
            done.set()

        sender = Thread(send)
        put = 0
        while not done.is_set():
            source.put("main")
            source.put_many(["main"])
            put += 2
        sender.end()
    finally:
        signal.signal(signal.SIGUSR1, old)
    items = drain(opened(source))
    assert items.count("main") == put
    assert source.counts == (len(items), len(items), 0, 0)


def test_the_thread_that_takes_is_told_instead_of_waiting_for_ever(
    full: tuple[Channel[int], ChannelFeed],
) -> None:
    source, feed = full
    assert drain(feed, 2) == [0, 1]
    with pytest.raises(ChannelFullError, match=r"2 of 4 are in.*one that takes"):
        source.put_many(range(4))
    with pytest.raises(ChannelFullError, match=r"the item is not in.*one that takes"):
        source.put(9)


def test_put_does_not_stop_an_event_loop(full: tuple[Channel[int], ChannelFeed]) -> None:
    source, _ = full

    async def main() -> None:
        source.put(2)

    with pytest.raises(ChannelFullError, match=r"await channel\.aput"):
        asyncio.run(main())


def test_aput_waits_while_the_loop_goes_on(full: tuple[Channel[int], ChannelFeed]) -> None:
    source, feed = full

    async def main() -> list[int]:
        putting = asyncio.gather(source.aput(2), source.aput_many([3, 4]), source.aput(5))
        got: list[int] = []
        while len(got) < 6:
            got += drain(feed, 1)[:1] if source.counts.inside == 1 else drain(feed)
            await asyncio.sleep(0)
        await putting
        return got

    assert sorted(asyncio.run(main())) == list(range(6))


def test_a_cancelled_aput_puts_nothing(full: tuple[Channel[int], ChannelFeed]) -> None:
    source, feed = full

    async def main() -> None:
        putting = asyncio.ensure_future(source.aput(2))
        await asyncio.sleep(0)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting

    asyncio.run(main())
    assert source._buffer._waiting == []
    assert drain(feed) == [0, 1]


def test_aput_raises_when_the_run_ends(full: tuple[Channel[int], ChannelFeed]) -> None:
    source, feed = full

    async def main() -> None:
        putting = asyncio.ensure_future(source.aput(2))
        await asyncio.sleep(0)
        feed.close()
        with pytest.raises(ChannelClosedError):
            await putting

    asyncio.run(main())


def test_a_loop_that_was_closed_disturbs_nobody(full: tuple[Channel[int], ChannelFeed]) -> None:
    source, feed = full
    loop = asyncio.new_event_loop()
    coroutine = source.aput(2)
    task = loop.create_task(coroutine)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert drain(feed) == [0, 1]
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    coroutine.close()


def test_close_lets_the_run_take_the_rest() -> None:
    source = channel()
    feed = opened(source)
    source.put_many([1, 2])
    source.close()
    source.close()
    assert source.is_closed
    with pytest.raises(ChannelClosedError, match="was closed"):
        source.put(3)
    with pytest.raises(ChannelClosedError):
        source.put_many([3])
    assert not feed.is_over
    assert drain(feed) == [1, 2]
    assert feed.is_over


def test_fail_raises_once_after_the_rest() -> None:
    source = channel()
    feed = opened(source)
    source.put(1)
    source.fail(OSError("line cut"))
    source.fail(ValueError("later, so not told"))
    source.close()
    with pytest.raises(ChannelClosedError, match="line cut"):
        source.put(2)
    batch = feed.take(10, 0.0)
    assert batch is not None
    assert not feed.is_over
    with pytest.raises(OSError, match="line cut"):
        feed.take(10, 0.0)
    assert feed.is_over
    assert feed.take(10, 0.0) is None
    feed.close()
    with pytest.raises(OSError, match="line cut"):  # the next run hears of it, too
        opened(source).take(10, 0.0)


def test_fail_wants_an_exception() -> None:
    with pytest.raises(TypeError, match="'oh no'"):
        channel().fail("oh no")  # type: ignore[arg-type]


def test_the_end_wakes_the_run() -> None:
    for end in (Channel.close, lambda source: source.fail(OSError())):
        source = channel()
        wakeup = Wakeup()
        feed = source.open(wakeup, HandClock())
        end(source)
        assert wakeup.is_set
        feed.close()


def test_with_closes_and_tells_an_error() -> None:
    with channel() as good:
        good.put(1)
    assert drain(opened(good)) == [1]
    bad: Channel[int] = channel()
    with suppress(ZeroDivisionError), bad:
        bad.put(1 // 0)
    with pytest.raises(ZeroDivisionError):
        drain(opened(bad))


def test_one_run_at_a_time_and_the_next_gets_what_is_left() -> None:
    source = channel(when_full="drop_oldest", buffersize=3)
    first = opened(source)
    with pytest.raises(RuntimeError, match="another run reads this channel"):
        opened(source)
    source.put_many(range(5))
    assert drain(first, 1) == [2, 3, 4]
    source.put("left")
    first.close()
    first.close()
    assert first.is_over
    assert first.take(1, 0.0) is None
    second = opened(source)
    assert drain(second) == ["left"]
    assert (first.dropped, second.dropped) == (2, 0)


def test_an_append_that_meets_the_end_is_taken_back() -> None:
    source = channel()
    feed = opened(source)
    buffer = source._buffer
    source.close()
    assert feed.is_over
    buffer.items.append("late")  # its thread saw room before the end
    with pytest.raises(ChannelClosedError):
        buffer.settle("late")
    assert source.counts == (0, 0, 0, 0)


def test_an_append_before_the_run_saw_the_end_is_taken() -> None:
    source = channel()
    feed = opened(source)
    source.close()
    source._buffer.items.append("just in time")
    source._buffer.settle("just in time")
    assert drain(feed) == ["just in time"]
    assert feed.is_over


def test_a_virtual_clock_stamps_what_is_put() -> None:
    source = channel(when_full="drop_oldest", buffersize=3)
    source.put("early")
    clock = HandClock(is_virtual=True)
    clock.time = 5.0
    feed = source.open(Wakeup(), clock)
    clock.time = 6.0
    source.put("a")
    clock.time = 7.5
    source.put_many("bc")
    first = feed.take(2, 8.0)
    rest = feed.take(9, 8.0)
    assert first is not None
    assert rest is not None
    assert (first.items + rest.items, first.times, rest.times) == (
        ["a", "b", "c"],
        [6.0, 7.5],
        [7.5],
    )
    feed.close()
    source.put("unread")
    batch = opened(source).take(9, 0.0)
    assert batch is not None
    assert batch.times is None


@pytest.mark.parametrize(
    ("options", "words"),
    [({"when_full": "block"}, "choose one of wait"), ({"buffersize": 0}, "at least 1")],
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        channel(**options)


class ChannelMachine(RuleBasedStateMachine):
    """A channel against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = count()
        self.source: Channel[int] = channel(when_full="drop_oldest", buffersize=3)
        self.inside: list[int] = []
        self.taken = self.dropped = 0
        self.feed: ChannelFeed | None = None
        self.is_virtual = False
        self.is_closed = False

    @rule(how_many=st.integers(0, 5))
    def put(self, how_many: int) -> None:
        news = [next(self.numbers) for _ in range(how_many)]
        try:
            self.source.put(news[0]) if how_many == 1 else self.source.put_many(news)
        except ChannelClosedError:
            assert self.is_closed
            return
        assert not self.is_closed
        self.inside += news
        gone = max(len(self.inside) - 3, 0)
        self.dropped += gone
        del self.inside[:gone]

    @precondition(lambda self: self.feed is None)
    @rule(is_virtual=st.booleans())
    def open(self, is_virtual: bool) -> None:
        self.feed = opened(self.source, is_virtual=is_virtual)
        self.is_virtual = is_virtual

    @precondition(lambda self: self.feed is not None)
    @rule(most=st.integers(0, 4))
    def take(self, most: int) -> None:
        assert self.feed is not None
        batch = self.feed.take(most, 0.0)
        items = [] if batch is None else batch.items
        assert items == self.inside[:most]
        if batch is not None:
            assert (batch.times is not None) == self.is_virtual
            assert batch.times is None or len(batch.times) == len(items)
        self.taken += len(items)
        del self.inside[:most]
        assert self.feed.is_over == (self.is_closed and not self.inside)

    @precondition(lambda self: self.feed is not None)
    @rule()
    def close_feed(self) -> None:
        assert self.feed is not None
        self.feed.close()
        self.feed = None

    @rule()
    def close(self) -> None:
        self.source.close()
        self.is_closed = True

    @invariant()
    def counts_agree(self) -> None:
        made = self.taken + self.dropped + len(self.inside)
        assert self.source.counts == (made, self.taken, self.dropped, len(self.inside))


TestChannelMachine = ChannelMachine.TestCase
TestChannelMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
