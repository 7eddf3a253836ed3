"""The progress bar: count, rate, time left; lines above it; gone at the end."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from gearshift.cli import bar as cli_bar
from gearshift.cli.bar import Bar, is_same_terminal, is_terminal


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return what a terminal 80 columns wide gets."""
    screen = io.StringIO()

    def console(*, stderr: bool) -> Console:
        assert stderr
        return Console(file=screen, force_terminal=True, width=80, color_system=None)

    monkeypatch.setattr(cli_bar, "Console", console)
    monkeypatch.setattr(cli_bar, "_REDRAW_SECONDS", 0.0)
    return screen


def last_drawing(screen: io.StringIO) -> str:
    return screen.getvalue().rstrip("\r").rpartition("\r")[2]


def test_bar_shows_count_rate_time_left_and_failures(terminal: io.StringIO) -> None:
    with Bar(total=200) as bar:
        assert "  0/200" in terminal.getvalue()
        for index in range(100):
            bar.count(failed=index < 2)
        drawn = last_drawing(terminal)
    assert "100/200" in drawn
    assert "/s" in drawn
    assert "left" in drawn
    assert "2 failed" in drawn


def test_count_alone_is_shown_where_nobody_knows_the_total(terminal: io.StringIO) -> None:
    with Bar(total=None) as bar:
        for _ in range(1234):
            bar.count(failed=False)
        drawn = last_drawing(terminal)
    assert "1,234 done" in drawn
    assert "left" not in drawn
    assert "failed" not in drawn


def test_bar_of_no_items_can_be_drawn(terminal: io.StringIO) -> None:
    with Bar(total=0):
        assert "0 done" in terminal.getvalue()


def test_lines_come_above_the_bar_as_they_are(terminal: io.StringIO) -> None:
    line = '{"item": "[bold]:smile: Zürich", "value": "' + "x" * 200 + '"}\n'
    with Bar(total=2) as bar:
        bar.above(line.encode())
        after = terminal.getvalue().partition(line)[2]
    assert "0/2" in after


def test_bar_is_gone_at_the_end(terminal: io.StringIO) -> None:
    with Bar(total=2) as bar:
        bar.count(failed=False)
    assert terminal.getvalue().endswith("\x1b[2K")


def test_bar_has_no_thread(terminal: io.StringIO) -> None:
    before = threading.active_count()
    with Bar(total=2) as bar:
        bar.count(failed=False)
        assert threading.active_count() == before


@pytest.mark.parametrize(
    ("speed", "text"),
    [(None, ""), (1234.5, "1,234/s"), (9.96, "10.0/s"), (1.0, "1.0/s"), (0.25, "4.0 s each")],
)
def test_pace_is_a_readable_number(speed: float | None, text: str) -> None:
    class Task:
        pass

    task = Task()
    task.speed = speed  # type: ignore[attr-defined]
    assert cli_bar._Pace().render(task).plain == text  # type: ignore[arg-type]


def test_what_is_no_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_terminal()
    assert not is_same_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert not is_terminal()
