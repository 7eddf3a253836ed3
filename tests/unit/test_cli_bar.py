"""The progress bar of a command: lines above it, gone at the end, and where there is none."""

from __future__ import annotations

import io
import threading

import pytest
from rich import console as rich_console

from gearshift._run.progress import Progress
from gearshift.cli.bar import Bar, is_same_terminal, is_terminal


def progress(done: int, total: int | None = 200, *, failed: int = 0, rate: float = 9.0) -> Progress:
    return Progress(done, total, failed, 5.0, rate, "threads", 8)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return what a terminal 80 columns wide gets."""
    screen = io.StringIO()
    real = rich_console.Console

    def console(*, stderr: bool) -> rich_console.Console:
        assert stderr
        return real(file=screen, force_terminal=True, width=80, color_system=None)

    monkeypatch.setattr(rich_console, "Console", console)
    return screen


def last_drawing(screen: io.StringIO) -> str:
    return screen.getvalue().rstrip("\r").rpartition("\r")[2]


def test_bar_shows_count_rate_time_left_failures_and_engine(terminal: io.StringIO) -> None:
    with Bar() as bar:
        bar.show(progress(0, rate=0.0))
        assert "0/200" in terminal.getvalue()
        bar.show(progress(110, failed=2))
        drawn = last_drawing(terminal)
    assert "━" in drawn
    for part in ("110/200", "9.0/s", "10 s left", "2 failed", "threads x 8"):
        assert part in drawn


def test_count_alone_is_shown_where_nobody_knows_the_total(terminal: io.StringIO) -> None:
    with Bar() as bar:
        bar.show(progress(1234, None))
        drawn = last_drawing(terminal)
    assert "1,234 done" in drawn
    assert "5 s" in drawn
    assert "left" not in drawn
    assert "failed" not in drawn


def test_bar_of_no_items_can_be_drawn(terminal: io.StringIO) -> None:
    with Bar() as bar:
        bar.show(progress(0, 0))
        assert "0 done" in terminal.getvalue()


def test_lines_come_above_the_bar_as_they_are(terminal: io.StringIO) -> None:
    line = '{"item": "[bold]:smile: Zürich", "value": "' + "x" * 200 + '"}\n'
    with Bar() as bar:
        bar.show(progress(0, 2))
        bar.above(line.encode())
        after = terminal.getvalue().partition(line)[2]
    assert "0/2" in after


def test_bar_is_gone_at_the_end_and_the_cursor_is_back(terminal: io.StringIO) -> None:
    with Bar() as bar:
        bar.show(progress(1, 2))
    assert terminal.getvalue().endswith("\x1b[2K")
    assert terminal.getvalue().rfind("\x1b[?25h") > terminal.getvalue().rfind("\x1b[?25l")


def test_bar_has_no_thread(terminal: io.StringIO) -> None:
    before = threading.active_count()
    with Bar() as bar:
        bar.show(progress(1, 2))
        assert threading.active_count() == before


def test_what_is_no_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_terminal()
    assert not is_same_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert not is_terminal()
