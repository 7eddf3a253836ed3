"""Timers, files, named events and keys as live sources, each by a clock that the test moves."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gearshift.streams.sources as sources_room
from gearshift.engines.base import Wakeup
from gearshift.errors import ChannelClosedError, ChannelFullError
from gearshift.streams.sources import emitter, every, keys, lines
from gearshift.streams.sources.base import LiveSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gearshift.streams.sources.base import Feed

LIMIT_SECONDS = 30
LINES_MODULE = import_module("gearshift.streams.sources.lines")  # its function hides it


class HandClock:
    """A virtual clock that a test moves."""

    def __init__(self) -> None:
        self.is_virtual = True
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def seconds_until(self, due: float) -> float | None:
        return None

    def idle(self, due: float) -> bool:
        return False

    def watch(self, wakeup: Wakeup) -> None: ...

    def unwatch(self, wakeup: Wakeup) -> None: ...


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def drain(feed: Feed, now: float = 0.0, most: int = 4096) -> list[Any]:
    got: list[Any] = []
    while (batch := feed.take(most, now)) is not None:
        got += batch.items
    return got


def test_all_sources_have_their_names() -> None:
    for name in sources_room.__all__:
        assert getattr(sources_room, name).__doc__


# -- every ----------------------------------------------------------------------


def test_every_gives_a_number_each_so_many_seconds(clock: HandClock) -> None:
    clock.time = 100.0
    feed = every(0.5).open(Wakeup(), clock)
    assert feed.due == 100.5
    assert feed.take(10, 100.4) is None
    batch = feed.take(10, 101.6)
    assert batch is not None
    assert (batch.items, batch.times) == ([0, 1, 2], [100.5, 101.0, 101.5])
    assert feed.due == 102.0
    assert not feed.is_over
    feed.close()
    assert feed.is_over
    assert feed.take(10, 200.0) is None
    assert list(feed.filenos()) == []


def test_every_may_give_the_first_at_once_and_end(clock: HandClock) -> None:
    feed = every(2, first=0.0, count=3).open(Wakeup(), clock)
    assert drain(feed, 0.0) == [0]
    assert drain(feed, 100.0) == [1, 2]
    assert feed.is_over
    assert feed.due == math.inf
    assert every(1, count=0).open(Wakeup(), clock).is_over
    assert drain(every(1, count=2).open(Wakeup(), clock), math.inf) == [0, 1]


def test_every_gives_missed_ticks_in_pieces(clock: HandClock) -> None:
    feed = every(1).open(Wakeup(), clock)
    batch = feed.take(2, 5.0)
    assert batch is not None
    assert batch.items == [0, 1]
    assert feed.due == 3.0
    assert drain(feed, 5.0) == [2, 3, 4]
    assert feed.dropped == 0


def test_every_may_skip_what_was_missed(clock: HandClock) -> None:
    feed = every(1, when_late="skip", count=10).open(Wakeup(), clock)
    batch = feed.take(99, 5.5)
    assert batch is not None
    assert (batch.items, batch.times, feed.dropped) == ([4], [5.0], 4)
    assert drain(feed, 99.0) == [9]
    assert feed.dropped == 8
    assert feed.is_over


@given(
    seconds=st.floats(1e-3, 1e3),
    start=st.floats(0, 1e9),
    steps=st.lists(st.floats(0, 100), max_size=20),
)
def test_every_is_never_early_and_does_not_drift(
    seconds: float, start: float, steps: list[float]
) -> None:
    clock = HandClock()
    clock.time = start
    feed = every(seconds).open(Wakeup(), clock)
    got: list[int] = []
    now = start
    for step in steps:
        now += step * seconds
        while (batch := feed.take(7, now)) is not None:
            assert batch.times is not None
            assert max(batch.times) <= now
            distances = [(time - start) / seconds for time in batch.times]
            rounding = 1e-15 * start / seconds + 1e-9
            assert distances == pytest.approx([n + 1 for n in batch.items], abs=rounding)
            got += batch.items
        assert feed.due > now
    assert got == list(range(len(got)))


@pytest.mark.parametrize(
    ("seconds", "options"),
    [
        (0, {}),
        (math.nan, {}),
        (1, {"first": -1}),
        (1, {"count": -1}),
        (1, {"when_late": "never"}),
    ],
)
def test_wrong_options_of_every_are_refused(seconds: float, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|or more|choose one"):
        every(seconds, **options)


# -- lines ----------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


class Follower:
    """A run that follows a file, and looks when the test says so."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.clock = HandClock()
        self.feed = lines(path, follow=True, **options).open(Wakeup(), self.clock)

    def look(self) -> list[str]:
        self.clock.time += 0.1
        got = drain(self.feed, self.clock.time)
        assert self.feed.due == pytest.approx(self.clock.time + 0.1)
        assert not self.feed.is_over
        return got


