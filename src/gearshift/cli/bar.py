"""The progress bar of a run, on a terminal.

Apart from the rest because it is the one place that imports rich while items run. Lines
for the same terminal pass through here, so that they come above the bar.

It has no thread, and so stands still while no item ends: beside a thread, worker
processes could not be forked, and `auto` would not start any unasked.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Self

from rich.console import Console
from rich.control import Control
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import ControlType
from rich.text import Text

__all__ = ["Bar", "is_same_terminal", "is_terminal"]

_REDRAW_SECONDS = 0.1
_WHOLE = 10  # items a second from which on decimals say nothing


class Bar:
    """Counts items, and shows rate and time left; gone after `with`."""

    def __init__(self, total: int | None) -> None:
        """Prepare it; it is drawn inside `with`.

        Args:
            total: Items to come, or None where nobody knows.
        """
        self._done = 0
        self._failed = 0
        self._drawn = time.monotonic()
        self._progress = Progress(
            *([BarColumn(bar_width=30), MofNCompleteColumn()] if total else [_Count()]),
            _Pace(),
            _TimeLeft(compact=True) if total else TimeElapsedColumn(),
            _Failed(),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,  # forked workers would take rich's stand-ins along
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=total or None, failed=0)

    def __enter__(self) -> Self:
        self._progress.start()
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def count(self, *, failed: bool) -> None:
        """Count an item, and redraw now and then."""
        self._done += 1
        self._failed += failed
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_SECONDS:
            self._drawn = now
            self._progress.update(self._task, completed=self._done, failed=self._failed)
            self._draw()

    def _draw(self) -> None:
        self._progress.refresh()
        # What others print on this terminal (a `jq` behind us) comes over the bar, not after it.
        self._progress.console.control(Control(ControlType.CARRIAGE_RETURN))

    def above(self, lines: bytes) -> None:
        """Show lines above the bar."""
        text = lines.decode("utf-8", "replace")
        self._progress.console.out(text, end="", highlight=False)


class _Count(ProgressColumn):
    """Items so far, where nobody knows how many there will be."""

    def render(self, task: Task) -> Text:
        return Text(f"{int(task.completed):,} done", style="progress.download")


class _Pace(ProgressColumn):
    """Items a second, or seconds an item where those are the readable number."""

    def render(self, task: Task) -> Text:
        speed = task.speed
        if not speed:
            return Text("")
        pace = f"{speed:,.1f}/s" if speed < _WHOLE else f"{speed:,.0f}/s"
        return Text(pace if speed >= 1 else f"{1 / speed:,.1f} s each", style="progress.data.speed")


class _TimeLeft(TimeRemainingColumn):
    """How long it will take at this pace."""

    def render(self, task: Task) -> Text:
        return super().render(task) + Text(" left", style="progress.remaining")


class _Failed(ProgressColumn):
    """Failures so far, if there are any."""

    def render(self, task: Task) -> Text:
        failed = task.fields["failed"]
        return Text(f"{failed:,} failed" if failed else "", style="red")


def is_terminal() -> bool:
    """Say whether standard error is a terminal that can redraw a line."""
    console = Console(stderr=True)
    return console.is_terminal and not console.is_dumb_terminal


def is_same_terminal() -> bool:
    """Say whether standard output and standard error are one and the same terminal."""
    try:
        out, err = os.fstat(sys.stdout.fileno()), os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return sys.stdout.isatty() and os.path.samestat(out, err)
