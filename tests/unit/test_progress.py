"""Progress: who shows it, when, and what is left on the screen afterwards."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import subprocess
import sys
import textwrap
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift._run.bars import CallDisplay, Lines, OneLine, RichBar, display, words
from gearshift._run.progress import SHOW_SECONDS, Meter

if TYPE_CHECKING:
    from collections.abc import Callable


def state(done: int = 50, total: int | None = 100, **values: Any) -> gs.Progress:
    defaults: dict[str, Any] = {"failed": 0, "seconds": 5.0, "rate": 10.0, "engine": "threads"}
    return gs.Progress(done=done, total=total, **(defaults | {"workers": 8} | values))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Recorder:
    def __init__(self) -> None:
        self.shown: list[gs.Progress] = []
        self.pauses = 0

    def show(self, progress: gs.Progress) -> None:
        self.shown.append(progress)

    def pause(self) -> None:
        self.pauses += 1


# What a run tells


@pytest.mark.parametrize("on", ["serial", "threads", "processes", "auto"])
def test_function_is_told_the_end_on_every_engine(on: str) -> None:
    told: list[gs.Progress] = []
    run = gs.map(fail_on_three, range(10), on=on, errors="skip", progress=told.append)
    assert len(list(run)) == 9
    last = told[-1]
    assert (last.done, last.total, last.failed, last.finished) == (10, 10, 1, True)
    assert last.engine == run.report.engine
    assert [progress.finished for progress in told].count(True) == 1


def test_coroutines_under_async_for_tell_too() -> None:
    told: list[gs.Progress] = []

    async def collect() -> None:
        async for _ in gs.map(identity, range(10), progress=told.append):
            pass

    asyncio.run(collect())
    assert (told[-1].done, told[-1].finished) == (10, True)


def test_each_takes_it_as_well() -> None:
    told: list[gs.Progress] = []
    gs.each(abs, iter(range(5)), progress=told.append)
    assert (told[-1].done, told[-1].total) == (5, None)


def test_nothing_is_shown_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    for asked in (None, False):
        list(gs.map(abs, range(5), progress=asked))
    assert capsys.readouterr().err == ""


def test_line_is_written_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    list(gs.map(fail_on_three, range(5), progress=True, errors="skip", on="serial"))
    err = capsys.readouterr().err
    assert err.startswith("5 of 5 done")
    assert err.endswith("1 failed, serial\n")


@pytest.mark.parametrize("wrong", [1, "bar", []])
def test_wrong_progress_is_named(wrong: Any) -> None:
    with pytest.raises(TypeError, match="progress="):
        gs.map(abs, [1], progress=wrong)


def test_error_of_the_users_function_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        list(gs.map(abs, [1], progress=lambda _: 1 / 0, on="serial"))


# When


def test_meter_shows_every_tenth_of_a_second_and_knows_the_rate() -> None:
    clock, recorder = Clock(), Recorder()
    meter = Meter(recorder, clock=clock)
    for done in range(0, 101, 10):
        meter.show(clock.now, look(done))
        assert meter.due_at == pytest.approx(clock.now + SHOW_SECONDS)
        clock.now += 1.0
    assert recorder.shown[-1].rate == pytest.approx(10.0)
    assert recorder.shown[-1].seconds_left == pytest.approx(0.0)
    meter.end(look(100))
    meter.end(look(100))
    assert len(recorder.shown) == 12
    assert recorder.pauses == 1


def test_rate_follows_a_change() -> None:
    clock, recorder = Clock(), Recorder()
    meter = Meter(recorder, clock=clock)
    done = 0
    for step in range(400):
        done += 100 if step < 200 else 1
        meter.show(clock.now, look(done))
        clock.now += 0.1
    assert recorder.shown[199].rate == pytest.approx(1000.0)
    assert 10.0 < recorder.shown[-1].rate < 40.0


def test_time_left_is_unknown_without_a_total_or_a_rate() -> None:
    assert state(total=None).seconds_left is None
    assert state(rate=0.0).seconds_left is None
    assert state(done=120).seconds_left == 0.0


# Words


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (state(), "50 of 100 done, 10/s, 5 s left, threads x 8"),
        (state(total=None, rate=0.25), "50 done, 4.0 s each, in 5 s, threads x 8"),
        (
            state(done=100, finished=True, failed=3),
            "100 of 100 done, 10/s, in 5 s, 3 failed, threads x 8",
        ),
        (state(done=0, rate=0.0, engine="serial", workers=0), "0 of 100 done, in 5 s, serial"),
        (
            state(done=0, total=100_000, rate=9.96),
            "0 of 100,000 done, 10.0/s, 2:47:20 left, threads x 8",
        ),
        (state(done=0, rate=1.0), "0 of 100 done, 1.0/s, 1:40 left, threads x 8"),
        (state(rate=12345.6), "50 of 100 done, 12,346/s, 0 s left, threads x 8"),
    ],
)
def test_words_say_how_far_it_is(progress: gs.Progress, text: str) -> None:
    assert words(progress) == text


def test_log_gets_a_line_now_and_then_and_one_at_the_end() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = Lines(stream, clock)
    for _ in range(25):
        lines.show(state())
        clock.now += 1.0
    lines.show(state(finished=True))
    lines.pause()
    assert len(stream.getvalue().splitlines()) == 3


def test_one_line_is_written_over_and_ended() -> None:
    stream = io.StringIO()
    line = OneLine(stream)
    line.show(state(failed=1000))
    line.show(state())
    line.pause()
    line.pause()
    first, second = stream.getvalue().split("\r")[1:]
    assert len(second.rstrip("\n")) == len(first)
    assert stream.getvalue().endswith("\n")
    assert stream.getvalue().count("\n") == 1


# Which display


def test_notebook_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = type("ZMQInteractiveShell", (), {})()
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert isinstance(display(True), OneLine)


def test_terminal_gets_a_bar_and_without_rich_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert isinstance(display(True), RichBar)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert isinstance(display(True), OneLine)


def test_closed_standard_error_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert list(gs.map(abs, [1], progress=True, on="serial")) == [1]


def test_function_gets_what_is_shown() -> None:
    told: list[gs.Progress] = []
    shown = display(told.append)
    assert isinstance(shown, CallDisplay)
    shown.show(state())
    shown.pause()
    assert told == [state()]


# What is left on a terminal

RUN = "gs.map(slow, range(20), on='serial', progress=True)"
LOOP = f"for value in {RUN}:"


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        f"{LOOP}\n    pass",
        f"{LOOP}\n    if value == 5: break\nprint('after')",
        f"run = {RUN}\nfor value in run:\n    if value == 5: break\nprint('after')",
        f"{LOOP}\n    if value == 5: raise KeyboardInterrupt",
        f"{LOOP}\n    if value == 5: sys.exit(1)",
        "list(gs.map(bad, range(20), on='serial', progress=True))",
    ],
    ids=["end", "break", "held", "interrupt", "exit", "error"],
)
def test_terminal_is_left_as_it_was(program: str) -> None:
    prelude = """
        import sys, time
        import gearshift as gs
        def slow(item):
            time.sleep(0.02)
            return item
        def bad(item):
            time.sleep(0.02)
            return 1 / (item - 9)
    """
    screen = on_terminal(textwrap.dedent(prelude) + program)
    assert "\x1b[?25l" in screen  # there was a bar
    assert screen.rfind("\x1b[?25h") > screen.rfind("\x1b[?25l")
    after = screen[screen.rfind("\x1b[?25h") :]
    assert "━" not in after


def on_terminal(program: str) -> str:
    """Return what a program writes to its terminal."""
    ours, theirs = pty.openpty()
    try:
        child = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(theirs)
        theirs = -1
        parts = []
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
        child.wait()
        return b"".join(parts).decode()
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)


def look(done: int) -> Callable[[float], gs.Progress]:
    return lambda rate: state(done=done, rate=rate)


def fail_on_three(item: int) -> int:
    if item == 3:
        raise ValueError("three")
    return item


async def identity(item: int) -> int:
    return item