@pytest.fixture
def follow(path: Path) -> Iterator[Callable[..., Follower]]:
    followers: list[Follower] = []

    def start(**options: Any) -> Follower:
        followers.append(Follower(path, **options))
        return followers[-1]

    yield start
    for follower in followers:
        follower.feed.close()
        follower.feed.close()
        assert follower.feed.is_over
        assert follower.feed.take(1, math.inf) is None


@pytest.mark.parametrize("options", [{"from_end": True}, {"poll_seconds": 0}])
def test_wrong_options_of_lines_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|only with"):
        lines("x", **options)


def read_all(path: Path, most: int = 4096, **options: Any) -> list[str]:
    feed = lines(path, **options).open(Wakeup(), HandClock())
    assert list(feed.filenos()) == []
    try:
        got: list[str] = []
        while not feed.is_over:
            batch = feed.take(most, 0.0)
            got += [] if batch is None else batch.items
            assert batch is None or 0 < len(batch) <= most
        return got
    finally:
        feed.close()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\nb\r\n\r\nc", ["a", "b", "", "c"]),
        (b"\n\nlast without end", ["", "", "last without end"]),
        (b"one\rline\n", ["one\rline"]),
        ("mår\u2028ten\n".encode(), ["mår\u2028ten"]),
    ],
)
def test_lines_come_without_their_end(path: Path, content: bytes, expected: list[str]) -> None:
    path.write_bytes(content)
    assert read_all(path) == expected
    assert read_all(path, most=1) == expected


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), max_size=9)))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_lines_are_whole_wherever_blocks_end(
    tmp_path_factory: pytest.TempPathFactory, encoding: str, texts: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"whole-{encoding}.txt"
    path.write_bytes("".join(f"{text}\r\n" for text in texts).encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LINES_MODULE, "BLOCK_BYTES", 3)
        assert read_all(path, most=2, encoding=encoding) == texts


def test_a_long_line_comes_whole(path: Path) -> None:
    long = "x" * 3_000_000
    path.write_text(f"{long}\nshort\n")
    assert read_all(path) == [long, "short"]


def test_a_missing_file_is_an_error_without_follow(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lines(path).open(Wakeup(), HandClock())


def test_a_pipe_is_refused_rather_than_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(ValueError, match="no regular file"):
        lines(path).open(Wakeup(), HandClock())


def take_each(feed: Feed, got: list[str]) -> None:
    while not feed.is_over:
        batch = feed.take(1, 0.0)
        got += [] if batch is None else batch.items


@pytest.mark.parametrize("block_bytes", [1, 5, 65536])
def test_bytes_that_are_no_text_are_told_with_their_line(
    path: Path, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LINES_MODULE, "BLOCK_BYTES", block_bytes)
    path.write_bytes("é\nb\nc\xe9".encode("latin-1").replace(b"\xe9\n", "é\n".encode()) + b"\nd\n")
    feed = lines(path).open(Wakeup(), HandClock())
    got: list[str] = []
    with pytest.raises(UnicodeDecodeError, match=r"line 3 of .*log\.txt.*replace"):
        take_each(feed, got)
    assert got == ["é", "b"]
    assert feed.is_over
    assert read_all(path, errors="replace") == ["é", "b", "c\ufffd", "d"]


def test_text_that_is_cut_short_is_an_error(path: Path) -> None:
    path.write_bytes("ok\né".encode()[:-1])
    with pytest.raises(UnicodeDecodeError, match="line 2"):
        read_all(path)


def test_follow_gives_what_is_appended(path: Path, follow: Callable[..., Follower]) -> None:
    path.write_text("a\n")
    run = follow()
    assert run.look() == ["a"]
    assert run.look() == []
    with path.open("a") as file:
        file.write("b\nc\nunfin")
        file.flush()
        assert run.look() == ["b", "c"]
        file.write("ished")
        file.flush()
        assert run.look() == []
        file.write("\n")
    assert run.look() == ["unfinished"]


def test_follow_does_not_look_before_it_is_due(path: Path, follow: Callable[..., Follower]) -> None:
    path.write_text("")
    run = follow(poll_seconds=0.1)
    assert run.look() == []
    path.write_text("a\n")
    assert run.feed.take(1, run.clock.time + 0.05) is None
    assert run.look() == ["a"]


def test_follow_may_start_at_the_end(path: Path, follow: Callable[..., Follower]) -> None:
    path.write_text("old\n")
    run = follow(from_end=True)
    with path.open("a") as file:
        file.write("new\n")
    assert run.look() == ["new"]


def test_follow_waits_for_a_file_that_is_not_there(
    path: Path, follow: Callable[..., Follower]
) -> None:
    run = follow()
    assert run.look() == []
    path.write_text("a\n")
    assert run.look() == ["a"]


def test_follow_reads_a_file_that_got_shorter_from_its_beginning(
    path: Path, follow: Callable[..., Follower]
) -> None:
    path.write_text("first\nsecond\ncut sh")
    run = follow()
    assert run.look() == ["first", "second"]
    path.write_text("new\n")
    assert run.look() == ["cut sh", "new"]


def test_follow_reads_the_rest_of_a_replaced_file_before_the_new_one(
    path: Path, follow: Callable[..., Follower]
) -> None:
    path.write_text("1\n2\n")
    run = follow()
    assert run.look() == ["1", "2"]
    old = path.with_suffix(".1")
    path.rename(old)
    with old.open("a") as file:  # whoever writes has not opened the new one yet
        file.write("3\n")
        file.flush()
        assert run.look() == ["3"]
        file.write("4\n5 without end")
    path.write_text("6\n")
    assert run.look() == ["4", "5 without end", "6"]
    with path.open("a") as file:
        file.write("7\n")
    assert run.look() == ["7"]


def test_follow_goes_on_with_the_old_file_when_the_new_one_is_gone_again(
    path: Path, follow: Callable[..., Follower]
) -> None:
    path.write_text("1\n")
    run = follow()
    assert run.look() == ["1"]
    path.unlink()
    assert run.look() == []
    path.write_text("2\n")
    assert run.look() == ["2"]


def test_two_runs_read_a_file_for_themselves(path: Path) -> None:
    path.write_text("a\nb\n")
    recipe = lines(path)
    first, second = (recipe.open(Wakeup(), HandClock()) for _ in range(2))
    assert drain(first) == drain(second) == ["a", "b"]


# -- emitter --------------------------------------------------------------------


def test_each_listening_run_gets_what_is_emitted_from_its_start_on(clock: HandClock) -> None:
    events = emitter()
    doors = events.on("door")
    assert isinstance(doors, LiveSource)
    assert events.emit("door", "unheard") == 0
    first = doors.open(Wakeup(), clock)
    assert events.emit("door", 1) == 1
    second = doors.open(Wakeup(), clock)
    everything = events.on().open(Wakeup(), clock)
    assert events.emit("door", 2) == 3
    assert events.emit("light") == 1
    first.close()
    assert events.emit("door", 3) == 2
    assert (drain(first), drain(second)) == ([], [2, 3])
    assert drain(everything) == [("door", 2), ("light", None), ("door", 3)]
    second.close()
    everything.close()
    assert events.emit("door", 4) == 0
    assert events._listeners == {}


def test_closing_an_emitter_ends_its_runs_and_those_to_come(clock: HandClock) -> None:
    events = emitter()
    feed = events.on("a").open(Wakeup(), clock)
    events.emit("a", 1)
    events.close()
    events.close()
    with pytest.raises(ChannelClosedError, match="the emitter was closed"):
        events.emit("a", 2)
    assert drain(feed) == [1]
    assert feed.is_over
    assert events.on("a").open(Wakeup(), clock).is_over


def test_a_failed_emitter_fails_its_runs_and_those_to_come(clock: HandClock) -> None:
    events = emitter()
    feed = events.on("a").open(Wakeup(), clock)
    events.fail(OSError("gone"))
    for one in (feed, events.on().open(Wakeup(), clock)):
        with pytest.raises(OSError, match="gone"):
            one.take(1, 0.0)
    with pytest.raises(ChannelClosedError, match="gone"):
        events.emit("a")
    with pytest.raises(TypeError, match="'gone'"):
        events.fail("gone")  # type: ignore[arg-type]


def test_with_closes_an_emitter(clock: HandClock) -> None:
    with emitter() as events:
        feed = events.on().open(Wakeup(), clock)
    assert feed.is_over


def test_a_full_run_is_told_of_after_the_others_got_the_event(clock: HandClock) -> None:
    events = emitter(buffersize=1)
    slow, quick = (events.on("a").open(Wakeup(), clock) for _ in range(2))
    events.emit("a", 1)
    assert drain(quick) == [1]
    with pytest.raises(ChannelFullError):
        events.emit("a", 2)
    assert (drain(slow), drain(quick)) == ([1], [2])


def test_an_emit_that_waits_for_a_run_goes_on_when_it_ends(clock: HandClock) -> None:
    events = emitter(when_full="wait", buffersize=1)
    feed = events.on("a").open(Wakeup(), clock)
    got = [events.emit("a", 1)]
    thread = threading.Thread(target=lambda: got.append(events.emit("a", 2)), daemon=True)
    thread.start()
    feed.close()
    thread.join(LIMIT_SECONDS)
    assert got == [1, 0]


def test_aemit_waits_while_the_loop_goes_on(clock: HandClock) -> None:
    events = emitter(when_full="wait", buffersize=1)
    feed, other = (events.on(name).open(Wakeup(), clock) for name in ("a", None))

    async def main() -> int:
        assert await events.aemit("a", 1) == 2
        emitting = asyncio.ensure_future(events.aemit("a", 2))
        await asyncio.sleep(0)
        assert not emitting.done()
        assert (drain(feed), drain(other)) == ([1], [("a", 1)])
        return await emitting

    assert asyncio.run(main()) == 2
    feed.close()
    other.close()
    events.close()
    with pytest.raises(ChannelClosedError):
        asyncio.run(events.aemit("a"))


def test_aemit_tells_of_a_full_run(clock: HandClock) -> None:
    events = emitter(buffersize=1)
    events.on("a").open(Wakeup(), clock)

    async def main() -> None:
        await events.aemit("a")
        await events.aemit("a")

    with pytest.raises(ChannelFullError):
        asyncio.run(main())


def test_an_emitter_refuses_wrong_options_at_once() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        emitter(buffersize=0)


# -- keys -----------------------------------------------------------------------


class FakeWindow:
    """What `keys` asks of a Tk widget; as in Python 3.11, `unbind` takes those of others along."""

    def __init__(self) -> None:
        self.functions: dict[str, Callable[[Any], None]] = {}
        self.scripts: dict[str, str] = {}

    def bind(
        self, sequence: str, function: Callable[[Any], None] | str | None = None, add: str = ""
    ) -> str:
        if "Nonsense" in sequence:
            raise ValueError(sequence)
        if function is None:
            return self.scripts.get(sequence, "")
        if isinstance(function, str):
            self.scripts[sequence] = function
            return ""
        assert add == "+"
        name = f"function{len(self.functions)};"
        self.functions[name] = function
        self.scripts[sequence] = f"{self.scripts.get(sequence, '')}\n{name}\n"
        return name

    def unbind(self, sequence: str, name: str) -> None:
        del self.scripts[sequence]

    def happen(self, sequence: str, **event: Any) -> None:
        for name in self.scripts.get(sequence, "").split():
            self.functions[name](SimpleNamespace(**event))


def test_all_keys_come_as_their_keysyms(clock: HandClock) -> None:
    window = FakeWindow()
    feed = keys(window).open(Wakeup(), clock)
    window.happen("<KeyPress>", keysym="Up")
    window.happen("<KeyPress>", keysym="a")
    assert drain(feed) == ["Up", "a"]
    feed.close()
    assert window.scripts == {}


def test_only_the_named_keys_are_bound(clock: HandClock) -> None:
    window = FakeWindow()
    feed = keys(window, "Up", "1", "Control-c", "Up").open(Wakeup(), clock)
    assert list(window.scripts) == ["<Key-Up>", "<Key-1>", "<Control-Key-c>", "<Destroy>"]
    window.happen("<Control-Key-c>", keysym="c")
    window.happen("<Key-1>", keysym="1")
    assert drain(feed) == ["Control-c", "1"]
    feed.close()


def test_the_end_of_the_window_ends_the_source(clock: HandClock) -> None:
    window = FakeWindow()
    feed = keys(window).open(Wakeup(), clock)
    window.happen("<KeyPress>", keysym="a")
    window.happen("<Destroy>", widget="a button in it")
    assert not feed.is_over
    window.happen("<Destroy>", widget=window)
    assert drain(feed) == ["a"]
    assert feed.is_over
    del window.scripts  # whoever asks it now fails, as Tk does
    feed.close()


def test_two_runs_hear_the_same_keys(clock: HandClock) -> None:
    window = FakeWindow()
    recipe = keys(window, "a")
    first, second = (recipe.open(Wakeup(), clock) for _ in range(2))
    first.close()
    window.happen("<Key-a>")
    assert (drain(first), drain(second)) == ([], ["a"])
    second.close()


def test_an_unknown_key_leaves_nothing_bound(clock: HandClock) -> None:
    window = FakeWindow()
    with pytest.raises(ValueError, match="Nonsense"):
        keys(window, "a", "Nonsense").open(Wakeup(), clock)
    assert window.scripts == {}


def test_keys_that_nobody_takes_are_dropped_and_counted(clock: HandClock) -> None:
    window = FakeWindow()
    feed = keys(window).open(Wakeup(), clock)
    for _ in range(1030):
        window.happen("<KeyPress>", keysym="a")
    assert (len(drain(feed)), feed.dropped) == (1024, 6)
    feed.close()


@pytest.mark.leaves(
    "Tk keeps its connection to the display, and Tcl its pipe, until the process ends"
)
def test_keys_of_a_real_window(clock: HandClock) -> None:
    tkinter = pytest.importorskip("tkinter")
    try:
        window = tkinter.Tk()
    except tkinter.TclError as error:
        pytest.skip(f"no display: {error}")
    pressed: list[str] = []
    window.bind("<Key-Up>", lambda event: pressed.append(event.keysym))
    feed = keys(window, "Up", "1").open(Wakeup(), clock)
    other = keys(window).open(Wakeup(), clock)
    window.update()
    window.focus_force()
    window.update()
    for key in ("Up", "1", "b"):
        window.event_generate(f"<Key-{key}>")
    window.update()
    # Of the bindings of one window Tk calls the one that fits best, so `other` gets the rest.
    assert (drain(feed), drain(other)) == (["Up", "1"], ["b"])
    feed.close()
    window.event_generate("<Key-Up>")
    window.update()
    assert pressed == ["Up", "Up"]
    assert not other.is_over
    window.destroy()
    assert other.is_over
    other.close()
