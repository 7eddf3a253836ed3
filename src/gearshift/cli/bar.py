"""The progress bar of a command, on a terminal, and what terminals there are.

Apart from the rest because it is what imports rich. Lines for the same terminal pass
through the bar, so that they come above it.
"""

from __future__ import annotations

import os
import sys
from typing import Self

from rich.console import Console

from gearshift._run.bars import RichBar

__all__ = ["Bar", "is_same_terminal", "is_terminal"]


class Bar(RichBar):
    """The library's bar, gone after `with`; `show` is given to the run as `progress=`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()


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
