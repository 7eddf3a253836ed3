"""Progress for people: a bar on a terminal, a line in a notebook, lines in a log.

Apart from `progress` because it is the one place that imports rich while items run.
"""

from __future__ import annotations

import atexit
import sys
import time
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as RichProgress

    from gearshift._run.progress import Display, Progress

__all__ = ["CallDisplay", "Lines", "OneLine", "RichBar", "display", "words"]

LINE_SECONDS = 10.0  # between two lines in a log
_WHOLE = 10  # items a second from which on decimals say nothing
_HOUR, _MINUTE = 3600, 60


def display(asked: Callable[[Progress], object] | Literal[True]) -> Display:
    """Return what suits: the user's function, or what standard error can do.

    Args:
        asked: True, or a function that gets a `gs.Progress` about ten times a second.
    """
    if callable(asked):
        return CallDisplay(asked)
    if _is_notebook():
        return OneLine(sys.stderr)
    if sys.stderr is not None and sys.stderr.isatty():
        try:
            return RichBar()
        except ImportError:  # rich is not there
            return OneLine(sys.stderr)
    return Lines(sys.stderr)


def words(progress: Progress) -> str:
    """Say how far it is, in a line."""
    of_all = f" of {progress.total:,}" if progress.total is not None else ""
    parts = [f"{progress.done:,}{of_all} done"]
    if progress.rate > 0:
        parts.append(pace(progress.rate))
    left = progress.seconds_left
    if left is not None and not progress.finished:
        parts.append(f"{clock_time(left)} left")
    else:
        parts.append(f"in {clock_time(progress.seconds)}")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    parts.append(where(progress))
    return ", ".join(parts)


def where(progress: Progress) -> str:
    """Say on what it runs."""
    return progress.engine if progress.workers < 1 else f"{progress.engine} x {progress.workers:,}"


def pace(rate: float) -> str:
    """Return items a second, or seconds an item where those are the readable number."""
    if rate < 1:
        return f"{1 / rate:,.1f} s each"
    return f"{rate:,.1f}/s" if rate < _WHOLE else f"{rate:,.0f}/s"


def clock_time(seconds: float) -> str:
    """Return seconds as a clock shows them."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}:{whole % _MINUTE:02}"
    return f"{whole // _HOUR}:{whole % _HOUR // _MINUTE:02}:{whole % _MINUTE:02}"


class CallDisplay:
    """Hands progress to a function of the user's."""

    def __init__(self, call: Callable[[Progress], object]) -> None:
        """Keep the function."""
        self._call = call

    def show(self, progress: Progress) -> None:
        """Call it."""
        self._call(progress)

    def pause(self) -> None:
        """Do nothing: nothing was drawn."""


class Lines:
    """A line now and then, and one at the end, for logs."""

    def __init__(self, stream: TextIO | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin; the first line comes after 10 s."""
        self._stream = stream
        self._clock = clock
        self._due_at = clock() + LINE_SECONDS

    def show(self, progress: Progress) -> None:
        """Write a line if it is time for one."""
        now = self._clock()
        if self._stream is not None and (progress.finished or now >= self._due_at):
            self._due_at = now + LINE_SECONDS
            self._stream.write(f"{words(progress)}\n")
            self._stream.flush()

    def pause(self) -> None:
        """Do nothing: lines stand for themselves."""


class OneLine:
    """One line that is written over, where carriage returns work: a notebook, a simple terminal."""

    def __init__(self, stream: TextIO) -> None:
        """Begin with nothing drawn."""
        self._stream = stream
        self._width = 0

    def show(self, progress: Progress) -> None:
        """Write over the line."""
        text = words(progress)
        self._stream.write(f"\r{text.ljust(self._width)}")
        self._stream.flush()
        self._width = len(text)

    def pause(self) -> None:
        """End the line."""
        if self._width:
            self._stream.write("\n")
            self._stream.flush()
            self._width = 0


class RichBar:
    """A bar with rich, gone once it is paused."""

    def __init__(self) -> None:
        """Prepare it; it is drawn at the first `show`.

        Raises:
            ImportError: rich is not there.
        """
        from rich.console import Console

        self.note: Callable[[], str] = str  # what else is to be shown beside it, such as megabytes
        self._console = Console(stderr=True)
        self._bar: RichProgress | None = None
        self._is_known = False

    def show(self, progress: Progress) -> None:
        """Draw it."""
        is_known = bool(progress.total)
        if self._bar is None or is_known != self._is_known:
            self.pause()
            self._begin(is_known=is_known)
        assert self._bar is not None
        left = progress.seconds_left
        self._bar.update(
            self._bar.task_ids[0],
            completed=progress.done,
            total=progress.total or None,
            count=f"{progress.done:,}" + (f"/{progress.total:,}" if is_known else " done"),
            pace=pace(progress.rate) if progress.rate > 0 else "",
            time=f"{clock_time(left)} left" if left is not None else clock_time(progress.seconds),
            failed=f"{progress.failed:,} failed" if progress.failed else "",
            where=" ".join(filter(None, (self.note(), where(progress)))),
        )
        self._redraw()

    def above(self, lines: bytes) -> None:
        """Show lines of text above the bar."""
        text = lines.decode("utf-8", "replace")
        self._console.out(text, end="", highlight=False)

    def pause(self) -> None:
        """Take it away, and show the cursor again."""
        bar, self._bar = self._bar, None
        if bar is not None:
            atexit.unregister(self.pause)
            bar.stop()

    def _begin(self, *, is_known: bool) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._is_known = is_known
        self._bar = Progress(
            *([BarColumn(bar_width=30)] if is_known else []),
            TextColumn("{task.fields[count]}", style="progress.download"),
            TextColumn("{task.fields[pace]}", style="progress.data.speed"),
            TextColumn("{task.fields[time]}", style="progress.remaining"),
            TextColumn("{task.fields[failed]}", style="red"),
            TextColumn("{task.fields[where]}", style="dim"),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,  # forked workers would take rich's stand-ins along
            redirect_stderr=False,
        )
        self._bar.add_task("", total=None, count="", pace="", time="", failed="", where="")
        self._bar.start()
        atexit.register(self.pause)

    def _redraw(self) -> None:
        from rich.control import Control
        from rich.segment import ControlType

        assert self._bar is not None
        self._bar.refresh()
        # What others print on this terminal (a `jq` behind us) comes over the bar, not after it.
        self._console.control(Control(ControlType.CARRIAGE_RETURN))


def _is_notebook() -> bool:
    """Whether this runs in a Jupyter kernel, whose streams are no terminal and redraw a line."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
